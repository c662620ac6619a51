/** The processor behind a real Envoy: every way to fail stays closed, the right bytes arrive, and no call is lost under load. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import loader from '@grpc/proto-loader'
import t from 'tap'
import { Pool } from 'undici'
import type { RoutingTable } from '../src/catalog/routing-table.ts'
import { findEnvoy } from '../src/envoy/find.ts'
import { serveExtProc } from '../src/extproc/server.ts'
import type { ParamHeader } from '../src/mcp/param-headers.ts'
import { noPolicy, policyOf } from '../src/policy/policy.ts'
import { principalOf } from '../src/policy/principal.ts'
import { parseRegistry } from '../src/registry/parse.ts'
import type { ClientSession } from '../src/sessions/session-table.ts'
import { type Reaction, startBreakableProcessor } from './support/breakable-processor.ts'
import { startEdgeEnvoy } from './support/edge-envoy.ts'
import { registryIn } from './support/registry-text.ts'
import { inSeconds, signingKey } from './support/tokens.ts'

interface Received {
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}
/** Answers everything with a session id that must not leak, and keeps what it received. */
const listen = async () => {
  const received: Received[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({ url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'secret-of-the-server' })
      response.end('{"jsonrpc":"2.0","id":1,"result":{}}')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    received,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

const { path: envoy } = await findEnvoy({ env: process.env })
const dir = await mkdtemp(join(tmpdir(), 'extproc-'))
t.teardown(() => rm(dir, { recursive: true }))
let sockets = 0
const newSocket = () => join(dir, `${++sockets}.sock`)

const call = (name: string, id = '1', more = '') =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"arguments":{"name":"${name}","n":9007199254740993,"x":1.0${more}},"name":"${name}"}}`
const REVISION = '2026-07-28'
/** A call of a stateless client; `more` are further members of its parameters. */
const stateless = (name: string, { more = '', capabilities = '{}', version = REVISION, method = 'tools/call' } = {}) =>
  `{"jsonrpc":"2.0","id":1,"method":"${method}","params":{"${method === 'resources/read' ? 'uri' : 'name'}":"${name}","_meta":{"io.modelcontextprotocol/protocolVersion":"${version}","io.modelcontextprotocol/clientCapabilities":${capabilities},"n":9007199254740993}${more}}}`
const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`
const headers = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-session-id': 'client',
  'mcp-protocol-version': '2025-11-25',
}

const definition = loader.loadSync('envoy/service/ext_proc/v3/external_processor.proto', {
  includeDirs: ['protos'],
  keepCase: true,
})
const service = definition['envoy.service.ext_proc.v3.ExternalProcessor']
if (service === undefined || 'format' in service || service['Process'] === undefined) throw new Error('no such service')
const { responseSerialize } = service['Process']

const set = (key: string, value: string, how: 'raw_value' | 'value' = 'raw_value') => ({
  header: { key, [how]: how === 'value' ? value : Buffer.from(value) },
  append_action: 2,
})
const onwards = set('x-mcp-cluster', 'direct.one')
const onHead = (response: object = {}, more: object = {}) =>
  responseSerialize({ request_headers: { response }, ...more })
const onBody = (response: object) => responseSerialize({ request_body: { response } })
const onResponse = (response: object = {}) => responseSerialize({ response_headers: { response } })
const direct = onBody({ header_mutation: { set_headers: [onwards] }, clear_route_cache: true })
const changed = (length: readonly object[]) =>
  onBody({
    header_mutation: { set_headers: [onwards, ...length] },
    body_mutation: { body: Buffer.from('{"new":1}') },
    clear_route_cache: true,
  })
/** Asks for the response's headers too. */
const andResponse = {
  mode_override: { request_body_mode: 2, response_header_mode: 1, request_trailer_mode: 2, response_trailer_mode: 2 },
}

