/** Servers of the old HTTP+SSE transport, asked as the broker asks them: one connection a client, everything on its stream. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { nobody } from '../src/clients/caller.ts'
import { ClientState } from '../src/clients/client-session.ts'
import { scan } from '../src/mcp/scan.ts'
import type { HttpServer } from '../src/registry/model.ts'
import { sealer } from '../src/sessions/session-id.ts'
import { type SessionTable, sessionTable } from '../src/sessions/session-table.ts'
import { innerClient } from '../src/upstreams/inner-client.ts'
import type { ServerMessage } from '../src/upstreams/server-message.ts'
import { addressOf } from '../src/upstreams/sse-stream.ts'
import { sseUpstream } from '../src/upstreams/sse-upstream.ts'
import type { Outcome, UpstreamCall } from '../src/upstreams/upstream.ts'
import { startGateway } from './support/gateway.ts'
import { connect, rpc, stateless } from './support/raw-client.ts'
import { httpServer } from './support/registry-value.ts'
import { serveSse } from './support/sse-server.ts'
import { registry } from './support/stage.ts'
import { waitingRoom } from './support/waiting-room.ts'

type Heard = Exclude<ServerMessage, { kind: 'response' }>

const dir = await mkdtemp(path.join(tmpdir(), 'sse-'))
t.teardown(() => rm(dir, { recursive: true, force: true }))
let sockets = 0
const socketPath = (): string => path.join(dir, String(++sockets))

/** An upstream of whoever listens at a socket; in the place of Envoy, the broker's own client goes straight there. */
const upstreamAt = (socket: string, changes: Partial<HttpServer> = {}) => {
  const inner = innerClient(() => [socket])
  const sessions = sessionTable({ sealer: sealer(randomBytes(32)), idleMs: () => 3_600_000, now: Date.now })
  const { until, wake } = waitingRoom()
  const table: SessionTable = {
    ...sessions,
    bind(...bound) {
      sessions.bind(...bound)
      wake()
    },
  }
  const heard: { readonly client: ClientState; readonly message: Heard }[] = []
  let ids = 0
  const upstream = sseUpstream(
    {
      server: httpServer('old', 'http://127.0.0.1:8931/sse?x=1', { transport: 'sse', ...changes }),
      client: inner,
      nextId: () => `"own-${++ids}"`,
    },
    table,
    '1.0.0',
    {
      changed: wake,
      capped: () => undefined,
      shared: () => undefined,
      message(_upstream, client, message) {
        heard.push({ client, message })
        wake()
      },
    },
  )
  const client = (name = 'someone', capabilities = '{}'): ClientState =>
    new ClientState(
      table.begin({
        protocolVersion: '2025-11-25',
        capabilities,
        features: capabilities === '{}' ? [] : ['elicitation'],
        clientName: name,
        clientVersion: '1',
        principal: '',
        view: '',
      }).session,
    )
  return {
    upstream,
    client,
    heard,
    until,
    async [Symbol.asyncDispose]() {
      await upstream.close()
      await inner.close()
    },
  }
}
type Stage = ReturnType<typeof upstreamAt>

