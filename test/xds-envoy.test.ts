/** The control plane against a real Envoy over real gRPC: every resource, every order, every refusal. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import protobuf from 'protobufjs'
import t, { type Test } from 'tap'
import { INNER_REPLY } from '../src/mcp/headers.ts'
import { type Auth, type Limits, type Registry, Secret, type Server } from '../src/registry/model.ts'
import type { AccessLogEntry } from '../src/xds/access-log-entry.ts'
import { bootstrap } from '../src/xds/bootstrap.ts'
import type { Message, Value } from '../src/xds/pack.ts'
import { messageTypes } from '../src/xds/proto-types.ts'
import { rendered, yamlText } from '../src/xds/render.ts'
import type { Resources } from '../src/xds/resource.ts'
import { type Live, nothingLive, resources } from '../src/xds/resources.ts'
import type { RunPaths } from '../src/xds/run-paths.ts'
import { serveXds, type XdsServer } from '../src/xds/server.ts'
import { snapshot } from '../src/xds/snapshot.ts'
import { CLUSTER, EXTENSION, LISTENER, SECRET } from '../src/xds/type-url.ts'
import { envoyBinary, startEnvoy, type TestEnvoy, temporaryRun, validateConfig } from './support/envoy.ts'
import { envoyFields } from './support/envoy-descriptors.ts'
import { type Reply, type RequestOptions, request } from './support/http-request.ts'
import { serveObedientProcessor } from './support/obedient-processor.ts'
import { httpServer, registryOf } from './support/registry-value.ts'
import { waitingRoom } from './support/waiting-room.ts'

const certs = fileURLToPath(new URL('support/certs/', import.meta.url))
const pem = (name: string): Promise<string> => readFile(join(certs, name), 'utf8')
const WAIT_MS = 20_000

const silent = { info: () => {}, warn: () => {} }

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

interface Stub {
  readonly port: number
  readonly seen: Seen[]
}

type Answer = (seen: Seen, response: http.ServerResponse) => void

const json: Answer = (seen, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ url: seen.url, body: seen.body }))
}

/** A server that keeps what it was sent; ends with the test. */
const stub = async (t: Test, answer: Answer, at: { path?: string; tls?: https.ServerOptions } = {}): Promise<Stub> => {
  const seen: Seen[] = []
  const handler = (incoming: http.IncomingMessage, response: http.ServerResponse) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming
      const one = { method, url, headers, body: Buffer.concat(chunks).toString() }
      seen.push(one)
      answer(one, response)
    })
  }
  const options = { maxHeaderSize: 128 * 1024, keepAliveTimeout: 60_000 }
  const server =
    at.tls === undefined ? http.createServer(options, handler) : https.createServer({ ...options, ...at.tls }, handler)
  if (at.path === undefined) server.listen(0, '127.0.0.1')
  else server.listen(at.path)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, seen }
}

/** What the obedient processor is asked for. */
type Want = Partial<Readonly<Record<'cluster' | 'path' | 'id' | 'limits' | 'body' | 'close', string>>>

interface Gateway {
  readonly run: RunPaths
  readonly directory: string
  readonly port: number
  readonly broker: Stub
  readonly envoy: TestEnvoy
  readonly logged: AccessLogEntry[]
  /** The management server; another one after a restart. */
  xds: XdsServer
  /** What was fetched so far; counts from the next publication on. */
  live: Live
  registry(servers: readonly Server[], changes?: Partial<Registry['gateway']>): Registry
  resources(servers: readonly Server[]): Resources
  publish(servers: readonly Server[]): ReturnType<XdsServer['publish']>
  /** Through the edge, as the obedient processor is told. */
  call(want: Want, options?: RequestOptions): Promise<Reply>
  /** Through the inner listener, as the broker does. */
  inner(cluster: string, path?: string): Promise<Reply>
}

const innerCall = (socketPath: string, cluster: string, path: string): Promise<Reply> =>
  new Promise((resolve, reject) => {
    http
      .request({ socketPath, path, method: 'POST', agent: false, headers: { 'x-mcp-cluster': cluster } }, (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.on('end', () => {
          const body = Buffer.concat(chunks)
          const { statusCode: status = 0, headers, rawHeaders } = res
          resolve({ status, headers, rawHeaders, body, text: body.toString(), messages: [] })
        })
      })
      .on('error', reject)
      .end('{}')
  })

const start = async (
  t: Test,
  servers: readonly Server[],
  options: {
    brokerAnswer?: Answer
    changes?: Partial<Registry['gateway']>
    views?: readonly string[]
    live?: Live
    systemCa?: string
  } = {},
): Promise<Gateway> => {
  const { run, directory, ...room } = await temporaryRun()
  t.teardown(() => room[Symbol.asyncDispose]())
  const port = await freePort()
  const broker = await stub(t, options.brokerAnswer ?? json, { path: run.broker })
  const processor = await serveObedientProcessor(run.extProc)
  t.teardown(() => processor[Symbol.asyncDispose]())
  const xds = await serveXds({ socketPath: run.ads, log: silent })
  const logged: AccessLogEntry[] = []
  xds.onAccessLog((entries) => logged.push(...entries))
  const envoy = await startEnvoy({ bootstrapYaml: yamlText(bootstrap({ nodeId: 'one', run })), adminSocket: run.admin })
  t.teardown(() => envoy[Symbol.asyncDispose]())
  const views = (options.views ?? []).map((name) => ({ name, place: { line: 1, column: 1 } }))
  const registry: Gateway['registry'] = (list, changes) => ({
    ...registryOf(port, list, { ...options.changes, ...changes }),
    views,
  })
  const built: Gateway['resources'] = (list) =>
    resources(registry(list), run, options.systemCa ?? join(certs, 'ca.pem'), gateway.live)
  const gateway: Gateway = {
    run,
    directory,
    port,
    broker,
    envoy,
    logged,
    xds,
    live: options.live ?? nothingLive,
    registry,
    resources: built,
    publish: (list) => gateway.xds.publish(snapshot(built(list)), WAIT_MS),
    call: (want, request_ = {}) =>
      request(`http://127.0.0.1:${port}/mcp`, {
        body: '{"jsonrpc":"2.0"}',
        ...request_,
        headers: {
          'content-type': 'application/json',
          ...Object.fromEntries(Object.entries(want).map(([key, text]) => [`want-${key}`, text])),
          ...request_.headers,
        },
      }),
    inner: (cluster, path = '/mcp') => innerCall(run.inner, cluster, path),
  }
  t.teardown(() => gateway.xds[Symbol.asyncDispose]())
  const applied = await gateway.publish(servers)
  if (applied.envoys !== 1) throw new Error(`not applied: ${JSON.stringify(gateway.xds.status())}\n${envoy.log()}`)
  await envoy.ready()
  return gateway
}

const url = ({ port }: Stub): string => `http://127.0.0.1:${port}/mcp`

const NOT_SENT_BEFORE_1_40: readonly string[] = [
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.enable_retry_after_header',
]