const ok: Reaction = { status: 0 }
/** What the processor does with the head, the body and the response's head; what the client sees; calls at the server. */
const failures: readonly (readonly [string, readonly (readonly Reaction[])[], number, number])[] = [
  ['nothing wrong (so that the others prove something)', [[onHead()], [direct, ok]], 200, 1],
  ['a body mutation without content-length', [[onHead()], [changed([]), ok]], 503, 0],
  ['a body mutation with a wrong content-length', [[onHead()], [changed([set('content-length', '3')]), ok]], 503, 0],
  ['a body mutation as it should be', [[onHead()], [changed([set('content-length', '9')]), ok]], 200, 1],
  [
    'no clear_route_cache in the head',
    [[onHead({ header_mutation: { set_headers: [onwards] } }, { mode_override: { response_header_mode: 2 } }), ok]],
    503,
    0,
  ],
  [
    'no clear_route_cache in the body',
    [[onHead()], [onBody({ header_mutation: { set_headers: [onwards] } }), ok]],
    503,
    0,
  ],
  [
    'value instead of raw_value',
    [
      [onHead()],
      [
        onBody({
          header_mutation: { set_headers: [set('x-mcp-cluster', 'direct.one', 'value')] },
          clear_route_cache: true,
        }),
        ok,
      ],
    ],
    503,
    0,
  ],
  [
    'only another authority',
    [
      [onHead()],
      [onBody({ header_mutation: { set_headers: [set(':authority', 'direct.one')] }, clear_route_cache: true }), ok],
    ],
    503,
    0,
  ],
  [
    'a cluster that does not exist',
    [
      [onHead()],
      [
        onBody({ header_mutation: { set_headers: [set('x-mcp-cluster', 'direct.none')] }, clear_route_cache: true }),
        ok,
      ],
    ],
    503,
    0,
  ],
  ['an empty answer', [[onHead()], [onBody({}), ok]], 503, 0],
  ['killed while it owes the head', [['die']], 503, 0],
  ['killed while it owes the body', [[onHead()], ['die']], 503, 0],
  ['a gRPC error instead of the head', [[{ status: 13 }]], 503, 0],
  ['a gRPC error instead of the body', [[onHead()], [{ status: 13 }]], 503, 0],
  ['hangs on the head', [['hang']], 504, 0],
  ['hangs on the body', [[onHead()], ['hang']], 504, 0],
  ['an answer nobody asked for', [[direct]], 503, 0],
  [
    'the head answered twice',
    [
      [onHead(), onHead()],
      [direct, ok],
    ],
    503,
    0,
  ],
  ['bytes that are no answer', [[Buffer.from([0xff, 0xff])]], 503, 0],
  ['a clean close instead of the head', [[ok]], 503, 0],
  ['a clean close instead of the body', [[onHead()], [ok]], 503, 0],
  [
    'a response judged (so that the next prove something)',
    [[onHead({}, andResponse)], [direct], [onResponse(), ok]],
    200,
    1,
  ],
  ['a clean close instead of the response', [[onHead({}, andResponse)], [direct], [ok]], 200, 1],
  ['a gRPC error instead of the response', [[onHead({}, andResponse)], [direct], [{ status: 13 }]], 503, 1],
  ['hangs on the response', [[onHead({}, andResponse)], [direct], ['hang']], 504, 1],
  ['killed while it owes the response', [[onHead({}, andResponse)], [direct], ['die']], 503, 1],
]
void t.test('a processor that breaks', async (t) => {
  await using server = await listen()
  await using broker = await listen()
  const socket = newSocket()
  const processor = await startBreakableProcessor(socket)
  await using edge = await startEdgeEnvoy({ envoy, extProcSocket: socket, server: server.port, broker: broker.port })
  const pool = new Pool(`http://127.0.0.1:${edge.port}`)
  t.teardown(() => pool.destroy())
  const post = async () => {
    const before = server.received.length
    const response = await pool.request({
      path: '/mcp',
      method: 'POST',
      body: call('one_x'),
      headers: { ...headers, 'x-mcp-cluster': 'direct.one' },
    })
    await response.body.dump()
    return {
      status: response.statusCode,
      calls: server.received.length - before,
      leak: response.headers['mcp-session-id'],
    }
  }
  for (const [name, script, status, calls] of failures) {
    await t.test(name, async (t) => {
      processor.script = script
      t.same(await post(), { status, calls, leak: undefined })
    })
  }
  await t.test('a GET that is closed in order', async (t) => {
    processor.script = [[ok]]
    const response = await pool.request({ path: '/mcp', method: 'GET', headers })
    await response.body.dump()
    t.equal(response.statusCode, 503)
  })
  await processor[Symbol.asyncDispose]()
  await t.test('gone', async (t) => t.same(await post(), { status: 503, calls: 0, leak: undefined }))
  t.equal(broker.received.length, 0)
})

