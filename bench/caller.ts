/** Who makes a request: a stateful client in its session, or a stateless one, which says of itself in each what servers must know. */
import { MCP_METHOD, MCP_NAME, PROTOCOL_VERSION, SESSION_ID } from '../src/mcp/headers.ts'
import { META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_PROTOCOL_VERSION } from '../src/mcp/meta-keys.ts'
import { STATEFUL_VERSIONS, STATELESS_VERSIONS } from '../src/mcp/versions.ts'

/** `session` is empty until it is open. */
export type Caller = ({ readonly era: 'stateful'; readonly session: string } | { readonly era: 'stateless' }) & {
  /** The bearer token; absent where nobody asks for one. */
  readonly token?: string
}

export const VERSIONS = { stateful: STATEFUL_VERSIONS[0], stateless: STATELESS_VERSIONS[0] } as const

export const CLIENT_INFO = '{"name":"bench","version":"1"}'
const META = `"_meta":{"${META_PROTOCOL_VERSION}":"${VERSIONS.stateless}","${META_CLIENT_INFO}":${CLIENT_INFO},"${META_CLIENT_CAPABILITIES}":{}}`

/** Of every POST. `name`: the tool that it calls. */
export const headersOf = (caller: Caller, method: string, name?: string): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  ...(caller.token !== undefined && { authorization: `Bearer ${caller.token}` }),
  ...(caller.era === 'stateless'
    ? { [PROTOCOL_VERSION]: VERSIONS.stateless, [MCP_METHOD]: method, ...(name !== undefined && { [MCP_NAME]: name }) }
    : caller.session !== '' && { [SESSION_ID]: caller.session, [PROTOCOL_VERSION]: VERSIONS.stateful }),
})

/** The JSON text of an object as this caller sends it. */
export const paramsOf = ({ era }: Caller, params: string): string =>
  era === 'stateful' ? params : `${params.slice(0, -1)}${params === '{}' ? '' : ','}${META}}`