void t.test('every field of our slice is one of that Envoy, by name, type, label and number', async (t) => {
  const ours = messageTypes().filter(({ fullName }) => !fullName.startsWith('.google.protobuf.'))
  const files = new Set(ours.map(({ filename }) => filename?.replace(/^.*\/protos\//, '') ?? ''))
  const theirs = await envoyFields(await envoyBinary(), files)
  const typeName = (field: protobuf.Field): string =>
    field.resolvedType === null ? field.type : field.resolvedType.fullName
  for (const message of ours)
    for (const field of message.fieldsArray) {
      const type =
        field instanceof protobuf.MapField
          ? `map<${field.keyType}, ${typeName(field)}>`
          : `${field.repeated ? 'repeated ' : ''}${typeName(field)}`
      const name = `${message.fullName.slice(1)}.${field.name}`
      if (NOT_SENT_BEFORE_1_40.includes(name) && !theirs.has(name)) continue
      t.equal(`${type} = ${field.id}`, theirs.get(name), name)
    }
})

void t.test('Envoy validates the bootstrap and what render prints', async (t) => {
  const { run, ...room } = await temporaryRun()
  t.teardown(() => room[Symbol.asyncDispose]())
  const boot = bootstrap({ nodeId: 'one', run })
  t.match(await validateConfig(yamlText(boot)), /OK/)
  const secret = new Secret('Bearer hidden')
  const registry = registryOf(8080, [
    httpServer('plain', 'http://127.0.0.1:1/mcp', { credential: { header: 'Authorization', value: secret } }),
    httpServer('named', 'http://localhost:1/mcp'),
    httpServer('secure', 'https://weather.example.com/mcp', { tls: { ca: await pem('ca.pem') } }),
    httpServer('address', 'https://[::1]:8443/mcp'),
  ])
  const { resources: all } = rendered(snapshot(resources(registry, run, join(certs, 'ca.pem'))))
  const list: readonly Message[] = Array.isArray(all) ? all : []
  const of = (type: string) =>
    list.flatMap(({ '@type': url, ...message }) => (url === type ? [withoutSds(message)] : []))
  const { static_resources: own, ...rest } = boot
  const { clusters = [], listeners = [] }: { clusters?: Value[]; listeners?: Value[] } = Object(own)
  const text = yamlText({
    ...rest,
    static_resources: {
      clusters: [...clusters, ...of(CLUSTER)],
      listeners: [...listeners, ...of(LISTENER)],
      secrets: of(SECRET),
    },
  })
  t.match(await validateConfig(text), /OK/)
  t.notMatch(text, /hidden/)
})

/** While validating Envoy has no ADS, and a cluster that asks it for a secret crashes it (1.40.0); static ones do not. */
const withoutSds = (value: Value | undefined): Value => {
  if (value === undefined) return null
  if (Array.isArray(value)) return value.map(withoutSds)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => (key === 'sds_config' ? [] : [[key, withoutSds(inner)]])),
  )
}

void t.test('it starts, acknowledges everything and says so', async (t) => {
  const server = await stub(t, json)
  const gateway = await start(t, [httpServer('a', url(server))])
  const [status] = gateway.xds.status()
  t.match(status, { node: 'one', version: /^1\.\d+\.\d+$/, innerSocket: gateway.run.inner, applied: true, nacks: [] })
  for (const [type, { resources: all, current }] of Object.entries(status?.types ?? {})) t.equal(current, all, type)
  t.same(gateway.xds.innerSockets(), [gateway.run.inner])
  t.match(gateway.xds.applied(), { envoys: 1, of: 1 })
  const reply = await gateway.call({ cluster: 'direct.a', path: '/mcp?x=1' })
  t.equal(reply.status, 200)
  t.same(JSON.parse(reply.text), { url: '/mcp?x=1', body: '{"jsonrpc":"2.0"}' })
  t.notMatch(gateway.envoy.log(), /warning|error|deprecated/i)
})

void t.test('headers: nothing private goes in or out, in either direction, on either path', async (t) => {
  const leaky: Answer = (_seen, response) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'mcp-session-id': 'SECRET',
      'set-cookie': 'SECRET=1',
      'www-authenticate': 'SECRET',
      'x-mcp-inner-reply': 'SECRET',
      'x-mcp-log-server': 'SECRET',
      'x-powered-by': 'SECRET',
      server: 'SECRET',
    })
    response.end('{}')
  }
  const server = await stub(t, leaky)
  const credential = { header: 'Authorization', value: new Secret('Bearer upstream') }
  const gateway = await start(t, [httpServer('a', url(server), { credential })], { brokerAnswer: leaky })

  const direct = await gateway.call(
    { cluster: 'direct.a' },
    {
      headers: {
        'x-mcp-cluster': 'mcp.broker',
        'X-MCP-Foo': 'client',
        authorization: 'Bearer client',
        cookie: 'client',
      },
    },
  )
  t.equal(direct.status, 200)
  t.notMatch(JSON.stringify(direct.rawHeaders), /SECRET/)
  t.equal(direct.headers['cache-control'], 'no-store')
  t.equal(direct.headers.server, 'mcp-gateway')
  const sent = server.seen[0]?.headers ?? {}
  t.equal(sent.host, `127.0.0.1:${server.port}`, "the server's own host")
  t.equal(sent.authorization, 'Bearer upstream')
  t.same(
    Object.keys(sent).filter((name) => name.startsWith('x-') || name === 'cookie'),
    ['x-request-id'],
  )
  t.equal(server.seen.length, 1)
  t.equal(gateway.broker.seen.length, 0, 'the header of the client chose nothing')

  const brokered = await gateway.call({ cluster: 'mcp.broker' })
  t.notMatch(JSON.stringify(brokered.rawHeaders), /x-mcp-/i)
  t.equal(brokered.headers['mcp-session-id'], 'SECRET', "the broker's own headers pass")
  t.match(gateway.broker.seen[0]?.headers['x-request-id'], /^[0-9a-f-]{36}$/)

  const inner = await gateway.inner('mcp.a', '/other')
  t.equal(inner.status, 200)
  t.equal(inner.headers['mcp-session-id'], 'SECRET', 'the broker sees what the server says')
  t.equal(inner.headers[INNER_REPLY], undefined, 'but a server cannot pose as Envoy')
  t.match(server.seen[1], { url: '/other', headers: { authorization: 'Bearer upstream' } })
  t.same(Object.keys(server.seen[1]?.headers ?? {}).sort(), ['authorization', 'content-length', 'host'])

  const nowhere = await gateway.inner('mcp.nobody')
  t.equal(nowhere.status, 503)
  t.match(nowhere.headers[INNER_REPLY], /NC cluster_not_found/)
  t.equal((await gateway.inner('direct.a')).status, 503, 'the inner listener leads to servers only')
})

