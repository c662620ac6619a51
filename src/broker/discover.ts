/** The gateway's own answer to server/discover: made of what is known at the moment, so that no server can delay or fail it. */
import type { Visible } from '../catalog/visible.ts'
import { TASKS_EXTENSION } from '../mcp/task-id.ts'
import { STATELESS_VERSIONS } from '../mcp/versions.ts'
import { resultMeta } from './gateway-info.ts'

/** What the servers may turn out to have; a client that heard of less would not ask for it later. */
const everything: Visible['capabilities'] = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  completions: {},
  logging: {},
}

/** The result, as JSON text. `known`: every server has answered, failed or used up its time. */
export const discoverResult = (visible: Visible, version: string, known: boolean): string => {
  const { ttlMs, scope } = visible.caching('server/discover')
  const instructions = visible.instructions()
  const said = JSON.stringify({
    resultType: 'complete',
    supportedVersions: STATELESS_VERSIONS,
    capabilities: {
      ...(known ? visible.capabilities : everything),
      ...(visible.tasks.stateless && { extensions: { [TASKS_EXTENSION]: {} } }),
    },
    ...(instructions !== undefined && { instructions }),
    ttlMs: known ? ttlMs : 0,
    cacheScope: known ? scope : 'private',
  })
  return `${said.slice(0, -1)},"_meta":${resultMeta(version)}}`
}
