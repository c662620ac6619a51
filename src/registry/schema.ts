/** The registry file's schema: types, defaults, the editors' JSON schema and the reference page all come from here. */
import { z } from 'zod'
import { readHeaderName } from './header-name.ts'
import { readHostPort } from './host-port.ts'
import { auth, defaults, gatewayLimits, policyTest, rules, serverAccess, serverLimits, view } from './schema-access.ts'
import { address, count, duration, flag, path, pattern, secret, size, text, word } from './schema-forms.ts'
import { readEndpoint, readHostName, readOrigin, readPublicUrl, readResource, readSecureUrl } from './url.ts'

const choose = {
  include: z.array(pattern).prefault(['*']).describe('What is shown.'),
  exclude: z.array(pattern).prefault([]).describe('What is not shown, even when included.'),
  rename: z
    .record(z.string(), z.string())
    .prefault({})
    .describe("The server's own name → a new name, before the prefix is put in front."),
}
const selection = z.strictObject(choose).meta({
  id: 'selection',
  description: "Which tools or prompts are shown, and under which names. Names are the server's own, without a prefix.",
})
const resourceSelection = z
  .strictObject({
    ...choose,
    prefix: flag
      .prefault('false')
      .describe('`true`: every URI becomes `<server>+<uri>`, so that two servers cannot clash.'),
  })
  .meta({
    id: 'resource selection',
    description: 'Which resources are shown. Names and patterns are whole URIs.',
  })

const oauthClient = z
  .strictObject({
    token: text(readSecureUrl).describe('The token endpoint: an `https` URL, or one of this machine.'),
    client: word.describe("The client's id."),
    secret: secret.optional().describe("The client's secret; a public client has none."),
    scopes: z.array(word).prefault([]).describe('The scopes to ask for.'),
    audience: word.optional().describe('Whom the token is for, as the endpoint wants it said (`audience`).'),
    resource: text(readResource).optional().describe('Whom the token is for, as a URI (`resource`, RFC 8707).'),
    ca: path.optional().describe("PEM certificates to trust at the endpoint instead of the system's."),
  })
  .meta({ id: 'oauth client', description: 'How the gateway asks a token endpoint for a token.' })

const credential = z
  .strictObject({
    bearer: secret.optional().describe('A token, sent as `Authorization: Bearer …`.'),
    header: z.string().optional().describe('The name of a header of your own; needs `value`.'),
    value: secret.optional().describe("That header's value."),
    basic: z
      .strictObject({ user: z.string().describe('The user.'), password: secret.describe('The password.') })
      .optional()
      .describe('A user and a password, sent as `Authorization: Basic …`.'),
    oauth: oauthClient
      .optional()
      .describe("A token of the gateway's own, by client credentials; it is renewed in time."),
    exchange: oauthClient
      .optional()
      .describe("The caller's token, exchanged for one of this server (RFC 8693); needs `gateway.auth`."),
  })
  .meta({
    id: 'credential',
    description:
      'What the gateway shows the server to be let in: one of `bearer`, `header` with `value`, `basic`, `oauth` or `exchange`.',
    oneOf: ['bearer', 'header', 'basic', 'oauth', 'exchange'].map((form) => ({
      required: form === 'header' ? ['header', 'value'] : [form],
    })),
  })

const upstreamTls = z
  .strictObject({
    ca: path.optional().describe("PEM certificates to trust instead of the system's."),
    cert: path.optional().describe('A client certificate, PEM; needs `key`.'),
    key: path.optional().describe("The client certificate's private key, PEM."),
    sni: text(readHostName).optional().describe("The name asked for and verified; default: the URL's host."),
  })
  .meta({
    id: 'upstream tls',
    description: 'TLS towards the server.',
    dependentRequired: { cert: ['key'], key: ['cert'] },
  })

const filter = z
  .strictObject({
    name: z.string().describe('What you call it.'),
    typed_config: z
      .looseObject({ '@type': z.string().describe("The type of the filter's configuration.") })
      .describe("The filter's configuration, verbatim, as in Envoy's YAML."),
  })
  .meta({ id: 'filter', description: "One of Envoy's HTTP filters: what the gateway knows nothing of, Envoy does." })
