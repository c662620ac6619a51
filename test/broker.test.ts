/** Sessions and conversations through a real Envoy: sessions lost and replayed, what servers ask of clients, what is told to whom. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { mock } from 'node:test'
import type { Test } from 'tap'
import t from 'tap'
import { Reply } from '../src/broker/reply.ts'
import { ClientState } from '../src/clients/client-session.ts'
import { INNER_REPLY } from '../src/mcp/headers.ts'
import { discover } from '../src/upstreams/discovery.ts'
import { localReply } from '../src/upstreams/local-reply.ts'
import { eventually, startGateway } from './support/gateway.ts'
import type { Call, Tool } from './support/mcp-script.ts'
import { HttpAnswer, never, RpcError, says, standardTools } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { Answers, RawClient } from './support/raw-client.ts'
import { connect, request, rpc } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { rawMember } from './support/raw-json.ts'
import { connectOn, gate, type Path, pathOf, play, registry } from './support/stage.ts'

const paths: readonly Path[] = ['direct', 'broker']

/** What a server asked and what it was told, as the tool's text. */
const asks =
  (method: string, params: JsonObject, how: Parameters<Call['ask']>[2] = {}) =>
  async (call: Call) => {
    const { result, error } = await call.ask(method, params, how)
    return says(JSON.stringify(result ?? error))
  }
const tools = (name: string): readonly Tool[] => [
  ...standardTools,
  { name: 'elicit', run: asks('elicitation/create', { message: `${name}?`, requestedSchema: {} }, { id: '1' }) },
  { name: 'sample', run: asks('sampling/createMessage', { messages: [], maxTokens: 1 }, { id: '"s"' }) },
  { name: 'roots', run: asks('roots/list', {}, { id: '9007199254740993' }) },
  { name: 'odd-question', run: asks('no/such', {}) },
  {
    name: 'elicit-stream',
    run: asks('elicitation/create', { message: 'there?', requestedSchema: {} }, { id: '1', over: 'stream at once' }),
  },
  { name: 'ping', run: asks('ping', {}) },
  { name: 'ping-stream', run: asks('ping', {}, { over: 'stream' }) },
  {
    name: 'wait',
    run: ({ cancelled }) =>
      new Promise((resolve) => cancelled.addEventListener('abort', () => resolve(says('stopped')))),
  },
  { name: 'deaf', run: () => never() },
]

