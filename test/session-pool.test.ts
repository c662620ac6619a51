/** Stateless clients at a stateful server: sessions shared out, calls that wait for input, and what comes back with a state that is not theirs. */
import fc from 'fast-check'
import t from 'tap'
import type { PoolOptions } from '../src/registry/model.ts'
import { failed } from '../src/upstreams/upstream.ts'
import { type ArrivedCall, type Got, poolClient, pooledServer, type Sent } from './support/pooled-server.ts'
import { asObject, type JsonObject } from './support/raw-json.ts'

const done = { content: [{ type: 'text', text: 'sunny' }] }
const params = { name: 'weather_ask', arguments: { city: 'Bern' } }
const form = { message: 'Which?', requestedSchema: { type: 'object', properties: { which: { type: 'string' } } } }
const elicit = (id: number | string, change: JsonObject = {}): JsonObject => ({
  id,
  method: 'elicitation/create',
  params: { ...form, ...change },
})
const accept = { action: 'accept', content: { which: 'this' } }
const everything = { elicitation: { url: {} }, sampling: {}, roots: {} }

const resultOf = (got: Got): JsonObject => asObject(got.answer['result'])
const errorOf = (got: Got): JsonObject => asObject(got.answer['error'])
const requestsOf = (got: Got): JsonObject => asObject(resultOf(got)['inputRequests'])
const keysOf = (got: Got): readonly string[] => Object.keys(requestsOf(got))
const stateOf = (got: Got): unknown => resultOf(got)['requestState']
/** The retry that answers everything alike. */
const retry = (got: Got, answer: unknown = accept, change: JsonObject = {}): JsonObject => ({
  ...params,
  requestState: stateOf(got),
  inputResponses: Object.fromEntries(keysOf(got).map((key) => [key, answer])),
  ...change,
})
/** A call that has come to the point where the client is asked. */
const asked = async (
  server: ReturnType<typeof pooledServer>,
  client: Awaited<ReturnType<typeof poolClient>>,
  request: Sent = {},
  ask: (call: ArrivedCall) => void = (call) => call.say(elicit('q')),
): Promise<{ readonly call: ArrivedCall; readonly got: Got }> => {
  const answer = client.send(request)
  const call = await server.call(server.calls.length)
  ask(call)
  return { call, got: await answer }
}
const badState = { code: -32602, data: { reason: 'bad-request-state' } }

await t.test('a call that asks for nothing', async (t) => {
  const server = pooledServer()
  await using client = await poolClient(server)
  const answer = client.send({ id: 'mine', meta: { progressToken: 7, traceparent: 'x' } })
  const call = await server.call(0)
  t.strictSame(call.body, {
    jsonrpc: '2.0',
    id: call.call.id.slice(1, -1),
    method: 'tools/call',
    params: {
      _meta: { traceparent: 'x', progressToken: call.call.id.slice(1, -1) },
      name: 'ask',
      arguments: { city: 'Bern' },
    },
  })
  t.equal(call.call.waiting(), false)
  call.answer(done)
  const got = await answer
  t.equal(got.status, 200)
  t.strictSame(got.answer, {
    jsonrpc: '2.0',
    id: 'mine',
    result: {
      ...done,
      resultType: 'complete',
      _meta: {
        'io.modelcontextprotocol/serverInfo': { name: 'mcp-gateway', title: 'MCP Gateway', version: '1.2.3' },
      },
    },
  })
  t.equal(client.pool.size, 1)
  t.equal(call.client.calls.size, 0)
})

