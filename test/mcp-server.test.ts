/** The tests' own MCP server and client, tried on each other: what other tests see with them is then the gateway's doing. */
import { readFile } from 'node:fs/promises'
import t from 'tap'
import type { SseStyle } from './support/event-stream.ts'
import { HttpAnswer, never, says, standardTools } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { connect, request, rpc } from './support/raw-client.ts'
import { rawMember } from './support/raw-json.ts'
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