await using a = await serveMcp({
  name: 'a',
  tools: tools('a'),
  prompts: [{ name: 'p' }],
  resources: [{ uri: 'x:1' }],
  templates: [{ uriTemplate: 'x:t/{id}', matches: /^x:t\// }],
})
await using b = await serveMcp({ name: 'b', tools: tools('b') })
const both = registry({ a: [a, {}], b: [b, {}] })
await using gateway = await startGateway(both)
await gateway.settled()

/** Sessions that were opened on a client's behalf. */
const opened = (server: McpServer): number =>
  server.received.filter(({ text, message }) => message?.method === 'initialize' && text.includes('"raw-client"'))
    .length
const calls = ({ received }: McpServer) => received.filter(({ message }) => message?.method === 'tools/call')
const forget = () => {
  for (const server of [a, b]) server.forget()
}
const onBoth = async (t: Test, name: string, run: (t: Test, client: RawClient, path: Path) => Promise<void>) => {
  for (const path of paths) {
    await t.test(`${name}: ${path}`, async (t) => {
      await using client = await connectOn(path, gateway.url, ['a_echo', 'b_echo'])
      forget()
      await run(t, client, path)
    })
  }
}

await t.test('sessions with servers', async (t) => {
  for (const path of paths) {
    await t.test(`eight first calls at once open one session: ${path}`, async (t) => {
      await using client = await connectOn(path, gateway.url, [])
      forget()
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, at) => client.call(at % 2 === 0 ? 'a_session' : 'b_session')),
      )
      t.same([opened(a), opened(b)], [1, 1])
      t.equal(new Set(answers.map(({ result }) => JSON.stringify(result))).size, 2)
      t.same([a.executions.get('session'), b.executions.get('session')], [8, 8])
      await client.call('a_echo')
      t.same(calls(a).slice(-1).map(pathOf), [path], 'the next one takes its path')
    })
  }
  const losses = {
    'answers 404': { status: 404, code: -32001, text: 'Session not found' },
    'answers 400': { status: 400, code: -32000, text: 'Bad Request: No valid session ID provided' },
    'says it is not initialized': { status: 400, code: -32000, text: 'Bad Request: Server not initialized' },
  }
  for (const [how, dead] of Object.entries(losses)) {
    await onBoth(t, `a restarted server that ${how}`, async (t, client, path) => {
      a.script.dead = dead
      const old = [...a.sessions.keys()]
      a.forgetSessions()
      t.match((await client.call('a_echo', { text: 'once' }, { id: '9007199254740993' })).raw, '"id":9007199254740993,')
      t.equal(opened(a), 1)
      t.equal(a.executions.get('echo'), 1)
      await client.call('a_echo')
      t.same(calls(a).slice(-1).map(pathOf), [path], 'the next one takes its path')
      forget()
      a.forgetSessions()
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, at) => client.call('a_echo', { text: String(at) })),
      )
      t.same(
        answers.map(({ result }) => result),
        answers.map((_, at) => says(String(at))),
      )
      t.equal(opened(a), 1, 'one new session for eight calls')
      t.equal(a.executions.get('echo'), 8)
      t.notOk(old.some((id) => a.sessions.has(id)))
      t.equal(opened(b), 0)
    })
  }
  await onBoth(t, 'a server whose process ended and is back', async (t, client) => {
    await a.die()
    a.forgetSessions()
    await a.revive()
    t.match((await client.call('a_echo', { text: 'back' })).result, says('back'))
    t.equal(opened(a), 1)
  })
  await onBoth(t, 'a stream that listens goes on listening after a restart', async (t, client) => {
    await client.stream()
    for (const data of ['before', 'after']) {
      const text = JSON.stringify((await client.call('a_session')).result)
      const session = [...a.sessions.keys()].find((id) => text.includes(id))
      await eventually('the session is listened to', gateway.child, async () =>
        a.notify('notifications/message', { level: 'info', data }, session) === 1 ? true : undefined,
      )
      t.match(await client.next(({ message: { params } }) => params?.['data'] === data), { on: 'get' })
      a.forgetSessions()
    }
  })
  const genuine = {
    'a 404': new HttpAnswer(404, { 'content-type': 'text/plain' }, 'gone after all'),
    'a 404 as JSON-RPC': new HttpAnswer(
      404,
      { 'content-type': 'application/json' },
      '{"jsonrpc":"2.0", "id":7,"error":{"code":-32001,"message":"Session not found","data":{"n":9007199254740993,"f":1.0}}}',
    ),
    'a 400': new HttpAnswer(400, { 'content-type': 'application/json' }, '{"error":"bad"}'),
    'a 400 about a session': new HttpAnswer(
      400,
      { 'content-type': 'text/plain; charset=utf-8' },
      'no such séssion session',
    ),
    'an empty 404': new HttpAnswer(404, { 'content-length': '0' }),
  }
  for (const [what, answer] of Object.entries(genuine)) {
    await onBoth(t, `a server that runs the tool and then answers ${what}`, async (t, client) => {
      a.setTools([
        ...tools('a'),
        {
          name: 'late',
          run: () => {
            throw answer
          },
        },
      ])
      await eventually('it is listed', gateway.child, async () =>
        (await gateway.status()).tools.some(({ own }) => own === 'late') ? true : undefined,
      )
      const reply = await client.post('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a_late"}}')
      t.equal(a.executions.get('late'), 1, 'run once')
      t.equal(reply.status, answer.status)
      t.equal(reply.text, answer.body)
      if (answer.body !== '') t.equal(reply.headers['content-type'], answer.headers['content-type'])
      t.equal(opened(a), 0)
      t.match((await client.call('a_echo', { text: 'on' })).result, says('on'))
    })
  }
})

