/** The HTTP filters of the listener that agents connect to. The list is constant; what changes comes over ECDS. */
import { LOG_METHOD, LOG_SERVER, LOG_TOOL, PRIVATE_PREFIX } from '../mcp/headers.ts'
import { MOST_FILTERS } from '../registry/policy.ts'
import { cors } from './cors.ts'
import { EXT_PROC, filterSlot, JWT, LIMITS, METADATA } from './names.ts'
import { noFilterType } from './no-filter.ts'
import { any, type Message } from './pack.ts'

const privateHeaders: Message = { remove_on_match: { key_matcher: { prefix: PRIVATE_PREFIX } } }

/** Before the first filter and the first route: a client can never set a header of ours. */
export const earlyHeaderMutation: Message = {
  name: 'envoy.http.early_header_mutation.header_mutation',
  typed_config: any('envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation', {
    mutations: [privateHeaders],
  }),
}

/** Responses pass the filters from the last to the first, so this one has the last word. */
const guard: Message = {
  name: 'mcp_guard',
  typed_config: any('envoy.extensions.filters.http.header_mutation.v3.HeaderMutation', {
    mutations: { response_mutations: [privateHeaders] },
  }),
}

const logged = (header: string, key: string): Message => ({
  header,
  on_header_present: { metadata_namespace: METADATA, key, type: 'STRING' },
  remove: false,
})

/** What the broker says about a request that ext_proc did not read, for the access log. */
const logHeaders: Message = {
  name: 'mcp_log',
  typed_config: any('envoy.extensions.filters.http.header_to_metadata.v3.Config', {
    response_rules: [logged(LOG_METHOD, 'method'), logged(LOG_SERVER, 'server'), logged(LOG_TOOL, 'tool')],
  }),
}

/** The slot's name is the name of the resource that fills it; until it is filled, requests get 500. */
const slot = (name: string, types: readonly string[]): Message => ({
  name,
  config_discovery: {
    config_source: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
    type_urls: types.map((type) => `type.googleapis.com/${type}`),
  },
})

const jwt = slot(JWT, [
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
  'envoy.extensions.filters.http.rbac.v3.RBAC',
  noFilterType,
])

const extProc = slot(EXT_PROC, ['envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor'])

const limits = slot(LIMITS, ['envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit', noFilterType])

/** Always all of them, so that filters come and go without the listener. */
const policy = (types: readonly string[]): readonly Message[] =>
  Array.from({ length: MOST_FILTERS }, (_, index) => slot(filterSlot(index), [...new Set([noFilterType, ...types])]))

/** Keeps Envoy's own x-envoy-* headers from servers and clients. */
export const router: Message = {
  name: 'envoy.filters.http.router',
  typed_config: any('envoy.extensions.filters.http.router.v3.Router', { suppress_envoy_headers: true }),
}

/** In the order requests pass them. `types`: of the filters that the Envoy knows; a slot takes nothing but what it names. */
export const httpFilters = (types: readonly string[]): readonly Message[] => [
  guard,
  logHeaders, // sees the broker's headers before the guard removes them
  cors, // before tokens are asked for: a browser's first question has none, and it wants to read why it was refused
  jwt, // before ext_proc: who is nobody chooses nothing
  extProc,
  limits, // counts what ext_proc allowed
  ...policy(types), // decides on what ext_proc published
  router, // terminal, so last
]
