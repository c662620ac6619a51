/** Certificates and credentials, as Envoy receives them over SDS. */
import { isIP } from 'node:net'
import { AUTHORIZATION } from '../mcp/headers.ts'
import type { HttpServer, KeyPair, Registry, Secret, UpstreamTls } from '../registry/model.ts'
import { caSecret, clientSecret, credentialSecret, EDGE_CERTIFICATE } from './names.ts'
import type { Message } from './pack.ts'

/** Whom Envoy speaks TLS with; secrets are named after it. */
export interface TlsPeer {
  readonly name: string
  readonly endpoint: { readonly host: string }
  readonly tls: UpstreamTls
}

/** How a resource asks for a secret. */
export const secretReference = (name: string): Message => ({
  name,
  sds_config: { ads: {}, resource_api_version: 'V3' },
})

const certificate = (name: string, pair: KeyPair): Message => ({
  name,
  tls_certificate: {
    certificate_chain: { inline_string: pair.cert },
    private_key: { inline_string: pair.key.reveal() },
  },
})

/** A host given as an IP address has no SNI that Envoy could compare the certificate with. */
export const addressMatch = (server: TlsPeer): Message =>
  server.tls.sni === undefined && isIP(server.endpoint.host) !== 0
    ? { match_typed_subject_alt_names: [{ san_type: 'IP_ADDRESS', matcher: { exact: server.endpoint.host } }] }
    : {}

export const edgeCertificate = (registry: Registry): readonly Message[] =>
  registry.gateway.tls === undefined ? [] : [certificate(EDGE_CERTIFICATE, registry.gateway.tls)]

/** The header that a server's credential is sent in, in lower case; undefined: it has none that is the same for everybody. */
export const credentialHeader = ({ credential, oauth }: HttpServer): string | undefined =>
  credential?.header.toLowerCase() ?? (oauth === undefined ? undefined : AUTHORIZATION)

/** An empty one fails every request on the way to its server: nothing goes out without a credential that should have one. */
const credential = (server: HttpServer, fetched: Secret | undefined): readonly Message[] => {
  if (credentialHeader(server) === undefined) return []
  const value = server.credential?.value ?? fetched
  return [
    {
      name: credentialSecret(server.name),
      generic_secret: { secret: { inline_string: value?.reveal() ?? '' } },
    },
  ]
}

/** What one server needs: its credential, its certificate authority, our certificate for it. `fetched`: a token of ours. */
export const serverSecrets = (server: HttpServer, fetched?: Secret): readonly Message[] => [
  ...credential(server, fetched),
  ...(server.endpoint.tls ? tlsSecrets(server) : []),
]

/** Whom to trust, and our certificate. */
export const tlsSecrets = (server: TlsPeer): readonly Message[] => [
  ...(server.tls.ca !== undefined
    ? [
        {
          name: caSecret(server.name),
          validation_context: { trusted_ca: { inline_string: server.tls.ca }, ...addressMatch(server) },
        },
      ]
    : []),
  ...(server.tls.client !== undefined ? [certificate(clientSecret(server.name), server.tls.client)] : []),
]