await t.test("a client's session", async (t) => {
  const ping = '{"jsonrpc":"2.0","id":7,"method":"ping"}'
  const dead = { status: 404, messages: [{ id: 7, error: { code: -32001 } }] }

  await onBoth(t, 'DELETE ends it here and at every server', async (t, client) => {
    const stream = await client.stream()
    const before = (await gateway.status()).sessions
    const own = await Promise.all(
      ['a_session', 'b_session'].map(async (name) => JSON.stringify((await client.call(name)).result)),
    )
    const reply = await client.delete()
    t.equal(reply.status, 200)
    for (const body of [ping, rpc('7', 'tools/call', { name: 'a_echo' }), rpc('7', 'tools/list')])
      t.match(await client.post(body), dead)
    t.equal(await client.stream().then(({ status }) => status), 404)
    t.equal((await client.delete()).status, 404)
    await stream.ended
    for (const [at, server] of [a, b].entries()) {
      const { headers } = await server.next(({ http }) => http === 'DELETE')
      t.ok(own[at]?.includes(String(headers['mcp-session-id'])))
      t.equal(server.count('DELETE'), 1)
    }
    const { clients, servers, streams } = (await gateway.status()).sessions
    t.same([clients, servers, streams], [before.clients - 1, before.servers - 2, before.streams - 1])
  })
  await t.test('what is still being opened when it ends is closed again', async (t) => {
    const held = gate()
    await using client = await connect(gateway.url)
    forget()
    a.script.before = ({ message }) => (message?.method === 'initialize' ? held.opened : undefined)
    const call = client.call('a_echo').then(
      ({ error }) => error?.code,
      () => 'cut off',
    )
    await a.nextOf('initialize')
    await client.delete()
    a.script.before = undefined
    held.open()
    await a.next(({ http }) => http === 'DELETE')
    t.match(await call, /-32603|cut off/)
    t.equal(a.executions.get('echo'), undefined)
  })
  await t.test('a second stream takes the place of the first', async (t) => {
    await using client = await connect(gateway.url)
    const first = await client.stream()
    const second = await client.stream()
    t.equal((await first.ended).status, 200)
    a.setTools(a.script.tools.slice(1))
    await client.next(({ message: { method } }) => method === 'notifications/tools/list_changed')
    t.equal(client.heard.length, 1)
    a.setTools(tools('a'))
    second.close()
  })
  await t.test('ids outlive the process only with a key of their own', async (t) => {
    const key = '0123456789abcdef'.repeat(4)
    const env = { SESSION_KEY: key }
    const kept = registry({ a: [a, {}] }, { sessions: { key: '${SESSION_KEY}' } })
    const first = await startGateway(kept, { env })
    const port = Number(new URL(first.url).port)
    await first.settled()
    await using client = await connectOn('direct', first.url, ['a_echo'])
    const ended = await connect(first.url)
    await ended.delete()
    const own = { headers: { ...client.headers, connection: 'close' } }
    t.match(await request(gateway.url, { ...own, body: ping }), dead, "another process's id")
    await first.stop()
    await using second = await startGateway(kept, { env, port })
    await second.settled()
    forget()
    const call = rpc('7', 'tools/call', { name: 'a_echo', arguments: { text: 'again' } })
    t.match(await request(second.url, { ...own, body: call }), {
      status: 200,
      messages: [{ id: 7, result: says('again') }],
    })
    t.equal(opened(a), 1)
    t.equal((await request(second.url, { ...own, method: 'DELETE' })).status, 200)
    t.match(await request(second.url, { ...own, body: ping }), dead)
    await first[Symbol.asyncDispose]()
  })
})

/** Answers with what it was asked. */
const echoing: Answers = {
  'elicitation/create': ({ params }) => ({ action: 'accept', content: { asked: params?.['message'] } }),
  'sampling/createMessage': () =>
    '{"role":"assistant","model":"m","content":{"type":"text","text":"hi"},"n":9007199254740993}',
  'roots/list': () => ({ roots: [{ uri: 'file:///x' }] }),
}
const everything = { elicitation: {}, sampling: {}, roots: { listChanged: true } }
const asked = (client: RawClient) => client.heard.filter(({ message: { raw } }) => rawMember(raw, 'id') !== undefined)
const idOf = (client: RawClient, at = 0) => rawMember(asked(client)[at]?.message.raw ?? '{}', 'id') ?? ''