await t.test('how it ends', async (t) => {
  const rows: readonly {
    name: string
    method?: Sent['method']
    end: (call: ArrivedCall) => void
    status: number
    got: JsonObject
    left?: number
  }[] = [
    {
      name: 'an error of the tool',
      end: (call) => call.answer({ ...done, isError: true }),
      status: 200,
      got: { result: { isError: true, resultType: 'complete' } },
    },
    {
      name: 'an error that both eras have',
      end: (call) => call.error({ code: -32602, message: 'no' }),
      status: 200,
      got: { error: { code: -32602, message: 'no' } },
    },
    {
      name: 'an error that only one era has',
      end: (call) => call.error({ code: -32002, message: 'no' }),
      status: 200,
      got: { error: { code: -32602 } },
    },
    {
      name: 'a method the server does not have',
      method: 'completion/complete',
      end: (call) => call.error({ code: -32601, message: 'no' }),
      status: 404,
      got: { error: { code: -32601 } },
    },
    {
      name: 'an error with an HTTP status',
      end: (call) =>
        call.end({
          kind: 'answered',
          status: 400,
          type: 'application/json',
          body: Buffer.from('{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}'),
        }),
      status: 200,
      got: { error: { code: -32603, data: { code: -32000 } } },
    },
    {
      name: 'a page of something else',
      end: (call) => call.end({ kind: 'answered', status: 500, type: 'text/html', body: Buffer.from('<p>') }),
      status: 502,
      got: { error: { code: -32603, data: { reason: 'server-invalid', server: 'weather' } } },
    },
    {
      name: 'an answer to another request',
      end: (call) =>
        call.end({
          kind: 'answered',
          status: 200,
          type: 'application/json',
          body: Buffer.from('{"jsonrpc":"2.0","id":99,"result":{}}'),
        }),
      status: 502,
      got: { error: { data: { reason: 'server-invalid' } } },
    },
    {
      name: 'a server that is silent',
      end: (call) => call.end(failed('server-silent', 'no byte')),
      status: 504,
      got: { error: { code: -32603, data: { reason: 'server-silent' } } },
      left: 1,
    },
  ]
  for (const { name, method, end, status, got: wanted, left = 0 } of rows)
    await t.test(name, async (t) => {
      const server = pooledServer()
      await using client = await poolClient(server)
      const completion = {
        params: { ref: { type: 'ref/prompt', name: 'weather_ask' }, argument: { name: 'a', value: '' } },
      }
      const answer = client.send({ ...(method !== undefined && { method, ...completion }) })
      end(await server.call(0))
      const got = await answer
      t.equal(got.status, status)
      t.equal(got.answer['id'], 1)
      t.match(got.answer, wanted)
      t.equal(server.left.length, left, 'only a session whose call was answered is used again')
      t.equal(client.pool.size, 1 - left)
    })
})

await t.test('a question suspends the call, the retry goes on with it', async (t) => {
  const server = pooledServer()
  await using client = await poolClient(server)
  const { call, got } = await asked(server, client, { id: 1 })
  t.match(resultOf(got), {
    resultType: 'input_required',
    requestState: /^[\w-]{40,}$/,
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'mcp-gateway' } },
  })
  t.strictSame(Object.values(requestsOf(got)), [
    { method: 'elicitation/create', params: { ...form, message: '[weather] Which?' } },
  ])
  t.equal(client.pool.waiting, 1)
  t.equal(call.call.waiting(), true, 'the server’s silence does not count')
  t.equal(server.told.length, 0)

  const last = client.send({ id: 2, params: retry(got) })
  t.strictSame(await server.toldAll(1), [{ jsonrpc: '2.0', id: 'q', result: accept }])
  t.equal(client.pool.waiting, 0)
  t.equal(call.call.waiting(), false)
  call.answer(done)
  t.match((await last).answer, { id: 2, result: { ...done, resultType: 'complete' } })
  t.equal(server.calls.length, 1, 'the server was called once')
  t.equal(client.pool.size, 1)
})

await t.test('round after round, each with a state of its own', async (t) => {
  const server = pooledServer()
  await using client = await poolClient(server)
  const { call, got } = await asked(server, client)
  const states = [stateOf(got)]
  let latest = got
  for (const round of [2, 3]) {
    const next = client.send({ id: round, params: retry(latest) })
    await server.toldAll(round - 1)
    call.say(elicit(round))
    latest = await next
    states.push(stateOf(latest))
  }
  const last = client.send({ id: 4, params: retry(latest) })
  t.strictSame(
    (await server.toldAll(3)).map(({ id }) => id),
    ['q', 2, 3],
  )
  call.answer(done)
  t.equal(resultOf(await last)['resultType'], 'complete')
  t.equal(new Set(states).size, 3)
})