void t.test('a server that refuses a call: the broker is asked, once, and told everything it needs', async (t) => {
  const refusing: Answer = (seen, response) => {
    const status = Number(new URL(seen.url, 'http://x').searchParams.get('status'))
    const size = Number(new URL(seen.url, 'http://x').searchParams.get('size') ?? 0)
    response.writeHead(status, {
      'content-type': 'text/x-why',
      'set-cookie': 'SECRET',
      'mcp-session-id': 'SECRET',
      location: '/SECRET',
    })
    response.end(size === 0 ? `why ${status} é` : 'x'.repeat(size))
  }
  const server = await stub(t, refusing)
  const closed = await freePort()
  const credential = { header: 'X-Api-Key', value: new Secret('upstream') }
  const gateway = await start(t, [
    httpServer('a', url(server), { credential }),
    httpServer('gone', `http://127.0.0.1:${closed}/mcp`, { credential }),
    httpServer('nameless', 'http://nowhere.invalid/mcp', { credential }),
  ])
  const replayed = async (path: string, cluster = 'direct.a', body = '{"jsonrpc":"2.0"}') => {
    server.seen.length = 0
    gateway.broker.seen.length = 0
    const reply = await gateway.call({ cluster, path }, { body, headers: { 'mcp-session-id': 'lost' } })
    t.notMatch(JSON.stringify(reply.rawHeaders), /SECRET/, `${path}: nothing of the server's leaks`)
    return reply
  }

  for (const status of [301, 302, 303, 307, 308, 400, 401, 403, 404, 407]) {
    const reply = await replayed(`/mcp?status=${status}`)
    t.equal(reply.status, 200, `${status}: the broker answers`)
    t.equal(server.seen.length, 1, `${status}: the server executed once`)
    t.equal(gateway.broker.seen.length, 1)
    t.match(gateway.broker.seen[0], {
      body: '{"jsonrpc":"2.0"}',
      headers: {
        host: 'broker',
        'mcp-session-id': 'lost',
        'x-mcp-replay-server': 'a',
        'x-mcp-replay-status': String(status),
        'x-mcp-replay-type': 'text/x-why',
        'x-mcp-replay-body': Buffer.from(`why ${status} é`).toString('base64'),
        'x-request-id': String(server.seen[0]?.headers['x-request-id']),
      },
    })
    t.equal(gateway.broker.seen[0]?.headers['x-api-key'], undefined, 'without the credential')
    t.equal(server.seen[0]?.headers['x-api-key'], 'upstream')
    t.same(
      Object.keys(server.seen[0]?.headers ?? {}).filter((name) => /^x-(mcp|envoy)/.test(name)),
      [],
    )
  }
  for (const status of [200, 202, 204, 405, 409, 500, 502, 503]) {
    const reply = await replayed(`/mcp?status=${status}`)
    t.equal(reply.status, status, `${status} passes`)
    t.equal(gateway.broker.seen.length, 0)
  }
  await replayed('/mcp?status=404&size=32768')
  t.equal(
    gateway.broker.seen[0]?.headers['x-mcp-replay-body']?.length,
    Math.ceil(32768 / 3) * 4,
    'up to 32 KiB are kept',
  )
  await replayed('/mcp?status=404&size=32769')
  t.match(gateway.broker.seen[0]?.headers, { 'x-mcp-replay-status': '404' })
  t.equal(gateway.broker.seen[0]?.headers['x-mcp-replay-body'], undefined, 'and no more')

  const large = JSON.stringify({ jsonrpc: '2.0', params: 'x'.repeat(2_000_000) })
  await replayed('/mcp?status=404', 'direct.a', large)
  t.equal(gateway.broker.seen[0]?.body, large, 'the broker gets large requests as they were')

  for (const name of ['gone', 'nameless']) {
    const down = await replayed('/mcp', `direct.${name}`)
    const [asked] = gateway.broker.seen
    if (asked === undefined) {
      // Before 1.40 a cluster without hosts ends the request there and then.
      t.match(down, { status: 502, text: /server-down/ }, `${name}: Envoy words it`)
      continue
    }
    t.equal(down.status, 200, `${name}: the broker words it`)
    t.match(asked.headers, { 'x-mcp-replay-server': name, 'x-mcp-replay-status': '0' })
    t.equal(asked.headers['x-api-key'], undefined)
  }

  const statuses = new Map<number, number>()
  let left = 1000 // more than two generations of kept answers
  const caller = async (): Promise<void> => {
    while (left-- > 0) {
      const { status } = await gateway.call({ cluster: 'direct.a', path: `/mcp?status=${left % 2 === 0 ? 404 : 400}` })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  gateway.broker.seen.length = 0
  await Promise.all(Array.from({ length: 16 }, caller))
  t.same([...statuses], [[200, 1000]])
  const kept = gateway.broker.seen.filter(({ headers }) => headers['x-mcp-replay-body'] !== undefined)
  t.equal(kept.length, 1000, 'each answer was kept until it was fetched')
  t.notMatch(gateway.envoy.log(), /script log|lua/i)
})

void t.test("the broker's own answer to a replay passes as it is", async (t) => {
  const server = await stub(t, (_seen, response) => response.writeHead(404).end())
  const gateway = await start(t, [httpServer('a', url(server))], {
    brokerAnswer: (_seen, response) => {
      response.writeHead(404, {
        'content-type': 'application/json',
        'x-mcp-log-tool': 'replayed',
        allow: 'POST',
        'mcp-session-id': 'SECRET',
      })
      response.end('{"from":"broker"}')
    },
  })
  const reply = await gateway.call({ cluster: 'direct.a' })
  t.equal(reply.status, 404)
  t.equal(reply.text, '{"from":"broker"}')
  t.equal(reply.headers.allow, 'POST')
  t.equal(reply.headers['mcp-session-id'], undefined)
  t.equal(server.seen.length, 1)
  t.equal(gateway.broker.seen.length, 1, 'no second retry')
})

void t.test('every reply of Envoy itself is a JSON-RPC error with the id as it was sent', async (t) => {
  const silentServer = await stub(t, () => {})
  const rude = await stub(t, (_seen, response) => response.destroy())
  const endless = await stub(t, (_seen, response) => {
    response.writeHead(404)
    const more = () => response.write('x'.repeat(60_000), more)
    more()
  })
  const gateway = await start(
    t,
    [
      httpServer('silent', url(silentServer), { timeoutMs: 200 }),
      httpServer('rude', url(rude)),
      httpServer('endless', url(endless)),
      httpServer('unknown', 'http://nowhere.invalid/mcp'),
    ],
    { changes: { maxBody: 200_000 } },
  )
  const cases: readonly (readonly [string, () => Promise<Reply>, number, number, string, string?])[] = [
    ['nobody decided', () => gateway.call({}), 503, -32603, 'no-decision'],
    ['the processor says nothing', () => gateway.call({ close: 'yes' }), 503, -32603, 'no-decision'],
    [
      'an unknown cluster',
      () => gateway.call({ cluster: 'direct.nobody', id: '"a\\"b"' }),
      503,
      -32603,
      'no-decision',
      '"a\\"b"',
    ],
    [
      'a silent server',
      () => gateway.call({ cluster: 'direct.silent', id: '9007199254740993' }),
      504,
      -32603,
      'server-silent',
      '9007199254740993',
    ],
    [
      'a server that hangs up',
      () => gateway.call({ cluster: 'direct.rude', id: '1.0' }),
      502,
      -32603,
      'server-down',
      '1.0',
    ],
    ['a refusal without end', () => gateway.call({ cluster: 'direct.endless' }), 502, -32603, 'server-invalid'],
    [
      'a body over the limit',
      () => gateway.call({ cluster: 'mcp.broker', body: 'yes' }, { body: 'x'.repeat(900_000) }),
      413,
      -32600,
      'too-large',
    ],
    [
      'a path nobody may write',
      () => request(`http://127.0.0.1:${gateway.port}/a%2fb`, { body: '{}' }),
      400,
      -32600,
      'path_normalization_failed',
    ],
  ]
  for (const [name, ask, status, code, reason, id = 'null'] of cases) {
    const reply = await ask()
    t.equal(reply.status, status, `${name}: ${reply.text}`)
    t.equal(reply.headers['content-type'], 'application/json')
    t.match(reply.text, `{"jsonrpc":"2.0","id":${id},"error":{"code":${code},`, name)
    const { error } = JSON.parse(reply.text)
    t.match(error.data, { reason, decision: /^([0-9a-f-]{36}|-)$/ }, name)
  }
})

void t.test('the access log: a line on standard output, an entry for the metrics', async (t) => {
  const server = await stub(t, json)
  const gateway = await start(t, [httpServer('a', url(server))], {
    brokerAnswer: (_seen, response) => {
      response.writeHead(200, { 'x-mcp-log-method': 'tools/list', 'x-mcp-log-server': 'all', 'x-mcp-log-tool': 'none' })
      response.end()
    },
  })
  const { until, wake } = waitingRoom()
  gateway.xds.onAccessLog(wake)
  await gateway.call({ cluster: 'direct.a' })
  await gateway.call({ cluster: 'mcp.broker' })
  await until(() => gateway.logged.length >= 2 || undefined)
  t.match(gateway.logged[0], {
    status: 200,
    flags: [],
    metadata: { method: 'tools/call', server: 'somewhere', path: 'direct' },
  })
  t.match(
    gateway.logged[1]?.metadata,
    { method: 'tools/list', server: 'all', tool: 'none' },
    'what the broker knows better',
  )
  t.ok((gateway.logged[0]?.durationMs ?? 0) > 0)
  const line = gateway.envoy
    .log()
    .split('\n')
    .find((one) => one.startsWith('{'))
  t.match(JSON.parse(line ?? '{}'), {
    verb: 'POST',
    status: 200,
    cluster: 'direct.a',
    method: 'tools/call',
    server: 'somewhere',
    path: 'direct',
    id: /^[0-9a-f-]{36}$/,
  })
})

/** Calls one after the other until told to stop; the statuses. */
const load = (call: () => Promise<Reply>) => {
  const statuses = new Map<string, number>()
  let going = true
  const one = async () => {
    while (going) {
      const result = await call().then(
        ({ status }) => String(status),
        (error: Error) => error.message,
      )
      statuses.set(result, (statuses.get(result) ?? 0) + 1)
    }
  }
  const running = Promise.all([one(), one()])
  return async (): Promise<Record<string, number>> => {
    going = false
    await running
    return Object.fromEntries(statuses)
  }
}

void t.test('servers come and go under load: make before break, and nothing else notices', async (t) => {
  const steady = await stub(t, json)
  const guest = await stub(t, json)
  const kept = httpServer('kept', url(steady))
  const credential = { header: 'Authorization', value: new Secret('Bearer x') }
  const gateway = await start(t, [kept])
  const stop = load(() => gateway.call({ cluster: 'direct.kept' }, { fresh: true }))
  const times: number[] = []
  for (let round = 0; round < 20; round += 1) {
    const visitor = httpServer('visitor', `http://127.0.0.1:${guest.port}/${round}`, {
      credential,
      timeoutMs: 1000 + round,
    })
    const added = await gateway.publish([kept, visitor])
    times.push(added.ms)
    t.match(added, { envoys: 1, of: 1 })
    const through = [
      await gateway.call({ cluster: 'direct.visitor' }, { fresh: true }),
      await gateway.inner('mcp.visitor'),
    ]
    t.same(
      through.map(({ status }) => status),
      [200, 200],
      'applied means callable, on both paths',
    )
    // A request that was routed before the removal still has its cluster.
    const busy = load(() => gateway.call({ cluster: 'direct.visitor' }))
    const removed = await gateway.publish([kept])
    t.match(removed, { envoys: 1, of: 1 })
    const statuses = await busy()
    t.same(
      Object.keys(statuses).filter((status) => !['200', '502', '503'].includes(status)),
      [],
      'served or gone, never half',
    )
    t.equal((await gateway.call({ cluster: 'direct.visitor' })).status, 503)
  }
  const statuses = await stop()
  t.same(Object.keys(statuses), ['200'], JSON.stringify(statuses))
  t.ok(
    guest.seen.every(({ headers }) => headers.authorization === 'Bearer x'),
    'never without its credential',
  )
  for (const name of ['listener_modified', 'listener_in_place_updated', 'total_listeners_draining'])
    t.equal(await gateway.envoy.stat(`listener_manager.${name}`), 0, name)
  times.sort((a, b) => a - b)
  t.comment(`a server added: p50 ${times[10]?.toFixed(1)} ms, max ${times.at(-1)?.toFixed(1)} ms`)
})

void t.test('a cluster that Envoy refuses is held back alone, named with its place, and heals', async (t) => {
  const server = await stub(t, json)
  const at = url(server)
  const place = { line: 7, column: 3 }
  const gateway = await start(t, [httpServer('a', at)])
  const list = [httpServer('a', at), httpServer('bad', 'https://b.example.com/', { place }), httpServer('c', at)]
  const nacks: string[] = []
  gateway.xds.onNack(({ name }) => nacks.push(name))
  const { until, wake } = waitingRoom()
  gateway.xds.onApplied(wake)
  // Below validation: a file that is not there.
  const broken = resources(gateway.registry(list), gateway.run, '/nowhere/ca.pem')
  const publishing = gateway.xds.publish(snapshot(broken), 500)
  await until(() => gateway.xds.status()[0]?.nacks[0])
  t.equal((await publishing).envoys, 0, 'not applied')
  const [status] = gateway.xds.status()
  t.equal(status?.applied, false)
  t.match(status?.nacks, [
    { type: 'envoy.config.cluster.v3.Cluster', name: 'mcp.bad', path: 'servers.bad', place, message: /ca\.pem/ },
  ])
  t.equal(status?.nacks.length, 1)
  t.same(nacks, ['mcp.bad'], 'told once')
  for (const cluster of ['direct.a', 'direct.c']) t.equal((await gateway.call({ cluster })).status, 200, cluster)
  const { status: answered } = await gateway.call({ cluster: 'direct.bad' })
  if (answered !== 502)
    t.match(gateway.broker.seen.at(-1)?.headers, { 'x-mcp-replay-server': 'bad', 'x-mcp-replay-status': '0' })
  const pushes = status?.types['envoy.config.cluster.v3.Cluster']?.pushes
  await gateway.call({ cluster: 'direct.a' })
  t.equal(gateway.xds.status()[0]?.types['envoy.config.cluster.v3.Cluster']?.pushes, pushes, 'no resending')
  t.match(await gateway.publish(list), { envoys: 1, of: 1 }, 'a fixed entry heals it')
  t.same(gateway.xds.status()[0]?.nacks, [])
})

void t.test('a certificate that is none is refused as a secret, with its place, and heals', async (t) => {
  const tls = {
    key: await pem('server.key'),
    cert: await pem('server.pem'),
    ca: await pem('ca.pem'),
    requestCert: true,
  }
  const server = await stub(t, json, { tls })
  const plain = await stub(t, json)
  const place = { line: 9, column: 3 }
  const client = { cert: await pem('client.pem'), key: new Secret(await pem('client.key')) }
  const secure = (ca: string) =>
    httpServer('secure', `https://localhost:${server.port}/mcp`, { place, tls: { ca, client } })
  const gateway = await start(t, [httpServer('a', url(plain))])
  const { until, wake } = waitingRoom()
  gateway.xds.onApplied(wake)
  void gateway.publish([
    httpServer('a', url(plain)),
    secure('-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n'),
  ])
  await until(() => gateway.xds.status()[0]?.nacks[0])
  t.match(gateway.xds.status()[0]?.nacks, [{ path: 'servers.secure', place, message: /trusted CA/ }])
  t.equal((await gateway.call({ cluster: 'direct.a' })).status, 200)
  t.match(await gateway.publish([httpServer('a', url(plain)), secure(await pem('ca.pem'))]), { envoys: 1, of: 1 })
  const reply = await gateway.call({ cluster: 'direct.secure' })
  t.equal(reply.status, 200, reply.text)
  t.equal((await gateway.inner('mcp.secure')).status, 200)

  const impostor = httpServer('secure', `https://127.0.0.1:${server.port}/mcp`, {
    tls: { ca: await pem('ca.pem'), client, sni: 'other.example.com' },
  })
  t.match(await gateway.publish([impostor]), { envoys: 1, of: 1 })
  t.match(
    (await gateway.inner('mcp.secure')).headers[INNER_REPLY],
    /CERTIFICATE_VERIFY_FAILED/i,
    'a wrong name is refused',
  )
  const address = httpServer('secure', `https://127.0.0.1:${server.port}/mcp`, {
    tls: { ca: await pem('ca.pem'), client },
  })
  t.match(await gateway.publish([address]), { envoys: 1, of: 1 })
  t.equal((await gateway.inner('mcp.secure')).status, 200, 'an address is compared as an address')
  const system = httpServer('secure', `https://127.0.0.1:${server.port}/mcp`, { tls: { client } })
  t.match(await gateway.publish([system]), { envoys: 1, of: 1 })
  t.equal((await gateway.inner('mcp.secure')).status, 200, "the system's bundle counts without a CA of its own")
})

void t.test('the edge speaks TLS when the registry says so', async (t) => {
  const server = await stub(t, json)
  const tls = { cert: await pem('server.pem'), key: new Secret(await pem('server.key')) }
  const gateway = await start(t, [httpServer('a', url(server))], { changes: { tls } })
  const reply = await request(`https://localhost:${gateway.port}/mcp`, {
    body: '{}',
    headers: { 'want-cluster': 'direct.a' },
    tls: { ca: await pem('ca.pem') },
  })
  t.equal(reply.status, 200)
})

void t.test(
  'the management server dies and comes back: traffic goes on, Envoy catches up, nothing drains',
  async (t) => {
    const server = await stub(t, (seen, response) => {
      if (seen.url !== '/stream') return json(seen, response)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    })
    const a = httpServer('a', url(server))
    const gateway = await start(t, [a, httpServer('old', url(server))])
    const aborted = new AbortController()
    let streamed = 0
    let ended = false
    const streaming = new Promise<void>((resolve) => {
      const get = http.get(
        {
          port: gateway.port,
          host: '127.0.0.1',
          path: '/mcp',
          agent: false,
          signal: aborted.signal,
          headers: { 'want-cluster': 'direct.a', 'want-path': '/stream' },
        },
        (res) => {
          res.on('data', () => {
            streamed += 1
            resolve()
          })
          res.on('close', () => (ended = true))
          res.on('error', () => {})
        },
      )
      get.on('error', () => {})
    })
    await streaming
    await gateway.xds[Symbol.asyncDispose]()
    const stop = load(() => gateway.call({ cluster: 'direct.a' }, { fresh: true }))
    t.equal((await gateway.call({ cluster: 'direct.old' })).status, 200, 'the last configuration stays in force')
    gateway.xds = await serveXds({ socketPath: gateway.run.ads, log: silent })
    t.match(await gateway.publish([a, httpServer('new', url(server))]), { envoys: 1, of: 1 })
    t.equal((await gateway.call({ cluster: 'direct.new' })).status, 200)
    t.equal((await gateway.call({ cluster: 'direct.old' })).status, 503, 'what went meanwhile is gone')
    t.equal(await gateway.envoy.stat('cluster_manager.cluster_removed'), 2)
    t.equal(await gateway.envoy.stat('listener_manager.listener_modified'), 0)
    t.equal(await gateway.envoy.stat('listener_manager.total_listeners_draining'), 0)
    t.same(Object.keys(await stop()), ['200'])
    t.equal(ended, false, 'the open stream is still open')
    t.equal(streamed, 1)
    aborted.abort()
  },
)

void t.test('several Envoys: applied counts those that acknowledged', async (t) => {
  const server = await stub(t, json)
  const gateway = await start(t, [httpServer('a', url(server))])
  const run = { ...gateway.run, inner: `${gateway.run.inner}2`, admin: `${gateway.run.admin}2` }
  const { until, wake } = waitingRoom()
  gateway.xds.onApplied(wake)
  const second = await startEnvoy({
    bootstrapYaml: yamlText(bootstrap({ nodeId: 'two', run })),
    adminSocket: run.admin,
  })
  t.teardown(() => second[Symbol.asyncDispose]())
  await until(() => gateway.xds.applied().envoys === 2 || undefined)
  t.same([...gateway.xds.innerSockets()].sort(), [gateway.run.inner, run.inner].sort())
  process.kill(second.pid, 'SIGSTOP')
  const publishing = gateway.publish([httpServer('a', url(server)), httpServer('b', url(server))])
  await until(() => gateway.xds.status().find(({ node, applied }) => node === 'one' && applied))
  t.match(gateway.xds.applied(), { envoys: 1, of: 2 }, 'one withholds its answer')
  process.kill(second.pid, 'SIGCONT')
  t.match(await publishing, { envoys: 2, of: 2 })
  await second[Symbol.asyncDispose]()
  await until(() => gateway.xds.applied().of === 1 || undefined)
  t.match(gateway.xds.applied(), { envoys: 1, of: 1 })
})

void t.test('a push of many servers, with one bad among them', async (t) => {
  const server = await stub(t, json)
  const gateway = await start(t, [httpServer('a', url(server))])
  const many = Array.from({ length: 200 }, (_nothing, index) => httpServer(`s${index}`, url(server)))
  const all = await gateway.publish(many)
  t.match(all, { envoys: 1, of: 1 })
  t.comment(`200 servers: ${all.ms.toFixed(0)} ms`)
  t.equal((await gateway.call({ cluster: 'direct.s199' })).status, 200)
  const built = gateway.resources(many.slice(0, 100))
  const poisoned: Resources = {
    ...built,
    [CLUSTER]: built[CLUSTER].map((one) =>
      one.message['name'] === 'mcp.s5'
        ? {
            ...one,
            message: {
              ...one.message,
              connect_timeout: '3s',
              wait_for_warm_on_init: true,
              transport_socket: { name: 'nothing.here' },
            },
          }
        : one,
    ),
  }
  const { until, wake } = waitingRoom()
  gateway.xds.onApplied(wake)
  void gateway.xds.publish(snapshot(poisoned))
  await until(() => gateway.xds.status()[0]?.nacks[0])
  t.match(gateway.xds.status()[0]?.nacks, [{ name: 'mcp.s5', path: 'servers.s5' }])
  t.equal((await gateway.call({ cluster: 'direct.s5' })).status, 200, 'its last good version serves on')
})

const RESOURCE = 'https://mcp.example.com/mcp'
const METADATA_URL = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
const auth: Auth = {
  place: { line: 3, column: 3 },
  issuer: 'https://idp.example.com/realms/tools',
  audience: RESOURCE,
  jwks: { kind: 'discovered' },
  skewMs: 60_000,
}

/** Keys of an issuer, and tokens made with them. */
const issuer = async (kid: string) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const key = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }
  const now = Math.floor(Date.now() / 1000)
  const good = { iss: auth.issuer, sub: 'ann', aud: RESOURCE, exp: now + 3600 }
  const signed = (claims: object = {}, by = kid): Promise<string> =>
    new SignJWT({ ...good, ...claims }).setProtectedHeader({ alg: 'ES256', kid: by }).sign(privateKey)
  return { key, now, good, signed }
}

