/** What each refusal says: HTTP status, JSON-RPC code, words and the mend; the only place with error wording. */
import type { RefusalReason } from '../mcp/refusal.ts'

/** Reasons that only the broker can find. */
export type BrokerRefusal =
  | 'unknown-session'
  | 'unknown-method'
  | 'unknown-tool'
  | 'unknown-prompt'
  | 'unknown-resource'
  | 'bad-params'
  | 'bad-cursor'
  | 'unexpected-response'
  | 'server-down'
  | 'server-silent'
  | 'server-refused'
  | 'server-invalid'
  | 'stopping'

export interface Refusal {
  readonly status: number
  readonly code: number
  readonly message: string
}

const invalidRequest = -32600

export const refusals: Readonly<Record<RefusalReason | BrokerRefusal, Refusal>> = {
  empty: { status: 400, code: -32700, message: 'the body is empty; send one JSON-RPC message' },
  'not-utf8': { status: 400, code: -32700, message: 'the body is not valid UTF-8' },
  'byte-order-mark': { status: 400, code: -32700, message: 'the body starts with a byte order mark; send plain UTF-8' },
  unparsable: { status: 400, code: -32700, message: 'the body is not valid JSON' },
  trailing: { status: 400, code: -32700, message: 'there is more after the JSON value; send exactly one message' },
  batch: {
    status: 400,
    code: invalidRequest,
    message: 'batches are not part of the protocol; send one message per request',
  },
  'duplicate-key': { status: 400, code: invalidRequest, message: 'an object has the same key twice' },
  'case-variant': {
    status: 400,
    code: invalidRequest,
    message: 'a key differs from a known one only in case; keys are case-sensitive',
  },
  'too-deep': { status: 400, code: invalidRequest, message: 'the JSON is nested too deeply (64 levels at most)' },
  'not-jsonrpc': {
    status: 400,
    code: invalidRequest,
    message: 'the body is not a JSON-RPC 2.0 request, notification or response',
  },
  'wrong-path': { status: 404, code: invalidRequest, message: 'nothing is served here; MCP is at /mcp' },
  'wrong-verb': { status: 405, code: invalidRequest, message: 'use POST, GET or DELETE' },
  'foreign-host': {
    status: 403,
    code: invalidRequest,
    message: 'the Host header names another host than this gateway',
  },
  'foreign-origin': {
    status: 403,
    code: invalidRequest,
    message: 'this Origin may not connect; add it to gateway.origins',
  },
  'content-type': { status: 415, code: invalidRequest, message: 'the Content-Type must be application/json' },
  'content-encoding': {
    status: 415,
    code: invalidRequest,
    message: 'encoded bodies are not accepted; send the JSON as it is',
  },
  'not-acceptable': {
    status: 406,
    code: invalidRequest,
    message: 'Accept must include application/json and text/event-stream',
  },
  'too-large': { status: 413, code: invalidRequest, message: 'the body is larger than gateway.maxBody' },
  'unsupported-version': { status: 400, code: -32000, message: 'this MCP-Protocol-Version is not supported' },
  'no-session-id': { status: 400, code: -32000, message: 'the Mcp-Session-Id header is missing; initialize first' },
  'unknown-session': { status: 404, code: -32001, message: 'session not found; initialize again' },
  'unknown-method': { status: 200, code: -32601, message: 'method not found' },
  'unknown-tool': { status: 200, code: -32602, message: 'unknown tool' },
  'unknown-prompt': { status: 200, code: -32602, message: 'unknown prompt' },
  'unknown-resource': { status: 200, code: -32002, message: 'resource not found' },
  'bad-params': { status: 200, code: -32602, message: 'invalid params' },
  'bad-cursor': { status: 200, code: -32602, message: 'invalid cursor' },
  'unexpected-response': { status: 400, code: invalidRequest, message: 'nobody asked for this response' },
  'server-down': { status: 502, code: -32603, message: 'the server cannot be reached' },
  'server-silent': { status: 504, code: -32603, message: 'the server did not answer in time' },
  'server-refused': { status: 502, code: -32603, message: 'the server refused the gateway' },
  'server-invalid': { status: 502, code: -32603, message: 'the server gave an answer that is not MCP' },
  stopping: { status: 503, code: -32603, message: 'the gateway is stopping' },
}

/** What a refusal may add. */
export interface RefusalDetail {
  /** Said after the row's words, such as the tool's name. */
  readonly subject?: string
  /** The server it is about. */
  readonly server?: string
  readonly extra?: Readonly<Record<string, unknown>>
}

/** The JSON-RPC error; `id` is the raw text of the request's id, `decision` the id that the log line carries too. */
export const refusalBody = (
  reason: RefusalReason | BrokerRefusal,
  id: string | undefined,
  decision: string,
  detail: RefusalDetail = {},
): string => {
  const { code, message } = refusals[reason]
  const said = detail.subject === undefined ? message : `${message}: ${detail.subject}`
  const data = { reason, decision, ...(detail.server !== undefined && { server: detail.server }), ...detail.extra }
  return `{"jsonrpc":"2.0","id":${id ?? 'null'},"error":${JSON.stringify({ code, message: said, data })}}`
}