await t.test('several questions at once', async (t) => {
  const server = pooledServer({ client: ['elicitation', 'sampling', 'roots'] })
  await using client = await poolClient(server)
  const sampling = { messages: [], maxTokens: 5 }
  const { call, got } = await asked(server, client, { capabilities: everything }, (arrived) => {
    arrived.say(elicit(1))
    arrived.sayAside({ id: 2, method: 'sampling/createMessage', params: sampling })
    arrived.say({ id: 3, method: 'roots/list' })
  })
  t.strictSame(
    Object.values(requestsOf(got)).map((request) => asObject(request)['method']),
    ['elicitation/create', 'sampling/createMessage', 'roots/list'],
  )
  const [one = '', two = '', three = ''] = keysOf(got)
  const model = { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' }

  await t.test('some answered, the others are asked again', async (t) => {
    const again = await client.send({
      params: { ...params, requestState: stateOf(got), inputResponses: { [one]: accept, nobodyAsked: 5 } },
    })
    t.strictSame(keysOf(again), [two, three])
    t.strictSame(await server.toldAll(1), [{ jsonrpc: '2.0', id: 1, result: accept }])
    const none = await client.send({ params: { ...params, requestState: stateOf(again) } })
    t.strictSame(keysOf(none), [two, three], 'no inputResponses at all')

    const inputResponses = { [two]: model, [three]: { roots: [{ uri: 'file:///a' }] } }
    const last = client.send({ params: { ...params, requestState: stateOf(none), inputResponses } })
    t.strictSame((await server.toldAll(3)).slice(1), [
      { jsonrpc: '2.0', id: 2, result: model },
      { jsonrpc: '2.0', id: 3, result: { roots: [{ uri: 'file:///a' }] } },
    ])
    call.answer(done)
    t.equal(resultOf(await last)['resultType'], 'complete')
  })
})

await t.test('answers that are none are refused, and nothing is lost', async (t) => {
  const questions: readonly (readonly [string, JsonObject, readonly unknown[]])[] = [
    ['elicitation', elicit('q'), [12345, null, [], {}, { action: 'maybe' }, { action: 5 }]],
    [
      'sampling',
      { id: 'q', method: 'sampling/createMessage', params: { messages: [], maxTokens: 5 } },
      ['x', {}, { role: 'user' }, { role: 1, content: {} }, { role: 'user', content: 'text' }],
    ],
    ['roots', { id: 'q', method: 'roots/list' }, [{}, { roots: {} }, { roots: ['x'] }]],
  ]
  for (const [feature, question, answers] of questions)
    await t.test(feature, async (t) => {
      const server = pooledServer({ client: ['elicitation', 'sampling', 'roots'] })
      await using client = await poolClient(server)
      const { call, got } = await asked(server, client, { capabilities: everything }, (arrived) =>
        arrived.say(question),
      )
      for (const answer of answers)
        await t.test(JSON.stringify(answer), async (t) => {
          const refused = await client.send({ params: retry(got, answer) })
          t.match(errorOf(refused), { code: -32602, message: /inputResponses/, data: { reason: 'bad-params' } })
          t.equal(server.told.length, 0)
        })
      for (const inputResponses of [null, 5, [accept]])
        await t.test(`inputResponses ${JSON.stringify(inputResponses)}`, async (t) => {
          const refused = await client.send({ params: retry(got, accept, { inputResponses }) })
          t.match(errorOf(refused), { code: -32602, data: { reason: 'bad-params' } })
        })
      t.equal(client.pool.waiting, 1)
      const good: JsonObject = { ...accept, role: 'user', content: { type: 'text', text: '' }, roots: [] }
      const last = client.send({ params: retry(got, good) })
      await server.toldAll(1)
      call.answer(done)
      t.equal(resultOf(await last)['resultType'], 'complete')
    })
})

await t.test('a state that is not the request’s own is refused, and nothing reaches the server', async (t) => {
  const forged = (state: unknown): string => {
    const text = String(state)
    const at = text.length >> 1
    return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
  }
  const rows: readonly { name: string; sent: (got: Got) => Sent; later?: number }[] = [
    { name: 'tampered', sent: (got) => ({ params: retry(got, accept, { requestState: forged(stateOf(got)) }) }) },
    {
      name: 'lengthened',
      sent: (got) => ({ params: retry(got, accept, { requestState: `${String(stateOf(got))}-X` }) }),
    },
    { name: 'empty', sent: (got) => ({ params: retry(got, accept, { requestState: '' }) }) },
    { name: 'no string', sent: (got) => ({ params: retry(got, accept, { requestState: { a: 1 } }) }) },
    { name: 'another principal', sent: (got) => ({ principal: 'eve', params: retry(got) }) },
    { name: 'another view', sent: (got) => ({ view: 'oncall', params: retry(got) }) },
    { name: 'other arguments', sent: (got) => ({ params: retry(got, accept, { arguments: { city: 'Basel' } }) }) },
    { name: 'another name', sent: (got) => ({ params: retry(got, accept, { name: 'weather_other' }) }) },
    { name: 'another method', sent: (got) => ({ method: 'prompts/get', params: retry(got) }) },
    { name: 'too late', sent: (got) => ({ params: retry(got) }), later: 60_001 },
  ]
  for (const { name, sent, later = 0 } of rows)
    await t.test(name, async (t) => {
      const server = pooledServer()
      await using client = await poolClient(server)
      const { call, got } = await asked(server, client)
      client.nowMs += later
      const refused = await client.send(sent(got))
      t.equal(refused.status, 200)
      t.match(errorOf(refused), badState)
      t.equal(server.calls.length, 1)
      t.equal(server.told.length, 0)
      t.equal(client.pool.waiting, 1, 'the call still waits for its own client')
      client.nowMs -= later
      const last = client.send({ params: retry(got) })
      await server.toldAll(1)
      call.answer(done)
      t.equal(resultOf(await last)['resultType'], 'complete')
    })

  await t.test('replayed: while the call goes on, and after it', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { call, got } = await asked(server, client)
    const first = client.send({ params: retry(got) })
    await server.toldAll(1)
    t.match(errorOf(await client.send({ params: retry(got) })), badState)
    call.answer(done)
    await first
    t.match(errorOf(await client.send({ params: retry(got) })), badState)
    t.equal(server.told.length, 1)
    t.equal(server.calls.length, 1)
  })

  await t.test('of another gateway, and of the same name at another server', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    await using other = await poolClient(server)
    const { got } = await asked(server, client)
    t.match(errorOf(await other.send({ params: retry(got) })), badState)
    const moved = pooledServer({ name: 'elsewhere' })
    t.match(errorOf(await client.send({ params: retry(got), to: moved })), badState)
    t.equal(moved.calls.length, 0)
  })
})

