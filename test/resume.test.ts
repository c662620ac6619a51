/** Streams that outlive their connections: what a client gets that comes back, and how servers are asked for the rest. */

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { mock } from 'node:test'
import fc from 'fast-check'
import t from 'tap'
import { ClientStreams, type Resumption } from '../src/clients/client-streams.ts'
import { EventStore } from '../src/clients/event-store.ts'
import { sdkV1, sdkV2 } from './support/clients.ts'
import type { Connection } from './support/event-client.ts'
import { openEvents } from './support/event-client.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'
import type { Received, Tool } from './support/mcp-script.ts'
import { HttpAnswer, never, says } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { connect, rpc } from './support/raw-client.ts'
import { connectOn, gate, pathOf, play, registry } from './support/stage.ts'
import { stateless } from './support/stateless-client.ts'
import { upstreamOf } from './support/upstream-stage.ts'

// --- what is kept -------------------------------------------------------------------------------------------------

await t.test('events are kept within bounds', async (t) => {
  const event = (text: string | number) => Buffer.from(String(text))
  const texts = (events: readonly Buffer[] | undefined) => events?.map(String)
  await t.test('per stream, in order', async (t) => {
    const store = new EventStore({ bytes: 0 })
    for (const n of [1, 2, 3]) for (const stream of ['a', 'b']) store.keep(stream, n, event(`${stream}${n}`))
    t.same(texts(store.after('a', 0)), ['a1', 'a2', 'a3'])
    t.same(texts(store.after('b', 2)), ['b3'])
    t.same(texts(store.after('b', 3)), [])
    store.forget(new Set(['a']))
    t.same(texts(store.after('a', 0)), [])
    t.same(texts(store.after('b', 0)), ['b1', 'b2', 'b3'])
  })
  await t.test('the same buffers, not copies', async (t) => {
    const store = new EventStore({ bytes: 0 })
    const one = event('one')
    store.keep('a', 1, one)
    t.equal(store.after('a', 0)?.[0], one)
  })
  await t.test('so many', async (t) => {
    const store = new EventStore({ bytes: 0 })
    store.keep('quiet', 1, event('q'))
    for (let n = 1; n <= 1024; n++) store.keep('a', n, event(n))
    t.equal(store.after('quiet', 0), undefined, 'the oldest goes')
    t.same(texts(store.after('quiet', 1)), [], 'who has seen it misses nothing')
    t.equal(store.after('a', 0)?.length, 1024)
    store.keep('a', 1025, event('x'))
    t.equal(store.after('a', 0), undefined)
    t.equal(store.after('a', 1)?.length, 1024)
  })
  await t.test('so many bytes, of one session and of all', async (t) => {
    const held = { bytes: 0 }
    const mega = Buffer.alloc(1024 * 1024)
    const stores = Array.from({ length: 40 }, () => new EventStore(held))
    for (const [at, store] of stores.entries())
      for (let n = 1; n <= 5; n++) {
        store.keep('a', n, mega)
        if (at === 0 && n === 5) t.equal(store.after('a', 1)?.length, 4)
      }
    t.equal(held.bytes, 128 * mega.length)
    t.equal(stores[0]?.after('a', 1)?.length, 4, "nobody else's goes")
    t.equal(stores.at(-1)?.after('a', 4), undefined)
    for (const store of stores) store.close()
    t.equal(held.bytes, 0)
    stores[0]?.keep('a', 6, mega)
    t.equal(held.bytes, 0, 'nothing is kept for a session that is over')
  })
  await t.test('a larger one than all may be together takes none with it', async (t) => {
    const store = new EventStore({ bytes: 0 })
    store.keep('a', 1, event('a'))
    store.keep('b', 1, Buffer.alloc(4 * 1024 * 1024 + 1))
    t.same(texts(store.after('a', 0)), ['a'])
    t.equal(store.after('b', 0), undefined)
  })
})

