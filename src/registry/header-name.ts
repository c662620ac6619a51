/** Names of headers that a registry may speak of. */
import { bad, type Form, good } from './form.ts'

/** Headers that belong to the connection, to the message, to MCP or to Envoy: setting them would break the call. */
const reserved: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'origin',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'traceparent',
  'tracestate',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
])
const reservedPrefixes = ['content-', 'mcp-', 'x-mcp-', 'x-envoy-', 'x-forwarded-']

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** In lower case. */
export const readHeaderName = (text: string): Form<string> => {
  const name = text.toLowerCase()
  if (!token.test(name)) return bad('must be the name of a header')
  if (reserved.has(name) || reservedPrefixes.some((prefix) => name.startsWith(prefix))) {
    return bad('this header is not yours to set: it belongs to HTTP, to MCP or to the gateway')
  }
  return good(name)
}