await t.test('sessions', async (t) => {
  const settle = async (server: ReturnType<typeof pooledServer>, answer: Promise<Got>): Promise<ArrivedCall> => {
    const call = await server.call(server.calls.length)
    call.answer(done)
    await answer
    return call
  }
  const opened = async (limits: Partial<PoolOptions> = {}) => {
    const server = pooledServer({ client: ['elicitation', 'sampling'] })
    const client = await poolClient(server, limits)
    return { server, client, run: (request: Sent = {}) => settle(server, client.send(request)) }
  }

  await t.test('is used again for what is alike, and only for that', async (t) => {
    const rows: readonly { name: string; sent: Sent; same: boolean }[] = [
      { name: 'the same again', sent: {}, same: true },
      { name: 'what no server may use', sent: { capabilities: { elicitation: {}, roots: {}, tasks: {} } }, same: true },
      { name: 'another principal', sent: { principal: 'bob' }, same: false },
      { name: 'another view', sent: { view: 'oncall' }, same: false },
      { name: 'more capabilities', sent: { capabilities: { elicitation: {}, sampling: {} } }, same: false },
      { name: 'another mode of one', sent: { capabilities: { elicitation: { url: {} } } }, same: false },
      { name: 'another client', sent: { clientInfo: { name: 'client', version: '2' } }, same: false },
    ]
    for (const { name, sent, same } of rows)
      await t.test(name, async (t) => {
        const { server, client, run } = await opened()
        await using _client = client
        const first = await run()
        const second = await run(sent)
        t.equal(second.client === first.client, same)
        t.not(second.call.id, first.call.id, 'an id is never used twice in a session')
        t.equal(client.pool.size, same ? 1 : 2)
        t.equal(server.left.length, 0)
      })
  })

  await t.test('what the client declared is what the server is told, as far as it may use it', async (t) => {
    const { client, run } = await opened()
    await using _client = client
    const { client: state } = await run({ capabilities: { roots: {}, sampling: { tools: {} }, elicitation: null } })
    t.match(state.session.claims, {
      protocolVersion: '2025-11-25',
      capabilities: '{"sampling":{"tools":{}}}',
      features: ['sampling'],
      clientName: 'client',
      clientVersion: '1',
    })
  })

  await t.test('one call at a time, the latest used first', async (t) => {
    const { server, client, run } = await opened()
    await using _client = client
    const answers = [client.send({}), client.send({})]
    const [a, b] = [await server.call(0), await server.call(1)]
    t.not(a.client, b.client)
    b.answer(done)
    await Promise.race(answers)
    a.answer(done)
    await Promise.all(answers)
    t.equal((await run()).client, a.client)
  })

  await t.test('a full pool refuses and says when to come again; what waits in it is not given up', async (t) => {
    const { server, client } = await opened({ size: 2 })
    await using _client = client
    const { call, got } = await asked(server, client)
    const busy = client.send({})
    const running = await server.call(1)
    const refused = await client.send({ id: 9 })
    t.equal(refused.status, 503)
    t.equal(refused.retryAfter, '1')
    t.match(refused.answer, { id: 9, error: { code: -32603, data: { reason: 'pool-full', retryAfterMs: 1000 } } })
    t.equal(server.calls.length, 2)
    running.answer(done)
    await busy

    const last = client.send({ params: retry(got) })
    await server.toldAll(1)
    call.answer(done)
    t.equal(resultOf(await last)['resultType'], 'complete')
    t.equal(server.left.length, 0)
  })

  await t.test('an idle one is given up for another client when the pool is full', async (t) => {
    const { server, client, run } = await opened({ size: 2 })
    await using _client = client
    const oldest = await run({ principal: 'a' })
    const newer = await run({ principal: 'b' })
    await run({ principal: 'c' })
    t.strictSame(server.left, [oldest.client])
    t.equal(oldest.client.left, true)
    t.equal(client.pool.size, 2)
    t.equal((await run({ principal: 'b' })).client, newer.client)
  })

  await t.test('idle ones end, busy and suspended ones do not', async (t) => {
    const { server, client, run } = await opened({ idleMs: 1000 })
    await using _client = client
    const free = await run({ principal: 'a' })
    await asked(server, client, { principal: 'b' })
    const busy = client.send({ principal: 'c' })
    const running = await server.call(2)
    client.nowMs += 1000
    client.pool.sweep()
    t.equal(server.left.length, 0)
    client.nowMs += 1
    client.pool.sweep()
    t.strictSame(server.left, [free.client])
    t.equal(client.pool.size, 2)
    running.answer(done)
    await busy
  })

  await t.test('a server that leaves takes its sessions along; who waits is told', async (t) => {
    const { server, client, run } = await opened()
    await using _client = client
    await run({ principal: 'a' })
    const { got } = await asked(server, client)
    const running = client.send({ principal: 'b', id: 5 })
    await server.call(2)
    await client.pool.drop('other')
    t.equal(client.pool.size, 3)
    await client.pool.drop('weather')
    const told = await running
    t.equal(told.status, 502)
    t.match(told.answer, { id: 5, error: { data: { reason: 'server-down' } } })
    t.equal(server.left.length, 3)
    t.equal(client.pool.size, 0)
    t.equal(client.pool.waiting, 0)
    t.match(errorOf(await client.send({ params: retry(got) })), badState)
  })

  await t.test('the gateway stops', async (t) => {
    const { server, client } = await opened()
    await using _client = client
    await asked(server, client)
    const running = client.send({})
    await server.call(1)
    await client.pool.close()
    t.match(errorOf(await running), { data: { reason: 'stopping' } })
    t.equal(server.left.length, 2)
  })
})

