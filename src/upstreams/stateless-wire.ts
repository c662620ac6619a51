/** What carries requests to one stateless server: HTTP posts or a pipe; all that talks to such a server stands on it. */

import type { Caller } from '../clients/caller.ts'
import { encodeHeaderValue } from '../mcp/header-value.ts'
import { MCP_METHOD, MCP_NAME, PROTOCOL_VERSION } from '../mcp/headers.ts'
import { META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_PROTOCOL_VERSION } from '../mcp/meta-keys.ts'
import { STATELESS_VERSIONS } from '../mcp/versions.ts'
import type { Introduction } from './handshake.ts'
import type { Notification } from './server-message.ts'
import type { Outcome } from './upstream.ts'

/** The revision we speak to servers of this era. */
export const REVISION = STATELESS_VERSIONS[0]

/** One request under way. */
export interface WireRequest {
  /** Raw JSON id of the request in `body`. Where many share a pipe, it and the progress token are others on the way. */
  readonly id: string
  readonly body: Buffer
  /** What the request repeats of its body, in lower case; of no use on a pipe. */
  readonly headers: Readonly<Record<string, string>>
  /** Longest silence in ms; undefined: it may be silent for ever, as a subscription is. */
  readonly timeoutMs: number | undefined
  /** On whose behalf; absent: the gateway's own. */
  readonly as?: Caller | undefined
  /** A notification that belongs to this request (by stream, progress token or subscription id). */
  onMessage(message: Notification): void
  /** Its end gives the request up, and the server is told in the transport's way. */
  readonly signal: AbortSignal
}

export interface StatelessWire {
  /** Sends it and waits for the response, addressed with `id`; never rejects. */
  send(request: WireRequest): Promise<Outcome>
  /** A fresh raw id for a request of ours. */
  nextId(): string
}

/** The headers that repeat a request's body. `name` is what it names: `params.name` or `params.uri`. */
export const wireHeaders = (method: string, name: string | undefined): Record<string, string> => ({
  [PROTOCOL_VERSION]: REVISION,
  [MCP_METHOD]: method,
  ...(name !== undefined && { [MCP_NAME]: encodeHeaderValue(name) }),
})

/** A request of our own. `params` is the JSON text of an object without `_meta`. */
export const wireRequest = (
  id: string,
  method: string,
  params: string,
  as: Introduction,
): Pick<WireRequest, 'id' | 'body' | 'headers'> => {
  const meta = `"_meta":{"${META_PROTOCOL_VERSION}":"${REVISION}","${META_CLIENT_CAPABILITIES}":${as.capabilities},"${META_CLIENT_INFO}":${JSON.stringify({ name: as.clientName, version: as.clientVersion })}}`
  const rest = params.slice(params.indexOf('{') + 1)
  const body = `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":{${meta}${rest.trim() === '}' ? '' : ','}${rest}}`
  return { id, body: Buffer.from(body), headers: wireHeaders(method, undefined) }
}
