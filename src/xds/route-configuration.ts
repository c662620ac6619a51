/** Routes: nothing matches without the header that only ext_proc or the broker sets; everything else is closed. */
import * as headers from '../mcp/headers.ts'
import { metadataUrl, resourceOf } from '../mcp/protected-resource.ts'
import type { HttpServer, Registry } from '../registry/model.ts'
import { hasDirectPath } from './cluster.ts'
import { CORS, corsPolicy } from './cors.ts'
import { BAD_TOKEN, BROKER, CLOSED, directCluster, EDGE, EDGE_PATH, INNER, METADATA, NO_TOKEN } from './names.ts'
import { type Message, milliseconds } from './pack.ts'
import { RETRIED_STATUSES } from './replay-script.ts'

/** What a request carries for our own filters and for Envoy; no server sees it. */
const internal = [
  headers.CLUSTER,
  headers.METHOD,
  headers.SERVER_NAME,
  headers.TOOL_NAME,
  headers.PROMPT_NAME,
  headers.RESOURCE_URI,
  headers.ANNOTATION_HINTS,
  headers.DECISION_ID,
] as const

const forwarding = [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-envoy-external-address',
  'x-envoy-expected-rq-timeout-ms',
] as const

const chosen = (match: Message): Message => ({
  prefix: '/',
  headers: [{ name: headers.CLUSTER, string_match: match }],
})

/** One retry, at the broker: it decides whether a refusal was about a lost session, and words every error. */
const retryAtBroker: Message = {
  retry_on: 'retriable-status-codes,connect-failure,refused-stream',
  num_retries: 1,
  retriable_status_codes: RETRIED_STATUSES,
  retry_back_off: { base_interval: '0.001s', max_interval: '0.002s' },
}

const directRoute = (server: HttpServer): Message => ({
  name: directCluster(server.name),
  match: chosen({ exact: directCluster(server.name) }),
  // What a filter of the operator's may have been meant to see, and no server is unless its entry says so.
  request_headers_to_remove: [
    ...internal,
    ...forwarding,
    ...['authorization', 'cookie'].filter((name) => !server.forward.includes(name)),
  ],
  route: {
    cluster: directCluster(server.name),
    auto_host_rewrite: true,
    timeout: '0s',
    idle_timeout: milliseconds(server.timeoutMs), // the longest silence, in either direction
    retry_policy: retryAtBroker,
  },
})

const brokerRoute: Message = {
  name: BROKER,
  match: chosen({ exact: BROKER }),
  request_headers_to_remove: internal,
  route: { cluster: BROKER, timeout: '0s', idle_timeout: '0s' }, // the broker keeps its streams alive
}

/** An empty cluster and not a direct_response: as a first match that would switch request_body_buffer_limit off. */
const closedRoute: Message = { name: CLOSED, match: { prefix: '/' }, route: { cluster: CLOSED } }

/**
 * Where a request is before anybody decided about it, so its metadata is what a refusal for want of a token can say:
 * whole values of WWW-Authenticate (RFC 6750 3, RFC 9728 5.1).
 */
const challenging = (url: string, view: string): Message => {
  const where = `resource_metadata="${metadataUrl(resourceOf(url, view))}"`
  return {
    name: view === '' ? CLOSED : `${CLOSED}.${view}`,
    match: view === '' ? { prefix: '/' } : { path_separated_prefix: resourceOf(EDGE_PATH, view) },
    metadata: {
      filter_metadata: {
        [METADATA]: { [NO_TOKEN]: `Bearer ${where}`, [BAD_TOKEN]: `Bearer error="invalid_token", ${where}` },
      },
    },
    route: { cluster: CLOSED },
  }
}

const closedRoutes = ({ gateway: { auth, url }, views }: Registry): readonly Message[] =>
  auth === undefined || url === undefined
    ? [closedRoute]
    : [...views.map(({ name }) => challenging(url, name)), challenging(url, '')]

/** The routes of the listener that agents connect to. */
export const edgeRoutes = (registry: Registry, servers: readonly HttpServer[]): Message => ({
  name: EDGE,
  virtual_hosts: [
    {
      name: 'mcp',
      domains: ['*'],
      routes: [...servers.filter(hasDirectPath).map(directRoute), brokerRoute, ...closedRoutes(registry)],
      typed_per_filter_config: { [CORS]: corsPolicy(registry.gateway.origins) },
      request_body_buffer_limit: registry.gateway.maxBody,
    },
  ],
})

/** The broker's routes: one for all servers, so servers come and go without touching it. The broker retries itself. */
export const innerRoutes: Message = {
  name: INNER,
  virtual_hosts: [
    {
      name: 'mcp',
      domains: ['*'],
      routes: [
        {
          name: 'server',
          match: chosen({ prefix: 'mcp.' }),
          request_headers_to_remove: [headers.CLUSTER, ...forwarding],
          route: {
            cluster_header: headers.CLUSTER,
            cluster_not_found_response_code: 'SERVICE_UNAVAILABLE',
            auto_host_rewrite: true,
            timeout: '0s',
            idle_timeout: '0s',
          },
        },
        closedRoute,
      ],
    },
  ],
}