await t.test('what servers ask of clients', async (t) => {
  await t.test('two servers ask at once, both as number 1: each gets its own answer', async (t) => {
    const all = gate()
    let questions = 0
    await using client = await connect(gateway.url, {
      capabilities: { elicitation: {} },
      answers: {
        'elicitation/create': async ({ params }) => {
          if (++questions === 2) all.open()
          await all.opened
          return { action: 'accept', content: { asked: params?.['message'] } }
        },
      },
    })
    const answers = await Promise.all([client.call('a_elicit'), client.call('b_elicit')])
    t.same(
      answers.map(({ result }) => result),
      ['a', 'b'].map((name) => says(JSON.stringify({ action: 'accept', content: { asked: `[${name}] ${name}?` } }))),
    )
    t.not(idOf(client, 0), idOf(client, 1))
    t.same(
      asked(client).map(({ on }) => on),
      ['post', 'post'],
    )
  })
  await t.test('elicitation, sampling and roots, where the registry allows them', async (t) => {
    await play(gateway, registry({ a: [a, { client: ['elicitation', 'sampling', 'roots'] }], b: [b, {}] }))
    await using client = await connect(gateway.url, { capabilities: everything, answers: echoing })
    t.match((await client.call('a_elicit')).result, says('{"action":"accept","content":{"asked":"[a] a?"}}'))
    t.match((await client.call('a_roots')).result, says('{"roots":[{"uri":"file:///x"}]}'))
    t.match((await client.call('a_sample')).result, { content: [{ text: /"text":"hi"/ }] })
    const sampled = a.received.findLast(({ text }) => text.includes('"model"'))
    t.equal(rawMember(sampled?.text ?? '', 'result', 'n'), '9007199254740993', 'answers are as the client wrote them')
    t.same(
      a.received.findLast(({ text }) => text.includes('"raw-client"'))?.message?.params?.['capabilities'],
      everything,
    )
    t.equal(asked(client).length, 3)
    client.heard.length = 0
    t.match((await client.call('b_elicit')).result, says('{"action":"accept","content":{"asked":"[b] b?"}}'))
    for (const name of ['b_sample', 'b_roots', 'b_odd-question'])
      t.match((await client.call(name)).result, { content: [{ text: /"code":-32601/ }] }, name)
    t.equal(asked(client).length, 1, 'the client was not bothered')
    t.same(b.received.findLast(({ text }) => text.includes('"raw-client"'))?.message?.params?.['capabilities'], {
      elicitation: {},
    })
  })
  await t.test('a client is asked only for what it offers, and may refuse', async (t) => {
    await using client = await connect(gateway.url, {
      capabilities: { elicitation: {} },
      answers: {
        'elicitation/create': () => {
          throw new RpcError(-1, 'not now', { n: 1 })
        },
      },
    })
    t.match((await client.call('a_sample')).result, { content: [{ text: /does not offer sampling/ }] })
    t.match((await client.call('a_elicit')).result, says('{"code":-1,"message":"not now","data":{"n":1}}'))
    t.equal(asked(client).length, 1)
  })
  await t.test('outside calls, on the stream', async (t) => {
    const answered = gate()
    let answer: unknown
    a.setTools([
      ...tools('a'),
      {
        name: 'later',
        run: (call) => {
          void call.ask('elicitation/create', { message: 'later?' }, { id: '1', over: 'stream' }).then(({ result }) => {
            answer = result
            answered.open()
          })
          return says('soon')
        },
      },
    ])
    await using client = await connect(gateway.url, { capabilities: everything, answers: echoing })
    await client.stream()
    await eventually('it is listed', gateway.child, async () =>
      (await client.tools()).includes('a_later') ? true : undefined,
    )
    client.heard.length = 0
    t.match((await client.call('a_later')).result, says('soon'))
    await answered.opened
    t.same(answer, { action: 'accept', content: { asked: '[a] later?' } })
    t.same(
      asked(client).map(({ on }) => on),
      ['get'],
    )
  })
  await t.test("in a session's first call, on the server's stream, which is open by then", async (t) => {
    for (let i = 0; i < 20; i++) {
      await using client = await connect(gateway.url, { capabilities: everything, answers: echoing })
      // A client that does not listen is asked on the stream of its call.
      if (i % 2 === 0) await client.stream()
      t.match((await client.call('a_elicit-stream')).result, { content: [{ text: /there\?/ }] })
      t.equal(asked(client)[0]?.on, i % 2 === 0 ? 'get' : 'post')
    }
  })
  await t.test('an answer counts once, and only from whom was asked', async (t) => {
    await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
    await using other = await connect(gateway.url, { capabilities: { elicitation: {} } })
    const call = client.call('a_elicit')
    await client.next(({ message: { method } }) => method === 'elicitation/create')
    const answer = `{"jsonrpc":"2.0","id":${idOf(client)},"result":{"action":"decline"}}`
    const nobody = { status: 400, messages: [{ error: { code: -32600, data: { reason: 'unexpected-response' } } }] }
    t.match(await other.post(answer), nobody)
    t.match(await client.post(answer.replace('"id":"', '"id":"x')), nobody)
    t.match(await client.post('{"jsonrpc":"2.0","id":1,"result":{}}'), nobody, "the server's own id")
    t.equal((await client.post(answer)).status, 202)
    t.match(await client.post(answer), nobody)
    t.match((await call).result, says('{"action":"decline"}'))
  })
  await t.test('progress on a question finds its way back', async (t) => {
    a.setTools([
      ...tools('a'),
      { name: 'slow', run: asks('elicitation/create', { message: '?', _meta: { progressToken: 'tok' } }, { id: '1' }) },
    ])
    await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
    await eventually('it is listed', gateway.child, async () =>
      (await client.tools()).includes('a_slow') ? true : undefined,
    )
    forget()
    const call = client.call('a_slow')
    const { message } = await client.next(({ message: { method } }) => method === 'elicitation/create')
    const token = rawMember(message.raw, 'params', '_meta', 'progressToken')
    t.not(token, '"tok"', 'two servers may have the same token')
    await client.notify('notifications/progress', `{"progressToken":${token},"progress":1.0}`)
    await client.notify('notifications/progress', '{"progressToken":"nobody\'s","progress":2}')
    const told = await a.nextOf('notifications/progress')
    t.equal(rawMember(told.text, 'params'), '{"progressToken":"tok","progress":1.0}')
    await client.post(`{"jsonrpc":"2.0","id":${idOf(client)},"result":{"action":"cancel"}}`)
    await call
    t.same([a.count('notifications/progress'), b.count('notifications/progress')], [1, 0])
  })
  await t.test('a server that gives up its question', async (t) => {
    let questioned = gate()
    const fickle = (then: () => JsonObject | Promise<never>) => async (call: Call) => {
      void call.ask('elicitation/create', { message: 'never mind?' }, { id: '5' })
      await questioned.opened
      call.notify('notifications/cancelled', { requestId: 5, reason: 'oh' })
      return await then()
    }
    await using c = await serveMcp({
      tools: [
        { name: 'fickle', run: fickle(() => says('gave up')) },
        { name: 'silent', run: fickle(() => never()) },
      ],
    })
    await play(gateway, registry({ c: [c, { timeout: '300ms' }] }))
    for (const name of ['c_fickle', 'c_silent']) {
      questioned = gate()
      await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
      const call = client.call(name)
      await client.next(({ message: { method } }) => method === 'elicitation/create')
      questioned.open()
      const { message } = await client.next(({ message: { method } }) => method === 'notifications/cancelled')
      t.equal(rawMember(message.raw, 'params', 'requestId'), idOf(client))
      t.equal(message.params?.['reason'], 'oh')
      t.equal((await client.post(`{"jsonrpc":"2.0","id":${idOf(client)},"result":{}}`)).status, 400)
      if (name === 'c_fickle') t.match((await call).result, says('gave up'))
      else t.match((await call).error, { code: -32603, data: { reason: 'server-silent' } }, 'its silence counts again')
    }
    await gateway.edit(both)
    await gateway.settled()
  })
  await t.test('while a human thinks, the silence of the server does not count', async (t) => {
    await using c = await serveMcp({ name: 'c', tools: tools('c'), sse: true })
    await play(gateway, registry({ c: [c, { timeout: '200ms' }] }))
    await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
    await using other = await connect(gateway.url, { capabilities: { elicitation: {} } })
    const call = client.call('c_elicit')
    await client.next(({ message: { method } }) => method === 'elicitation/create')
    // As long as it takes two other calls, one after the other, to be given up.
    for (const _ of [1, 2]) t.match((await other.call('c_deaf')).error, { data: { reason: 'server-silent' } })
    await client.post(`{"jsonrpc":"2.0","id":${idOf(client)},"result":{"action":"accept"}}`)
    t.match((await call).result, says('{"action":"accept"}'))
    await gateway.edit(both)
    await gateway.settled()
  })
  await t.test('ping, both ways', async (t) => {
    await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
    await client.stream()
    t.match((await client.send('ping')).message.result, {})
    for (const name of ['a_ping', 'a_ping-stream']) t.match((await client.call(name)).result, says('{}'), name)
    t.equal(asked(client).length, 0)
  })
})

