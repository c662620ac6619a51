/** Every reply Envoy makes itself, worded as a JSON-RPC error: the only error wording outside the broker. */
import { BAD_TOKEN, BROKER, CLOSED, METADATA, NO_KEYS, NO_TOKEN } from './names.ts'
import { any, type Message } from './pack.ts'

interface Reply {
  readonly when: Message
  /** Absent: as Envoy chose it. */
  readonly status?: number
  readonly code: number
  readonly message: string
  readonly reason: string
  readonly headers?: Readonly<Record<string, string>>
}

const cel = (expression: string): Message => ({
  extension_filter: {
    name: 'envoy.access_loggers.extension_filters.cel',
    typed_config: any('envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter', { expression }),
  },
})

const flags = (...flags: readonly string[]): Message => ({ response_flag_filter: { flags } })

/** Before ext_proc has chosen a route; past it the same filters are the operator's own. */
const undecided = (details: string): Message => cel(`xds.cluster_name == "${CLOSED}" && ${details}`)

const challenge = (key: string) => ({ 'www-authenticate': `%METADATA(ROUTE:${METADATA}:${key})%` })

/** The first that matches counts. */
export const replies: readonly Reply[] = [
  {
    when: undecided('response.code_details == "jwt_authn_access_denied{Jwt_is_missing}"'),
    status: 401,
    code: -32000,
    message: 'a bearer token is needed, in the Authorization header',
    reason: 'no-token',
    headers: challenge(NO_TOKEN),
  },
  {
    when: undecided('response.code_details.startsWith("jwt_authn_access_denied")'),
    status: 401,
    code: -32000,
    message: 'this token is not valid here',
    reason: 'bad-token',
    headers: challenge(BAD_TOKEN),
  },
  {
    when: undecided(`response.code_details == "rbac_access_denied_matched_policy[${NO_KEYS}]"`),
    status: 503,
    code: -32603,
    message: 'tokens cannot be verified at the moment',
    reason: 'no-keys',
    headers: { 'retry-after': '5' },
  },
  {
    // Before the next: a body may be too large before there is a decision.
    when: cel('response.code_details == "request_payload_too_large"'),
    code: -32600,
    message: 'the request is too large',
    reason: 'too-large',
  },
  {
    when: cel(
      [
        'response.code_details.startsWith("ext_proc_error")',
        'response.code_details.startsWith("mismatch_between_content_length")',
        'response.code_details == "spurious_message"',
        `xds.cluster_name == "${CLOSED}"`,
      ].join(' || '),
    ),
    status: 503,
    code: -32603,
    message: 'no decision could be made about this request',
    reason: 'no-decision',
  },
  {
    when: cel('response.code_details == "stream_idle_timeout" && response.code == 504'),
    code: -32603,
    message: 'the server sent nothing in time',
    reason: 'server-silent',
  },
  {
    // A refusal of the server, kept for the broker, that never ends.
    when: cel('response.code_details == "response_payload_too_large"'),
    status: 502,
    code: -32603,
    message: "the server's answer is too large",
    reason: 'server-invalid',
  },
  {
    when: flags('UO', 'OM'),
    status: 503,
    code: -32603,
    message: 'too many requests are under way',
    reason: 'overloaded',
  },
  {
    when: {
      and_filter: {
        filters: [flags('UH', 'UF', 'UC', 'UR', 'LR', 'NC', 'URX'), cel(`xds.cluster_name == "${BROKER}"`)],
      },
    },
    status: 503,
    code: -32603,
    message: 'the gateway is not ready',
    reason: 'gateway-down',
  },
  {
    when: flags('UH', 'UF', 'UC', 'UR', 'UT', 'UPE', 'LR', 'NC', 'URX', 'DF'),
    status: 502,
    code: -32603,
    message: 'the server could not be reached',
    reason: 'server-down',
  },
  {
    // Its secret is empty: the token that calls go out with could not be had.
    when: cel('response.code_details == "failed_to_inject_credential"'),
    status: 502,
    code: -32603,
    message: 'the gateway has no token for this server at the moment',
    reason: 'no-credential',
  },
  // Limits, and what the operator's own filters say. The status and the headers are theirs, the words ours: nobody vouches for theirs being JSON.
  {
    when: cel('response.code_details in ["local_rate_limited", "request_rate_limited"]'),
    code: -32603,
    message: 'too many requests; try again later',
    reason: 'rate-limited',
  },
  {
    when: cel('response.code_details in ["ext_authz_error", "rate_limiter_error"]'),
    code: -32603,
    message: 'the policy of this gateway could not be asked',
    reason: 'policy-failed',
  },
  {
    when: cel('response.code_details == "ext_authz_denied" || response.code_details.startsWith("rbac_access_denied")'),
    code: -32600,
    message: 'the policy of this gateway does not allow this',
    reason: 'policy-denied',
  },
  {
    // What the HTTP layer refuses: a path, a header, an upgrade. Replies with no details, or with our own, are ext_proc's.
    when: cel('response.code_details != "" && !response.code_details.startsWith("mcp_")'),
    code: -32600,
    message: 'the request was refused',
    reason: '%RESPONSE_CODE_DETAILS%',
  },
  {
    // A slot of the listener is empty: no configuration for it was ever accepted.
    when: cel('response.code == 500'),
    status: 503,
    code: -32603,
    message: 'no decision could be made about this request',
    reason: 'no-decision',
  },
]

/** ext_proc publishes the id as it stood in the request, so it is printed as it is: `7`, `"a"`, `9007199254740993`. */
const hasId: Message = {
  metadata_filter: {
    matcher: { filter: METADATA, path: [{ key: 'id' }], value: { present_match: true } },
    match_if_key_not_found: false,
  },
}

const mapper = (reply: Reply, filter: Message, id: string): Message => ({
  filter,
  ...(reply.status === undefined ? {} : { status_code: reply.status }),
  ...(reply.headers === undefined
    ? {}
    : {
        headers_to_add: Object.entries(reply.headers).map(([key, value]) => ({
          header: { key, value },
          append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
        })),
      }),
  body_format_override: {
    text_format_source: {
      inline_string:
        `{"jsonrpc":"2.0","id":${id},"error":{"code":${reply.code},"message":${JSON.stringify(reply.message)},` +
        `"data":{"reason":${JSON.stringify(reply.reason)},"decision":"%REQ(X-REQUEST-ID)%"}}}`,
    },
    content_type: 'application/json',
  },
})

/** The local_reply_config of the listener that agents connect to. */
export const localReplies: Message = {
  mappers: replies.flatMap((reply) => [
    mapper(reply, { and_filter: { filters: [reply.when, hasId] } }, `%DYNAMIC_METADATA(${METADATA}:id)%`),
    mapper(reply, reply.when, 'null'),
  ]),
}