const UNKNOWN_KEY = "jwt_authn_access_denied{Jwks_doesn't_have_key"

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

void t.test('tokens: who has none, or a bad one, is told where to get one, and gets no further', async (t) => {
  const server = await stub(t, json)
  const { key, now, good, signed } = await issuer('one')
  const other = await issuer('one')
  const gateway = await start(t, [httpServer('a', url(server))], {
    changes: { auth, url: RESOURCE },
    views: ['oncall', 'audit'],
    live: { ...nothingLive, jwks: JSON.stringify({ keys: [key] }) },
    brokerAnswer: (_seen, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer of="the broker"' }).end('{}')
    },
  })
  const publicPem = new TextEncoder().encode(JSON.stringify(key))
  const at = (path: string, headers: Readonly<Record<string, string>> = {}) =>
    request(`http://127.0.0.1:${gateway.port}${path}`, {
      body: '{}',
      headers: { 'content-type': 'application/json', 'want-cluster': 'direct.a', ...headers },
    })

  const missing = `Bearer resource_metadata="${METADATA_URL}"`
  const invalid = `Bearer error="invalid_token", resource_metadata="${METADATA_URL}"`
  const ofView = (challenge: string, view: string) => challenge.replace(/"$/, `/${view}"`)
  const token = await signed()
  const refused: readonly (readonly [string, string, Readonly<Record<string, string>>, string])[] = [
    ['no token', '/mcp', {}, missing],
    ['no token at a view', '/mcp/oncall', {}, ofView(missing, 'oncall')],
    ['no token below a view', '/mcp/oncall/x', {}, ofView(missing, 'oncall')],
    ['no token at a view that is not', '/mcp/oncallx', {}, missing],
    ['no token and a query', '/mcp?x=1', {}, missing],
    ['the token in the query', `/mcp?access_token=${token}`, {}, missing],
    ['the token in a cookie', '/mcp', { cookie: `access_token=${token}` }, missing],
    ['another scheme', '/mcp', { authorization: 'Basic eDp5' }, missing],
    ['a path in disguise', '//mcp', {}, missing],
    ['a path in another disguise', '/x/../%6dcp', {}, missing],
    ['no JWT', '/mcp', bearer('x'), invalid],
    ['expired', '/mcp', bearer(await signed({ exp: now - 120 })), invalid],
    ['without exp', '/mcp', bearer(await signed({ exp: undefined })), invalid],
    ['not valid yet', '/mcp', bearer(await signed({ nbf: now + 120 })), invalid],
    ['for somebody else', '/mcp', bearer(await signed({ aud: 'https://other.example.com/mcp' })), invalid],
    ['for nobody', '/mcp', bearer(await signed({ aud: undefined })), invalid],
    ['of another issuer', '/mcp', bearer(await signed({ iss: 'https://other.example.com' })), invalid],
    ['of no issuer', '/mcp', bearer(await signed({ iss: undefined })), invalid],
    ['signed by another key of that name', '/mcp', bearer(await other.signed()), invalid],
    ['signed by a key of another name', '/mcp', bearer(await other.signed({}, 'two')), invalid],
    ['not signed', '/mcp', bearer(new UnsecuredJWT(good).encode()), invalid],
    [
      'signed with the public key',
      '/mcp',
      bearer(await new SignJWT(good).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(publicPem)),
      invalid,
    ],
    ['with more behind it', '/mcp', { authorization: `Bearer ${token}, Bearer ${token}` }, invalid],
    ['for a view, at the gateway', '/mcp', bearer(await signed({ aud: `${RESOURCE}/oncall` })), invalid],
    [
      'for a view, at another',
      '/mcp/audit',
      bearer(await signed({ aud: `${RESOURCE}/oncall` })),
      ofView(invalid, 'audit'),
    ],
  ]
  for (const [name, path, headers, challenge] of refused) {
    const reply = await at(path, headers)
    t.match(
      reply,
      { status: 401, headers: { 'content-type': 'application/json', 'www-authenticate': challenge } },
      name,
    )
    const { id, error } = JSON.parse(reply.text)
    const reason = challenge.includes('error=') ? 'bad-token' : 'no-token'
    t.match({ id, error }, { id: null, error: { code: -32000, data: { reason } } }, name)
  }
  t.equal(server.seen.length + gateway.broker.seen.length, 0, 'nobody saw any of them')

  const { until, wake } = waitingRoom()
  gateway.xds.onAccessLog(wake)
  // By these words the gateway learns that the issuer may have new keys.
  await until(() => gateway.logged.find(({ details }) => details.startsWith(UNKNOWN_KEY)))

  const accepted: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
    ['for the gateway', '/mcp', bearer(token)],
    ['the scheme in lower case', '/mcp', { authorization: `bearer ${token}` }],
    ['the scheme in capitals', '/mcp', { authorization: `BEARER ${token}` }],
    ['for the gateway and others', '/mcp', bearer(await signed({ aud: ['https://x', RESOURCE] }))],
    ['for the gateway, at a view', '/mcp/oncall', bearer(token)],
    ['for a view, there', '/mcp/oncall', bearer(await signed({ aud: `${RESOURCE}/oncall` }))],
    ['expired within the skew', '/mcp', bearer(await signed({ exp: now - 20 }))],
  ]
  for (const [name, path, headers] of accepted) {
    const reply = await at(path, headers)
    t.equal(reply.status, 200, `${name}: ${reply.text}`)
    t.match(server.seen.at(-1)?.headers, { 'seen-subject': 'ann', authorization: undefined }, name)
  }
  t.equal(server.seen.length, accepted.length)

  // A token that Envoy remembers is held against the time and the place all the same.
  const ofOncall = bearer(await signed({ aud: `${RESOURCE}/oncall` }))
  const soon = bearer(await signed({ exp: Math.floor(Date.now() / 1000) - 55 }))
  for (const headers of [ofOncall, soon, soon]) t.equal((await at('/mcp/oncall', headers)).status, 200)
  for (const path of ['/mcp', '/mcp/audit']) t.equal((await at(path, ofOncall)).status, 401, path)
  const expired = async (): Promise<boolean> => (await at('/mcp/oncall', soon)).status === 401
  while (!(await expired())) await sleep(200)

  const elsewhere = await at('/.well-known/oauth-protected-resource', { 'want-cluster': 'mcp.broker' })
  t.equal(elsewhere.headers['www-authenticate'], 'Bearer of="the broker"', "the broker's own challenge passes")
  const passed = await at('/mcp', { ...bearer(token), 'want-cluster': 'mcp.broker' })
  t.equal(passed.status, 401)
  t.equal(passed.headers['www-authenticate'], 'Bearer of="the broker"')
  t.equal(gateway.broker.seen.at(-1)?.headers.authorization, `Bearer ${token}`, 'the broker verifies it again')
})

void t.test('keys: none yet, others, unusable ones; and an address that changes', async (t) => {
  const server = await stub(t, json)
  const { key, signed } = await issuer('one')
  const next = await issuer('two')
  const unusable = { kty: 'EC', crv: 'secp256k1', x: 'AA', y: 'AA', kid: 'three', use: 'sig' }
  const servers = [httpServer('a', url(server))]
  const gateway = await start(t, servers, { changes: { auth, url: RESOURCE } })
  const call = (token: string, path = '/mcp') =>
    request(`http://127.0.0.1:${gateway.port}${path}`, {
      body: '{}',
      headers: { 'content-type': 'application/json', 'want-cluster': 'direct.a', ...bearer(token) },
    })
  const token = await signed()
  for (const path of ['/mcp', '/mcp/x', '/mcp?x']) {
    const closed = await call(token, path)
    t.match(closed, { status: 503, headers: { 'retry-after': '5' } }, path)
    t.match(JSON.parse(closed.text).error, { code: -32603, data: { reason: 'no-keys' } })
  }
  t.equal(server.seen.length, 0)
  t.equal((await call(token, '/.well-known/oauth-protected-resource')).status, 200, 'what is public stays open')

  const steps: readonly (readonly [string, readonly unknown[], number, number])[] = [
    ['the first key', [key], 200, 401],
    ['both keys', [key, next.key], 200, 200],
    ['a key that Envoy cannot use, beside one', [unusable, next.key], 401, 200],
    ['the second key', [next.key], 401, 200],
  ]
  const later = await next.signed()
  for (const [name, keys, first, second] of steps) {
    gateway.live = { ...nothingLive, jwks: JSON.stringify({ keys }) }
    t.match(await gateway.publish(servers), { envoys: 1, of: 1 }, name)
    t.equal((await call(token)).status, first, name)
    t.equal((await call(later)).status, second, name)
  }

  const { until, wake } = waitingRoom()
  gateway.xds.onApplied(wake)
  const nacked: Resources = {
    ...gateway.resources(servers),
    [EXTENSION]: resources(gateway.registry(servers), gateway.run, '/x', { ...nothingLive, jwks: 'none' })[EXTENSION],
  }
  void gateway.xds.publish(snapshot(nacked))
  await until(() => gateway.xds.status()[0]?.nacks[0])
  t.match(gateway.xds.status()[0]?.nacks, [{ name: 'mcp_jwt', path: 'gateway.auth', place: auth.place }])
  t.equal((await call(later)).status, 200, 'the last good keys stay')

  const moved = resources(
    gateway.registry(servers, { url: 'https://other.example.com/x/mcp' }),
    gateway.run,
    join(certs, 'ca.pem'),
    gateway.live,
  )
  t.match(await gateway.xds.publish(snapshot(moved), WAIT_MS), { envoys: 1, of: 1 })
  t.equal(
    (await call('x')).headers['www-authenticate'],
    'Bearer error="invalid_token", resource_metadata="https://other.example.com/.well-known/oauth-protected-resource/x/mcp"',
  )
  const open = resources(registryOf(gateway.port, servers), gateway.run, join(certs, 'ca.pem'))
  t.match(await gateway.xds.publish(snapshot(open), WAIT_MS), { envoys: 1, of: 1 })
  t.equal((await call('x')).status, 200, 'no longer asked for')
  t.equal(await gateway.envoy.stat('listener_manager.listener_modified'), 0)
  t.equal(await gateway.envoy.stat('listener_manager.listener_in_place_updated'), 0)
  t.notMatch(gateway.envoy.log(), new RegExp(token.slice(-20)))
})