await t.test('what clients tell servers', async (t) => {
  await gateway.edit(both)
  await gateway.settled()
  await onBoth(t, 'a cancellation goes to the server that runs the call', async (t, client, path) => {
    const call = client.call('a_wait', {}, { id: '77' })
    const other = client.call('b_wait', {}, { id: '"77"' })
    await Promise.all([a.nextOf('tools/call'), b.nextOf('tools/call')])
    t.same(calls(a).map(pathOf), [path])
    await client.notify('notifications/cancelled', { requestId: 78 })
    await client.notify('notifications/cancelled', { requestId: 77, reason: 'enough' })
    t.match((await call).result, says('stopped'))
    t.same(a.cancelled, ['77'])
    const told = await a.nextOf('notifications/cancelled')
    t.same(told.message?.params, { requestId: 77, reason: 'enough' })
    t.equal(b.count('notifications/cancelled'), 0)
    await client.notify('notifications/cancelled', { requestId: '77' })
    await other
    t.same([a.cancelled, b.cancelled], [['77'], ['"77"']])
  })
  await t.test('a call that is cancelled and never answered ends', async (t) => {
    await using client = await connectOn('broker', gateway.url, ['a_echo'])
    forget()
    const call = client.post(rpc('1', 'tools/call', { name: 'a_deaf' }))
    await a.nextOf('tools/call')
    await client.notify('notifications/cancelled', { requestId: 1 })
    const { messages } = await call
    t.same(messages, [])
    t.same(a.cancelled, ['1'])
  })
  await t.test('changed roots, to the servers that may see them', async (t) => {
    await play(gateway, registry({ a: [a, { client: ['roots'] }], b: [b, {}] }))
    await using client = await connectOn('broker', gateway.url, ['a_echo', 'b_echo'], { capabilities: everything })
    forget()
    await client.notify('notifications/roots/list_changed')
    await a.nextOf('notifications/roots/list_changed')
    await client.call('b_echo')
    t.equal(b.count('notifications/roots/list_changed'), 0)
    await gateway.edit(both)
    await gateway.settled()
  })
  await t.test('the log level, to sessions that are open and to later ones', async (t) => {
    await using client = await connect(gateway.url)
    await using other = await connect(gateway.url)
    for (const one of [client, other]) await one.call('a_echo')
    forget()
    t.match((await client.send('logging/setLevel', { level: 'loud' })).message.error, { code: -32602 })
    t.same((await client.send('logging/setLevel', '{"level":"warning","x":1.0}')).message.result, {})
    const { text } = await a.nextOf('logging/setLevel')
    t.equal(rawMember(text, 'params'), '{"level":"warning","x":1.0}')
    await client.call('b_echo')
    t.equal(rawMember((await b.nextOf('logging/setLevel')).text, 'params', 'level'), '"warning"')
    t.same(
      [a, b].map(({ sessions }) => [...sessions.values()].filter(({ level }) => level !== undefined).length),
      [1, 1],
    )
    t.equal(a.count('logging/setLevel'), 1, 'the other client keeps its own')
  })
})