await t.test('nobody comes back', async (t) => {
  await t.test('at its limit the server is told, and the session freed', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server, { inputMs: 50 })
    const { call, got } = await asked(server, client)
    const [told] = await server.toldAll(1)
    t.match(told, { method: 'notifications/cancelled', params: { requestId: call.body['id'], reason: /in time/ } })
    t.equal(client.pool.waiting, 0)
    t.match(errorOf(await client.send({ params: retry(got) })), badState)
    call.end(failed('server-down', 'the stream ended before the response'))
    await server.leaving(1)
    t.equal(client.pool.size, 0)
  })
  await t.test('a server that does not listen is left all the same', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server, { inputMs: 50 })
    await asked(server, client)
    await server.leaving(1)
    t.equal(client.pool.size, 0)
  })
  await t.test('a call that ended meanwhile keeps its answer until then', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { call, got } = await asked(server, client)
    call.answer(done)
    t.equal(client.pool.waiting, 1)
    const last = await client.send({ id: 2, params: retry(got) })
    t.match(last.answer, { id: 2, result: { ...done, resultType: 'complete' } })
    t.equal(server.told.length, 0, 'nobody wants the answer any more')
    t.equal(client.pool.waiting, 0)
  })
  await t.test('the client closes its stream while the call runs', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const closing = new AbortController()
    const answer = client.send({ signal: closing.signal })
    const call = await server.call(0)
    closing.abort()
    await t.rejects(answer)
    const [told] = await server.toldAll(1)
    t.match(told, { method: 'notifications/cancelled', params: { requestId: call.body['id'] } })
    call.end(failed('server-down', 'the stream ended before the response'))
    await server.leaving(1)
  })
  await t.test('the same in a later round', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { call, got } = await asked(server, client)
    const closing = new AbortController()
    const answer = client.send({ params: retry(got), signal: closing.signal })
    await server.toldAll(1)
    closing.abort()
    await t.rejects(answer)
    t.match((await server.toldAll(2))[1], { method: 'notifications/cancelled', params: { requestId: call.body['id'] } })
  })
})

