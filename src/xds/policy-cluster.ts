/** What the operator's own filters call. */
import type { PolicyCluster } from '../registry/model.ts'
import { circuitBreakers, discovery, endpoints, http } from './cluster.ts'
import type { Message } from './pack.ts'
import { type TlsPeer, tlsSecrets } from './secret.ts'
import { upstreamTls } from './upstream-tls.ts'

/** No server's name has a dot, so its secrets are not mistaken for a server's. */
const peer = ({ name, host, tls = {} }: PolicyCluster): TlsPeer => ({
  name: `filters.${name}`,
  endpoint: { host },
  tls,
})

/** Without TLS nobody could agree on HTTP/2; with it they do, unless only HTTP/2 will do. */
const protocol = ({ http2, tls }: PolicyCluster): Message => {
  const keepalive = { connection_keepalive: { interval: '30s', timeout: '5s' } }
  if (http2) return { explicit_http_config: { http2_protocol_options: keepalive } }
  return tls === undefined
    ? { explicit_http_config: { http_protocol_options: {} } }
    : { auto_config: { http_protocol_options: {}, http2_protocol_options: keepalive } }
}

export const policyCluster = (cluster: PolicyCluster, systemCa: string): Message => {
  const { name, host, port, http2, tls } = cluster
  const address = { socket_address: { address: host, port_value: port } }
  return {
    name,
    ...discovery(host),
    connect_timeout: '1s',
    load_assignment: endpoints(name, address, host),
    circuit_breakers: circuitBreakers,
    typed_extension_protocol_options: http(protocol(cluster)),
    ...(tls === undefined
      ? {}
      : { transport_socket: upstreamTls(peer(cluster), systemCa, http2 ? ['h2'] : ['h2', 'http/1.1']) }),
  }
}

export const policySecrets = (cluster: PolicyCluster): readonly Message[] =>
  cluster.tls === undefined ? [] : tlsSecrets(peer(cluster))
