/** The tests' own MCP server and client, tried on each other: what other tests see with them is then the gateway's doing. */
import { readFile } from 'node:fs/promises'
import t from 'tap'
import type { SseStyle } from './support/event-stream.ts'
import { HttpAnswer, inputRequired, never, says, standardTools } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { connect, request, rpc, stateless } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { rawMember } from './support/raw-json.ts'
import type { StatelessSending } from './support/stateless-client.ts'
import { sentinel } from './support/stateless-client.ts'
import { differences } from './support/subset.ts'

const names = (count: number) => Array.from({ length: count }, (_, at) => ({ name: `t${at}` }))

await t.test('the text of a member is as it stands there', async (t) => {
  const text = '{ "a" : [ 1.0, {"b\\"" : "}," } ], "n":9007199254740993 ,"\\u0061b": null}'
  t.equal(rawMember(text, 'a', 0), '1.0')
  t.equal(rawMember(text, 'a', 1, 'b"'), '"},"')
  t.equal(rawMember(text, 'n'), '9007199254740993')
  t.equal(rawMember(text, 'ab'), 'null')
  t.equal(rawMember(text, 'a'), '[ 1.0, {"b\\"" : "}," } ]')
  t.equal(rawMember(text, 'x'), undefined)
  t.equal(rawMember('[]', 0), undefined)
  t.equal(rawMember('{}', 'a'), undefined)
})

const compared: readonly [actual: unknown, expected: unknown, differences: readonly string[]][] = [
  [{ a: 1, b: 2 }, { a: 1 }, []],
  [{ a: [1, 2] }, { a: [1, 2] }, []],
  [{ a: [1, 2] }, { a: [1, '...'] }, []],
  [{ a: '21 °C' }, { a: '/^\\d+ °C$/' }, []],
  [{ a: null }, { a: null }, []],
  [{ a: 1 }, { a: '1' }, ['$.a: expected "1", got 1']],
  [{}, { a: null }, ['$.a: expected null, got nothing']],
  [{ a: [1, 2] }, { a: [1] }, ['$.a: expected 1 elements, got 2']],
  [
    { a: [1] },
    { a: [1, { b: 2 }, '...'] },
    ['$.a: expected 2 elements, got 1', '$.a[1]: expected {"b":2}, got nothing'],
  ],
  [{ a: 'x' }, { a: '/y/' }, ['$.a: expected "/y/", got "x"']],
  [undefined, { a: 1 }, ['$: expected {"a":1}, got nothing']],
]

await t.test('a comparison says where the two part', async (t) => {
  for (const [actual, expected, found] of compared)
    t.same(differences(actual, expected), found, JSON.stringify([actual, expected]))
})

await t.test('pages, sessions and counts', async (t) => {
  await using server = await serveMcp({ tools: names(5), pageSize: 2 })
  await using client = await connect(server.url)
  t.same(await client.tools(), ['t0', 't1', 't2', 't3', 't4'])
  t.equal(server.count('tools/list'), 3)
  t.match((await client.call('t3')).result, says('fixture:t3'))
  t.match((await client.call('t9')).error, { code: -32602 })
  t.same([...server.executions], [['t3', 1]])
  server.script.cursors = 'loop'
  await t.rejects(client.tools(), /came twice/)
  server.forgetSessions()
  t.equal((await client.post(rpc('1', 'ping'))).status, 404)
  server.script.dead = { status: 400, code: -32000, text: 'No valid session ID provided' }
  t.match(await client.post(rpc('1', 'ping')), { status: 400, text: /session/ })
  await using again = await connect(server.url)
  t.equal((await again.delete()).status, 200)
  t.equal((await again.post(rpc('1', 'ping'))).status, 400)
})

const styles: readonly (SseStyle | boolean)[] = [
  false,
  true,
  { priming: true, crlf: true },
  { tight: true, chunk: 1, ids: true },
  { crlf: true, chunk: 1 },
]
for (const sse of styles) {
  await t.test(`every byte arrives, both ways: sse ${JSON.stringify(sse)}`, async (t) => {
    await using server = await serveMcp({ sse })
    await using client = await connect(server.url)
    const body =
      '{"id":9007199254740993, "jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"f":1.0,"ü":"\\u00fc🙂"},"name":"raw"}}'
    const { message, reply } = await client.send('', undefined, { id: '9007199254740993', raw: body })
    t.match(message.result, says(body))
    t.match(reply.headers['content-type'], sse === false ? /json/ : /event-stream/)
    const odd = await client.call('odd')
    t.equal(rawMember(odd.raw, 'result', 'structuredContent'), '{"n":9007199254740993,"f":1.0,"z":1,"a":2}')
  })
}