const region: ParamHeader = { header: 'Region', key: 'region', path: ['region'], type: 'string' }
const table: RoutingTable = {
  policy: noPolicy,
  servers: new Map([
    [
      'one',
      {
        name: 'one',
        cluster: 'direct.one',
        path: '/served?at=here',
        eras: new Set(['stateful', 'stateless']),
        client: ['elicitation'],
        prefixedResources: false,
      },
    ],
  ]),
  tools: new Map([
    ['one_x', { exposed: 'one_x', own: 'x', server: 'one', hints: '', params: [] }],
    ['one_y', { exposed: 'one_y', own: 'größe', server: 'one', hints: '', params: [region] }],
    ['keep', { exposed: 'keep', own: 'keep', server: 'one', hints: '', params: [] }],
  ]),
  prompts: new Map(),
  resources: new Map([
    ['one+doc://a', { exposed: 'one+doc://a', own: 'doc://a', server: 'one', hints: '', params: [] }],
  ]),
  templates: [],
}
const session: ClientSession = {
  claims: {
    key: 'k',
    createdMs: 0,
    protocolVersion: '2025-11-25',
    capabilities: '{}',
    features: [],
    clientName: '',
    clientVersion: '',
    principal: '',
    view: '',
  },
  servers: new Map([['one', { id: 'session-at-one', protocolVersion: '2025-06-18' }]]),
  directCalls: new Map(),
  lastUsedMs: 0,
}
let fault: Error | undefined
const faults: unknown[] = []
const rules = {
  table: () => {
    if (fault !== undefined) throw fault
    return table
  },
  sessions: { find: (id: string) => (id === 'client' ? session : undefined) },
  edge: {
    path: '/mcp',
    views: new Set<string>(),
    hosts: new Set<string>(),
    origins: new Set<string>(),
    maxBody: 4_194_304,
  },
  brokerCluster: 'mcp.broker',
  log: { error: (_: string, fields?: Readonly<Record<string, unknown>>) => faults.push(fields?.['error']) },
}

