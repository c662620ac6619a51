/** Every HTTP header name we read, set or strip, each written once. */

/** MCP's own headers. */
export const SESSION_ID = 'mcp-session-id'
export const PROTOCOL_VERSION = 'mcp-protocol-version'

/** Envoy's own, never a client's: also the id of the decision in errors, logs and metadata. */
export const REQUEST_ID = 'x-request-id'

/** Whatever starts so is ours: removed from every client's request before the first filter and from every response. */
export const PRIVATE_PREFIX = 'x-mcp-'

/** Only ext_proc sets it; no route leads anywhere without it. Its value is a cluster's name. */
export const CLUSTER = 'x-mcp-cluster'

/** What ext_proc publishes for the operator's own policy; servers never see these. */
export const METHOD = 'x-mcp-method'
export const SERVER_NAME = 'x-mcp-servername'
export const TOOL_NAME = 'x-mcp-toolname'
export const PROMPT_NAME = 'x-mcp-promptname'
export const RESOURCE_URI = 'x-mcp-resourceuri'
export const ANNOTATION_HINTS = 'x-mcp-annotation-hints'
export const DECISION_ID = 'x-mcp-decision'

/** Set inside Envoy when a server refused a call and the router asks the broker instead. */
export const REPLAY_SERVER = 'x-mcp-replay-server'
export const REPLAY_STATUS = 'x-mcp-replay-status'
export const REPLAY_TYPE = 'x-mcp-replay-type'
export const REPLAY_BODY = 'x-mcp-replay-body'

/** What the broker tells the access log about a request that ext_proc did not read; removed before the client. */
export const LOG_METHOD = 'x-mcp-log-method'
export const LOG_SERVER = 'x-mcp-log-server'
export const LOG_TOOL = 'x-mcp-log-tool'

/** The headers of a client's request that a server may see. Everything else is removed. */
export const REQUEST_ALLOWED: ReadonlySet<string> = new Set([
  'accept',
  'content-type',
  'content-length',
  'transfer-encoding',
  SESSION_ID,
  PROTOCOL_VERSION,
  'traceparent',
  'tracestate',
  REQUEST_ID,
])

/** The headers of a server's response that a client may see on the direct path. Everything else is removed. */
export const RESPONSE_ALLOWED: ReadonlySet<string> = new Set([
  ':status',
  'content-type',
  'content-length',
  'transfer-encoding',
  'cache-control',
  'date',
  'retry-after',
  'x-accel-buffering',
])

/** On replies that Envoy's inner listener made itself, with the response flags and details; never on a server's own. */
export const INNER_REPLY = 'x-mcp-inner-reply'

/** Where a direct attempt really goes, for the filter that turns it into a replay; removed there. */
export const DESTINATION = 'x-mcp-destination'