void t.test('browsers: pages of allowed origins may ask, and read the answers', async (t) => {
  const server = await stub(t, json)
  const { key, signed } = await issuer('one')
  const gateway = await start(t, [httpServer('a', url(server))], {
    changes: { auth, url: RESOURCE, origins: ['https://app.example.com'] },
    live: { ...nothingLive, jwks: JSON.stringify({ keys: [key] }) },
  })
  const ask = (origin: string, options: RequestOptions = {}) =>
    request(`http://127.0.0.1:${gateway.port}/mcp`, {
      ...options,
      headers: { origin, 'want-cluster': 'mcp.broker', ...options.headers },
    })
  const preflight = {
    method: 'OPTIONS',
    headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,mcp-param-x' },
  }
  const token = bearer(await signed())
  const mine = [
    'https://app.example.com',
    'http://localhost:3000',
    'https://localhost',
    'http://127.0.0.1:1',
    'http://[::1]:8080',
  ]
  for (const origin of mine) {
    const first = await ask(origin, preflight)
    t.equal(first.status, 200, `${origin}: no token is asked for`)
    t.match(first.headers, {
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS',
      'access-control-allow-headers': /^authorization, content-type, accept, mcp-session-id,.*, \*$/,
      'access-control-max-age': '3600',
      'access-control-allow-credentials': undefined,
    })
    for (const [headers, status] of [
      [{}, 401],
      [token, 200],
    ] as const) {
      const reply = await ask(origin, { body: '{}', headers })
      t.equal(reply.status, status)
      t.match(reply.headers, {
        'access-control-allow-origin': origin,
        'access-control-expose-headers': 'mcp-session-id, mcp-protocol-version, www-authenticate, retry-after',
      })
    }
  }
  const before = gateway.broker.seen.length
  const others = [
    'https://app.example.com.evil.example',
    'https://evil.example?https://app.example.com',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'http://localhost:3000.evil.example',
    'null',
  ]
  for (const origin of others) {
    const first = await ask(origin, preflight)
    t.equal(first.headers['access-control-allow-origin'], undefined, origin)
    const reply = await ask(origin, { body: '{}' })
    t.match(reply, { status: 401, headers: { 'access-control-allow-origin': undefined } }, origin)
  }
  t.equal(gateway.broker.seen.length, before + others.length, 'the first question of theirs is for ext_proc to refuse')
})