void t.test('stateless calls', async (t) => {
  await using server = await listen()
  await using broker = await listen()
  const socketPath = newSocket()
  await using _processor = await serveExtProc({ ...rules, socketPath })
  await using edge = await startEdgeEnvoy({
    envoy,
    extProcSocket: socketPath,
    server: server.port,
    broker: broker.port,
  })
  const pool = new Pool(`http://127.0.0.1:${edge.port}`)
  t.teardown(() => pool.destroy())
  const head = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': REVISION,
    'mcp-method': 'tools/call',
  }
  /** What was received of it, and how many exchanges with the processor it took. */
  const post = async (body: string, more: Record<string, string>) => {
    const [direct, brokered] = [server.received.length, broker.received.length]
    const streams = await edge.stat('http.edge.ext_proc.streams_started')
    const messages = await edge.stat('http.edge.ext_proc.stream_msgs_sent')
    const response = await pool.request({ path: '/mcp', method: 'POST', body, headers: { ...head, ...more } })
    await response.body.dump()
    const saw: unknown = JSON.parse(String(response.headers['x-saw']))
    return {
      status: response.statusCode,
      session: response.headers['mcp-session-id'],
      saw,
      direct: server.received.slice(direct),
      brokered: broker.received.slice(brokered),
      streams: (await edge.stat('http.edge.ext_proc.streams_started')) - streams,
      messages: (await edge.stat('http.edge.ext_proc.stream_msgs_sent')) - messages,
    }
  }

  await t.test('one exchange, renamed in body and header, and nothing of a session', async (t) => {
    const got = await post(stateless('one_x'), {
      'mcp-name': 'one_x',
      'mcp-session-id': 'client',
      'mcp-param-unknown': 'kept',
      authorization: 'Bearer client',
      'x-custom': 'y',
      'x-mcp-cluster': 'mcp.broker',
      traceparent: '00-1-2-01',
      baggage: 'a=b',
    })
    t.match(got, { status: 200, streams: 1, messages: 2, brokered: [], session: undefined })
    t.match(got.saw, { era: 'stateless', path: 'direct', server: 'one', tool: 'x', session: '', id: '1' })
    const [received] = got.direct
    t.equal(got.direct.length, 1)
    t.equal(received?.body, stateless('x'))
    t.equal(received?.url, '/served?at=here')
    t.same(received?.headers, {
      host: `127.0.0.1:${edge.port}`,
      accept: head.accept,
      'content-type': 'application/json',
      'content-length': String(stateless('x').length),
      'mcp-protocol-version': REVISION,
      'mcp-method': 'tools/call',
      'mcp-name': 'x',
      'mcp-param-unknown': 'kept',
      traceparent: '00-1-2-01',
      baggage: 'a=b',
      'x-request-id': received?.headers['x-request-id'],
    })
    t.notOk(session.directCalls.has('1'))
  })

  const argument = { more: ',"arguments":{"region":"eu"}' }
  const reading = { method: 'resources/read' }
  const direct: readonly (readonly [string, string, Record<string, string>, string, string])[] = [
    ['a name that is the same', stateless('keep'), { 'mcp-name': 'keep' }, stateless('keep'), 'keep'],
    ['a name in base64', stateless('one_x'), { 'mcp-name': base64('one_x') }, stateless('x'), 'x'],
    [
      'an own name for base64, and a repeated argument',
      stateless('one_y', argument),
      { 'mcp-name': 'one_y', 'mcp-param-region': 'eu' },
      stateless('größe', argument),
      base64('größe'),
    ],
    [
      'a resource',
      stateless('one+doc://a', reading),
      { 'mcp-name': 'one+doc://a', 'mcp-method': 'resources/read' },
      stateless('doc://a', reading),
      'doc://a',
    ],
  ]
  for (const [name, body, more, expected, mcpName] of direct) {
    await t.test(name, async (t) => {
      const got = await post(body, more)
      t.match(got, { status: 200, streams: 1, messages: 2, brokered: [] })
      t.equal(got.direct.length, 1)
      t.equal(got.direct[0]?.body, expected)
      t.equal(got.direct[0]?.headers['mcp-name'], mcpName)
      t.equal(got.direct[0]?.headers['mcp-param-region'], more['mcp-param-region'])
    })
  }

  const brokered: readonly (readonly [string, string, Record<string, string>])[] = [
    ['another name in the header', stateless('one_x'), { 'mcp-name': 'keep' }],
    ['no name in the header', stateless('one_x'), {}],
    ['a name twice in the header', stateless('one_x'), { 'mcp-name': 'one_x, one_x' }],
    ['broken base64 in the header', stateless('one_x'), { 'mcp-name': '=?base64?%?=' }],
    ['another method in the header', stateless('one_x'), { 'mcp-name': 'one_x', 'mcp-method': 'prompts/get' }],
    ['another version in the body', stateless('one_x', { version: '2025-11-25' }), { 'mcp-name': 'one_x' }],
    [
      'a version nobody speaks',
      stateless('one_x', { version: '2099-01-01' }),
      { 'mcp-name': 'one_x', 'mcp-protocol-version': '2099-01-01' },
    ],
    ['a body without `_meta`', call('one_x'), { 'mcp-name': 'one_x' }],
    ['a repeated argument that is missing', stateless('one_y', argument), { 'mcp-name': 'one_y' }],
    [
      'a repeated argument that differs',
      stateless('one_y', argument),
      { 'mcp-name': 'one_y', 'mcp-param-region': 'us' },
    ],
    [
      'a client that declares more than the server may ask for',
      stateless('one_x', { capabilities: '{"sampling":{}}' }),
      { 'mcp-name': 'one_x' },
    ],
    ['an unknown tool', stateless('one_z'), { 'mcp-name': 'one_z' }],
    ['a list', stateless('', { method: 'tools/list' }), { 'mcp-method': 'tools/list' }],
    ['a foreign origin', stateless('one_x'), { 'mcp-name': 'one_x', origin: 'https://evil.example.com' }],
    ['two names', stateless('one_x', { more: ',"name":"keep"' }), { 'mcp-name': 'one_x' }],
  ]
  for (const [name, body, more] of brokered) {
    await t.test(`the broker gets ${name}, byte for byte`, async (t) => {
      const got = await post(body, more)
      t.equal(got.direct.length, 0)
      t.equal(got.brokered.length, 1)
      t.equal(got.brokered[0]?.body, body)
      t.match(got.saw, { era: 'stateless', path: 'broker' })
      for (const [key, value] of Object.entries({ ...head, ...more })) t.equal(got.brokered[0]?.headers[key], value)
    })
  }
})