const cluster = z
  .strictObject({
    address: text(readHostPort).describe('A host and a port, such as `127.0.0.1:9191` or `opa.internal:9191`.'),
    http2: flag.prefault('false').describe('`true`: HTTP/2, as gRPC needs it.'),
    tls: upstreamTls.optional().describe('Speak TLS; `{}` with the defaults.'),
  })
  .meta({ id: 'cluster', description: 'What filters call.' })

const gateway = z.strictObject({
  listen: address.prefault('127.0.0.1:8080').describe('Where agents connect; MCP is at `/mcp`.'),
  admin: address.prefault('127.0.0.1:8081').describe('Status page, `/status`, `/ready` and `/metrics`.'),
  url: text(readPublicUrl)
    .optional()
    .describe(
      'The public address, when agents use another one than `listen`; its host is accepted in `Host`. Needed with `auth`: tokens are for it.',
    ),
  tls: z
    .strictObject({ cert: path.describe('The certificate chain, PEM.'), key: path.describe('Its private key, PEM.') })
    .optional()
    .describe('Serve agents over TLS.'),
  origins: z
    .array(text(readOrigin))
    .prefault([])
    .describe('Origins that browsers may connect from; loopback ones always may.'),
  open: flag.prefault('false').describe('Needed to listen beyond loopback, where anybody can connect.'),
  maxBody: size.prefault('4MiB').describe('The largest request body, from `1KiB` to `64MiB`.'),
  filters: z
    .array(filter)
    .prefault([])
    .describe(
      "Policy of your own: up to eight of Envoy's HTTP filters, in this order, which decide on [what the gateway publishes](policy-contract.md).",
    ),
  clusters: z
    .record(z.string(), cluster)
    .prefault({})
    .describe('What these filters call, by the name they call it. A name is lower-case letters, digits and hyphens.'),
  audit: path
    .optional()
    .describe('One line of JSON per decision, chained by hashes, appended to this file; `-`: standard output.'),
  auth: auth.optional().describe('Whose tokens let clients in; needs `url`.'),
  access: rules
    .optional()
    .describe('Rules for everything, beside those of servers and views; patterns are of the names clients see.'),
  limits: gatewayLimits.optional().describe('How much each may ask.'),
  confirm: duration.prefault('5m').describe('How long a human has to confirm a call.'),
})

const server = z
  .strictObject({
    url: text(readEndpoint).optional().describe('The Streamable HTTP endpoint. Either this or `command`.'),
    transport: z
      .enum(['streamable', 'sse'])
      .optional()
      .describe(
        '`sse`: the server still speaks the HTTP+SSE transport of 2024-11-05, and `url` is its event stream; default: `streamable`.',
      ),
    era: z
      .enum(['stateful', 'stateless'])
      .optional()
      .describe(
        'The era of MCP the server is spoken to in: `stateful` (up to 2025-11-25) or `stateless` (2026-07-28); default: the server is asked.',
      ),
    command: z.string().optional().describe('A program to start and to talk to over its standard input and output.'),
    args: z.array(word).optional().describe("The program's arguments."),
    env: z
      .record(z.string(), word)
      .optional()
      .describe(
        "The program's environment variables, beside `PATH`, `HOME` and the locale; nothing else is inherited.",
      ),
    cwd: path.optional().describe("The program's working directory; default: where the registry file is."),
    credential: credential.optional().describe('What lets the gateway in; needs `url`.'),
    tls: upstreamTls.optional().describe('TLS towards the server; needs an `https` URL.'),
    prefix: z
      .string()
      .optional()
      .describe('Put before the names of tools and prompts; default: `<name>_`; `""` for none.'),
    tools: selection.prefault({}).describe('Which tools are shown.'),
    prompts: selection.prefault({}).describe('Which prompts are shown.'),
    resources: resourceSelection.prefault({}).describe('Which resources are shown.'),
    client: z
      .array(z.enum(['elicitation', 'sampling', 'roots']))
      .prefault(['elicitation'])
      .describe('What the server may ask of the client.'),
    cache: z
      .strictObject({
        ttl: duration.describe('How long it may be kept.'),
        scope: z
          .enum(['private', 'public'])
          .prefault('private')
          .describe('`public`: what one client was told may be shown to another.'),
      })
      .optional()
      .describe('What clients may keep of lists and resources for which the server gives no hints; default: nothing.'),
    auto: z
      .enum(['additive'])
      .optional()
      .describe(
        'With a file `mcp.lock` beside the registry, `additive` shows tools of this server that are new before they are approved, changed ones never; default: neither.',
      ),
    access: serverAccess
      .optional()
      .describe("Who may do what; patterns are of the server's own names; default: everybody everything."),
    limits: serverLimits.optional().describe('How much each may ask.'),
    forward: z
      .array(text(readHeaderName))
      .prefault([])
      .describe('Headers of the client that the server gets; none of them otherwise. Needs `url`.'),
    lists: z
      .enum(['per-caller'])
      .optional()
      .describe('`per-caller`: what the server offers depends on who asks; needs `credential.exchange` or `forward`.'),
    timeout: duration.prefault('60s').describe('The longest silence of the server on a call; any byte counts.'),
    listTimeout: duration.prefault('5s').describe('The longest time to fetch one of its lists, all pages.'),
    required: flag.prefault('false').describe('`true`: the gateway is not ready without this server.'),
    enabled: flag.prefault('true').describe('`false`: its tools vanish, the entry stays.'),
    description: z.string().optional().describe('Shown on the status page.'),
  })
  .meta({ oneOf: [{ required: ['url'] }, { required: ['command'] }] })

