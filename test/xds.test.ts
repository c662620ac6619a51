/** The control plane without sockets: our slice of Envoy's API, packing, snapshots, and the ADS stream by property. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { parse } from 'yaml'
import {
  type Auth,
  type HttpServer,
  type Limits,
  type Rate,
  type Registry,
  Secret,
  type Server,
} from '../src/registry/model.ts'
import { accessLogEntries } from '../src/xds/access-log-entry.ts'
import { bootstrap } from '../src/xds/bootstrap.ts'
import { violations } from '../src/xds/field-rules.ts'
import { any, duration, type Message, pack, unpack } from '../src/xds/pack.ts'
import { messageTypes } from '../src/xds/proto-types.ts'
import { noVerdicts, offer } from '../src/xds/quarantine.ts'
import { render, rendered } from '../src/xds/render.ts'
import type { Resources } from '../src/xds/resource.ts'
import { type Live, nothingLive, resources } from '../src/xds/resources.ts'
import { dangling, fitted, type Snapshot, snapshot } from '../src/xds/snapshot.ts'
import { hasApplied } from '../src/xds/status.ts'
import { CLUSTER, EXTENSION, LISTENER, messageName, ROUTES, SECRET, TYPE_URLS } from '../src/xds/type-url.ts'
import { adsClient, type Badness } from './support/ads-client.ts'
import { AdsSession, type World, worldSnapshot } from './support/ads-session.ts'
import { httpServer, registryOf } from './support/registry-value.ts'

const run = {
  ads: '/run/ads',
  extProc: '/run/ext-proc',
  broker: '/run/broker',
  inner: '/run/inner',
  admin: '/run/admin',
}
const SYSTEM_CA = '/etc/ssl/certs/ca-certificates.crt'
const build = (registry: Registry, live?: Live): Resources => resources(registry, run, SYSTEM_CA, live)

/** Messages and fields that grpc-js-xds does not have yet. */
const NEWER: readonly string[] = [
  'envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch',
  'envoy.config.common.mutation_rules.v3.HeaderMutation.remove_on_match',
  'envoy.config.route.v3.VirtualHost.request_body_buffer_limit',
  'envoy.extensions.clusters.composite.v3.ClusterConfig',
  'envoy.extensions.clusters.composite.v3.ClusterConfig.ClusterEntry',
  'envoy.extensions.clusters.dns.v3.DnsCluster',
  'envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate',
  'envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.allowed_override_modes',
  'envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.status_on_error',
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.enable_retry_after_header',
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.max_dynamic_descriptors',
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.rate_limits',
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext.auto_sni_san_validation',
  'envoy.service.ext_proc.v3.ProcessingRequest.protocol_config',
  'envoy.service.ext_proc.v3.ProtocolConfiguration',
]

/** Fields whose rules that Envoy no longer has: without a value an entry stands for every one. */
const RELAXED: readonly string[] = ['envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry.value']