await t.test('a server asks, tells, reports and is told to stop', async (t) => {
  await using server = await serveMcp({
    tools: [
      {
        name: 'ask',
        run: async (call) => {
          const over = call.arguments['over'] === 'stream' ? 'stream' : 'call'
          call.progress(1, 2)
          const { result, error } = await call.ask('elicitation/create', { message: 'name?' }, { id: '1', over })
          return says(JSON.stringify(result ?? error))
        },
      },
      {
        name: 'wait',
        run: ({ cancelled }) =>
          new Promise((resolve) => cancelled.addEventListener('abort', () => resolve(says('cancelled')))),
      },
    ],
  })
  await using client = await connect(server.url, {
    capabilities: { elicitation: {} },
    answers: { 'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada' } }) },
  })
  const params = { name: 'ask', _meta: { progressToken: 'p' } }
  const { message } = await client.send('tools/call', params)
  t.match(message.result, says('{"action":"accept","content":{"name":"Ada"}}'))
  t.match(client.heard, [
    {
      on: 'post',
      message: { method: 'notifications/progress', params: { progressToken: 'p', progress: 1, total: 2 } },
    },
    { on: 'post', message: { method: 'elicitation/create', id: 1 } },
  ])
  const stream = await client.stream()
  t.match(await client.call('ask', { over: 'stream' }), {
    result: says('{"action":"accept","content":{"name":"Ada"}}'),
  })
  t.ok(client.heard.some(({ on, message }) => on === 'get' && message.method === 'elicitation/create'))
  server.setTools(standardTools)
  await client.next(({ message }) => message.method === 'notifications/tools/list_changed')
  server.setTools([
    {
      name: 'wait',
      run: ({ cancelled }) =>
        new Promise((resolve) => cancelled.addEventListener('abort', () => resolve(says('cancelled')))),
    },
  ])
  const waiting = client.call('wait', {}, { id: '77' })
  await server.next(({ text }) => text.includes('"id":77'))
  await client.notify('notifications/cancelled', { requestId: 77 })
  t.match((await waiting).result, says('cancelled'))
  t.same(server.cancelled, ['77'])
  stream.close()
})

const regional = {
  name: 'regional',
  definition: {
    name: 'regional',
    inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
  },
}
const unserved = '1999-12-31'
const told = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
const plain = { name: 'echo', arguments: { text: 'x' } }
const inRegion = { name: 'regional', arguments: { region: 'zürich' } }
const PARAM = 'mcp-param-region'
const ladder: readonly [
  what: string,
  method: string,
  params: JsonObject,
  sending: StatelessSending,
  expected: object,
][] = [
  ['a call', 'tools/call', plain, {}, { status: 200, message: { result: { resultType: 'complete' } } }],
  [
    'no version header',
    'tools/call',
    plain,
    { headers: { 'mcp-protocol-version': undefined } },
    { status: 400, message: { error: { code: -32020 } } },
  ],
  [
    'another method header',
    'tools/call',
    plain,
    { headers: { 'mcp-method': 'tools/list' } },
    { status: 400, message: { error: { code: -32020 } } },
  ],
  [
    'no name header',
    'tools/call',
    plain,
    { headers: { 'mcp-name': undefined } },
    { status: 400, message: { error: { code: -32020 } } },
  ],
  ['an encoded name header', 'tools/call', plain, { headers: { 'mcp-name': '=?base64?ZWNobw==?=' } }, { status: 200 }],
  [
    'no _meta',
    'tools/list',
    {},
    { raw: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', id: '1' },
    { status: 400, message: { error: { code: -32602 } } },
  ],
  [
    'no capabilities',
    'tools/list',
    {},
    { meta: { ...told, 'io.modelcontextprotocol/clientCapabilities': undefined } },
    { status: 400, message: { error: { code: -32602 } } },
  ],
  [
    'an unknown version',
    'tools/list',
    {},
    { protocolVersion: unserved },
    { status: 400, message: { error: { code: -32022, data: { supported: ['2026-07-28'], requested: unserved } } } },
  ],
  ['a method of the other era', 'ping', {}, {}, { status: 404, message: { error: { code: -32601 } } }],
  ['an unknown tool', 'tools/call', { name: 'nothing' }, {}, { status: 200, message: { error: { code: -32602 } } }],
  ['no parameter header', 'tools/call', inRegion, {}, { status: 400, message: { error: { code: -32020 } } }],
  ['a parameter header', 'tools/call', inRegion, { headers: { [PARAM]: sentinel('zürich') } }, { status: 200 }],
  [
    'a parameter header for nothing',
    'tools/call',
    { name: 'regional' },
    { headers: { [PARAM]: 'x' } },
    { status: 400, message: { error: { code: -32020 } } },
  ],
  [
    'initialize',
    'initialize',
    {},
    {
      raw: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}',
      id: '1',
      headers: { 'mcp-protocol-version': undefined },
    },
    { status: 400, message: { error: { code: -32022, data: { requested: '2025-11-25' } } } },
  ],
]