void t.test(
  'limits: each of its own bucket, told when to come back, and changed without forgetting the others',
  async (t) => {
    const server = await stub(t, json)
    const place = { line: 1, column: 1 }
    const per = (calls: number, perMs = 3_600_000): Limits => ({
      rate: { calls, perMs, per: 'subject', place },
      tools: [],
    })
    const limited = httpServer('a', url(server), {
      limits: { ...per(2), tools: [{ pattern: 'search_*', rate: { calls: 1, perMs: 3_600_000, per: 'tool', place } }] },
    })
    const servers = [limited, httpServer('b', url(server))]
    const gateway = await start(t, servers, { changes: { limits: per(4) } })
    const of = (limits: Readonly<Record<string, string>>) =>
      gateway.call(
        { cluster: 'direct.a', id: '7', limits: JSON.stringify(limits) },
        { headers: { origin: 'http://localhost' } },
      )
    const onServer = (who: string) => ({ limit_server: 'a', limit_server_of: `subject:${who}` })
    const onTool = (tool: string) => ({ limit_tool: 'a/search_*', limit_tool_of: `tool:${tool}` })
    const onGateway = (who: string) => ({ limit_gateway: 'gateway', limit_gateway_of: `subject:${who}` })
    // Before 1.40 it can't say when.
    const tells = !gateway.xds.status()[0]?.version.startsWith('1.39.')
    const steps: readonly (readonly [string, Readonly<Record<string, string>>, number, number?])[] = [
      ['one of two', onServer('ann'), 200],
      ['two of two', onServer('ann'), 200],
      ['a third', onServer('ann'), 429, 1800],
      ['somebody else', onServer('bob'), 200],
      ['nobody in particular', onServer(''), 200],
      ['a tool', onTool('search_a'), 200],
      ['again', onTool('search_a'), 429, 3600],
      ['another tool', onTool('search_b'), 200],
      ['all of them', { ...onServer('eve'), ...onTool('search_c'), ...onGateway('eve') }, 200],
      ['all of them, one is used up', { ...onServer('eve'), ...onTool('search_c'), ...onGateway('eve') }, 429, 3600],
      ['the gateway', onGateway('joe'), 200],
      ['a bucket that is not', { limit_server: 'b', limit_server_of: 'ann' }, 200],
      ['nothing', {}, 200],
    ]
    for (const [name, limits, status, wait] of steps) {
      const reply = await of(limits)
      t.equal(reply.status, status, name)
      if (wait === undefined) continue
      const seconds = Number(reply.headers['retry-after'])
      t.ok(tells ? seconds > wait / 2 && seconds <= wait : seconds === 1, `${name}: again after ${seconds} s`)
      t.equal(reply.headers['access-control-allow-origin'], 'http://localhost')
      t.match(JSON.parse(reply.text), { id: 7, error: { code: -32603, data: { reason: 'rate-limited' } } }, name)
    }
    t.match(await gateway.publish([limited, httpServer('c', url(server))]), { envoys: 1, of: 1 })
    t.equal((await of(onServer('ann'))).status, 429, 'another server changes nothing')
    t.match(await gateway.publish([httpServer('a', url(server), { limits: per(20) })]), { envoys: 1, of: 1 })
    for (let call = 0; call < 20; call += 1) t.equal((await of(onServer('ann'))).status, 200)
    t.equal((await of(onServer('ann'))).status, 429)
    t.equal(await gateway.envoy.stat('listener_manager.listener_modified'), 0)
  },
)