void t.test('our slice has the names, numbers, types and labels of the API as grpc-js-xds publishes it', async (t) => {
  const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps')
  const own = dirname(createRequire(import.meta.url).resolve('protobufjs/package.json'))
  const folders = [own, ...['envoy-api', 'xds', 'protoc-gen-validate', 'googleapis'].map((name) => join(deps, name))]
  const theirs = new protobuf.Root()
  theirs.resolvePath = (_origin, target) => {
    const found = folders.map((folder) => join(folder, target)).find((path) => existsSync(path))
    return found ?? target
  }
  const files = new Set(messageTypes().map(({ filename }) => filename?.replace(/^.*\/protos\//, '') ?? ''))
  const common = [...files].filter((file) => file !== '' && folders.some((folder) => existsSync(join(folder, file))))
  theirs.loadSync(common, { keepCase: true })
  theirs.resolveAll()
  const labelled = (field: protobuf.Field): string => {
    const type = field.resolvedType === null ? field.type : field.resolvedType.fullName
    const label =
      field instanceof protobuf.MapField ? `map of ${field.keyType} to` : field.repeated ? 'repeated' : 'one'
    return `${label} ${type} = ${field.id}${field.partOf === null ? '' : ` in ${field.partOf.name}`}`
  }
  // protobufjs loses the empty limits that durations are written with, and cannot read a list of values.
  const rules = (field: protobuf.Field): unknown => {
    const options: readonly Readonly<Record<string, Readonly<Record<string, unknown>>>>[] = Array.isArray(
      field.parsedOptions,
    )
      ? field.parsedOptions
      : []
    return options.flatMap((option) => {
      const { duration: _duration, repeated: _repeated, ...rest } = option['(validate.rules)'] ?? {}
      return Object.keys(rest).length === 0 ? [] : [rest]
    })
  }
  const unknown: string[] = []
  let compared = 0
  for (const ours of messageTypes()) {
    const name = ours.fullName.slice(1)
    if (name.startsWith('google.protobuf.')) continue
    let type: protobuf.Type
    try {
      type = theirs.lookupType(name)
    } catch {
      unknown.push(name)
      continue
    }
    for (const field of ours.fieldsArray) {
      const other = type.fields[field.name]
      if (other === undefined) {
        unknown.push(`${name}.${field.name}`)
        continue
      }
      compared += 1
      t.equal(labelled(field), labelled(other), `${name}.${field.name}`)
      // protobufjs loses the empty limits that durations are written with, and a list of values cannot be written for it.
      if (RELAXED.includes(`${name}.${field.name}`)) t.same(rules(field), [], `${name}.${field.name}: no rule`)
      else t.same(rules(field), rules(other), `${name}.${field.name}: the same rules`)
      if (field.resolvedType instanceof protobuf.Enum && other.resolvedType instanceof protobuf.Enum)
        for (const [value, number] of Object.entries(field.resolvedType.values))
          if (other.resolvedType.values[value] === undefined) unknown.push(`${name}.${field.name} ${value}`)
          else t.equal(other.resolvedType.values[value], number, `${name}.${field.name} ${value}`)
    }
  }
  t.ok(compared > 300, `${compared} fields compared`)
  // Newer than that package; test/xds-envoy.test.ts compares these, and all others, with the Envoy that runs.
  t.same(unknown.sort(), NEWER, 'what could not be compared')
})

const refusal = (type: string, message: Message): string => {
  try {
    pack(type, message)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return 'packed'
}

void t.test('pack refuses what protobuf would drop', async (t) => {
  const C = 'envoy.config.cluster.v3.Cluster'
  const cases: readonly (readonly [string, string, Message, RegExp])[] = [
    ['an unknown type', 'envoy.config.cluster.v3.Clutter', {}, /no such type/],
    ['an unknown field', C, { nam: 'a' }, /has no field nam/],
    ['a field in camel case', C, { connectTimeout: '1s' }, /has no field connectTimeout/],
    ['an unknown enum value', C, { type: 'STATICS' }, /not one of/],
    ['a number for an enum', C, { type: 0 }, /not one of/],
    ['a duration that is none', C, { connect_timeout: '5' }, /not a duration/],
    ['a string for a list', 'envoy.config.route.v3.VirtualHost', { domains: '*' }, /not a list/],
    ['a list for a string', C, { name: ['a'] }, /not a string/],
    ['a negative uint32', C, { per_connection_buffer_limit_bytes: -1 }, /not a uint32/],
    ['a fraction for a uint32', C, { per_connection_buffer_limit_bytes: 1.5 }, /not a uint32/],
    ['two of a oneof', C, { type: 'STATIC', cluster_type: { name: 'x' } }, /exclude each other/],
    ['an Any without @type', 'envoy.config.core.v3.TypedExtensionConfig', { typed_config: {} }, /without @type/],
    [
      'an Any of an unknown type',
      'envoy.config.core.v3.TypedExtensionConfig',
      { typed_config: any('envoy.Nothing') },
      /no such type/,
    ],
    [
      'an unknown field in an Any',
      'envoy.config.core.v3.TypedExtensionConfig',
      { typed_config: any('envoy.extensions.filters.http.router.v3.Router', { suppress: true }) },
      /has no field suppress/,
    ],
  ]
  for (const [name, type, message, wanted] of cases) t.match(refusal(type, message), wanted, name)
})

void t.test('packing is deterministic and loses nothing', async (t) => {
  const log = (fields: Message): Message => ({ json_format: fields, omit_empty_values: true })
  const T = 'envoy.config.core.v3.SubstitutionFormatString'
  t.same(pack(T, log({ b: 1, a: { d: [true, null], c: 'x' } })), pack(T, log({ a: { c: 'x', d: [true, null] }, b: 1 })))
  const message = log({ a: { c: 'x', d: [true, null, 1.5] }, b: 1 })
  t.same(unpack(T, pack(T, message)), message)
  t.same(duration('1.5s'), { seconds: 1, nanos: 500_000_000 })
  const boot = bootstrap({ nodeId: 'one', run })
  t.same(unpack('envoy.config.bootstrap.v3.Bootstrap', pack('envoy.config.bootstrap.v3.Bootstrap', boot)), boot)
  t.same(violations('envoy.config.bootstrap.v3.Bootstrap', boot), [])
  t.same(dangling(build(registryOf(1, [])), [{ message: boot }]), [], 'the inner listener has its routes')
})

void t.test('the field rules are those Envoy refuses a whole response for', async (t) => {
  for (const { fullName } of messageTypes())
    t.doesNotThrow(() => violations(fullName.slice(1), {}), `each rule of ${fullName} is known`)
  const cluster = (changes: Message): Message => ({ name: 'a', type: 'STATIC', connect_timeout: '1s', ...changes })
  const C = 'envoy.config.cluster.v3.Cluster'
  const cases: readonly (readonly [string, string, Message, RegExp | undefined])[] = [
    ['fine', C, cluster({}), undefined],
    ['no name', C, cluster({ name: '' }), /Cluster.name: needs at least 1 of them/],
    ['no time to connect', C, cluster({ connect_timeout: '0s' }), /connect_timeout: is too small/],
    [
      'an endpoint without an address',
      C,
      cluster({
        load_assignment: { cluster_name: 'a', endpoints: [{ lb_endpoints: [{ endpoint: { address: {} } }] }] },
      }),
      /address: one of socket_address, pipe is required/,
    ],
    [
      'an SNI longer than 255 bytes, inside an Any',
      C,
      cluster({
        transport_socket: {
          name: 'tls',
          typed_config: any('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', { sni: 'x'.repeat(256) }),
        },
      }),
      /sni: has more than 255 bytes/,
    ],
    [
      'a header name with a line break',
      'envoy.config.core.v3.HeaderValue',
      { key: 'a\nb', value: '' },
      /key: has a character no header may have/,
    ],
    [
      'an empty list',
      'envoy.config.route.v3.VirtualHost',
      { name: 'a', domains: [] },
      /domains: needs at least 1 of them/,
    ],
  ]
  for (const [name, type, message, wanted] of cases) {
    const found = violations(type, message)
    if (wanted === undefined) t.same(found, [], name)
    else t.match(found.join('\n'), wanted, name)
  }
})

const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.constant('localhost'),
)
const secretText = fc
  .string({ minLength: 1, maxLength: 20, unit: fc.constantFrom('a', 'b', 'C', 'D', '0', '1', '2') })
  .map((text) => `SECRET${text}`)

const optional = <T, Key extends string>(key: Key, value: fc.Arbitrary<T>): fc.Arbitrary<Partial<Record<Key, T>>> =>
  fc.option(value, { nil: undefined }).map((chosen) => {
    const result: Partial<Record<Key, T>> = {}
    if (chosen !== undefined) result[key] = chosen
    return result
  })

const place = { line: 1, column: 1 }

const oauthClient = secretText.map((text) => ({
  token: 'https://idp.example.com/token',
  client: 'gateway',
  secret: new Secret(text),
  scopes: [],
  place,
}))

const rate: fc.Arbitrary<Rate> = fc.record({
  calls: fc.integer({ min: 1, max: 1_000_000 }),
  perMs: fc.constantFrom(1, 1000, 60_000, 3_600_000),
  per: fc.constantFrom('subject', 'session', 'tool'),
  place: fc.constant(place),
})

const limits: fc.Arbitrary<Limits> = fc
  .record({
    rate: optional('rate', rate),
    tools: fc.array(fc.record({ pattern: fc.constant('a_*'), rate }), { maxLength: 1 }),
  })
  .map(({ rate, tools }) => ({ ...rate, tools }))

const auth: Auth = {
  place,
  issuer: 'https://idp.example.com/realms/tools',
  audience: 'https://mcp.example.com/mcp',
  jwks: { kind: 'discovered' },
  skewMs: 60_000,
}

const server: fc.Arbitrary<HttpServer> = fc
  .record({
    name: fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
    scheme: fc.constantFrom('http', 'https'),
    transport: fc.constantFrom('streamable', 'sse'),
    host,
    port: fc.integer({ min: 1, max: 65535 }),
    enabled: fc.boolean(),
    timeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
    credential: fc.oneof(
      optional(
        'credential',
        fc.record({
          header: fc.constantFrom('Authorization', 'x-api-key'),
          value: secretText.map((text) => new Secret(text)),
        }),
      ),
      optional('oauth', oauthClient),
      optional('exchange', oauthClient),
    ),
    forward: fc.subarray(['authorization', 'cookie', 'x-tenant']),
    perCaller: fc.boolean(),
    limits: optional('limits', limits),
    ca: optional('ca', fc.constant('-----BEGIN CERTIFICATE-----')),
    client: optional(
      'client',
      secretText.map((text) => ({ cert: 'PUBLIC', key: new Secret(text) })),
    ),
    sni: optional('sni', fc.domain()),
  })
  .map(({ name, scheme, host, port, credential, limits, ca, client, sni, ...plain }) =>
    httpServer(name, `${scheme}://${host}:${port}/mcp`, {
      ...plain,
      ...credential,
      ...limits,
      tls: { ...ca, ...client, ...sni },
    }),
  )

const stdio = (like: HttpServer): Server => {
  const {
    endpoint: _endpoint,
    transport: _transport,
    credential: _credential,
    oauth: _oauth,
    exchange: _exchange,
    forward: _forward,
    perCaller: _perCaller,
    tls: _tls,
    ...served
  } = like
  return { ...served, kind: 'stdio', command: 'x', args: [], env: new Map(), cwd: '/' }
}

const registry: fc.Arbitrary<Registry> = fc
  .record({
    servers: fc.uniqueArray(server, { selector: ({ name }) => name, maxLength: 6 }),
    stdio: fc.boolean(),
    tls: optional(
      'tls',
      secretText.map((text) => ({ cert: 'PUBLIC', key: new Secret(text) })),
    ),
    maxBody: fc.integer({ min: 1, max: 64 * 1024 * 1024 }),
    auth: optional('auth', fc.constant(auth)),
    limits: optional('limits', limits),
    views: fc.uniqueArray(fc.constantFrom('oncall', 'audit'), { maxLength: 2 }),
  })
  .map(({ servers, stdio: first, tls, maxBody, auth, limits, views }) => ({
    ...registryOf(
      8080,
      servers.map((entry, index) => (first && index === 0 ? stdio(entry) : entry)),
      { ...tls, ...auth, ...limits, maxBody, url: 'https://mcp.example.com/mcp' },
    ),
    views: views.map((name) => ({ name, place })),
  }))

const live: fc.Arbitrary<Live> = fc.record({
  jwks: fc.constantFrom(undefined, '{"keys":[]}'),
  credentials: fc
    .dictionary(
      fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
      secretText.map((text) => new Secret(text)),
    )
    .map((values) => new Map(Object.entries(values))),
})

const secretsOf = (value: Registry): readonly string[] =>
  [
    value.gateway.tls?.key,
    ...value.servers.flatMap((entry) =>
      entry.kind === 'http'
        ? [entry.credential?.value, entry.oauth?.secret, entry.exchange?.secret, entry.tls.client?.key]
        : [],
    ),
  ].flatMap((secret) => (secret === undefined ? [] : [secret.reveal()]))

void t.test('any valid registry gives a closed, deterministic snapshot without faults', async (t) => {
  fc.assert(
    fc.property(registry, live, (value, fetched) => {
      const built = build(value, fetched)
      const first = snapshot(built)
      if (dangling(built).length > 0) throw new Error(dangling(built).join(', '))
      for (const [type, entries] of first.types)
        for (const [name, { fault, bytes }] of entries) {
          if (fault !== undefined) throw new Error(`${type} ${name}: ${fault}`)
          if (unpack(messageName(type), bytes)['name'] !== name) throw new Error(`${name} is filed wrongly`)
        }
      const again = snapshot(build({ ...value }, fetched))
      if (again.version !== first.version) throw new Error('two snapshots of one registry differ')
      const text = render(first)
      const shown = [...secretsOf(value), ...[...fetched.credentials.values()].map((one) => one.reveal())].find(
        (secret) => text.includes(secret),
      )
      if (shown !== undefined) throw new Error(`${shown} is shown`)
      // Every cluster of a disabled or stdio server is absent, of every other there are two, of those that only the broker can reach one.
      const clusters = value.servers.flatMap((entry) =>
        entry.kind !== 'http' || !entry.enabled
          ? []
          : [entry.transport === 'sse' || entry.exchange !== undefined || entry.perCaller ? 1 : 2],
      )
      if (first.types.get(CLUSTER)?.size !== clusters.reduce((sum, each) => sum + each, 3))
        throw new Error('clusters and servers differ')
    }),
    { numRuns: 200 },
  )
  t.pass('200 registries')
})

const nameCount = (value: Snapshot): number => [...value.types.values()].reduce((sum, { size }) => sum + size, 0)

void t.test('what is rendered is what was packed', async (t) => {
  const value = registryOf(8080, [
    httpServer('weather', 'https://weather.example.com/mcp', {
      credential: { header: 'Authorization', value: new Secret('Bearer hidden') },
      tls: { client: { cert: 'PUBLIC', key: new Secret('hidden key') } },
    }),
    httpServer('files', 'http://localhost:3000/mcp'),
  ])
  const made = snapshot(build(value))
  const text = render(made)
  t.notMatch(text, /hidden/)
  t.match(text, /\[redacted\]/)
  t.same(parse(text), rendered(made), 'the text is the message')
  const { resources: all } = parse(text) as { resources: (Message & { '@type': string; name: string })[] }
  t.equal(all.length, nameCount(made))
  for (const { '@type': type, ...message } of all) {
    if (type === SECRET) continue
    t.same(
      pack(messageName(type), message),
      made.types.get(type)?.get(message.name)?.bytes,
      `${message.name} packs again`,
    )
  }
  t.equal(made.types.get(CLUSTER)?.get('direct.weather')?.path, 'servers.weather')
  t.same(made.types.get(CLUSTER)?.get('direct.weather')?.place, { line: 2, column: 3 })
  t.throws(
    () => snapshot({ ...build(value), [LISTENER]: [{ message: { name: 'a' } }, { message: { name: 'a' } }] }),
    /two .* named a/,
  )
  t.same(dangling({ ...build(value), [SECRET]: [] }).length, 3, 'a missing secret is noticed')
  t.same(dangling({ ...build(value), [ROUTES]: [] }), ['mcp_edge → envoy.config.route.v3.RouteConfiguration mcp_edge'])
  t.same(
    dangling({ ...build(value), [EXTENSION]: [] }).map((one) => one.slice(one.lastIndexOf(' ') + 1)),
    [
      'mcp_jwt',
      'mcp_ext_proc',
      'mcp_limits',
      ...Array.from({ length: 8 }, (_none, index) => `mcp_filter_${index + 1}`),
    ],
    'every slot has to be filled',
  )
})

void t.test('what a slot holds, by registry, keys and version', async (t) => {
  const view = { name: 'oncall', place }
  const of = (changes: Partial<Registry['gateway']>) => ({ ...registryOf(8080, [], changes), views: [view] })
  const limited = (calls: number, perMs: number) =>
    of({ limits: { rate: { calls, perMs, per: 'subject', place }, tools: [] } })
  const jwks = '{"keys":[]}'
  const cases: readonly (readonly [string, string, Registry, Live, string, RegExp, RegExp?])[] = [
    ['no auth', 'mcp_jwt', of({}), { ...nothingLive, jwks }, '1.40.0', /HeaderMutation/],
    ['no keys', 'mcp_jwt', of({ auth }), nothingLive, '1.40.0', /"mcp_no_keys"/, /JwtAuthentication/],
    [
      'keys',
      'mcp_jwt',
      of({ auth }),
      { ...nothingLive, jwks },
      '1.40.0',
      /"\/mcp\/oncall".*"audiences":\["https:\/\/mcp\.example\.com\/mcp","https:\/\/mcp\.example\.com\/mcp\/oncall"\].*"path_separated_prefix":"\/mcp"\}.*"audiences":\["https:\/\/mcp\.example\.com\/mcp"\]/,
      /remote_jwks|from_params/,
    ],
    ['no limits', 'mcp_limits', of({}), nothingLive, '1.40.0', /HeaderMutation/],
    [
      'a limit',
      'mcp_limits',
      limited(10, 1000),
      nothingLive,
      '1.40.0',
      /"max_tokens":10,.*"1s".*"enable_retry_after_header":true/,
    ],
    [
      'a short one',
      'mcp_limits',
      limited(3, 1),
      nothingLive,
      '1.41.0',
      /"max_tokens":150,"tokens_per_fill":150,"fill_interval":"0.05s"/,
    ],
    [
      'a limit for an older Envoy',
      'mcp_limits',
      limited(10, 1000),
      nothingLive,
      '1.39.3',
      /"retry-after"/,
      /enable_retry/,
    ],
    ['a limit for who knows what', 'mcp_limits', limited(10, 1000), nothingLive, '', /"retry-after"/, /enable_retry/],
  ]
  for (const [name, slot, value, fetched, version, wanted, unwanted] of cases) {
    const given = fitted(snapshot(build(value, fetched)), [], version)
      .types.get(EXTENSION)
      ?.get(slot)
    const text = JSON.stringify(unpack(messageName(EXTENSION), given?.bytes ?? new Uint8Array()))
    t.match(text, wanted, name)
    if (unwanted !== undefined) t.notMatch(text, unwanted, name)
    t.equal(given?.fault, undefined, name)
  }
})

void t.test('a server with the old transport is reached by the broker alone', async (t) => {
  const built = build(
    registryOf(8080, [
      httpServer('old', 'https://old.example.com/sse', { transport: 'sse' }),
      httpServer('new', 'https://new.example.com/mcp'),
    ]),
  )
  const made = snapshot(built)
  t.same([...(made.types.get(CLUSTER)?.keys() ?? [])].filter((name) => /old|new/.test(name)).sort(), [
    'direct.new',
    'mcp.new',
    'mcp.old',
  ])
  const routes = made.types.get(ROUTES)?.get('mcp_edge')
  t.match(JSON.stringify(unpack(messageName(ROUTES), routes?.bytes ?? new Uint8Array())), /direct\.new/)
  t.notMatch(JSON.stringify(unpack(messageName(ROUTES), routes?.bytes ?? new Uint8Array())), /old/)
  t.same(dangling(built), [])
})

void t.test('a value that Envoy would refuse the whole response for is held back alone, with its place', async (t) => {
  const made = snapshot(
    build(
      registryOf(8080, [
        httpServer('long', 'https://a.example.com/', { tls: { sni: 'x'.repeat(300) } }),
        httpServer('fine', 'https://b.example.com/'),
      ]),
    ),
  )
  const entry = made.types.get(CLUSTER)?.get('mcp.long')
  t.match(entry?.fault, /sni: has more than 255 bytes/)
  t.equal(entry?.path, 'servers.long')
  t.equal(made.types.get(CLUSTER)?.get('mcp.fine')?.fault, undefined)
  if (entry !== undefined) t.equal(offer(noVerdicts, 'e', CLUSTER, 'mcp.long', entry, undefined), undefined)
})

void t.test('access log entries are read from their bytes', async (t) => {
  const bytes = pack('envoy.service.accesslog.v3.StreamAccessLogsMessage', {
    identifier: { log_name: 'mcp_edge' },
    http_logs: {
      log_entry: [
        {
          common_properties: {
            start_time: { seconds: Date.UTC(2026, 10, 23, 9) / 1000, nanos: 250_000_000 },
            duration: '1.0125s',
            upstream_cluster: 'direct.a',
            response_flags: { no_healthy_upstream: true, unauthorized_details: { reason: 'EXTERNAL_SERVICE' } },
            metadata: {
              filter_metadata: {
                'envoy.filters.http.mcp': { method: 'elsewhere' },
                'mcp.gateway': { method: 'tools/call', hops: 2, cached: false, nested: { method: 'deeper' } },
              },
            },
          },
          request: { request_method: 'POST', request_id: 'an id' },
          response: { response_code: 503, response_code_details: 'no_healthy_upstream' },
        },
        {},
      ],
    },
  })
  t.same(accessLogEntries(bytes), [
    {
      startMs: Date.UTC(2026, 10, 23, 9, 0, 0, 250),
      verb: 'POST',
      requestId: 'an id',
      durationMs: 1012.5,
      status: 503,
      flags: ['no_healthy_upstream'],
      details: 'no_healthy_upstream',
      metadata: { method: 'tools/call', hops: 2, cached: false },
    },
    { startMs: 0, verb: '', requestId: '', durationMs: 0, status: 0, flags: [], details: '', metadata: {} },
  ])
  t.throws(() => accessLogEntries(bytes.subarray(0, bytes.length - 3)))
})

const SERVERS = ['a', 'b', 'c', 'd', 'e']

/** Some servers with versions; the routes lead to exactly these. */
const world: fc.Arbitrary<World> = fc
  .record({
    clusters: fc.dictionary(fc.constantFrom(...SERVERS), fc.constantFrom('1', '2', '3'), { maxKeys: 5 }),
    secrets: fc.dictionary(fc.constantFrom('s', 't', 'u'), fc.constantFrom('1', '2'), { maxKeys: 3 }),
    extension: fc.constantFrom('1', '2'),
  })
  .map(
    ({ clusters, secrets, extension }) =>
      new Map([
        [CLUSTER, new Map(Object.entries(clusters))],
        [SECRET, new Map(Object.entries(secrets))],
        [LISTENER, new Map([['edge', '1']])],
        [
          ROUTES,
          new Map([
            ['edge', Object.keys(clusters).sort().join(' ')],
            ['inner', ''],
          ]),
        ],
        [EXTENSION, new Map([['filter', extension]])],
      ]),
  )

type Act = (session: AdsSession) => void

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 3,
    arbitrary: world.map(
      (next): Act =>
        (session) =>
          session.publish(next),
    ),
  },
  { weight: 2, arbitrary: fc.constant<Act>((session) => session.settle()) },
  { weight: 6, arbitrary: fc.constant<Act>((session) => void session.serve()) },
  { weight: 6, arbitrary: fc.constant<Act>((session) => void session.deliver()) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('s', 't', 'u').map(
      (name): Act =>
        (session) =>
          session.subscribe(SECRET, name),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('s', 't', 'u').map(
      (name): Act =>
        (session) =>
          session.unsubscribe(SECRET, name),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...TYPE_URLS).map(
      (type): Act =>
        (session) =>
          session.repeatNonce(type),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Act>((session) => session.connect()) },
)

const client = (bad: (type: string, name: string, version: string) => Badness | undefined) =>
  adsClient({
    envoy: 'one 1.40.0',
    wildcards: [CLUSTER, LISTENER],
    named: new Map([
      [SECRET, new Set(['s'])],
      [ROUTES, new Set(['edge', 'inner'])],
      [EXTENSION, new Set(['filter'])],
    ]),
    bad,
  })

void t.test('ADS by property: with an Envoy that takes everything', async (t) => {
  fc.assert(
    fc.property(
      world,
      fc.array(
        fc.oneof(
          { weight: 9, arbitrary: act },
          {
            weight: 1,
            arbitrary: fc.constant<Act>((session) => {
              session.forget()
              session.connect()
            }),
          },
        ),
        { maxLength: 60 },
      ),
      (first, acts) => {
        const envoy = client(() => undefined)
        const session = new AdsSession(envoy)
        session.connect()
        session.publish(first)
        for (const one of acts) one(session)
        session.settle()
        for (const [type, entries] of session.snapshot?.types ?? [])
          assert.deepEqual(
            Object.fromEntries(envoy.applied(type)),
            Object.fromEntries(
              [...entries].flatMap(([name, { version }]) => (envoy.wants(type, name) ? [[name, version]] : [])),
            ),
            'it has the newest snapshot, as far as it asked for it',
          )
      },
    ),
    { numRuns: 1000 },
  )
  t.pass('1,000 histories')
})

void t.test('ADS by property: with an Envoy that refuses some versions', async (t) => {
  const badness = fc.constantFrom<Badness>('field', 'meaning')
  const bads = fc.dictionary(
    fc.oneof(
      fc
        .tuple(fc.constantFrom(...SERVERS), fc.constantFrom('2', '3'))
        .map(([name, version]) => `${CLUSTER} ${name} ${version}`),
      fc.constantFrom(`${SECRET} s 2`, `${EXTENSION} filter 2`, `${ROUTES} edge a b`),
    ),
    badness,
    { maxKeys: 4 },
  )
  fc.assert(
    fc.property(world, bads, fc.array(act, { maxLength: 60 }), (first, bad, acts) => {
      const refuses = (type: string, name: string, version: string): Badness | undefined =>
        bad[`${type} ${name} ${version}`]
      const envoy = client(refuses)
      const session = new AdsSession(envoy)
      session.connect()
      session.publish(first)
      for (const one of acts) one(session)
      session.settle()
      const routesRefused = [...(session.snapshot?.types.get(ROUTES) ?? [])].some(([name, { version }]) =>
        refuses(ROUTES, name, version),
      )
      const extensionRefused = [...(session.snapshot?.types.get(EXTENSION) ?? [])].some(([name, { version }]) =>
        refuses(EXTENSION, name, version),
      )
      const anyRefused = [...(session.snapshot?.types ?? [])].some(([type, entries]) =>
        [...entries].some(([name, { version }]) => refuses(type, name, version) !== undefined),
      )
      for (const [type, entries] of session.snapshot?.types ?? []) {
        const has = envoy.applied(type)
        for (const [name, { version }] of entries) {
          if (!envoy.wants(type, name)) continue
          if (refuses(type, name, version) === undefined)
            assert.equal(has.get(name), version, `${type} ${name}: the good ones arrive`)
          else assert.notEqual(has.get(name), version, 'a refused one is never in force')
        }
        // Clusters stay while routes that were refused may still lead to them, and secrets while clusters do.
        const kept = type === CLUSTER ? routesRefused || extensionRefused : type === SECRET && anyRefused
        if (!kept) for (const name of has.keys()) assert.ok(entries.has(name), `${type} ${name}: what is gone is gone`)
      }
    }),
    { numRuns: 1000 },
  )
  t.pass('1,000 histories')
})

void t.test('ADS case by case', async (t) => {
  const base = (clusters: Readonly<Record<string, string>>): World =>
    new Map([
      [CLUSTER, new Map(Object.entries(clusters))],
      [SECRET, new Map([['s', '1']])],
      [LISTENER, new Map([['edge', '1']])],
      [
        ROUTES,
        new Map([
          ['edge', Object.keys(clusters).join(' ')],
          ['inner', ''],
        ]),
      ],
      [EXTENSION, new Map([['filter', '1']])],
    ])
  const started = (bad: Parameters<typeof client>[0] = () => undefined) => {
    const envoy = client(bad)
    const session = new AdsSession(envoy)
    session.connect()
    session.publish(base({ a: '1', b: '1' }))
    session.settle()
    return { envoy, session }
  }

  await t.test('applied means acknowledged', async (t) => {
    const { session } = started()
    t.ok(hasApplied(session.stream))
    session.publish(base({ a: '2', b: '1' }))
    t.notOk(hasApplied(session.stream))
    session.deliver()
    t.notOk(hasApplied(session.stream), 'the ACK is not read yet')
    session.serve()
    t.ok(hasApplied(session.stream))
  })

  await t.test('the nonce of an earlier response acknowledges nothing', async (t) => {
    const { session } = started()
    session.publish(base({ a: '2', b: '1' }))
    session.repeatNonce(CLUSTER)
    session.serve()
    t.notOk(hasApplied(session.stream))
    t.ok(session.stream.types.get(CLUSTER)?.inFlight)
    session.settle()
    t.ok(hasApplied(session.stream))
  })

  await t.test('equal bytes are not pushed', async (t) => {
    const { session } = started()
    const { responses } = session.stream
    session.publish(base({ a: '1', b: '1' }))
    t.equal(session.stream.responses, responses)
  })

  await t.test('a reconnect with the same versions is answered with nothing', async (t) => {
    const { session } = started()
    session.connect()
    session.settle()
    t.equal(session.stream.responses, 0)
    t.ok(hasApplied(session.stream))
  })

  await t.test('a reconnect after a removal is answered with the removal, after the routes', async (t) => {
    const { envoy, session } = started()
    session.snapshot = worldSnapshot(base({ b: '1' }))
    session.forget()
    session.connect()
    session.settle()
    t.same([...envoy.applied(CLUSTER).keys()], ['b'])
    t.ok(hasApplied(session.stream))
  })

  await t.test('a name that does not exist is answered with its removal, and later with itself', async (t) => {
    const { envoy, session } = started()
    session.subscribe(SECRET, 'u')
    session.serve()
    t.same(
      session.responses.map(({ removed }) => removed),
      [['u']],
    )
    session.settle()
    session.publish(
      new Map([
        ...base({ a: '1', b: '1' }),
        [
          SECRET,
          new Map([
            ['s', '1'],
            ['u', '1'],
          ]),
        ],
      ]),
    )
    session.settle()
    t.equal(envoy.applied(SECRET).get('u'), '1')
  })

  await t.test('of two names asked for at once, both are answered', async (t) => {
    const { session } = started()
    session.subscribe(SECRET, 'u')
    const [asked] = session.requests.splice(0)
    if (asked !== undefined) session.requests.push({ ...asked, subscribe: ['s', 'u'] })
    session.serve()
    t.same(
      session.responses.map(({ resources: added }) => [...added.keys()]),
      [['s']],
    )
    session.deliver()
    session.serve()
    t.same(
      session.responses.map(({ removed }) => removed),
      [['u']],
    )
  })

  await t.test('subscribing again sends again', async (t) => {
    const { session } = started()
    session.subscribe(SECRET, 's')
    session.serve()
    t.same(
      session.responses.map(({ resources }) => [...resources.keys()]),
      [['s']],
    )
  })

  await t.test('one of three is bad: the good ones arrive, the bad one is sent twice at most, and heals', async (t) => {
    for (const kind of ['field', 'meaning'] as const) {
      const { envoy, session } = started((_type, name, version) => (name === 'c' && version === '1' ? kind : undefined))
      session.publish(base({ a: '2', b: '2', c: '1' }))
      session.settle()
      t.same(Object.fromEntries(envoy.applied(CLUSTER)), { a: '2', b: '2' })
      t.equal(session.stream.types.get(CLUSTER)?.nacks, 2, 'once among others, once alone')
      t.equal(envoy.applied(ROUTES).get('edge'), 'a b c', 'what comes after is not held up')
      session.publish(base({ a: '2', b: '2', c: '2' }))
      session.settle()
      t.equal(envoy.applied(CLUSTER).get('c'), '2')
      t.ok(hasApplied(session.stream))
    }
  })

  await t.test('what was applied out of a refused response is removed although Envoy never reported it', async (t) => {
    const { envoy, session } = started((_type, name) => (name === 'c' ? 'meaning' : undefined))
    session.publish(base({ a: '1', b: '1', c: '1', d: '1' }))
    session.deliver() // refused, but d is in force
    t.equal(envoy.applied(CLUSTER).get('d'), '1')
    session.serve()
    session.snapshot = worldSnapshot(base({ a: '1', b: '1' }))
    session.connect() // Envoy reports a and b only
    session.settle()
    t.same([...envoy.applied(CLUSTER).keys()].sort(), ['a', 'b'])
  })

  await t.test('a new stream is served the last good version of a refused resource', async (t) => {
    const { session } = started((_type, name, version) => (name === 'a' && version === '2' ? 'meaning' : undefined))
    session.publish(base({ a: '2', b: '1' }))
    session.settle()
    const fresh = client((_type, name, version) => (name === 'a' && version === '2' ? 'meaning' : undefined))
    const other = new AdsSession(fresh)
    other.snapshot = session.snapshot
    other.verdicts = session.verdicts
    other.connect()
    other.settle()
    t.equal(fresh.applied(CLUSTER).get('a'), '1')
    t.equal(other.stream.types.get(CLUSTER)?.nacks, 0, 'it never saw the refused one')
    t.notOk(hasApplied(other.stream))
  })

  await t.test('a wildcard without resources gets an empty first answer', async (t) => {
    const session = new AdsSession(client(() => undefined))
    session.connect()
    session.publish(new Map([[CLUSTER, new Map()]]))
    session.settle()
    t.equal(session.stream.types.get(CLUSTER)?.acks, 1)
    t.equal(session.stream.types.get(LISTENER)?.acks, 1)
  })

  await t.test('a large push goes in pieces', async (t) => {
    const session = new AdsSession(client(() => undefined))
    session.connect()
    const bytes = Buffer.alloc(700_000)
    const clusters = new Map(SERVERS.map((name) => [name, { version: '1', bytes }]))
    session.snapshot = { version: 'big', types: new Map([[CLUSTER, clusters]]) }
    session.connect()
    session.serve()
    t.same(
      session.responses.map(({ resources }) => resources.size),
      [2],
    )
    session.settle()
    t.equal(session.stream.types.get(CLUSTER)?.pushes, 3)
  })
})