await t.test('resources, prompts and completion', async (t) => {
  await t.test('completion', async (t) => {
    await using client = await connect(gateway.url)
    forget()
    const complete = (ref: string) =>
      client.send('completion/complete', `{"argument":{"name":"a_p","value":1.0},"ref":${ref},"context":{"x":1e2}}`)
    t.match((await complete('{"type":"ref/prompt","name":"a_p"}')).message.result, {
      completion: { values: ['{"name":"a_p","value":1}'], hasMore: false },
    })
    t.equal(
      rawMember((await a.nextOf('completion/complete')).text, 'params'),
      '{"argument":{"name":"a_p","value":1.0},"ref":{"type":"ref/prompt","name":"p"},"context":{"x":1e2}}',
    )
    t.ok((await complete('{"type":"ref/resource","uri":"x:t/{id}"}')).message.result)
    t.match((await complete('{"type":"ref/prompt","name":"p"}')).message.error, { code: -32602 })
    t.match((await complete('{"type":"ref/resource","uri":"y:{id}"}')).message.error, { code: -32002 })
    t.equal(a.count('completion/complete'), 2)
  })
  for (const prefix of [false, true]) {
    await t.test(
      `resources${prefix ? ' with resources.prefix' : ''}: list, read, subscribe, hear, unsubscribe`,
      async (t) => {
        await play(gateway, registry({ a: [a, { resources: { prefix } }], b: [b, {}] }))
        const uri = (own: string) => (prefix ? `a+${own}` : own)
        await using client = await connect(gateway.url)
        await using other = await connect(gateway.url)
        for (const one of [client, other]) {
          await one.stream()
          await one.call('a_echo')
        }
        t.match(await client.list('resources/list', 'resources'), [{ uri: uri('x:1') }])
        t.match(await client.list('resources/templates/list', 'resourceTemplates'), [{ uriTemplate: uri('x:t/{id}') }])
        forget()
        for (const own of ['x:1', 'x:t/7']) {
          const { result } = (await client.send('resources/read', { uri: uri(own) })).message
          t.match(result, { contents: [{ text: `a:${own}` }] })
        }
        if (prefix) t.match((await client.send('resources/read', { uri: 'x:1' })).message.error, { code: -32002 })
        t.same((await client.send('resources/subscribe', { uri: uri('x:1') })).message.result, {})
        const subscribed = [...a.sessions.values()].filter(({ subscriptions }) => subscriptions.has('x:1'))
        t.equal(subscribed.length, 1, "in the client's own session, under the server's own URI")
        a.notify('notifications/resources/updated', { uri: 'x:1' }, subscribed[0]?.id)
        const heard = await client.next(({ message: { method } }) => method === 'notifications/resources/updated')
        t.same(heard.message.params, { uri: uri('x:1') })
        t.same((await client.send('resources/unsubscribe', { uri: uri('x:1') })).message.result, {})
        t.equal(subscribed[0]?.subscriptions.size, 0)
        t.match((await client.send('resources/subscribe', { uri: 'y:1' })).message.error, { code: -32002 })
        t.equal(other.heard.length, 0)
      },
    )
  }
})