const sessions = z.strictObject({
  idle: duration.prefault('1h').describe("A session nobody used for so long ends, the servers' too."),
  key: secret
    .optional()
    .describe(
      '32 bytes as base64, base64url or hex, so that sessions outlive a restart; default: a new key at each start.',
    ),
  pool: z
    .strictObject({
      size: count.prefault('64').describe('The most sessions at one server, from 1 to 4096.'),
      idle: duration.prefault('5m').describe('A session nobody used for so long is ended.'),
      input: duration
        .prefault('5m')
        .describe('How long a call waits for the input it asked its client for; then it is cancelled at the server.'),
    })
    .prefault({})
    .describe('Sessions held at a stateful server on behalf of stateless clients.'),
})

export const schema = z
  .strictObject({
    gateway: gateway.prefault({}).describe('The entrypoint itself.'),
    servers: z
      .record(z.string(), server)
      .optional() // a problem with words of its own
      .meta({
        description: 'The MCP servers behind it, by name. A name is lower-case letters, digits and hyphens.',
        propertyNames: { pattern: '^[a-z][a-z0-9-]*$' },
        minProperties: 1,
      }),
    defaults: defaults.prefault({}).describe('What counts for servers that say nothing of their own.'),
    views: z
      .record(z.string(), view)
      .prefault({})
      .describe(
        'Parts of what the gateway offers, each at `/mcp/<name>`. A name is lower-case letters, digits and hyphens.',
      )
      .meta({ propertyNames: { pattern: '^[a-z][a-z0-9-]*$' } }),
    sessions: sessions.prefault({}).describe("Clients' sessions."),
    tests: z.array(policyTest).prefault([]).describe('What the rules must come to.'),
  })
  .meta({ title: 'MCP Gateway registry', required: ['servers'] })

/** A registry whose every key has the right form; whether they fit together is the builders' part. */
export type Sheet = z.output<typeof schema>
export type GatewaySheet = z.output<typeof gateway>
export type FilterSheet = z.output<typeof filter>
export type ClusterSheet = z.output<typeof cluster>
export type ServerSheet = z.output<typeof server>
export type SessionsSheet = z.output<typeof sessions>
export type SelectionSheet = z.output<typeof selection>
export type CredentialSheet = z.output<typeof credential>
export type UpstreamTlsSheet = z.output<typeof upstreamTls>
export type OAuthClientSheet = z.output<typeof oauthClient>
export type WrittenSecret = z.output<typeof secret>

/** For editors: what may be written, before variables are replaced. */
export const jsonSchema = () =>
  z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema: json }) => {
      // every value is read as the text it was written as; editors should propose a flag's or a number's default without quotes
      if (json.default === 'true' || json.default === 'false') json.default = json.default === 'true'
      else if (typeof json.default === 'string' && /^\d+$/.test(json.default)) json.default = Number(json.default)
    },
  })
