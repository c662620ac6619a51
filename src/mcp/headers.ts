/** Every HTTP header name we read, set or strip, each written once. */

/** MCP's own headers. */
export const SESSION_ID = 'mcp-session-id'
export const PROTOCOL_VERSION = 'mcp-protocol-version'
/** With it a client takes up a stream again (HTML, server-sent events); only in the stateful era. */
export const LAST_EVENT_ID = 'last-event-id'
/** What a stateless request repeats of its body (2026-07-28 streamable-http, standard headers). */
export const MCP_METHOD = 'mcp-method'
export const MCP_NAME = 'mcp-name'
/** Before the names that a tool's schema gives to arguments repeated as headers. */
export const MCP_PARAM_PREFIX = 'mcp-param-'
/** No header: the key in a tool's schema that asks for one of these, and says what follows the prefix. */
export const PARAM_KEYWORD = 'x-mcp-header'

/** The trace context (W3C), wherever a request goes; `baggage` only in the stateless era. */
export const TRACEPARENT = 'traceparent'
export const TRACESTATE = 'tracestate'
export const BAGGAGE = 'baggage'

/** A client's token, and nowhere else (RFC 6750 2.1). Servers see it only where the registry says so. */
export const AUTHORIZATION = 'authorization'
/** The client's, as Envoy sees it, never as a client says. X-Forwarded-For names the machine itself for clients on loopback. */
export const CLIENT_ADDRESS = 'x-envoy-external-address'

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
  TRACEPARENT,
  TRACESTATE,
  REQUEST_ID,
])

/** The same in the stateless era, which has no sessions; whatever starts with `MCP_PARAM_PREFIX` beside them. */
export const STATELESS_REQUEST_ALLOWED: ReadonlySet<string> = new Set(
  [...REQUEST_ALLOWED, MCP_METHOD, MCP_NAME, BAGGAGE].filter((name) => name !== SESSION_ID),
)

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
