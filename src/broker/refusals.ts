/** What each refusal says: HTTP status, JSON-RPC code, words and the mend; the only place with error wording. */
import type { RefusalReason } from '../mcp/refusal.ts'
import type { Era } from '../mcp/versions.ts'

/** Reasons that only the broker can find. */
export type BrokerRefusal =
  | 'unknown-session'
  | 'unknown-event'
  | 'unknown-method'
  | 'unknown-tool'
  | 'unknown-prompt'
  | 'unknown-resource'
  | 'bad-params'
  | 'bad-cursor'
  | 'unknown-task'
  | 'unexpected-response'
  | 'server-down'
  | 'server-silent'
  | 'server-refused'
  | 'server-invalid'
  | 'missing-capability'
  | 'bad-request-state'
  | 'pool-full'
  | 'not-allowed'
  | 'declined'
  | 'too-many-streams'
  | 'too-many-own-streams'
  | 'rate-limited'
  | 'too-many-calls'
  | 'no-token'
  | 'bad-token'
  | 'no-keys'
  | 'insufficient-scope'
  | 'unknown-view'
  | 'not-confirmed'
  | 'cannot-confirm'
  | 'confirmation-too-large'
  | 'exchange-refused'
  | 'exchange-failed'
  | 'stopping'

interface Refusal {
  readonly status: number
  readonly code: number
  readonly message: string
  /** The only era it can happen in. */
  readonly only?: Era
  /** Where a stateless client gets something else. */
  readonly stateless?: { readonly status?: number; readonly code?: number; readonly message?: string }
  /** The request itself was allowed; this is about what came of it. */
  readonly letThrough?: true
  /** Worth another try after so long. */
  readonly retryAfterMs?: number
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
  'wrong-verb': {
    status: 405,
    code: invalidRequest,
    message: 'use POST, GET or DELETE',
    stateless: { message: 'use POST; this revision has no other verb' },
  },
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
  'too-large': {
    status: 413,
    code: invalidRequest,
    message: 'the body is larger than gateway.maxBody, or limits.body of the server',
  },
  'unsupported-version': {
    only: 'stateful',
    status: 400,
    code: -32000,
    message: 'this MCP-Protocol-Version is not supported',
  },
  'no-session-id': {
    only: 'stateful',
    status: 400,
    code: -32000,
    message: 'the Mcp-Session-Id header is missing; initialize first',
  },
  'unknown-session': { only: 'stateful', status: 404, code: -32001, message: 'session not found; initialize again' },
  'unknown-event': {
    only: 'stateful',
    status: 400,
    code: -32000,
    message: 'the stream of this Last-Event-ID cannot be resumed: it is not known here, or not all of the rest is kept',
  },
  'header-mismatch': {
    only: 'stateless',
    status: 400,
    code: -32020,
    message: 'a header is missing, malformed or not what the body says',
  },
  'bad-meta': {
    only: 'stateless',
    status: 400,
    code: -32602,
    message: 'params._meta lacks what every request of this revision must say',
  },
  'unsupported-revision': { only: 'stateless', status: 400, code: -32022, message: 'unsupported protocol version' },
  'response-refused': {
    only: 'stateless',
    status: 400,
    code: invalidRequest,
    message: 'clients of this revision send no responses; put answers into inputResponses',
  },
  'unknown-method': { status: 200, code: -32601, message: 'method not found', stateless: { status: 404 } },
  'unknown-tool': { status: 200, code: -32602, message: 'unknown tool' },
  'unknown-prompt': { status: 200, code: -32602, message: 'unknown prompt' },
  'unknown-resource': { status: 200, code: -32002, message: 'resource not found', stateless: { code: -32602 } },
  'bad-params': { status: 200, code: -32602, message: 'invalid params' },
  'bad-cursor': { status: 200, code: -32602, message: 'invalid cursor' },
  'unknown-task': { status: 200, code: -32602, message: 'unknown task' },
  'unexpected-response': {
    only: 'stateful',
    status: 400,
    code: invalidRequest,
    message: 'nobody asked for this response',
  },
  'server-down': { status: 502, code: -32603, message: 'the server cannot be reached', letThrough: true },
  'server-silent': { status: 504, code: -32603, message: 'the server did not answer in time', letThrough: true },
  'server-refused': { status: 502, code: -32603, message: 'the server refused the gateway', letThrough: true },
  'server-invalid': {
    status: 502,
    code: -32603,
    message: 'the server gave an answer that is not MCP',
    letThrough: true,
  },
  'missing-capability': {
    only: 'stateless',
    status: 400,
    code: -32021,
    message: 'the request needs a client capability that the client did not declare',
  },
  'bad-request-state': {
    only: 'stateless',
    status: 200,
    code: -32602,
    message: 'this requestState is not valid here, or no longer; send the request anew without it',
  },
  'pool-full': {
    only: 'stateless',
    status: 503,
    code: -32603,
    message: 'all sessions the gateway may hold at the server are in use; try again shortly',
    retryAfterMs: 1000,
  },
  'not-allowed': {
    status: 502,
    code: -32603,
    message: 'the server asked for what the gateway does not let it ask',
    letThrough: true,
  },
  declined: {
    only: 'stateless',
    status: 200,
    code: -32603,
    message: 'the client declined what the server needs first',
    letThrough: true,
  },
  'too-many-streams': {
    status: 503,
    code: -32603,
    message: 'as many streams are open as the gateway allows; try again later',
    retryAfterMs: 1000,
  },
  'too-many-own-streams': {
    status: 429,
    code: -32603,
    message: 'as many streams are open as one client may have; try again when one has ended',
    retryAfterMs: 1000,
  },
  'rate-limited': { status: 429, code: -32603, message: 'too many requests; try again later', retryAfterMs: 1000 },
  'too-many-calls': {
    status: 429,
    code: -32603,
    message: 'as many calls are under way as one client may have; try again when one has ended',
    retryAfterMs: 1000,
  },
  'no-token': { status: 401, code: -32000, message: 'a bearer token is needed, in the Authorization header' },
  'bad-token': { status: 401, code: -32000, message: 'this token is not valid here' },
  'no-keys': {
    status: 503,
    code: -32603,
    message: 'tokens cannot be verified at the moment',
    retryAfterMs: 5000,
  },
  'insufficient-scope': { status: 403, code: -32000, message: 'the token lacks a scope that this needs' },
  'unknown-view': { status: 404, code: invalidRequest, message: 'there is no such view' },
  'not-confirmed': { status: 200, code: -32603, message: 'a human has to agree to this, and did not' },
  'cannot-confirm': {
    status: 200,
    code: -32603,
    message: 'a human has to agree to this, and the client cannot ask one',
  },
  'confirmation-too-large': {
    status: 200,
    code: -32603,
    message: 'a human has to agree to this, and there is more of it than can be shown',
  },
  'exchange-refused': { status: 403, code: -32000, message: 'the caller may not have a token for this server' },
  'exchange-failed': {
    status: 502,
    code: -32603,
    message: 'no token for this server could be had for the caller',
    letThrough: true,
  },
  stopping: { status: 503, code: -32603, message: 'the gateway is stopping' },
}