await t.test('the stateless era: every request is held to its headers', async (t) => {
  await using server = await serveMcp({ era: 'stateless', tools: [...standardTools, regional] })
  await using client = stateless({ url: server.url })
  for (const [what, method, params, sending, expected] of ladder)
    await t.test(what, async (t) => t.match(await client.request(method, params, sending), expected))
  for (const method of ['GET', 'DELETE'])
    t.match(await request(server.url, { method }), { status: 405, headers: { allow: 'POST' } })
  t.equal(server.sessions.size, 0)
})

await t.test('the stateless era: lists, hints and discovery', async (t) => {
  const hints = { ttlMs: 5000, cacheScope: 'public' }
  await using server = await serveMcp({ era: 'stateless', tools: names(3), pageSize: 2, caching: () => hints })
  await using client = stateless({ url: server.url })
  t.same(await client.tools(), ['t0', 't1', 't2'])
  t.match((await client.request('server/discover')).message?.result, {
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: {} },
    resultType: 'complete',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'fixture' } },
    ...hints,
  })
  t.equal('ttlMs' in ((await client.call('t0')).result ?? {}), false)
  server.script.caching = () => undefined
  t.equal('ttlMs' in ((await client.request('tools/list')).message?.result ?? {}), false)
})

await t.test('both eras at once, each request in its own', async (t) => {
  await using server = await serveMcp({ era: 'both' })
  await using modern = stateless({ url: server.url })
  await using old = await connect(server.url)
  t.match((await modern.call('session')).result, { ...says('none'), resultType: 'complete' })
  t.match((await old.call('session')).result, says(old.sessionId ?? ''))
  t.match((await modern.call('odd')).result, { resultType: 'complete' })
  t.notMatch((await old.call('odd')).result, { resultType: 'complete' })
  t.same(
    server.received.filter(({ message }) => message?.method === 'tools/call').map(({ era }) => era),
    ['stateless', 'stateful', 'stateless', 'stateful'],
  )
})

await t.test('the stateless era: it asks by its results, reports, logs, and notices who leaves', async (t) => {
  await using server = await serveMcp({
    era: 'stateless',
    tools: [
      {
        name: 'ask twice',
        run: async (call) => {
          call.progress(1, 2)
          call.log('info', 'asking')
          const { result: first } = await call.ask('elicitation/create', { message: 'name?' })
          const { result: second } = await call.ask('roots/list', {})
          return says(JSON.stringify([first, second]))
        },
      },
      {
        name: 'ask at once',
        run: ({ inputResponses, requestState }) =>
          inputResponses === undefined
            ? inputRequired({ a: { method: 'roots/list' }, b: { method: 'roots/list' } }, 's1')
            : says(`${Object.keys(inputResponses).join()} ${requestState}`),
      },
      { name: 'odd type', run: () => ({ resultType: 'surprise' }) },
      { name: 'wait', run: (call) => (call.progress(1), never()) },
    ],
  })
  await using client = stateless({
    url: server.url,
    answers: {
      'elicitation/create': () => '{"action":"accept","content":{"n":1}}',
      'roots/list': () => ({ roots: [] }),
    },
  })
  const ask = { name: 'ask twice', arguments: {} }
  const asked = await client.request('tools/call', ask, { progressToken: '7', logLevel: 'debug' })
  t.match(
    asked.message?.result,
    inputRequired({ 'question-1': { method: 'elicitation/create', params: { message: 'name?' } } }),
  )
  t.match(asked.notifications, [
    { method: 'notifications/progress', params: { progressToken: 7, progress: 1, total: 2 } },
    { method: 'notifications/message', params: { level: 'info', data: 'asking' } },
  ])
  t.match((await client.request('tools/call', ask)).notifications, [])
  const done = await client.complete('tools/call', ask)
  t.match(done.result, says('[{"action":"accept","content":{"n":1}},{"roots":[]}]'))
  t.match((await client.complete('tools/call', { name: 'ask at once' })).result, says('a,b s1'))
  t.match((await client.call('odd type')).result, { resultType: 'surprise' })
  const abort = new AbortController()
  const waiting = client.call(
    'wait',
    {},
    { id: '77', progressToken: '1', signal: abort.signal, onMessage: () => abort.abort() },
  )
  await t.rejects(waiting)
  t.equal(await server.until(() => server.cancelled.at(0)), '77')
})