void t.test('the processor', async (t) => {
  await using server = await listen()
  await using broker = await listen()
  const socketPath = newSocket()
  await using _processor = await serveExtProc({ ...rules, socketPath })
  await using edge = await startEdgeEnvoy({
    envoy,
    extProcSocket: socketPath,
    server: server.port,
    broker: broker.port,
  })
  const pool = new Pool(`http://127.0.0.1:${edge.port}`, { connections: 16 })
  t.teardown(() => pool.destroy())
  const post = (body: string | Buffer, more: Record<string, string> = {}) =>
    pool.request({ path: '/mcp', method: 'POST', body, headers: { ...headers, ...more } })

  await t.test('a call arrives as the server knows it', async (t) => {
    const response = await post(call('one_x', '"a"'), {
      authorization: 'Bearer client',
      cookie: 'a=b',
      'x-mcp-cluster': 'mcp.broker',
      'x-mcp-server': 'two',
      'x-custom': 'y',
      'user-agent': 'z',
      traceparent: '00-1-2-01',
    })
    t.equal(response.statusCode, 200)
    t.equal(response.headers['mcp-session-id'], undefined)
    const saw: unknown = JSON.parse(String(response.headers['x-saw']))
    t.match(saw, { server: 'one', tool: 'x', method: 'tools/call', path: 'direct', id: '"a"', era: 'stateful' })
    await response.body.dump()
    const [got] = server.received
    t.equal(got?.body, call('one_x', '"a"').replace('"name":"one_x"}}', '"name":"x"}}'))
    t.equal(got?.url, '/served?at=here')
    t.same(got?.headers, {
      host: `127.0.0.1:${edge.port}`,
      accept: headers.accept,
      'content-type': 'application/json',
      'content-length': String(call('x', '"a"').length + 'one_'.length),
      'mcp-session-id': 'session-at-one',
      'mcp-protocol-version': '2025-06-18',
      traceparent: '00-1-2-01',
      'x-request-id': got?.headers['x-request-id'],
    })
    t.equal(session.directCalls.get('"a"'), 'one')
  })

  const brokered: readonly (readonly [string, string, Record<string, string>])[] = [
    ['no session', call('one_x'), { 'mcp-session-id': '' }],
    ['a forged session', call('one_x'), { 'mcp-session-id': 'forged' }],
    ['a foreign origin', call('one_x'), { origin: 'https://evil.example.com' }],
    ['another content type', call('one_x'), { 'content-type': 'text/plain' }],
    ['an unknown tool', call('one_z'), {}],
    ['a session whose body claims the other era', stateless('one_x'), {}],
    ['two names', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one_x","name":"one_x"}}', {}],
    ['no JSON', '{', {}],
    ['a method that splits headers', '{"jsonrpc":"2.0","id":1,"method":"a\\r\\nx-mcp-cluster: direct.one"}', {}],
  ]
  for (const [name, body, more] of brokered) {
    await t.test(`the broker gets ${name}, byte for byte`, async (t) => {
      const before = server.received.length
      const response = await post(body, more)
      await response.body.dump()
      const got = broker.received.at(-1)
      t.equal(got?.body, body)
      t.equal(server.received.length, before)
      for (const [key, value] of Object.entries(more)) t.equal(got?.headers[key], value)
    })
  }
  await t.test('the broker gets GET and DELETE', async (t) => {
    for (const method of ['GET', 'DELETE'] as const) {
      const before = broker.received.length
      await (await pool.request({ path: '/mcp', method, headers })).body.dump()
      t.equal(broker.received.length, before + 1)
    }
  })
  await t.test('a fault of ours is a 503, at once, and told', async (t) => {
    const before = server.received.length + broker.received.length
    fault = new Error('a bug')
    const response = await post(call('one_x'))
    await response.body.dump()
    t.equal(response.statusCode, 503)
    t.equal(server.received.length + broker.received.length, before)
    t.same(faults.splice(0), [fault])
    fault = undefined
  })
  await t.test('three megabytes pass, five do not', async (t) => {
    const large = call('one_x', '1', `,"s":"${'x'.repeat(3_000_000)}"`)
    const response = await post(large)
    await response.body.dump()
    t.equal(response.statusCode, 200)
    t.equal(server.received.at(-1)?.body, large.replace('"name":"one_x"}}', '"name":"x"}}'))
    const before = server.received.length + broker.received.length
    const endless = Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(100_000, ' ')))
    const more = await pool.request({ path: '/mcp', method: 'POST', body: endless, headers })
    await more.body.dump()
    t.equal(more.statusCode, 413)
    t.equal(server.received.length + broker.received.length, before)
  })
  await t.test('20,000 calls, 16 at a time, and none fails', async (t) => {
    const before = server.received.length
    const failed = await edge.stat('http.edge.ext_proc.streams_failed')
    const statuses = new Map<number, number>()
    let left = 20_000
    const caller = async () => {
      while (left-- > 0) {
        const response = await post(call('one_x', String(left)))
        await response.body.dump()
        statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: 16 }, caller))
    t.same([...statuses], [[200, 20_000]])
    t.equal(server.received.length, before + 20_000)
    t.equal(session.directCalls.size, 256)
    t.equal(await edge.stat('http.edge.ext_proc.streams_failed'), failed)
    t.same(faults, [])
  })
})

