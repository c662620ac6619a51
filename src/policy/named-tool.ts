/** Which tool of which server a name stands for, as far as a registry and its lock know without asking the servers. */
import type { Registry, Server } from '../registry/model.ts'
import { select } from '../registry/selection.ts'
import type { Thing } from './thing.ts'

/** Undefined: no server can show a tool under this name. */
export const namedTool = ({ servers, lock }: Registry, exposed: string): Thing | undefined => {
  for (const server of servers) {
    const own = server.enabled ? ownName(server, exposed) : undefined
    if (own === undefined) continue
    const pinned = lock?.get(server.name)?.tools
    const pin = pinned?.get(own)
    if (pinned !== undefined && pin === undefined && server.auto === undefined) continue
    return { exposed, own, server: server.name, hints: hintsOf(pin?.definition.annotations) }
  }
  return undefined
}

const ownName = ({ prefix, tools }: Server, exposed: string): string | undefined => {
  if (!exposed.startsWith(prefix)) return undefined
  const name = exposed.slice(prefix.length)
  const renamed = [...tools.rename].find(([own, to]) => to === name && select(tools, own) === name)
  const own = renamed?.[0] ?? name
  return select(tools, own) === name ? own : undefined
}

/** In the form that catalogues have them in. */
const hintsOf = (annotations: unknown): string =>
  typeof annotations === 'object' && annotations !== null
    ? Object.entries(annotations)
        .flatMap(([key, value]: [string, unknown]) =>
          key.endsWith('Hint') && typeof value === 'boolean' ? [`${key.slice(0, -'Hint'.length)}=${value}`] : [],
        )
        .join(',')
    : ''