await t.test('the stateless era: listen', async (t) => {
  await using server = await serveMcp({
    era: 'stateless',
    grants: (filter) => ({ ...filter, promptsListChanged: undefined }),
  })
  await using client = stateless({ url: server.url })
  const filter = { toolsListChanged: true, promptsListChanged: true, resourceSubscriptions: ['a:b'] }
  const listen = await client.listen(filter, { id: '5' })
  const stamp = { _meta: { 'io.modelcontextprotocol/subscriptionId': 5 } }
  t.same(listen.heard[0]?.params, {
    ...stamp,
    notifications: { toolsListChanged: true, resourceSubscriptions: ['a:b'] },
  })
  t.equal(server.notify('notifications/prompts/list_changed'), 0)
  t.equal(server.notify('notifications/resources/updated', { uri: 'c:d' }), 0)
  t.equal(server.notify('notifications/resources/updated', { uri: 'a:b' }), 1)
  server.setTools([])
  await listen.next(({ method }) => method === 'notifications/tools/list_changed')
  t.same(
    listen.heard.map(({ method, params }) => [method, params?.['_meta']]),
    [
      ['notifications/subscriptions/acknowledged', stamp._meta],
      ['notifications/resources/updated', stamp._meta],
      ['notifications/tools/list_changed', stamp._meta],
    ],
  )
  server.listening[0]?.end()
  t.match((await listen.ended).messages.at(-1), { id: 5, result: { resultType: 'complete', ...stamp } })
  const other = await client.listen({ toolsListChanged: true })
  other.close()
  await t.rejects(other.ended)
  await server.until(() => (server.listening.length === 0 ? true : undefined))
  server.script.stream = false
  t.match(await client.listen(filter), { status: 404, heard: [{ error: { code: -32601 } }] })
})

await t.test('it refuses, dies and comes back', async (t) => {
  await using server = await serveMcp({
    sessions: false,
    stream: false,
    tools: [
      {
        name: 'late',
        run: () => {
          throw new HttpAnswer(404, {}, 'gone after all')
        },
      },
      {
        name: 'cut',
        run: (call) => {
          call.cut()
          return never()
        },
      },
    ],
  })
  await using client = await connect(server.url)
  t.equal(client.sessionId, undefined)
  t.equal((await client.stream()).status, 405)
  t.equal((await client.post(rpc('1', 'tools/call', { name: 'late' }))).status, 404)
  t.equal(server.executions.get('late'), 1)
  await t.rejects(client.call('cut'))
  server.script.refuse = () => new HttpAnswer(302, { location: 'http://127.0.0.1:1/', 'set-cookie': ['a=1', 'b=2'] })
  t.match(await client.post(rpc('1', 'ping')), { status: 302, headers: { 'set-cookie': ['a=1', 'b=2'] } })
  server.script.refuse = undefined
  server.script.credential = { header: 'authorization', value: 'Bearer x' }
  t.equal((await client.post(rpc('1', 'ping'))).status, 401)
  t.equal((await client.post(rpc('1', 'ping'), { headers: { authorization: 'Bearer x' } })).status, 200)
  await server.die()
  await t.rejects(request(server.url, { fresh: true }))
  await server.revive()
  t.equal((await request(server.url, { fresh: true })).status, 401)
})

await t.test('TLS with a client certificate', async (t) => {
  const pem = (name: string) => readFile(new URL(`./support/certs/${name}`, import.meta.url), 'utf8')
  const ca = await pem('ca.pem')
  const tls = { key: await pem('server.key'), cert: await pem('server.pem'), ca, requestCert: true }
  await using server = await serveMcp({}, { tls: { ...tls, rejectUnauthorized: true } })
  await using client = await connect(server.url, {
    tls: { ca, key: await pem('client.key'), cert: await pem('client.pem') },
  })
  t.match((await client.call('echo', { text: 'hi' })).result, says('hi'))
  t.equal(server.received.at(-1)?.clientName, 'test client')
  await t.rejects(connect(server.url, { tls: { ca } }))
})
