/** The gateway's own answer to initialize: what the servers can do together, and a sealed session. */
import type { Visible } from '../catalog/visible.ts'
import { isObject, members, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { negotiate } from '../mcp/versions.ts'
import type { SessionClaims } from '../sessions/session-id.ts'
import { declaredIn } from './declared.ts'
import { gatewayInfo } from './gateway-info.ts'

/** What a client's initialize declares; undefined: its params are not MCP's. */
export const parseInitialize = (
  bytes: Buffer,
  params: Span | undefined,
): Omit<SessionClaims, 'key' | 'createdMs' | 'principal' | 'view'> | undefined => {
  if (params === undefined) return undefined
  const found = members(bytes, params)
  const version = found.get('protocolVersion')
  const declared = found.get('capabilities')
  if (version === undefined || bytes[version.start] !== 0x22 || !isObject(bytes, declared)) return undefined
  return {
    protocolVersion: negotiate(stringOf(bytes, version)),
    ...declaredIn(bytes, declared, found.get('clientInfo')),
  }
}

/** The result, as JSON text. */
export const initializeResult = (visible: Visible, protocolVersion: string, version: string): string => {
  const instructions = visible.instructions()
  return JSON.stringify({
    protocolVersion,
    capabilities: { ...visible.capabilities, ...(hasTasks(protocolVersion) && tasksOf(visible)) },
    serverInfo: gatewayInfo(version),
    ...(instructions !== undefined && { instructions }),
  })
}

/** Tasks came with this revision; the next one has others. */
export const hasTasks = (protocolVersion: string): boolean => protocolVersion === '2025-11-25'

const tasksOf = ({ tasks: { stateful } }: Visible): object =>
  stateful === undefined
    ? {}
    : {
        tasks: {
          ...(stateful.list && { list: {} }),
          ...(stateful.cancel && { cancel: {} }),
          requests: { tools: { call: {} } },
        },
      }