await t.test('event ids', async (t) => {
  const responses: ServerResponse[] = []
  const arrived: (() => void)[] = []
  const server = createServer((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    responses.push(res)
    for (const go of arrived.splice(0)) go()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  /** Both ends of a connection. */
  const connection = async (): Promise<{ readonly res: ServerResponse; readonly client: Promise<Connection> }> => {
    const here = gate()
    arrived.push(here.open)
    const client = openEvents(url, {})
    await here.opened
    const res = responses.at(-1)
    if (res === undefined) throw new Error('no response')
    return { res, client }
  }
  const told = (found: Resumption) =>
    found.to === 'stream' ? `${found.kind} ${found.missed.map(String).join()}` : found.to
  const streams = new ClientStreams('2025-06-18', { bytes: 0 })
  const others = new ClientStreams('2025-06-18', { bytes: 0 })
  const begin = async (of: ClientStreams, kind: 'own' | 'call') => {
    const { res, client } = await connection()
    const stream = of.begin(kind, res, 0)
    return { stream, client: await client }
  }
  const first = await begin(streams, 'own')
  const call = await begin(streams, 'call')
  const ended = await begin(streams, 'call')
  const foreign = { own: await begin(others, 'own'), call: await begin(others, 'call') }
  for (const { stream } of [first, call, ended, foreign.own, foreign.call]) {
    stream.send(Buffer.from('{"n":1}'))
    stream.send(Buffer.from('{"n":2}'))
  }
  ended.stream.end(Buffer.from('{"end":true}'))
  const second = await begin(streams, 'own')
  second.stream.send(Buffer.from('{"n":1}'))
  const at = (stream: { readonly name: string }, n: number): string => `${stream.name}.${n}`
  const event = (stream: { readonly name: string }, n: number, data = `{"n":${n}}`): string =>
    `id: ${at(stream, n)}\ndata: ${data}\n\n`
  const rows: readonly (readonly [string, string, string])[] = [
    ["a call's, with more after it", at(call.stream, 1), `call ${event(call.stream, 2)}`],
    ["a call's latest", at(call.stream, 2), 'call '],
    ["a call's before its first", at(call.stream, 0), `call ${event(call.stream, 1)},${event(call.stream, 2)}`],
    ["a call's that never was", at(call.stream, 3), 'unknown'],
    ['a stream that never was', at({ name: call.stream.name.replace(/\d+$/, '99') }, 1), 'unknown'],
    ['of a call that has ended', at(ended.stream, 2), `call ${event(ended.stream, 3, '{"end":true}')}`],
    ['the last of a call that has ended', at(ended.stream, 3), 'over'],
    ["the client's own stream's", at(second.stream, 0), `own ${event(second.stream, 1)}`],
    ['a stream that another took the place of', at(first.stream, 1), 'over'],
    ['of a call of another session', at(foreign.call.stream, 1), 'unknown'],
    ["another session's own stream", at(foreign.own.stream, 1), 'anew'],
    ["a server's", '7a0c_3', 'foreign'],
    ["a server's that begins like ours", `${at(call.stream, 1)}.1`, 'foreign'],
    ['a number beyond all', `${call.stream.name}.99999999999999999999`, 'foreign'],
    ['nothing', '', 'foreign'],
  ]
  for (const [what, id, expected] of rows) await t.test(what, async (t) => t.equal(told(streams.find(id)), expected))
  await t.test('each is unlike every other', async (t) => {
    const ids = [first, call, ended, second, foreign.own, foreign.call].flatMap(({ client }) => client.events)
    await second.client.event('1')
    await ended.client.ended
    const all = ids.map(({ id }) => id)
    t.equal(new Set(all).size, all.length)
  })
  await t.test('what has ended is forgotten after a time, what has not is not', async (t) => {
    streams.expire(Date.now() + 119_000)
    t.equal(told(streams.find(at(ended.stream, 3))), 'over')
    streams.expire(Date.now() + 121_000)
    t.equal(told(streams.find(at(ended.stream, 3))), 'unknown')
    t.equal(told(streams.find(at(call.stream, 2))), 'call ')
  })
  await t.test('the time since the end counts, however long the client was away before', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
    t.teardown(() => mock.timers.reset())
    const { res, client } = await connection()
    const stream = streams.begin('call', res, 0)
    stream.send(Buffer.from('{"n":1}'))
    const closed = once(res, 'close')
    await (await client).event('1')
    ;(await client).cut()
    await closed
    const endedMs = 9_000_000
    mock.timers.setTime(endedMs)
    stream.end(Buffer.from('{"n":2}'))
    streams.expire(endedMs + 119_000)
    t.equal(told(streams.find(at(stream, 1))), `call ${event(stream, 2)}`)
    streams.expire(endedMs + 121_000)
    t.equal(told(streams.find(at(stream, 1))), 'unknown')
  })
  await t.test('those that have ended are so many at most', async (t) => {
    const { res } = await connection()
    res.setMaxListeners(0)
    const one = streams.begin('call', res, 0)
    one.end(Buffer.from('{}'))
    for (let n = 0; n < 256; n++) streams.begin('call', res, 0).end()
    t.equal(told(streams.find(at(one, 0))), 'unknown')
    t.equal(told(streams.find(at(call.stream, 2))), 'call ')
  })
  for (const { client } of [first, call, second, foreign.own, foreign.call]) client.cut()

  await t.test('whenever a client goes and comes back, it gets everything once and in order', async () => {
    const actions = fc.array(fc.constantFrom('send', 'send', 'cut', 'back'), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(actions, fc.constantFrom('2025-11-25', '2025-06-18'), async (plan, version) => {
        const one = new ClientStreams(version, { bytes: 0 })
        const opening = await connection()
        const stream = one.begin('call', opening.res, 0)
        let sent = 0
        const send = (): void => stream.send(Buffer.from(`{"n":${++sent}}`))
        send()
        let client = await opening.client
        await client.event('{"n":1}')
        const heard: string[] = []
        let last = ''
        let away = false
        /** Comes back where it has been before; false: there is nothing more. */
        const back = async (): Promise<boolean> => {
          // What an old connection still brings, the client does not count.
          last = client.lastId === '' ? last : client.lastId
          heard.push(...client.data)
          const found = one.find(last)
          if (found.to !== 'stream') return false
          const next = await connection()
          client.cut()
          found.stream.attach(next.res, 0, found.missed)
          client = await next.client
          away = false
          return true
        }
        for (const action of plan) {
          if (action === 'send') send()
          else if (action === 'back') await back()
          else {
            client.cut()
            away = true
          }
        }
        stream.end(Buffer.from('{"end":true}'))
        if (!away) await client.event('end')
        for (let more = true; more; ) {
          more = await back()
          if (more) await client.ended
        }
        return heard.join() === [...Array.from({ length: sent }, (_, n) => `{"n":${n + 1}}`), '{"end":true}'].join()
      }),
      { numRuns: 60 },
    )
  })
})

// --- clients ------------------------------------------------------------------------------------------------------

const steps = { gates: new Map<string, ReturnType<typeof gate>>() }
/** Where the tool stops until the test lets it go on. */
const step = (name: string): ReturnType<typeof gate> => {
  const known = steps.gates.get(name) ?? gate()
  steps.gates.set(name, known)
  return known
}
const log = (data: string): readonly [string, { readonly level: string; readonly data: string }] => [
  'notifications/message',
  { level: 'info', data },
]
/** Of the calls that began, and that were broken off before their answer. */
const runs: string[] = []
const gone: string[] = []
const tools: readonly Tool[] = [
  { name: 'echo', run: ({ arguments: { text } }) => says(String(text)) },
  {
    name: 'steps',
    run: async (call) => {
      const key = String(call.arguments['key'])
      let answered = false
      runs.push(key)
      call.disconnected.addEventListener('abort', () => {
        if (answered) return
        gone.push(key)
        step(`${key} gone`).open()
      })
      call.notify(...log('one'))
      await step(`${key} more`).opened
      call.notify(...log('two'))
      call.notify(...log('three'))
      step(`${key} said`).open()
      await step(`${key} end`).opened
      answered = true
      return says('done')
    },
  },
  {
    name: 'ask',
    run: async (call) => {
      call.notify(...log('one'))
      await step('ask more').opened
      const { result } = await call.ask('elicitation/create', { message: 'who?', requestedSchema: {} })
      return says(JSON.stringify(result))
    },
  },
  {
    name: 'much',
    run: async (call) => {
      call.notify(...log('one'))
      await step('much more').opened
      for (let n = 0; n < 5; n++) call.notify(...log('x'.repeat(1024 * 1024)))
      step('much said').open()
      return says('done')
    },
  },
  {
    name: 'quiet',
    run: (call) => {
      call.disconnected.addEventListener('abort', () => step('quiet gone').open())
      return never()
    },
  },
]

await using server = await serveMcp({ name: 'a', tools })
await using gateway = await startGateway(registry({ a: [server, { prefix: '' }] }))
await gateway.settled()

let ids = 0
const call = (name: string, args: object = {}): string =>
  rpc(`"call-${++ids}"`, 'tools/call', { name, arguments: { ...args } })
const newest = { capabilities: { elicitation: {} } }
const older = { ...newest, protocolVersion: '2025-06-18' }
const has = (text: string) => (data: string) => data.includes(`"${text}"`)
/** Which of these texts came, in the order they came. */
const heard = (connection: Connection, ...texts: readonly string[]): readonly string[] =>
  connection.data.map((data) => texts.find((text) => has(text)(data)) ?? data)

await t.test('a client that loses the connection of its call', async (t) => {
  for (const [what, options] of [
    ['2025-11-25', newest],
    ['2025-06-18', older],
  ] as const) {
    await t.test(what, async (t) => {
      await using client = await connect(gateway.url, options)
      const post = (body: string) => openEvents(gateway.url, client.headers, body)
      const back = (id: string) => openEvents(gateway.url, { ...client.headers, 'last-event-id': id })

      await t.test('gets what it missed, once, and the answer when it comes', async (t) => {
        const key = `${what} 1`
        const first = await post(call('steps', { key }))
        const { id = '' } = await first.event('one')
        first.cut()
        step(`${key} more`).open()
        await step(`${key} said`).opened
        const second = await back(id)
        t.equal(second.status, 200)
        await second.event('three')
        step(`${key} end`).open()
        await second.ended
        t.same(heard(second, 'one', 'two', 'three', 'done'), ['two', 'three', 'done'])
        t.equal(runs.filter((one) => one === key).length, 1, 'run once')
        t.notOk(gone.includes(key), 'its server noticed nothing')

        const again = await back(id)
        await again.ended
        t.same(heard(again, 'two', 'three', 'done'), ['two', 'three', 'done'], 'for some time after the end too')
        const nothing = await back(again.lastId)
        t.equal(nothing.status, 204, 'there is nothing more to come back for')
        t.equal((await nothing.ended).text, '')
      })
      await t.test('and comes back only after the end', async (t) => {
        const key = `${what} 2`
        const first = await post(call('steps', { key }))
        const { id = '' } = await first.event('one')
        first.cut()
        for (const name of ['more', 'end']) step(`${key} ${name}`).open()
        const second = await back(id)
        await second.event('done')
        await second.ended
        t.same(heard(second, 'two', 'three', 'done'), ['two', 'three', 'done'])
      })
      await t.test('without noticing: the new connection takes the place of the old', async (t) => {
        const key = `${what} 3`
        const first = await post(call('steps', { key }))
        const { id = '' } = await first.event('one')
        const second = await back(id)
        await first.ended
        for (const name of ['more', 'end']) step(`${key} ${name}`).open()
        await second.ended
        t.same(heard(first, 'one'), ['one'])
        t.same(heard(second, 'two', 'three', 'done'), ['two', 'three', 'done'], 'on one stream only')
      })
      await t.test('is asked when it is back', async (t) => {
        steps.gates.delete('ask more')
        const first = await post(call('ask'))
        const { id = '' } = await first.event('one')
        first.cut()
        step('ask more').open()
        const second = await back(id)
        const question = JSON.parse((await second.event('elicitation/create')).data)
        t.equal(question.params.message, '[a] who?')
        const answer = { jsonrpc: '2.0', id: question.id, result: { action: 'decline' } }
        t.equal((await client.post(JSON.stringify(answer))).status, 202)
        await second.event('decline')
        await second.ended
        t.equal(second.data.length, 2)
      })
      await t.test('gives the call up while it is away', async (t) => {
        const key = `${what} 4`
        const first = await post(call('steps', { key }))
        const { id = '' } = await first.event('one')
        first.cut()
        await client.notify('notifications/cancelled', { requestId: `call-${ids}` })
        await step(`${key} gone`).opened
        t.equal((await back(id)).status, 204)
      })
      await t.test('is told when not all of the rest is there', async (t) => {
        steps.gates.delete('much more')
        steps.gates.delete('much said')
        const first = await post(call('much'))
        const { id = '' } = await first.event('one')
        first.cut()
        step('much more').open()
        await step('much said').opened
        // Until the last of it has come through, the rest may still be there.
        let refused = await back(id)
        while (refused.status === 200) {
          refused.cut()
          refused = await back(id)
        }
        t.equal(refused.status, 400)
        t.match((await refused.ended).messages[0], {
          error: { code: -32000, message: /cannot be resumed/, data: { reason: 'unknown-event' } },
        })
      })
      await t.test('cannot come back to the call of another', async (t) => {
        await using other = await connect(gateway.url, options)
        const key = `${what} 5`
        const first = await post(call('steps', { key }))
        const { id = '' } = await first.event('one')
        const theirs = await openEvents(gateway.url, { ...other.headers, 'last-event-id': id })
        t.equal(theirs.status, 400)
        t.match((await theirs.ended).messages[0]?.error?.data, { reason: 'unknown-event' })
        for (const name of ['more', 'end']) step(`${key} ${name}`).open()
        await first.ended
        t.same(heard(first, 'one', 'two', 'three', 'done'), ['one', 'two', 'three', 'done'])
      })
    })
  }
  await t.test('and ends its session: the call ends too', async (t) => {
    for (const when of ['noticed', 'at once'] as const) {
      const key = `leave ${when}`
      const client = await connect(gateway.url, newest)
      const first = await openEvents(gateway.url, client.headers, call('steps', { key }))
      await first.event('one')
      first.cut()
      if (when === 'noticed') {
        step(`${key} more`).open()
        await step(`${key} said`).opened
      }
      t.equal((await client.delete()).status, 200)
      await step(`${key} gone`).opened
      t.ok(gone.includes(key), when)
    }
  })
  await t.test('before it has heard anything: the call ends', async (t) => {
    await using client = await connect(gateway.url, newest)
    const abort = new AbortController()
    const sent = client.post(call('quiet'), { signal: abort.signal, fresh: true }).catch((error: unknown) => error)
    await server.next(({ message }) => message?.params?.['name'] === 'quiet')
    abort.abort()
    await sent
    await step('quiet gone').opened
    t.pass('its server noticed')
  })
})

await t.test('how a stream begins', async (t) => {
  const rows = [
    ['2025-11-25', newest, [{ data: '', retry: '1000' }, { data: /"one"/ }]],
    ['2025-06-18', older, [{ data: /"one"/ }]],
  ] as const
  for (const [what, options, begins] of rows) {
    await t.test(what, async (t) => {
      await using client = await connect(gateway.url, options)
      const key = `begins ${what}`
      const first = await openEvents(gateway.url, client.headers, call('steps', { key }))
      await first.event('one')
      t.match(first.events, begins)
      t.equal(first.events.length, begins.length)
      t.same(
        first.events.filter(({ retry }) => retry !== undefined).map(({ data }) => data),
        what === '2025-11-25' ? [''] : [],
      )
      for (const name of ['more', 'end']) step(`${key} ${name}`).open()
      await first.ended
      const all = first.events.map(({ id }) => id)
      t.ok(
        all.every((id) => /^gw-[0-9a-f]{8}-p\d+\.\d+$/.test(id ?? '')),
        'every event has an id',
      )
      t.equal(new Set(all).size, all.length)
    })
  }
  await t.test('one message is answered as JSON', async (t) => {
    await using client = await connect(gateway.url, newest)
    const reply = await client.post(call('echo', { text: 'hi' }))
    t.match(reply.headers['content-type'], 'application/json')
    t.match(reply.messages[0]?.result, says('hi'))
  })
})

await t.test("a client's own stream", async (t) => {
  const told = async (client: Awaited<ReturnType<typeof connect>>, data: string): Promise<void> => {
    const text = JSON.stringify(await client.call('session_of'))
    const session = [...server.sessions.keys()].find((id) => text.includes(id))
    await server.until(() => (server.notify(...log(data), session) === 1 ? true : undefined))
  }
  server.setTools([...tools, { name: 'session_of', run: ({ session }) => says(session?.id ?? '') }])
  await gateway.settled()
  await t.test('goes on where it was', async (t) => {
    await using client = await connect(gateway.url, newest)
    const own = (id?: string) =>
      openEvents(gateway.url, { ...client.headers, ...(id !== undefined && { 'last-event-id': id }) })
    while ((await client.call('session_of')).error !== undefined) await gateway.settled()
    const first = await own()
    await told(client, 'first')
    const { id = '' } = await first.event('first')
    t.match(first.events[0], { data: '', retry: '1000', id: /-g\d+\.1$/ })
    first.cut()
    await told(client, 'missed')
    const second = await own(id)
    await second.event('missed')
    await told(client, 'live')
    await second.event('live')
    t.same(heard(second, 'first', 'missed', 'live'), ['missed', 'live'])

    const third = await own()
    await second.ended
    await told(client, 'last')
    await third.event('last')
    t.same(heard(third, 'first', 'missed', 'live', 'last'), ['last'], 'another stream has nothing of it')
    t.equal((await own(second.lastId)).status, 204, 'the one before is over')
    let current = third.lastId
    for (const strange of [() => 'gw-00000000-g1.7', () => current.replace(/\d+$/, '77')]) {
      const anew = await own(strange())
      t.equal(anew.status, 200, 'one that is not known begins anew')
      t.match(await anew.event(''), { data: '', id: /-g\d+\.1$/ })
      current = anew.lastId
    }
  })
})

await t.test('clients of the stateless era have no ids and come back to nothing', async (t) => {
  await using both = await serveMcp({ era: 'both', tools, sse: true })
  await play(gateway, registry({ a: [both, { prefix: '' }] }))
  const seen: (string | undefined)[] = []
  const client = stateless({ url: gateway.url })
  const key = 'stateless'
  for (const name of ['more', 'end']) step(`${key} ${name}`).open()
  const reply = await client.request(
    'tools/call',
    { name: 'steps', arguments: { key } },
    { headers: { 'last-event-id': 'gw-00000000-p1.1' } },
  )
  t.equal(reply.status, 200)
  seen.push(...(reply.text.match(/^(id|retry):.*$/gm) ?? []))
  t.same(seen, [])
  await play(gateway, registry({ a: [server, { prefix: '' }] }))
})

// --- servers ------------------------------------------------------------------------------------------------------

const STREAM = { 'content-type': 'text/event-stream' }
const said = (data: string): string => JSON.stringify({ jsonrpc: '2.0', method: log(data)[0], params: log(data)[1] })
/** `id` is JSON text. */
const answerTo = (id: string): string => `{"jsonrpc":"2.0","id":${id},"result":${JSON.stringify(says('rest'))}}`
const primed = 'id: e1\nretry: 100\ndata: \n\n'

await t.test('a server that ends the stream of a call before its answer', async (t) => {
  interface Row {
    readonly first: string
    /** What it answers to each request for the rest; the last also to all further ones. */
    readonly rest: readonly HttpAnswer[]
    /** The ids it was asked to go on from. */
    readonly from: readonly string[]
    readonly heard?: readonly string[]
    readonly fails?: { readonly reason: string; readonly detail: RegExp }
  }
  const stream = (body: string): HttpAnswer => new HttpAnswer(200, STREAM, body)
  const rest = stream(`id: e9\ndata: ${answerTo('1')}\n\n`)
  const down = (detail: RegExp) => ({ reason: 'server-down', detail })
  const rows: Readonly<Record<string, Row>> = {
    'is asked for it': { first: primed, rest: [rest], from: ['e1'] },
    'with messages before and after': {
      first: `${primed}id: e2\ndata: ${said('one')}\n\n`,
      rest: [stream(`id: e3\ndata: ${said('two')}\n\nid: e4\ndata: ${answerTo('1')}\n\n`)],
      from: ['e2'],
      heard: ['one', 'two'],
    },
    'again and again': {
      first: primed,
      rest: [stream(`id: e2\ndata: ${said('one')}\n\n`), stream(''), stream('id: e3\ndata: \n\n'), rest],
      from: ['e1', 'e2', 'e2', 'e3'],
      heard: ['one'],
    },
    'in the middle of an event': {
      first: `${primed}id: e2\ndata: {"jsonrpc":`,
      rest: [rest],
      from: ['e1'],
    },
    'in an id without data': { first: 'id: e1\nretry: 100\n\n', rest: [rest], from: ['e1'] },
    'and is not ready yet': {
      first: primed,
      rest: [new HttpAnswer(503), new HttpAnswer(409), new HttpAnswer(429), rest],
      from: ['e1', 'e1', 'e1', 'e1'],
    },
    'and never is': {
      first: primed,
      rest: [new HttpAnswer(503)],
      from: ['e1', 'e1', 'e1', 'e1'],
      fails: down(/HTTP 503/),
    },
    'and does not know the event': {
      first: primed,
      rest: [new HttpAnswer(400)],
      from: ['e1'],
      fails: down(/HTTP 400/),
    },
    'and has no streams to get': { first: primed, rest: [new HttpAnswer(405)], from: ['e1'], fails: down(/HTTP 405/) },
    'and answers with something else': {
      first: primed,
      rest: [new HttpAnswer(200, { 'content-type': 'application/json' }, answerTo('1'))],
      from: ['e1'],
      fails: down(/HTTP 200/),
    },
    'without ids': { first: `data: ${said('one')}\n\n`, rest: [rest], from: [], heard: ['one'], fails: down(/ended/) },
    'whose id was taken back': { first: `${primed}id\ndata: \n\n`, rest: [rest], from: [], fails: down(/ended/) },
  }
  for (const [what, row] of Object.entries(rows)) {
    await t.test(what, async (t) => {
      const asked: Received[] = []
      await using polled = await serveMcp({
        tools: [
          {
            name: 'poll',
            run: () => {
              throw stream(row.first)
            },
          },
        ],
        refuse: (received) => {
          if (received.headers['last-event-id'] === undefined) return undefined
          asked.push(received)
          return row.rest[Math.min(asked.length, row.rest.length) - 1]
        },
      })
      await using stage = upstreamOf(polled.url, { era: 'stateful' })
      const { outcome, response, heard } = await stage.call('tools/call', '{"name":"poll"}')
      if (row.fails === undefined) t.match(response?.result, says('rest'))
      else t.match(outcome, { kind: 'failed', ...row.fails })
      t.same(
        asked.map(({ headers }) => headers['last-event-id']),
        row.from,
      )
      t.same(
        heard.map(({ params }) => params?.['data']),
        row.heard ?? [],
      )
      const posted = await polled.nextOf('tools/call')
      for (const { http, headers } of asked) {
        t.equal(http, 'GET')
        t.equal(headers['mcp-session-id'], posted.headers['mcp-session-id'])
        t.equal(headers['mcp-protocol-version'], '2025-11-25')
      }
      t.equal(polled.executions.get('poll'), 1, 'run once')
    })
  }
  await t.test('and says nothing for too long, however often it is asked', async (t) => {
    await using polled = await serveMcp({
      tools: [
        {
          name: 'poll',
          run: () => {
            throw stream(primed)
          },
        },
      ],
      refuse: ({ headers }) => (headers['last-event-id'] === undefined ? undefined : stream(primed)),
    })
    await using stage = upstreamOf(polled.url, { era: 'stateful', timeoutMs: 700 })
    const { outcome } = await stage.call('tools/call', '{"name":"poll"}')
    t.match(outcome, { kind: 'failed', reason: 'server-silent' })
  })
})

await t.test("a session's stream that a server ends", async (t) => {
  const rows = [
    ['is gone on with', new HttpAnswer(200, STREAM, `id: e8\ndata: ${said('two')}\n\n`), ['e7', 'e8']],
    ['or begun anew when it does not know the event', new HttpAnswer(400), ['e7', undefined]],
    ['also after a conflict', new HttpAnswer(409), ['e7', 'e7']],
  ] as const
  for (const [what, second, from] of rows) {
    await t.test(what, async (t) => {
      const firsts: (string | undefined)[] = []
      await using one = await serveMcp({
        tools: [{ name: 'session', run: ({ session }) => says(session?.id ?? '') }],
        refuse: ({ http, headers }) => {
          if (http !== 'GET' || headers['mcp-session-id'] !== listened) return undefined
          const from = headers['last-event-id']
          firsts.push(from === undefined ? undefined : String(from))
          if (firsts.length === 1) return new HttpAnswer(200, STREAM, `id: e7\nretry: 100\ndata: ${said('one')}\n\n`)
          return firsts.length === 2 ? second : undefined
        },
      })
      let listened: string | undefined
      await using stage = upstreamOf(one.url, { era: 'stateful', client: ['elicitation'] })
      one.script.before = ({ http }) => {
        // The client's session, not the gateway's own: that one is the first.
        if (http === 'GET' && one.sessions.size > 1) listened ??= [...one.sessions.keys()].at(-1)
      }
      const client = stage.client(['elicitation'])
      await stage.call('tools/call', '{"name":"session"}', { client })
      await one.until(() => (firsts.length >= 3 ? true : undefined))
      t.same(firsts.slice(0, 3), [undefined, ...from])
      await stage.upstream.leave(client)
    })
  }
})

await t.test('a server that lets go of the connection of a call', async (t) => {
  const asked: Received[] = []
  let answers: readonly HttpAnswer[] = []
  await using polled = await serveMcp({
    name: 'p',
    tools: [
      { name: 'echo' },
      {
        name: 'poll',
        run: () => {
          throw new HttpAnswer(200, STREAM, 'id: e1\nretry: 300\ndata: \n\n')
        },
      },
    ],
    refuse: (received) => {
      if (received.headers['last-event-id'] === undefined) return undefined
      asked.push(received)
      return answers[asked.length - 1]
    },
  })
  await play(gateway, registry({ p: [polled, { prefix: '' }] }))
  const answerIn = (id: string) => new HttpAnswer(200, STREAM, `id: e2\ndata: ${answerTo(id)}\n\n`)

  await t.test('has it let go of that of the client, which comes back', async (t) => {
    asked.length = 0
    await using client = await connect(gateway.url, newest)
    const body = call('poll')
    answers = [new HttpAnswer(200, STREAM, `id: e2\ndata: ${said('one')}\n\n`), answerIn(`"call-${ids}"`)]
    const first = await openEvents(gateway.url, client.headers, body)
    await first.ended
    t.same(first.data, [])
    t.same(
      first.events.map(({ retry }) => retry),
      ['300'],
      'when the server is asked again',
    )
    const seen: string[] = []
    let at = first.lastId
    while (!seen.includes('rest')) {
      const next = await openEvents(gateway.url, { ...client.headers, 'last-event-id': at })
      t.equal(next.status, 200)
      await next.ended
      t.match(
        next.events.find(({ id }) => id !== undefined),
        { id: /^gw-/ },
        'it can come back from here',
      )
      seen.push(...heard(next, 'one', 'rest'))
      at = next.lastId
    }
    t.same(seen, ['one', 'rest'])
    t.ok(asked.every((one) => pathOf(one) === 'broker'))
  })
  await t.test('but not of one that would take it for the end', async (t) => {
    asked.length = 0
    await using client = await connect(gateway.url, older)
    const body = call('poll')
    answers = [new HttpAnswer(200, STREAM, `id: e2\ndata: ${said('one')}\n\n`), answerIn(`"call-${ids}"`)]
    const first = await openEvents(gateway.url, client.headers, body)
    await first.ended
    t.same(heard(first, 'one', 'rest'), ['one', 'rest'])
  })
  await t.test("on the direct path: the server's own ids lead to it", async (t) => {
    await using client = await connectOn('direct', gateway.url, ['echo'])
    const direct = async (answer: HttpAnswer) => {
      asked.length = 0
      answers = [answer]
      const first = await openEvents(gateway.url, client.headers, call('poll'))
      await first.ended
      t.equal(first.lastId, 'e1', 'as the server gave it')
      const posted = polled.received.findLast(({ message }) => message?.method === 'tools/call')
      t.equal(posted === undefined ? '' : pathOf(posted), 'direct')
      const back = await openEvents(gateway.url, { ...client.headers, 'last-event-id': first.lastId })
      const reply = await back.ended
      t.match(asked[0]?.headers, { 'last-event-id': 'e1', 'mcp-session-id': posted?.headers['mcp-session-id'] })
      return { back, reply }
    }
    const rest = `id: e2\r\ndata:${answerTo('7')}\n\n: bye\n\n`
    const { reply } = await direct(
      new HttpAnswer(200, { ...STREAM, 'mcp-session-id': 'x', 'x-mcp-cluster': 'y' }, rest),
    )
    t.equal(reply.status, 200)
    t.equal(reply.text, rest, 'byte for byte')
    t.equal(reply.headers['mcp-session-id'], undefined)
    const words = new HttpAnswer(400, { 'content-type': 'text/plain' }, 'no such event')
    t.match((await direct(words)).reply, { status: 400, text: 'no such event', headers: words.headers })
    for (const [status, shown, reason] of [
      [404, 400, 'unknown-event'],
      [401, 502, 'server-refused'],
      [302, 502, 'server-refused'],
    ] as const)
      t.match((await direct(new HttpAnswer(status, { location: '/x' }))).reply, {
        status: shown,
        messages: [{ error: { data: { reason } } }],
      })
  })
  await t.test('an id of nobody', async (t) => {
    await using client = await connect(gateway.url, newest)
    const back = await openEvents(gateway.url, { ...client.headers, 'last-event-id': 'e1' })
    t.equal(back.status, 400)
    t.match((await back.ended).messages[0]?.error?.data, { reason: 'unknown-event' })
  })
})

await t.test('the published clients come back by themselves', async (t) => {
  await using fixture = await serveFixture({ eras: 'stateful' })
  await play(gateway, registry({ f: { url: fixture.url, client: ['elicitation'] } }))
  const clients = { v1: sdkV1, v2: sdkV2('legacy') }
  for (const [name, open] of Object.entries(clients))
    for (const asked of [true, false])
      await t.test(`${name}, ${asked ? 'through the broker' : 'directly'}`, async (t) => {
        await using client = await open(gateway.url, asked)
        for (let n = 0; n < 2; n++)
          t.match(await client.call('f_test_reconnection'), says('Answered after the stream was closed'))
      })
  await play(gateway, registry({ a: [server, { prefix: '' }] }))
})