await t.test('what the server says before it answers', async (t) => {
  const progress = (call: ArrivedCall, progressToken: unknown, value: number): JsonObject => ({
    method: 'notifications/progress',
    params: { progressToken: progressToken ?? call.body['id'], progress: value },
  })
  const log = (level: string): JsonObject => ({ method: 'notifications/message', params: { level, data: level } })
  const levelKey = 'io.modelcontextprotocol/logLevel'

  await t.test('progress carries the token of the client’s latest request', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { call, got } = await asked(server, client, { meta: { progressToken: 'one' } }, (arrived) => {
      arrived.say(progress(arrived, undefined, 1))
      arrived.say(progress(arrived, 'strange', 2))
      arrived.say(elicit('q'))
    })
    t.match(got.notifications, [{ params: { progressToken: 'one', progress: 1 } }])
    t.equal(got.notifications.length, 1)
    call.say(progress(call, undefined, 2))
    const last = client.send({ params: retry(got), meta: { progressToken: 9007199254740991 } })
    await server.toldAll(1)
    call.say(progress(call, undefined, 3))
    call.sayAside(progress(call, undefined, 4))
    call.answer(done)
    t.strictSame(
      (await last).notifications.map(({ params: said }) => said),
      [3, 4].map((value) => ({ progressToken: 9007199254740991, progress: value })),
    )
  })
  await t.test('nothing of it for a request that did not ask', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const answer = client.send({})
    const call = await server.call(0)
    call.say(progress(call, 'one', 1))
    call.say(log('emergency'))
    call.say({ method: 'notifications/tools/list_changed' })
    call.say({ method: 'notifications/resources/updated', params: { uri: 'a:b' } })
    call.answer(done)
    t.strictSame((await answer).notifications, [])
    t.strictSame(server.levels, [])
  })
  await t.test('log messages from the level on that the request named', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    for (const [index, level] of ['warning', 'warning', 'debug'].entries()) {
      const answer = client.send({ meta: { [levelKey]: level } })
      const call = await server.call(index)
      for (const each of ['debug', 'warning', 'alert']) call.say(log(each))
      call.answer(done)
      const heard = (await answer).notifications.map(({ params: said }) => asObject(said)['level'])
      t.strictSame(heard, level === 'debug' ? ['debug', 'warning', 'alert'] : ['warning', 'alert'])
    }
    t.strictSame(server.levels, ['{"level":"warning"}', '{"level":"debug"}'], 'told when it changes')
    const silent = client.send({})
    const call = await server.call(3)
    call.say(log('emergency'))
    call.answer(done)
    t.strictSame((await silent).notifications, [])
  })
  await t.test('a level that is none', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    for (const level of ['loud', 5, null]) {
      const refused = await client.send({ meta: { [levelKey]: level } })
      t.match(errorOf(refused), { code: -32602, data: { reason: 'bad-params' } })
    }
    t.equal(server.calls.length, 0)
  })
  await t.test('a question withdrawn is not asked', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { got } = await asked(server, client, {}, (call) => {
      call.say(elicit(1))
      call.say(elicit(2, { message: 'Other?' }))
      call.say({ method: 'notifications/cancelled', params: { requestId: 1 } })
    })
    t.match(Object.values(requestsOf(got)), [{ params: { message: '[weather] Other?' } }])
    t.equal(keysOf(got).length, 1)
    t.strictSame(got.notifications, [])
  })
})

