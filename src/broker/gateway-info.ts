/** How the gateway names itself to clients, whichever servers are behind it. */
import { META_SERVER_INFO } from '../mcp/meta-keys.ts'

export const gatewayInfo = (version: string): Readonly<Record<string, string>> => ({
  name: 'mcp-gateway',
  title: 'MCP Gateway',
  version,
})

/** The `_meta` of every result of the gateway's own in the stateless era, as JSON text. */
export const resultMeta = (version: string): string => JSON.stringify({ [META_SERVER_INFO]: gatewayInfo(version) })
