/** The HTTP filters on the way to a server: its credential in, whatever must not come out removed. */
import { DESTINATION, PRIVATE_PREFIX, SESSION_ID } from '../mcp/headers.ts'
import type { HttpServer } from '../registry/model.ts'
import { credentialSecret } from './names.ts'
import { any, type Message } from './pack.ts'
import { replayScript } from './replay-script.ts'
import { credentialHeader, secretReference } from './secret.ts'

/** After routing, so neither ext_proc nor a log ever sees the value. */
const credential = (server: HttpServer): readonly Message[] => {
  const header = credentialHeader(server)
  return header === undefined
    ? []
    : [
        {
          name: 'envoy.filters.http.credential_injector',
          typed_config: any('envoy.extensions.filters.http.credential_injector.v3.CredentialInjector', {
            overwrite: true,
            credential: {
              name: 'envoy.http.injected_credentials.generic',
              typed_config: any('envoy.extensions.http.injected_credentials.generic.v3.Generic', {
                credential: secretReference(credentialSecret(server.name)),
                header,
              }),
            },
          }),
        },
      ]
}

const headerMutation = (name: string, mutations: Message): Message => ({
  name,
  typed_config: any('envoy.extensions.filters.http.header_mutation.v3.HeaderMutation', { mutations }),
})

/** The number of an attempt does not tell: without a host of the server, the first one goes to the broker already. */
const destination = headerMutation('mcp_destination', {
  request_mutations: [
    {
      append: {
        header: { key: DESTINATION, value: '%UPSTREAM_HOST%' },
        append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
      },
    },
  ],
})

const codec: Message = {
  name: 'envoy.filters.http.upstream_codec',
  typed_config: any('envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec'),
}

/** Towards a server on the broker's behalf. The broker trusts our private headers, so a server must not set them. */
export const brokeredFilters = (server: HttpServer): readonly Message[] => [
  ...credential(server),
  headerMutation('mcp_private', {
    response_mutations: [{ remove_on_match: { key_matcher: { prefix: PRIVATE_PREFIX } } }],
  }),
  codec, // terminal, so last
]

/** Towards a server straight from the client, with the broker as the second attempt. */
export const directFilters = (server: HttpServer): readonly Message[] => [
  ...credential(server),
  destination,
  {
    name: 'mcp_replay', // after the two: for the broker it takes the credential off again
    typed_config: any('envoy.extensions.filters.http.lua.v3.Lua', {
      default_source_code: { inline_string: replayScript(server) },
    }),
  },
  // The script removes these too. Answers pass here first, so they stay in even if it fails.
  headerMutation('mcp_secrets', {
    response_mutations: [{ remove: SESSION_ID }, { remove: 'set-cookie' }, { remove: 'www-authenticate' }],
  }),
  codec,
]
