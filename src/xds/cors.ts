/** Which web pages may use the gateway from a browser, and what they may send and see. */
import {
  AUTHORIZATION,
  LAST_EVENT_ID,
  MCP_METHOD,
  MCP_NAME,
  PROTOCOL_VERSION,
  SESSION_ID,
  TRACEPARENT,
} from '../mcp/headers.ts'
import { any, type Message } from './pack.ts'

/** Where the policy stands in a virtual host: by the name of the filter that reads it. */
export const CORS = 'envoy.filters.http.cors'

export const cors: Message = { name: CORS, typed_config: any('envoy.extensions.filters.http.cors.v3.Cors') }

/** Pages of this machine, as everywhere else. */
const LOOPBACK = 'https?://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]{1,5})?'

/** The star is for `Mcp-Param-…`, whose names are the tools' own; older browsers know no star, and it never means `authorization`. */
const SENT = [
  AUTHORIZATION,
  'content-type',
  'accept',
  SESSION_ID,
  PROTOCOL_VERSION,
  MCP_METHOD,
  MCP_NAME,
  LAST_EVENT_ID,
  TRACEPARENT,
  '*',
] as const

const SEEN = [SESSION_ID, PROTOCOL_VERSION, 'www-authenticate', 'retry-after'] as const

/** Tokens are in a header, so nobody is let in by cookies: no credentials in the sense of CORS. */
export const corsPolicy = (origins: readonly string[]): Message =>
  any('envoy.extensions.filters.http.cors.v3.CorsPolicy', {
    allow_origin_string_match: [
      ...origins.map((origin) => ({ exact: origin, ignore_case: true })),
      { safe_regex: { regex: LOOPBACK } },
    ],
    allow_methods: 'GET, POST, DELETE, OPTIONS',
    allow_headers: SENT.join(', '),
    expose_headers: SEEN.join(', '),
    max_age: '3600',
  })