const staged = async (changes: Partial<HttpServer> = {}) => {
  const socket = socketPath()
  const server = await serveSse(socket)
  const stage = upstreamAt(socket, changes)
  await stage.upstream.settled
  return {
    ...stage,
    server,
    async [Symbol.asyncDispose]() {
      await stage[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** The client's request as the broker would send it. */
const call = (
  { upstream }: Pick<Stage, 'upstream'>,
  client: ClientState,
  tool: string,
  {
    id = '1',
    args = '{}',
    token,
    ...more
  }: { id?: string; args?: string; token?: string } & Partial<
    Pick<UpstreamCall, 'onMessage' | 'waiting' | 'signal'>
  > = {},
): Promise<Outcome> => {
  const meta = token === undefined ? '' : `,"_meta":{"progressToken":${token}}`
  const body = Buffer.from(
    `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${tool}","arguments":${args}${meta}}}`,
  )
  const scanned = scan(body)
  return upstream.call({
    client,
    method: 'tools/call',
    row: undefined,
    id,
    body,
    progressToken: scanned.ok ? scanned.message.metaProgressToken : undefined,
    waiting: () => false,
    onMessage: () => undefined,
    signal: new AbortController().signal,
    ...more,
  })
}
const bodyOf = (outcome: Outcome): string => (outcome.kind === 'answered' ? outcome.body.toString() : outcome.detail)
const says = (outcome: Outcome): unknown =>
  outcome.kind === 'answered' ? JSON.parse(bodyOf(outcome)).result?.content?.[0]?.text : outcome.detail
const sessionsOf = (stage: {
  readonly server: { readonly connections: readonly { readonly open: boolean }[] }
}): number => stage.server.connections.filter(({ open }) => open).length

await t.test('where messages go', async (t) => {
  const server = { endpoint: { tls: false, host: '127.0.0.1', port: 8080, path: '/a/sse?k=v' } }
  const secure = { endpoint: { tls: true, host: 'old.example.com', port: 443, path: '/sse' } }
  const six = { endpoint: { tls: false, host: '::1', port: 80, path: '/sse' } }
  // biome-ignore format: a table
  const rows: readonly (readonly [string, Pick<HttpServer, 'endpoint'>, string, string | undefined])[] = [
    ['a path', server, '/messages?sessionId=1', '/messages?sessionId=1'],
    ['a path beside', server, 'messages', '/a/messages'],
    ['a path up', server, '../m', '/m'],
    ['a query', server, '?s=1', '/a/sse?s=1'],
    ['nothing', server, '', '/a/sse?k=v'],
    ['a whole URL', server, 'http://127.0.0.1:8080/m', '/m'],
    ['a fragment', server, '/m#x', '/m'],
    ['the default port, left out', secure, 'https://old.example.com/m', '/m'],
    ['the default port, written', secure, 'https://OLD.example.com:443/m', '/m'],
    ['an IPv6 address', six, 'http://[::1]/m', '/m'],
    ['blanks around it', server, ' /m\t', '/m'],
    ['characters a path may not have', server, '/a b"ü', '/a%20b%22%C3%BC'],
    ['another port', server, 'http://127.0.0.1:8081/m', undefined],
    ['another name of the same host', server, 'http://localhost:8080/m', undefined],
    ['another scheme', secure, 'http://old.example.com:443/m', undefined],
    ['another host', secure, 'https://evil.example.com/m', undefined],
    ['another host without a scheme', secure, '//evil.example.com/m', undefined],
    ['another host behind backslashes', secure, '\\\\evil.example.com/m', undefined],
    ['a user', server, 'http://u@127.0.0.1:8080/m', undefined],
    ['a password', server, 'http://:p@127.0.0.1:8080/m', undefined],
    ['no address', server, 'http://', undefined],
    ['a script', server, 'javascript:alert(1)', undefined],
  ]
  for (const [name, at, reference, expected] of rows)
    await t.test(name, async (t) => t.equal(addressOf(at, reference), expected))
})

await t.test('what it offers', async (t) => {
  await using stage = await staged()
  const { upstream, server } = stage
  const tools = (): readonly string[] => upstream.catalogue()?.tools.map(({ own }) => own) ?? []
  t.match(upstream.era(), { eras: ['stateful'], how: 'pinned' })
  t.equal(upstream.status().state, 'up')
  t.match(upstream.catalogue(), { protocolVersion: '2025-11-25', eras: ['stateful'] })
  t.same(tools(), ['echo', 'hold', 'elicit', 'logs', 'steps'])
  await t.test('a change is read', async () => {
    await server.setTools(['other'])
    await stage.until(() => (tools()[0] === 'other' ? true : undefined))
  })
  await t.test('it is asked again when its stream has ended', async (t) => {
    server.connections[0]?.cut()
    await stage.until(() => (upstream.status().state === 'down' ? true : undefined))
    t.match(upstream.status().lastError, /./)
    await stage.until(() => (upstream.status().state === 'up' ? true : undefined))
    t.equal(sessionsOf(stage), 1)
    t.same(tools(), ['other'])
  })
  await t.test('what it asks of the gateway itself is answered', async (t) => {
    const connection = await server.until(() => server.connections.find(({ open }) => open))
    t.same(await connection.server.ping(), {})
    await t.rejects(
      connection.server.elicitInput({ message: 'x', requestedSchema: { type: 'object', properties: {} } }),
      {
        code: -32601,
      },
    )
  })
  await t.test('a stateless request is not for it', async (t) => {
    const outcome = await upstream.pass({
      caller: nobody,
      id: '1',
      method: 'tools/call',
      body: Buffer.from('{}'),
      headers: {},
      onMessage: () => undefined,
      signal: new AbortController().signal,
    })
    t.match(outcome, { kind: 'failed', reason: 'server-invalid' })
    t.equal(server.executions.size, 0)
  })
})

await t.test("clients' sessions", async (t) => {
  await using stage = await staged()
  const { upstream, server } = stage
  const [ada, bob] = [stage.client('ada'), stage.client('bob')]
  await t.test('one connection each, opened once, under the name of the client', async (t) => {
    const answers = await Promise.all(
      [ada, bob].flatMap((client, at) =>
        ['1', '2', '3'].map((id) => call(stage, client, 'echo', { id, args: `{"text":"${at}-${id}"}` })),
      ),
    )
    t.same(answers.map(says), ['0-1', '0-2', '0-3', '1-1', '1-2', '1-3'])
    t.same(
      answers.map((answer) => JSON.parse(bodyOf(answer)).id),
      [1, 2, 3, 1, 2, 3],
    )
    t.same(new Set(server.connections.map(({ clientName }) => clientName)), new Set(['ada', 'bob', 'mcp-gateway']))
    t.equal(server.connections.length, 3)
    t.match([...ada.session.servers], [['old', { id: undefined, protocolVersion: '2025-11-25' }]])
  })
  await t.test('an id is good for one request at a time', async (t) => {
    const first = call(stage, ada, 'hold', { id: '7', args: '{"text":"first"}' })
    await server.until(() => server.executions.get('hold'))
    t.match(await call(stage, ada, 'echo', { id: '7' }), { kind: 'failed', reason: 'server-invalid' })
    server.release()
    t.equal(says(await first), 'first')
  })
  await t.test('the log level is told when it is set, and to later connections', async (t) => {
    const cleo = stage.client('cleo')
    cleo.logLevel = '{"level":"error"}'
    await call(stage, cleo, 'echo')
    const own = server.connections.find(({ clientName }) => clientName === 'cleo')
    t.equal(own?.level, 'error')
    cleo.logLevel = '{"level":"debug"}'
    await upstream.setLevel(cleo)
    t.equal(own?.level, 'debug')
    t.equal(server.connections.find(({ clientName }) => clientName === 'ada')?.level, undefined)
  })
  await t.test('one that leaves closes its connection', async (t) => {
    const open = sessionsOf(stage)
    await upstream.leave(bob)
    await server.until(() => (sessionsOf(stage) < open ? true : undefined))
    t.equal(server.connections.find(({ clientName }) => clientName === 'bob')?.open, false)
    t.equal(server.connections.find(({ clientName }) => clientName === 'ada')?.open, true)
  })
  await t.test('one that left while its connection was being opened has none', async (t) => {
    const dan = stage.client('dan')
    const opening = call(stage, dan, 'echo')
    dan.left = true
    t.match(await opening, { kind: 'failed', reason: 'server-down', detail: 'the session has ended' })
    await server.until(() => server.connections.find(({ clientName, open }) => clientName === 'dan' && !open))
    t.equal(dan.session.servers.size, 0)
  })
})

await t.test('during a call', async (t) => {
  await using stage = await staged()
  const { upstream, server } = stage
  const client = stage.client('ada', '{"elicitation":{}}')
  const methods = (messages: readonly Heard[]): readonly string[] => messages.map(({ method }) => method)
  await t.test('progress comes to the call whose token it has', async (t) => {
    const heard: Record<string, Heard[]> = { a: [], b: [] }
    const held = call(stage, client, 'hold', {
      id: '1',
      token: '"a"',
      onMessage: (message) => heard['a']?.push(message),
    })
    await server.until(() => server.executions.get('hold'))
    t.equal(
      says(await call(stage, client, 'steps', { id: '2', token: '"b"', onMessage: (m) => heard['b']?.push(m) })),
      'stepped',
    )
    server.release()
    await held
    t.same(methods(heard['a'] ?? []), [])
    t.same(methods(heard['b'] ?? []), ['notifications/progress'])
    t.same(stage.heard, [])
  })
  await t.test('log messages come with it', async (t) => {
    const heard: Heard[] = []
    await call(stage, client, 'logs', { onMessage: (message) => heard.push(message) })
    t.same(methods(heard), ['notifications/message'])
  })
  await t.test('a question is asked with it, and silence does not count meanwhile', async (t) => {
    let looked = 0
    const { until, wake } = waitingRoom()
    upstream.update(httpServer('old', 'http://127.0.0.1:8931/sse', { transport: 'sse', timeoutMs: 20 }))
    const questions: Heard[] = []
    const outcome = call(stage, client, 'elicit', {
      onMessage(message) {
        questions.push(message)
        wake()
      },
      waiting() {
        looked++
        wake()
        return true
      },
    })
    const question = await until(() => questions[0])
    t.match(question, { kind: 'request', method: 'elicitation/create' })
    await until(() => (looked > 2 ? true : undefined))
    const id = question.kind === 'request' ? question.id : ''
    await upstream.tell(client, Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{"action":"decline"}}`))
    t.equal(says(await outcome), '{"action":"decline"}')
    upstream.update(httpServer('old', 'http://127.0.0.1:8931/sse', { transport: 'sse' }))
  })
  await t.test('a cancellation reaches the server', async (t) => {
    const ending = new AbortController()
    const outcome = call(stage, client, 'hold', { id: '"c"', signal: ending.signal })
    const connection = await server.until(() =>
      server.executions.get('hold') === 2 ? server.connections[1] : undefined,
    )
    await upstream.tell(
      client,
      Buffer.from('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}'),
    )
    await server.until(() => (connection.cancelled === 1 ? true : undefined))
    ending.abort()
    t.match(await outcome, { kind: 'failed', reason: 'server-down', detail: 'the call was ended' })
    t.equal(says(await call(stage, client, 'echo', { args: '{"text":"still here"}' })), 'still here')
  })
  await t.test('what is about no call goes to the client at large', async (t) => {
    const [, connection] = server.connections
    await connection?.server.sendResourceUpdated({ uri: 'x:1' })
    const { message, client: whose } = await stage.until(() => stage.heard[0])
    t.equal(message.method, 'notifications/resources/updated')
    t.equal(whose, client)
    const asked = connection?.server.elicitInput({ message: 'x', requestedSchema: { type: 'object', properties: {} } })
    const question = await stage.until(() => stage.heard.find(({ message: { kind } }) => kind === 'request'))
    const id = question.message.kind === 'request' ? question.message.id : ''
    await upstream.tell(client, Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{"action":"cancel"}}`))
    t.match(await asked, { action: 'cancel' })
  })
})

await t.test('a connection that is lost', async (t) => {
  await using stage = await staged()
  const { server } = stage
  const client = stage.client('ada')
  await t.test('while a call is under way: it fails, and does not run twice', async (t) => {
    const outcome = call(stage, client, 'hold')
    await server.until(() => server.executions.get('hold'))
    server.connections.find(({ clientName }) => clientName === 'ada')?.cut()
    t.match(await outcome, { kind: 'failed', reason: 'server-down' })
    t.equal(server.executions.get('hold'), 1)
    t.notOk(client.session.servers.has('old'))
  })
  await t.test('between calls: the next one opens another', async (t) => {
    t.equal(says(await call(stage, client, 'echo', { args: '{"text":"a"}' })), 'a')
    server.connections.findLast(({ clientName }) => clientName === 'ada')?.cut()
    await stage.until(() => (client.session.servers.has('old') ? undefined : true))
    t.equal(says(await call(stage, client, 'echo', { args: '{"text":"b"}' })), 'b')
    t.equal(server.connections.filter(({ clientName }) => clientName === 'ada').length, 3)
    t.ok(client.session.servers.has('old'))
  })
})

await t.test('resources that are watched', async (t) => {
  await using stage = await staged()
  const { upstream, server } = stage
  const changed: string[] = []
  const { until, wake } = waitingRoom()
  const ending = new AbortController()
  const note = (uri: string): void => {
    changed.push(uri)
    wake()
  }
  t.same(await upstream.watch(['x:1'], note, ending.signal), ['x:1'])
  const [first] = server.connections
  t.same([...(first?.subscribed ?? [])], ['x:1'])
  await first?.server.sendResourceUpdated({ uri: 'x:1' })
  await until(() => changed[0])
  await t.test('are subscribed to again in a new connection', async (t) => {
    first?.cut()
    const second = await server.until(() => server.connections.find((one) => one !== first && one.subscribed.size > 0))
    await second.server.sendResourceUpdated({ uri: 'x:1' })
    await until(() => changed[1])
    t.same(changed, ['x:1', 'x:1'])
    ending.abort()
    await server.until(() => (second.subscribed.size === 0 ? true : undefined))
  })
})

type Taking = (body: string, res: http.ServerResponse, stream: http.ServerResponse | undefined) => void

/** What a server does with a GET, and with what is posted. */
interface Odd {
  readonly get: (res: http.ServerResponse) => void
  readonly post?: Taking
}
const serveOdd = async (socket: string, odd: Odd) => {
  let posts = 0
  let stream: http.ServerResponse | undefined
  const server = http.createServer((req, res) => {
    if (req.method === 'GET') {
      stream = res
      odd.get(res)
      return
    }
    posts++
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => odd.post?.(Buffer.concat(chunks).toString(), res, stream))
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    get posts() {
      return posts
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
const stream =
  (...events: readonly string[]) =>
  (res: http.ServerResponse): void => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of events) res.write(`${event}\n\n`)
  }
const toMessages = 'event: endpoint\ndata: /m'
const answering =
  (answer: (message: { readonly id?: unknown; readonly method: string }, raw: string) => string | undefined): Taking =>
  (body, res, to) => {
    res.writeHead(202).end('Accepted')
    const text = answer(JSON.parse(body), body)
    if (text !== undefined) to?.write(`event: message\ndata: ${text}\n\n`)
  }
const opened = '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}'
const lists = (id: unknown): string => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"tools":[]}}`
/** Speaks properly until a tool is called. */
const proper = (called: (raw: string) => string | undefined): Taking =>
  answering(({ id, method }, raw) =>
    id === undefined
      ? undefined
      : method === 'initialize'
        ? `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${opened}}`
        : method === 'tools/call'
          ? called(raw)
          : lists(id),
  )

await t.test('servers that are not what they should be', async (t) => {
  const status =
    (code: number, type = 'text/plain') =>
    (res: http.ServerResponse): void => {
      res.writeHead(code, { 'content-type': type }).end('no')
    }
  // biome-ignore format: a table
  const rows: readonly (readonly [name: string, odd: Odd, reason: string, detail: RegExp, posts: number])[] = [
    ['an endpoint elsewhere', { get: stream('event: endpoint\ndata: http://127.0.0.1:9/m') }, 'server-invalid', /leads away from its own origin/, 0],
    ['no endpoint event', { get: stream('event: message\ndata: {}', ': ping') }, 'server-silent', /no endpoint event for \d+ ms/, 0],
    ['no stream', { get: status(200, 'application/json') }, 'server-invalid', /no event stream/, 0],
    ['Streamable HTTP only', { get: status(405) }, 'server-down', /HTTP 405/, 0],
    ['a credential is missing', { get: status(401) }, 'server-refused', /HTTP 401/, 0],
    ['another place', { get: status(307) }, 'server-refused', /HTTP 307/, 0],
    ['a stream that ends at once', { get: (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).end() }, 'server-down', /ended the stream/, 0],
    ['messages are not taken', { get: stream(toMessages), post: (_body, res) => void res.writeHead(500).end() }, 'server-down', /HTTP 500 to a message/, 1],
    ['messages are forbidden', { get: stream(toMessages), post: (_body, res) => void res.writeHead(403).end() }, 'server-refused', /HTTP 403/, 1],
    ['an event that is no message', { get: stream(toMessages), post: answering(() => 'hello') }, 'server-invalid', /not a JSON-RPC message/, 1],
    ['initialize is refused', { get: stream(toMessages), post: answering(({ id }) => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"error":{"code":-32600,"message":"go away"}}`) }, 'server-invalid', /go away/, 1],
    ['a revision of the other era', { get: stream(toMessages), post: answering(({ id }) => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"protocolVersion":"2026-07-28","capabilities":{}}}`) }, 'server-invalid', /speaks 2026-07-28/, 1],
    ['no answer', { get: stream(toMessages), post: answering(() => undefined) }, 'server-silent', /no message for \d+ ms/, 1],
  ]
  for (const [name, odd, reason, detail, posts] of rows)
    await t.test(name, async (t) => {
      const socket = socketPath()
      await using server = await serveOdd(socket, odd)
      await using stage = upstreamAt(socket, { timeoutMs: 300 })
      await stage.upstream.settled
      t.match(stage.upstream.status(), { state: 'down', lastError: detail })
      t.equal(server.posts, posts)
      t.match(await call(stage, stage.client(), 'echo'), { kind: 'failed', reason, detail })
    })
})

await t.test('bytes', async (t) => {
  const call1 = '{"content":[],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2}}'
  // biome-ignore format: a table
  const rows: readonly (readonly [name: string, id: string, answered: string])[] = [
    ['an id as it was', '"a"', '"a"'],
    ['an id in another spelling', '"\\u0061"', '"a"'],
    ['a number in another spelling', '1.0', '1'],
    ['an id a server cannot hold', '9007199254740993', '9007199254740992'],
  ]
  for (const [name, id, answered] of rows)
    await t.test(name, async (t) => {
      const socket = socketPath()
      const received: string[] = []
      await using _server = await serveOdd(socket, {
        get: stream(toMessages),
        post: proper((raw) => {
          received.push(raw)
          return `{"jsonrpc":"2.0", "id":${answered},"result":${call1}}`
        }),
      })
      await using stage = upstreamAt(socket)
      const sent = '{"n":9007199254740993,"f":1.0, "ü":"\\u00fc"}'
      const outcome = await call(stage, stage.client(), 'x', { id, args: sent })
      t.equal(bodyOf(outcome), `{"jsonrpc":"2.0", "id":${id},"result":${call1}}`)
      t.match(received[0], sent)
    })
})

await t.test('a server that forgot whom it talks to: the call fails, the next one connects anew', async (t) => {
  const socket = socketPath()
  let forgetful = true
  let streams = 0
  await using _server = await serveOdd(socket, {
    get(res) {
      streams++
      stream(toMessages)(res)
    },
    post(body, res, to) {
      if (JSON.parse(body).method === 'tools/call' && forgetful) {
        forgetful = false
        res.writeHead(404).end('no such session')
      } else proper((raw) => `{"jsonrpc":"2.0","id":${JSON.parse(raw).id},"result":{"content":[]}}`)(body, res, to)
    },
  })
  await using stage = upstreamAt(socket)
  await stage.upstream.settled
  const client = stage.client()
  t.match(await call(stage, client, 'x'), { kind: 'failed', reason: 'server-down', detail: /HTTP 404/ })
  t.match(await call(stage, client, 'x'), { kind: 'answered' })
  t.ok(streams >= 3)
})

await t.test('behind the gateway, through a real Envoy', async (t) => {
  await using server = await serveSse()
  const url = `http://127.0.0.1:${server.port}/sse`
  await using gateway = await startGateway(registry({ old: { url, transport: 'sse' } }))
  const [status] = (await gateway.settled()).servers
  t.match(status, {
    state: 'up',
    era: { eras: ['stateful'], how: 'pinned' },
    paths: { stateful: 'broker', stateless: 'translated' },
  })
  const accepted = { action: 'accept', content: {} }
  const options = { capabilities: { elicitation: {} }, answers: { 'elicitation/create': () => accepted } }
  const elicited = { content: [{ text: JSON.stringify(accepted) }] }
  const open = (): number => server.connections.filter((connection) => connection.open).length
  await t.test('a stateful client', async (t) => {
    await using client = await connect(gateway.url, options)
    t.match((await client.call('old_echo', { text: 'hi' })).result, { content: [{ text: 'hi' }] })
    t.match((await client.call('old_elicit')).result, elicited)
    await client.send('tools/call', '{"name":"old_steps","arguments":{},"_meta":{"progressToken":"p"}}')
    t.match(client.heard.at(-1), { on: 'post', message: { params: { progressToken: 'p' } } })
    const waiting = client.post(rpc('"w"', 'tools/call', { name: 'old_hold' }))
    await server.until(() => server.executions.get('hold'))
    await client.notify('notifications/cancelled', { requestId: 'w' })
    await server.until(() => server.connections.find(({ cancelled }) => cancelled > 0))
    await waiting
    t.equal(open(), 2)
  })
  await t.test('a stateless client', async (t) => {
    await using client = stateless({ url: gateway.url, ...options })
    t.match(await client.call('old_echo', { text: 'hi' }), {
      result: { content: [{ text: 'hi' }], resultType: 'complete' },
    })
    t.match(await client.complete('tools/call', { name: 'old_elicit', arguments: {} }), { result: elicited })
    const stream = await client.listen({ toolsListChanged: true, resourceSubscriptions: ['x:1'] })
    const [own] = server.connections
    await own?.server.sendResourceUpdated({ uri: 'x:1' })
    t.match(await stream.next(({ method }) => method === 'notifications/resources/updated'), { params: { uri: 'x:1' } })
    await server.setTools(['echo'])
    await stream.next(({ method }) => method === 'notifications/tools/list_changed')
    t.same(await client.tools(), ['old_echo'])
  })
  await t.test('a session that ends closes its connection', async (t) => {
    const client = await connect(gateway.url)
    await client.call('old_echo', {})
    const mine = server.connections.at(-1)
    await client.delete()
    await server.until(() => (mine?.open === false ? true : undefined))
    t.pass('closed')
  })
})