await t.test('questions that may not be put are answered to the server at once', async (t) => {
  const rows: readonly { name: string; sent: Sent; ask: JsonObject; told: JsonObject }[] = [
    {
      name: 'what the client did not declare',
      sent: { capabilities: {} },
      ask: elicit('q'),
      told: { id: 'q', error: { code: -32601 } },
    },
    {
      name: 'what the registry does not allow',
      sent: { capabilities: everything },
      ask: { id: 'q', method: 'roots/list' },
      told: { id: 'q', error: { code: -32601 } },
    },
    {
      name: 'a URL for a client that shows none',
      sent: {},
      ask: elicit('q', { mode: 'url', url: 'https://a.example', elicitationId: 'e' }),
      told: { id: 'q', error: { code: -32603 } },
    },
    {
      name: 'during a completion',
      sent: { method: 'completion/complete', params: { ref: { name: 'weather_ask' } } },
      ask: elicit('q'),
      told: { id: 'q', error: { code: -32603 } },
    },
    { name: 'a ping', sent: {}, ask: { id: 'q', method: 'ping' }, told: { id: 'q', result: {} } },
  ]
  for (const { name, sent, ask, told } of rows)
    await t.test(name, async (t) => {
      const server = pooledServer()
      await using client = await poolClient(server)
      const answer = client.send(sent)
      const call = await server.call(0)
      call.say(ask)
      t.match(await server.toldAll(1), [told])
      call.answer(done)
      t.equal(resultOf(await answer)['resultType'], 'complete')
    })
})