await t.test('a conversation lost while lists were read leaves nothing behind', async (t) => {
  // The shortest back-off: what was begun in the lost conversation ends in the middle of the next.
  const { random } = Math
  Math.random = () => 0
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => {
    Math.random = random
    mock.timers.reset()
  })
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 5) {
      mock.timers.tick(5)
      await new Promise(setImmediate)
    }
  }
  const server = { listTimeoutMs: 60_000 } as const
  let links = 0
  let served = 'before'
  let tell: () => void = () => undefined
  const discovery = discover({
    server: () => server,
    onCapped: () => undefined,
    onChange: () => undefined,
    async open(changed) {
      tell = changed
      const lost = links++ === 0
      return {
        initialized: {
          protocolVersion: '2025-11-25',
          capabilities: new Set(['tools']),
          instructions: undefined,
          caching: undefined,
        },
        eras: ['stateful'] as const,
        announces: true,
        over: lost ? Promise.resolve('the server ended the session') : never(),
        close: () => undefined,
        request: () =>
          lost
            ? Promise.reject(new Error('HTTP 404'))
            : Promise.resolve(Buffer.from(`{"result":{"tools":[{"name":"${served}"}]}}`)),
      }
    },
  })
  t.teardown(() => discovery.close())
  const names = () => discovery.catalogue()?.tools.map(({ own }) => own)
  await pass(1000)
  t.equal(discovery.status().state, 'up')
  t.same(names(), ['before'])
  served = 'after'
  tell()
  await pass(100)
  t.same(names(), ['after'])
  t.equal(links, 2)
})

