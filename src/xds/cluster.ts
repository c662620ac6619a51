/** Clusters: the servers, each on two paths, and our own processes behind their sockets. */
import { isIP } from 'node:net'
import type { HttpServer } from '../registry/model.ts'
import { BROKER, CLOSED, directCluster, EXT_PROC, serverCluster } from './names.ts'
import { any, type Message } from './pack.ts'
import type { RunPaths } from './run-paths.ts'
import { brokeredFilters, directFilters } from './upstream-filters.ts'
import { upstreamTls } from './upstream-tls.ts'

export const circuitBreakers: Message = {
  thresholds: [{ max_connections: 4096, max_pending_requests: 16384, max_requests: 65536, max_retries: 1024 }],
}

export const http = (options: Message): Message => ({
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': any(
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    options,
  ),
})

/** `hostname` is what auto_host_rewrite sends as Host. */
export const endpoints = (cluster: string, address: Message, hostname?: string): Message => ({
  cluster_name: cluster,
  endpoints: [{ lb_endpoints: [{ endpoint: { address, ...(hostname === undefined ? {} : { hostname }) } }] }],
})

/** The management server as the bootstrap knows it; ext_proc's cluster is made alike. */
export const grpcCluster = (name: string, path: string, options: Message = {}): Message => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: endpoints(name, { pipe: { path } }),
  circuit_breakers: circuitBreakers,
  typed_extension_protocol_options: http({
    ...options,
    explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: '30s', timeout: '5s' } } },
  }),
})

/** Fewer requests on a connection than Node's HTTP/2 server takes stream resets before it hangs up (1,000). */
const extProc = (run: RunPaths): Message =>
  grpcCluster(EXT_PROC, run.extProc, { common_http_protocol_options: { max_requests_per_connection: 900 } })

const broker = (run: RunPaths): Message => ({
  name: BROKER,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: endpoints(BROKER, { pipe: { path: run.broker } }, 'broker'),
  circuit_breakers: circuitBreakers,
  typed_extension_protocol_options: http({
    common_http_protocol_options: { idle_timeout: '30s' },
    explicit_http_config: { http_protocol_options: {} },
  }),
})

const closed: Message = {
  name: CLOSED,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: { cluster_name: CLOSED },
}

/** The clusters every gateway has. */
export const ownClusters = (run: RunPaths): readonly Message[] => [broker(run), closed, extProc(run)]

/**
 * How a server's host is found. One logical host: new connections use the latest answer. `localhost` may be either
 * address family, so both are tried. A resolver that never answers must not keep Envoy from starting.
 */
export const discovery = (host: string): Message =>
  isIP(host) !== 0
    ? { type: 'STATIC' }
    : {
        cluster_type: {
          name: 'envoy.clusters.dns',
          typed_config: any('envoy.extensions.clusters.dns.v3.DnsCluster', {
            dns_failure_refresh_rate: { base_interval: '1s', max_interval: '10s' },
            respect_dns_ttl: true,
            dns_lookup_family: host === 'localhost' ? 'ALL' : 'V4_PREFERRED',
            all_addresses_in_single_endpoint: true,
          }),
        },
        wait_for_warm_on_init: false,
      }

const authority = ({ host, port, tls }: HttpServer['endpoint']): string => {
  const name = isIP(host) === 6 ? `[${host}]` : host
  return port === (tls ? 443 : 80) ? name : `${name}:${port}`
}

/**
 * Idle connections are given up before the server gives them up, or a request could meet a connection that is being
 * closed: Node and uvicorn wait 5 s, load balancers in front of TLS servers a minute.
 */
const protocol = (server: HttpServer): Message =>
  server.endpoint.tls
    ? {
        common_http_protocol_options: { idle_timeout: '50s' },
        auto_config: {
          http_protocol_options: {},
          http2_protocol_options: { connection_keepalive: { interval: '30s', timeout: '10s' } },
        },
      }
    : {
        common_http_protocol_options: { idle_timeout: '4s' },
        explicit_http_config: { http_protocol_options: {} },
      }

/** A server as the broker reaches it. `systemCa` is the path of the system's certificate bundle. */
const server = (server: HttpServer, systemCa: string): Message => {
  const { host, port } = server.endpoint
  const name = serverCluster(server.name)
  return {
    name,
    ...discovery(host),
    connect_timeout: '5s',
    load_assignment: endpoints(
      name,
      { socket_address: { address: host, port_value: port } },
      authority(server.endpoint),
    ),
    circuit_breakers: circuitBreakers,
    typed_extension_protocol_options: http({ ...protocol(server), http_filters: brokeredFilters(server) }),
    ...(server.endpoint.tls ? { transport_socket: upstreamTls(server, systemCa) } : {}),
  }
}

/** A server as clients reach it: attempt 1 goes to it, attempt 2 to the broker. Only this cluster's own filters run. */
const direct = (server: HttpServer): Message => ({
  name: directCluster(server.name),
  cluster_type: {
    name: 'envoy.clusters.composite',
    typed_config: any('envoy.extensions.clusters.composite.v3.ClusterConfig', {
      clusters: [{ name: serverCluster(server.name) }, { name: BROKER }],
    }),
  },
  connect_timeout: '5s',
  lb_policy: 'CLUSTER_PROVIDED',
  circuit_breakers: circuitBreakers,
  typed_extension_protocol_options: http({
    explicit_http_config: { http_protocol_options: {} },
    http_filters: directFilters(server),
  }),
})

/** Only the broker can hold the two connections of the old transport, and give each caller a token or a list of its own. */
export const hasDirectPath = ({ transport, exchange, perCaller }: HttpServer): boolean =>
  transport === 'streamable' && exchange === undefined && !perCaller

export const serverClusters = (entry: HttpServer, systemCa: string): readonly Message[] => [
  server(entry, systemCa),
  ...(hasDirectPath(entry) ? [direct(entry)] : []),
]