await t.test('a server that wants URLs visited first', async (t) => {
  const visit = { mode: 'url', message: 'Sign in', url: 'https://a.example/x', elicitationId: 'e1' }
  const required = { code: -32042, message: 'first', data: { elicitations: [visit] } }
  const capabilities = { elicitation: { url: {} } }

  await t.test('asks for that; the retry is a call of its own', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { got } = await asked(server, client, { capabilities }, (call) => call.error(required))
    t.match(resultOf(got), { resultType: 'input_required', requestState: String })
    t.strictSame(Object.values(requestsOf(got)), [
      { method: 'elicitation/create', params: { mode: 'url', message: '[weather] Sign in', url: visit.url } },
    ])
    t.equal(client.pool.waiting, 0)
    const again = client.send({ id: 2, capabilities, params: retry(got, { action: 'accept' }) })
    const call = await server.call(1)
    t.notOk(Object.hasOwn(asObject(call.body['params']), 'inputResponses'))
    t.notOk(Object.hasOwn(asObject(call.body['params']), 'requestState'))
    call.answer(done)
    t.match((await again).answer, { id: 2, result: { resultType: 'complete' } })

    const declined = await client.send({ capabilities, params: retry(got, { action: 'decline' }) })
    t.match(errorOf(declined), { code: -32603, data: { reason: 'declined', server: 'weather' } })
    t.equal(server.calls.length, 2)
  })
  await t.test('a client that shows no URLs is told what it lacks', async (t) => {
    const server = pooledServer()
    await using client = await poolClient(server)
    const { got } = await asked(server, client, {}, (call) => call.error(required))
    t.equal(got.status, 400)
    t.match(errorOf(got), { code: -32021, data: { requiredCapabilities: { elicitation: { url: {} } } } })
  })
  await t.test('a server that may not ask', async (t) => {
    const server = pooledServer({ client: [] })
    await using client = await poolClient(server)
    const { got } = await asked(server, client, { capabilities }, (call) => call.error(required))
    t.equal(got.status, 502)
    t.match(errorOf(got), { code: -32603, data: { reason: 'not-allowed' } })
  })
})

await t.test('how long a resource may be kept', async (t) => {
  const contents = { contents: [{ uri: 'a:b', text: 'x' }] }
  const read: Sent = { method: 'resources/read', params: { uri: 'weather_ask' } }
  const rows = [
    { name: 'nobody said', cache: {}, wanted: { ttlMs: 0, cacheScope: 'private' } },
    {
      name: 'the registry says',
      cache: { cache: { ttlMs: 5000, scope: 'public' as const } },
      wanted: { ttlMs: 5000, cacheScope: 'public' },
    },
  ]
  for (const { name, cache, wanted } of rows)
    await t.test(name, async (t) => {
      const server = pooledServer(cache)
      await using client = await poolClient(server)
      const plain = client.send(read)
      ;(await server.call(0)).answer(contents)
      t.match(resultOf(await plain), { ...contents, ...wanted })

      const { call, got } = await asked(server, client, read)
      t.notOk(Object.hasOwn(resultOf(got), 'ttlMs'))
      const last = client.send({
        ...read,
        params: retry(got, accept, { name: undefined, arguments: undefined, ...read.params }),
      })
      await server.toldAll(1)
      call.answer(contents)
      t.match(resultOf(await last), { ...contents, ttlMs: 0, cacheScope: 'private' }, 'input is in it')
    })
})

await t.test('property: whatever a client sends back, the answer is one of ours', async (t) => {
  const server = pooledServer()
  await using client = await poolClient(server)
  const { got } = await asked(server, client)
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), fc.oneof(fc.string(), fc.jsonValue()), async (inputResponses, requestState) => {
      const { answer } = await client.send({ params: { ...params, inputResponses, requestState } })
      const { code } = asObject(answer['error'])
      return code === -32602
    }),
    { numRuns: 100 },
  )
  t.equal(server.calls.length, 1)
  t.equal(server.told.length, 0)
  t.equal(client.pool.waiting, 1)
  t.ok(stateOf(got))
})