/** The row as a client of this era gets it. */
export const refusalFor = (reason: RefusalReason | BrokerRefusal, era: Era): Refusal => {
  const row = refusals[reason]
  return era === 'stateless' ? { ...row, ...row.stateless } : row
}

/** What a refusal may add. */
export interface RefusalDetail {
  /** Said after the row's words, such as the tool's name. */
  readonly subject?: string
  /** The server it is about. */
  readonly server?: string
  /** Records say this instead: what the client is not to know, or what it is told otherwise. */
  readonly recorded?: string
  /** What a token needs for it. */
  readonly scopes?: readonly string[]
  /** In the place of the row's. */
  readonly retryAfterMs?: number
  readonly extra?: Readonly<Record<string, unknown>>
}

/** The JSON-RPC error; `id` is the raw text of the request's id, `decision` the id that the log line carries too. */
export const refusalBody = (
  reason: RefusalReason | BrokerRefusal,
  era: Era,
  id: string | undefined,
  decision: string,
  detail: RefusalDetail = {},
): string => {
  const { code, message, ...row } = refusalFor(reason, era)
  const retryAfterMs = detail.retryAfterMs ?? row.retryAfterMs
  const said = detail.subject === undefined ? message : `${message}: ${detail.subject}`
  const data = {
    reason,
    decision,
    ...(detail.server !== undefined && { server: detail.server }),
    // Where both eras' resources pages show it.
    ...(reason === 'unknown-resource' && detail.subject !== undefined && { uri: detail.subject }),
    ...(detail.scopes !== undefined && { scopes: detail.scopes }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...detail.extra,
  }
  return `{"jsonrpc":"2.0","id":${id ?? 'null'},"error":${JSON.stringify({ code, message: said, data })}}`
}