await t.test('keep-alive', async (t) => {
  const claims = {
    key: '',
    createdMs: 0,
    protocolVersion: '2025-11-25',
    capabilities: '{}',
    features: [],
    clientName: '',
    clientVersion: '',
    principal: '',
    view: '',
  }
  const client = new ClientState({ claims, servers: new Map(), directCalls: new Map(), lastUsedMs: 0 })
  const replies: Reply[] = []
  const arrived = gate()
  const server = createServer((req, res) => {
    const reply = new Reply(res, '', 0, () => undefined)
    replies.push(reply)
    if (req.method === 'GET') {
      reply.openStream()
      client.openStream(res, 0)
    } else arrived.open()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
  t.teardown(() => server.close())
  /** Each moment, and whether a silent stream is due a comment by then. */
  const moments = [
    [24_999, false],
    [25_000, true],
    [49_999, false],
    [50_000, true],
  ] as const
  const due = moments.filter(([, ping]) => ping).map(() => 'ping')

  await t.test('a silent stream', async (t) => {
    const comments: string[] = []
    const opened = gate()
    const stream = request(url, { fresh: true, onComment: (text) => comments.push(text), onHeaders: opened.open })
    await opened.opened
    for (const [nowMs] of moments) client.keepAlive(nowMs, 25_000)
    t.equal(client.session.lastUsedMs, 50_000, 'a session that is listened to is in use')
    client.closeStream()
    await stream
    t.same(comments, due)
  })
  await t.test('a call that takes long', async (t) => {
    const comments: string[] = []
    const call = request(url, { fresh: true, body: '{}', onComment: (text) => comments.push(text) })
    await arrived.opened
    for (const [nowMs] of moments) replies.at(-1)?.keepAlive(nowMs, 25_000)
    replies.at(-1)?.result('1', '{}')
    const { messages, headers } = await call
    t.match(headers['content-type'], 'text/event-stream')
    t.match(messages, [{ id: 1, result: {} }])
    t.same(comments, due)
  })
})

void t.test('what Envoy answers in a server’s place, in words', async (t) => {
  const cases: readonly [said: string, words: string][] = [
    [
      'UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
      'the connection failed: Connection refused (Envoy: UF)',
    ],
    [
      'UF,URX upstream_reset_before_response_started{remote_connection_failure|TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end}',
      'the connection failed: CERTIFICATE VERIFY FAILED (Envoy: UF,URX)',
    ],
    ['UH no_healthy_upstream', 'its address could not be found (Envoy: UH)'],
    ['- direct_response', 'direct response (Envoy: -)'],
  ]
  for (const [said, words] of cases)
    await t.test(said, async (t) => t.equal(localReply({ [INNER_REPLY]: said }), words))
  t.equal(localReply({ 'content-type': 'application/json' }), undefined)
})