const ISSUER = 'https://idp.example.com'
const access = `gateway:
  url: https://mcp.example.com/mcp
  auth: { issuer: "${ISSUER}" }
views:
  ops: { tools: "*" }
servers:
  one:
    url: http://127.0.0.1:1/mcp
    access:
      - { tools: x, allow: { groups: dev }, when: "claims.level >= 3 && claims.nested.deep[0] && request.address == '127.0.0.1'" }
      - { tools: keep, allow: { subjects: ann }, confirm: true }
`
void t.test('tokens that Envoy verified', async (t) => {
  await using server = await listen()
  await using broker = await listen()
  const key = await signingKey('ES256')
  const policy = policyOf(
    registryIn(parseRegistry(access, { file: '/etc/mcp/registry.yaml', env: {}, readFile: () => '' })),
  )
  const claims = {
    iss: ISSUER,
    aud: 'https://mcp.example.com/mcp',
    exp: inSeconds(600),
    groups: ['dev', 'größe'],
    level: 3,
    nested: { deep: [true, null] },
  }
  const ann = await key.sign({ ...claims, sub: 'ann' })
  const bob = await key.sign({ ...claims, sub: 'bob', groups: 'ops' })
  const held = (sub: string, view = ''): ClientSession => {
    const principal = principalOf({ iss: ISSUER, sub })
    if (principal === undefined) throw new Error('nobody')
    return { ...session, claims: { ...session.claims, principal: principal.key, view } }
  }
  const sessions = new Map([
    ['anns', held('ann')],
    ['bobs', held('bob')],
    ['ops', held('ann', 'ops')],
  ])
  const socketPath = newSocket()
  await using _processor = await serveExtProc({
    ...rules,
    socketPath,
    table: () => ({ ...table, policy }),
    edge: { ...rules.edge, views: new Set(['ops', 'open']) },
    sessions: {
      find(id, { principal, view }) {
        const found = sessions.get(id)
        return found?.claims.principal === principal && found.claims.view === view ? found : undefined
      },
    },
  })
  const type = 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3'
  await using edge = await startEdgeEnvoy({
    envoy,
    extProcSocket: socketPath,
    server: server.port,
    broker: broker.port,
    filters: [
      {
        name: 'jwt',
        typed_config: {
          '@type': `${type}.JwtAuthentication`,
          providers: {
            issuer: {
              issuer: ISSUER,
              local_jwks: { inline_string: JSON.stringify({ keys: [key.published] }) },
              from_headers: [{ name: 'Authorization', value_prefix: 'Bearer ' }],
              forward: true,
              payload_in_metadata: 'jwt',
            },
          },
          // Nothing is asked for at one path, so that nothing is verified there.
          rules: [{ match: { path: '/mcp/open' } }, { match: { prefix: '/' }, requires: { provider_name: 'issuer' } }],
        },
      },
    ],
    extProc: {
      metadata_options: {
        forwarding_namespaces: { untyped: ['envoy.filters.http.jwt_authn'] },
        receiving_namespaces: { untyped: ['mcp.gateway', 'envoy.filters.http.mcp'] },
      },
    },
    hcm: { use_remote_address: true },
  })
  const pool = new Pool(`http://127.0.0.1:${edge.port}`)
  t.teardown(() => pool.destroy())
  const post = async (
    token: string | undefined,
    sessionId: string,
    { path = '/mcp', tool = 'one_x', more = {} }: { path?: string; tool?: string; more?: Record<string, string> } = {},
  ) => {
    const [direct, brokered] = [server.received.length, broker.received.length]
    const response = await pool.request({
      path,
      method: 'POST',
      body: call(tool),
      headers: {
        ...headers,
        'mcp-session-id': sessionId,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...more,
      },
    })
    await response.body.dump()
    const saw: unknown = JSON.parse(String(response.headers['x-saw'] ?? '{}'))
    return {
      status: response.statusCode,
      saw,
      direct: server.received.slice(direct),
      brokered: broker.received.slice(brokered),
    }
  }
  const rule = '10 servers.one.access[0]'

  await t.test('its claims decide, and the server never sees it', async (t) => {
    for (let round = 0; round < 2; round++) {
      const got = await post(ann, 'anns', { more: { cookie: 'a=b' } })
      t.match(got, { status: 200, brokered: [], direct: [{ headers: { 'mcp-session-id': 'session-at-one' } }] })
      t.match(got.saw, { path: 'direct', subject: 'ann', view: '', rule, tool: 'x' })
      t.notOk(got.direct[0]?.headers.authorization)
      t.notOk(got.direct[0]?.headers.cookie)
    }
  })
  await t.test('in a view', async (t) => {
    const got = await post(ann, 'ops', { path: '/mcp/ops' })
    t.match(got, { status: 200, direct: [{}], brokered: [] })
    t.match(got.saw, { path: 'direct', subject: 'ann', view: 'ops', rule })
  })
  const brokered: readonly (readonly [string, string | undefined, string, Parameters<typeof post>[2], object])[] = [
    ['what no rule allows', bob, 'bobs', {}, { subject: 'bob' }],
    ["another's session", bob, 'anns', {}, { subject: 'bob', session: '' }],
    ['a session of a view at all of it', ann, 'ops', {}, { subject: 'ann', session: '' }],
    ['a session of all at a view', ann, 'anns', { path: '/mcp/ops' }, { subject: 'ann', view: 'ops', session: '' }],
    ['what a human is asked about first', ann, 'anns', { tool: 'keep' }, { subject: 'ann', tool: 'keep' }],
    [
      'claims that the client sends',
      bob,
      'bobs',
      { more: { 'x-mcp-subject': 'ann', 'x-jwt-payload': 'e30' } },
      { subject: 'bob' },
    ],
    ['a token that was let in before, where none is verified', ann, 'anns', { path: '/mcp/open' }, { subject: '' }],
    ['no token, where none is verified', undefined, 'anns', { path: '/mcp/open' }, { subject: '' }],
  ]
  for (const [name, token, sessionId, how, expected] of brokered) {
    await t.test(`the broker gets ${name}`, async (t) => {
      const got = await post(token, sessionId, how)
      t.match(got, { status: 200, direct: [], brokered: [{ headers: { 'mcp-session-id': sessionId } }] })
      t.match(got.saw, { path: 'broker', ...expected })
      t.equal(got.brokered[0]?.headers.authorization, token === undefined ? undefined : `Bearer ${token}`)
    })
  }
  const foreign = await signingKey('ES256', key.kid)
  const refused: readonly (readonly [string, string | undefined])[] = [
    ['no token', undefined],
    ['an expired one', await key.sign({ ...claims, sub: 'ann', exp: inSeconds(-600) })],
    ['one of another key', await foreign.sign({ ...claims, sub: 'ann' })],
    ['one with other claims', ann.replace(/\..*\./, `.${Buffer.from('{"sub":"ann"}').toString('base64url')}.`)],
  ]
  for (const [name, token] of refused) {
    await t.test(`nobody gets ${name}`, async (t) => {
      t.match(await post(token, 'anns'), { status: 401, direct: [], brokered: [] })
    })
  }
  await t.test('an address that the client claims changes nothing', async (t) => {
    const more = { 'x-forwarded-for': '192.0.2.9', 'x-envoy-external-address': '192.0.2.9' }
    const got = await post(ann, 'anns', { more })
    t.match(got, { status: 200, direct: [{}], brokered: [] })
  })
})