void t.test(
  'a token of our own for a server: before it is there nothing goes out, then it does, on both paths',
  async (t) => {
    const server = await stub(t, json)
    const place = { line: 5, column: 3 }
    const oauth = { token: 'https://idp.example.com/token', client: 'us', scopes: [], place }
    const servers = [httpServer('a', url(server), { oauth, forward: ['x-tenant'] })]
    const gateway = await start(t, servers, { brokerAnswer: json })
    const both = async (): Promise<readonly Reply[]> => [
      await gateway.call({ cluster: 'direct.a' }, { headers: { authorization: 'Bearer client', 'x-tenant': 't' } }),
      await gateway.inner('mcp.a'),
    ]
    const without = await both()
    t.equal(without[0]?.status, 502)
    t.match(without[0]?.text, /"code":-32603,.*"reason":"no-credential"/)
    t.match(without[1]?.headers, { [INNER_REPLY]: '- failed_to_inject_credential' })
    t.equal(gateway.broker.seen.length, 0, 'there is nothing to replay')
    t.equal(server.seen.length, 0, 'nothing goes out')
    for (const value of ['Bearer one', 'Bearer two', undefined]) {
      server.seen.length = 0
      gateway.live = { ...nothingLive, credentials: new Map(value === undefined ? [] : [['a', new Secret(value)]]) }
      const clusters = gateway.xds.status()[0]?.types['envoy.config.cluster.v3.Cluster']?.pushes
      t.match(await gateway.publish(servers), { envoys: 1, of: 1 })
      t.equal(gateway.xds.status()[0]?.types['envoy.config.cluster.v3.Cluster']?.pushes, clusters, 'the secret alone')
      await both()
      t.same(
        server.seen.map(({ headers }) => headers.authorization),
        value === undefined ? [] : [value, value],
      )
    }
  },
)

void t.test('headers of the client that a server gets are those its entry names', async (t) => {
  const server = await stub(t, json)
  const forward = ['authorization', 'cookie']
  const gateway = await start(t, [httpServer('plain', url(server)), httpServer('told', url(server), { forward })])
  const headers = { authorization: 'Bearer client', cookie: 'a=b' }
  await gateway.call({ cluster: 'direct.plain' }, { headers })
  t.match(server.seen[0]?.headers, { authorization: undefined, cookie: undefined })
  await gateway.call({ cluster: 'direct.told' }, { headers })
  t.match(server.seen[1]?.headers, headers)
})
