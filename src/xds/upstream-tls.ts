/** TLS towards a server: who it must be, and who we are. */
import { isIP } from 'node:net'
import { caSecret, clientSecret } from './names.ts'
import { any, type Message } from './pack.ts'
import { addressMatch, secretReference, type TlsPeer } from './secret.ts'

/** Without a trusted_ca Envoy verifies nothing, so there always is one: the author's, or the system's bundle. */
const authority = (server: TlsPeer, systemCa: string): Message =>
  server.tls.ca === undefined
    ? { validation_context: { trusted_ca: { filename: systemCa }, ...addressMatch(server) } }
    : { validation_context_sds_secret_config: secretReference(caSecret(server.name)) }

const serverName = (server: TlsPeer): string | undefined =>
  server.tls.sni ?? (isIP(server.endpoint.host) === 0 ? server.endpoint.host : undefined)

/** A cluster's transport socket. `systemCa` is the path of the system's certificate bundle. */
export const upstreamTls = (
  server: TlsPeer,
  systemCa: string,
  protocols: readonly string[] = ['h2', 'http/1.1'],
): Message => {
  const sni = serverName(server)
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: any('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
        ...(server.tls.client === undefined
          ? {}
          : { tls_certificate_sds_secret_configs: [secretReference(clientSecret(server.name))] }),
        ...authority(server, systemCa),
        alpn_protocols: protocols,
      },
      ...(sni === undefined ? {} : { sni, auto_sni_san_validation: true }),
    }),
  }
}
