/** How much each may ask, through a real gateway: rates, largest requests, calls under way and streams, for every way a call can take. */
import t from 'tap'
import { callRates } from '../src/broker/call-rates.ts'
import type { Era } from '../src/mcp/versions.ts'
import type { Rate } from '../src/registry/model.ts'
import { type AskingClient, askingClient, type Got } from './support/asking.ts'
import { openEvents } from './support/event-client.ts'
import { eventually, freePort, noServers, startGateway } from './support/gateway.ts'
import { type Received, RpcError, says, type Tool } from './support/mcp-script.ts'
import { type McpServer, serveMcp } from './support/mcp-server.ts'
import { ACCEPT, connect, request, rpc } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { asObject, rawMember } from './support/raw-json.ts'
import { gate, type Path, pathOf, play, registry } from './support/stage.ts'
import { stateless } from './support/stateless-client.ts'
import { tokenMaker } from './support/token-maker.ts'

// --- what there is ------------------------------------------------------------------------------------------------

const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
const tokens = await tokenMaker(url)
await using gateway = await startGateway(noServers, { port, files: tokens.files })

/** Calls of `wait` end when this opens; replaced by each case that holds some. */
let hold = gate()
const held: readonly Tool[] = [
  { name: 'wait', run: () => hold.opened.then(() => says('done')) },
  {
    name: 'tell',
    run(call) {
      call.notify('notifications/message', { level: 'error', data: 'begun' })
      return hold.opened.then(() => says('done'))
    },
  },
]
const fails: Tool = {
  name: 'fail',
  run: () => {
    throw new RpcError(-32000, 'no')
  },
}
const offering = (name: string) => ({
  name,
  tools: [{ name: 'read' }, { name: 'write' }, { name: 'wipe' }, fails, ...held],
  prompts: [{ name: 'greet' }],
  resources: [{ uri: `doc://${name}/a` }],
  templates: [{ uriTemplate: `doc://${name}/t/{id}`, matches: new RegExp(`^doc://${name}/t/`) }],
})
await using old = await serveMcp({ ...offering('old'), era: 'stateful' })
await using young = await serveMcp({ ...offering('young'), era: 'stateless' })
const servers = { old, young } as const satisfies Readonly<Record<string, McpServer>>
type Name = keyof typeof servers

/** The ways of a call, by era of the client, what it declares, and who is asked; `by` is the path it takes in the end. */
interface Way {
  readonly era: Era
  readonly declares: Path
  readonly server: Name
  readonly by: Path
}
const ways = {
  'stateful, direct': { era: 'stateful', declares: 'direct', server: 'old', by: 'direct' },
  'stateful, through the broker': { era: 'stateful', declares: 'broker', server: 'old', by: 'broker' },
  'stateful, to a stateless server': { era: 'stateful', declares: 'direct', server: 'young', by: 'broker' },
  'stateless, direct': { era: 'stateless', declares: 'direct', server: 'young', by: 'direct' },
  'stateless, through the broker': { era: 'stateless', declares: 'broker', server: 'young', by: 'broker' },
  'stateless, to a stateful server': { era: 'stateless', declares: 'direct', server: 'old', by: 'broker' },
} as const satisfies Readonly<Record<string, Way>>
const eras = ['stateful', 'stateless'] as const satisfies readonly Era[]
const otherOf = (server: Name): Name => (server === 'old' ? 'young' : 'old')

let people = 0
/** Somebody who has asked for nothing yet. */
const somebody = (): string => `subject-${++people}`

const as = (sub: string, claims: JsonObject = {}): Promise<Record<string, string>> => tokens.bearer({ sub, ...claims })
const open = async ({ era, declares }: Way, sub: string | undefined, view = ''): Promise<AskingClient> =>
  askingClient(view === '' ? url : `${url}/${view}`, era, declares, sub === undefined ? {} : await as(sub))

const call = (client: AskingClient, server: string, tool = 'read', args: JsonObject = {}): Promise<Got> =>
  client.ask('tools/call', { name: `${server}_${tool}`, arguments: args })
const reasonOf = ({ message }: Pick<Got, 'message'>): unknown => asObject(asObject(message.error)['data'])['reason']

interface Limited {
  readonly gateway?: JsonObject
  readonly server?: JsonObject
  readonly access?: unknown
  readonly open?: true
}
/** Both servers, each with the same limits. */
const limited = ({ gateway: whole, server, access, open: isOpen }: Limited): string => {
  const entry = { client: ['elicitation'], ...(server && { limits: server }), ...(access !== undefined && { access }) }
  const authenticated = isOpen === true ? {} : { url, auth: tokens.auth }
  return registry(
    { old: [old, entry], young: [young, entry] },
    {
      gateway: { ...authenticated, ...(whole && { limits: whole }) },
      views: { desk: { description: 'All of it, elsewhere.' } },
    },
  )
}

/** Three an hour: the next comes after twenty minutes. */
const RATE = '3/h'
const CALLS = 3
const SECONDS = 3600 / CALLS

/** What a call gets that is one too many. */
const isTooMany = (t: Tap, got: Got): void => {
  t.same([got.status, reasonOf(got)], [429, 'rate-limited'])
  t.equal(asObject(got.message.error)['code'], -32603)
  t.match(rawMember(got.message.raw, 'id'), /^"[cs]-\d+"$/, 'the id of the request')
  const seconds = Number(got.retryAfter)
  t.ok(seconds > 0 && seconds <= SECONDS, `again after ${got.retryAfter} s`)
}
type Tap = Pick<typeof t, 'same' | 'equal' | 'match' | 'ok'>

// --- rates --------------------------------------------------------------------------------------------------------

interface Level {
  readonly limits: Limited
  /** Once `read` of one server is used up: whether the same caller may still write there, and read at the other. */
  readonly leaves: { readonly write: boolean; readonly other: boolean }
}
const levels: Readonly<Record<string, Level>> = {
  gateway: { limits: { gateway: { calls: RATE } }, leaves: { write: false, other: false } },
  server: { limits: { server: { calls: RATE } }, leaves: { write: false, other: true } },
  tool: { limits: { server: { tools: { 'rea*': { calls: RATE } } } }, leaves: { write: true, other: true } },
}

for (const [level, { limits, leaves }] of Object.entries(levels))
  await t.test(`a rate of the ${level}, on every way`, async (t) => {
    await play(gateway, limited(limits))
    for (const view of ['', 'desk'])
      for (const [name, way] of Object.entries(ways))
        await t.test(view === '' ? name : `${name}, in a view`, async (t) => {
          const { server } = way
          await using client = await open(way, somebody(), view)
          await using other = await open(way, somebody(), view)
          const at = servers[server]
          at.forget()
          for (let count = 0; count < CALLS; count++) t.ok((await call(client, server)).message.result)
          const served = at.received.findLast(({ message }) => message?.method === 'tools/call')
          t.equal(served && pathOf(served), way.by)
          isTooMany(t, await call(client, server))
          t.equal(at.count('tools/call'), CALLS, 'the server heard nothing of it')
          t.equal((await call(client, server, 'write')).status, leaves.write ? 200 : 429)
          t.equal((await call(client, otherOf(server))).status, leaves.other ? 200 : 429)
          t.ok((await client.list('tools/list')).includes(`${server}_read`), 'lists are not calls')
          t.ok((await call(other, server)).message.result, 'another has a share of their own')
        })
  })

await t.test('nobody is authenticated', async (t) => {
  for (const [name, way] of Object.entries(ways))
    await t.test(name, async (t) => {
      // Another configuration begins anew: without a name everybody has the same share.
      await play(gateway, limited({ open: true }))
      await play(gateway, limited({ open: true, server: { calls: RATE } }))
      await using client = await open(way, undefined)
      await using other = await open(way, undefined, 'desk')
      for (let count = 0; count < CALLS; count++)
        t.ok((await call(count === 0 ? client : other, way.server)).message.result)
      isTooMany(t, await call(client, way.server))
      isTooMany(t, await call(other, way.server))
    })
})

await t.test('whose share', async (t) => {
  const direct = ways['stateful, direct']
  const brokered = ways['stateful, through the broker']
  const sessionless = ways['stateless, to a stateful server']
  interface Row {
    readonly per: 'subject' | 'session' | 'tool'
    /** Who uses it up, by which client: the first one, one of the same subject, one of another. */
    readonly used: (ann: string, bob: string) => readonly (readonly [Way, string, tool?: string])[]
    /** Whether these are let through then. */
    readonly left: (ann: string, bob: string) => readonly (readonly [Way, string, boolean, tool?: string])[]
  }
  const rows: Readonly<Record<string, Row>> = {
    'a subject has one, whatever the session, the path and the era': {
      per: 'subject',
      used: (ann) => [
        [direct, ann],
        [brokered, ann, 'write'],
        [sessionless, ann],
      ],
      left: (ann, bob) => [
        [direct, ann, false],
        [sessionless, ann, false],
        [direct, bob, true],
      ],
    },
    'a session has one of its own': {
      per: 'session',
      used: (ann) => [[direct, ann, 'all']],
      left: (ann) => [
        [direct, ann, true],
        [brokered, ann, true],
      ],
    },
    'who has no session has one by their subject': {
      per: 'session',
      used: (ann) => [[sessionless, ann, 'all']],
      left: (ann, bob) => [
        [sessionless, ann, false],
        [direct, ann, true],
        [sessionless, bob, true],
      ],
    },
    'a tool has one for all who call it': {
      per: 'tool',
      used: (ann, bob) => [
        [direct, ann],
        [brokered, bob],
        [sessionless, ann],
      ],
      left: (ann, bob) => [
        [direct, ann, false],
        [sessionless, bob, false],
        [direct, ann, true, 'write'],
      ],
    },
  }
  for (const [name, { per, used, left }] of Object.entries(rows))
    await t.test(name, async (t) => {
      await play(gateway, limited({}))
      await play(gateway, limited({ server: { calls: RATE, per } }))
      const [ann, bob] = [somebody(), somebody()]
      for (const [one, sub, tool = 'read'] of used(ann, bob)) {
        await using client = await open(one, sub)
        const calls = tool === 'all' ? CALLS : 1
        for (let count = 0; count < calls; count++)
          t.ok((await call(client, 'old', tool === 'all' ? 'read' : tool)).message.result)
        if (tool === 'all') isTooMany(t, await call(client, 'old'))
      }
      for (const [one, sub, isLet, tool] of left(ann, bob)) {
        await using client = await open(one, sub)
        t.equal((await call(client, 'old', tool)).status, isLet ? 200 : 429, `${one.era} ${sub} ${tool ?? 'read'}`)
      }
    })

  await t.test('per tool, prompts and resources of a server have one together', async (t) => {
    await play(gateway, limited({ server: { calls: RATE, per: 'tool' } }))
    await using client = await open(direct, somebody())
    const [read, greet] = [
      () => client.ask('resources/read', { uri: 'doc://old/a' }),
      () => client.ask('prompts/get', { name: 'old_greet' }),
    ]
    for (const ask of [read, greet, read]) t.ok((await ask()).message.result)
    isTooMany(t, await greet())
    isTooMany(t, await read())
    t.ok((await call(client, 'old', 'wipe')).message.result)
  })

  await t.test('of the patterns of tools the first that matches', async (t) => {
    await play(gateway, limited({ server: { tools: { write: { calls: '1/h' }, 'w*': { calls: RATE } } } }))
    await using client = await open(direct, somebody())
    t.ok((await call(client, 'old', 'write')).message.result)
    t.equal((await call(client, 'old', 'write')).status, 429)
    for (let count = 0; count < CALLS; count++) t.ok((await call(client, 'old', 'wipe')).message.result)
    isTooMany(t, await call(client, 'old', 'wipe'))
  })

  await t.test('who has no share left takes nothing of what all share', async (t) => {
    await play(gateway, limited({ server: { calls: '1/h', tools: { read: { calls: RATE, per: 'tool' } } } }))
    for (let count = 0; count < CALLS; count++) {
      await using client = await open(direct, somebody())
      t.ok((await call(client, 'old')).message.result)
      for (let more = 0; more < 5; more++) t.equal((await call(client, 'old')).status, 429)
    }
    await using last = await open(direct, somebody())
    isTooMany(t, await call(last, 'old'))
  })

  await t.test('a tool that is used up takes nothing from the server’s looser rate', async (t) => {
    await play(gateway, limited({ server: { calls: RATE, tools: { write: { calls: '1/h' } } } }))
    await using client = await open(direct, somebody())
    t.ok((await call(client, 'old', 'write')).message.result)
    for (let count = 0; count < 5; count++) t.equal((await call(client, 'old', 'write')).status, 429)
    for (let count = 1; count < CALLS; count++) t.ok((await call(client, 'old')).message.result)
    isTooMany(t, await call(client, 'old'))
  })
})

await t.test('one subject’s flood', async (t) => {
  for (const [name, way] of Object.entries(ways))
    await t.test(name, async (t) => {
      await play(gateway, limited({ gateway: { calls: RATE }, server: { calls: RATE } }))
      await using flooding = await open(way, somebody())
      await using other = await open(way, somebody())
      const flood = Array.from({ length: 40 }, () => call(flooding, way.server))
      for (let count = 0; count < CALLS; count++) t.ok((await call(other, way.server)).message.result)
      const statuses = (await Promise.all(flood)).map(({ status }) => status)
      t.equal(statuses.filter((status) => status === 200).length, CALLS)
      t.equal(statuses.filter((status) => status === 429).length, 40 - CALLS)
    })
})

await t.test('what counts', async (t) => {
  const access = [{ tools: ['read', 'fail'], prompts: '*', resources: '*', allow: 'anyone' }]
  await play(gateway, limited({ access, server: { calls: RATE, body: '2KiB' } }))
  type Asking = (client: AskingClient, server: Name, sub: string) => Promise<unknown>
  const argument = { name: 'x', value: 'y' }
  const ask =
    (method: string, params: (server: Name) => JsonObject): Asking =>
    (client, server) =>
      client.ask(method, params(server))
  const completed =
    (ref: (server: Name) => JsonObject): Asking =>
    (client, server) =>
      client.ask('completion/complete', { ref: ref(server), argument })
  const elsewhere =
    (session: string | undefined): Asking =>
    async (_client, server, sub) => {
      const headers = { ...ACCEPT, ...(await as(sub)), ...(session !== undefined && { 'mcp-session-id': session }) }
      return request(url, { headers, body: rpc('1', 'tools/call', { name: `${server}_read`, arguments: {} }) })
    }
  const rows: Readonly<Record<string, readonly [counts: boolean, Asking]>> = {
    'a call of a tool': [true, (client, server) => call(client, server)],
    'a call that the server answers with an error': [true, (client, server) => call(client, server, 'fail')],
    'a prompt': [true, ask('prompts/get', (server) => ({ name: `${server}_greet` }))],
    'a resource': [true, ask('resources/read', (server) => ({ uri: `doc://${server}/a` }))],
    'a resource of a template': [true, ask('resources/read', (server) => ({ uri: `doc://${server}/t/7` }))],
    'a completion of a prompt': [true, completed((server) => ({ type: 'ref/prompt', name: `${server}_greet` }))],
    'a completion of a template': [
      true,
      completed((server) => ({ type: 'ref/resource', uri: `doc://${server}/t/{id}` })),
    ],
    'a list': [false, (client) => client.list('tools/list')],
    'a subscription': [false, (client, server) => client.watch([`doc://${server}/a`])],
    'what nobody knows': [false, (client, server) => call(client, server, 'nothing')],
    'what is denied': [false, (client, server) => call(client, server, 'wipe')],
    'what is too large': [false, (client, server) => call(client, server, 'read', { x: 'x'.repeat(2048) })],
    'what is too large to complete': [
      false,
      (client, server) =>
        client.ask('completion/complete', {
          ref: { type: 'ref/prompt', name: `${server}_greet` },
          argument: { name: 'x', value: 'y'.repeat(2048) },
        }),
    ],
    'what comes without a session, of a stateful client': [false, elsewhere(undefined)],
    'what comes with a session that is none': [false, elsewhere('forged')],
  }
  for (const [name, way] of Object.entries(ways))
    for (const [what, [counts, asking]] of Object.entries(rows))
      await t.test(`${what}: ${name}`, async (t) => {
        const sub = somebody()
        await using client = await open(way, sub)
        for (let count = 0; count < CALLS; count++) await asking(client, way.server, sub)
        t.equal((await call(client, way.server)).status, counts ? 429 : 200)
      })

  await t.test('no name is too long, and none can be written so that it is not found', async (t) => {
    await play(gateway, limited({ server: { calls: RATE } }))
    const read = (uri: string) => `{"uri":${uri}}`
    const escaped = (text: string): string =>
      `"${text.replaceAll(/./g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`
    const rows = {
      'a long one': JSON.stringify(`doc://old/t/${'x'.repeat(6000)}`),
      'one of escapes': escaped(`doc://old/t/${'x'.repeat(1000)}`),
    }
    for (const [name, uri] of Object.entries(rows))
      await t.test(name, async (t) => {
        await using client = await connect(url, { headers: await as(somebody()) })
        for (let count = 0; count < CALLS; count++)
          t.ok((await client.send('resources/read', read(uri))).message.result)
        const { reply } = await client.send('resources/read', read(uri))
        t.equal(reply.status, 429)
      })
  })

  await t.test('a call that is sent again, because its session was lost, counts once', async (t) => {
    await using client = await open(ways['stateful, direct'], somebody())
    t.ok((await call(client, 'old')).message.result)
    old.forgetSessions()
    for (let count = 1; count < CALLS; count++) t.ok((await call(client, 'old')).message.result)
    isTooMany(t, await call(client, 'old'))
  })
})

await t.test('what a server offers one caller alone', async (t) => {
  // Its tools are named after the tenant; Envoy counts nothing of what is not for all.
  const tenantOf = ({ headers }: Received): string => String(headers['x-tenant'])
  const methods = {
    'tools/list': ({ received }: { readonly received: Received }) => ({
      tools: [`of-${tenantOf(received)}`, 'more'].map((name) => ({ name, inputSchema: { type: 'object' } })),
    }),
    'tools/call': ({ received }: { readonly received: Received }) => says(tenantOf(received)),
  }
  const rows = {
    'stateful client and server': ways['stateful, direct'],
    'stateful client, stateless server': ways['stateful, to a stateless server'],
    'stateless client and server': ways['stateless, direct'],
    'stateless client, stateful server': ways['stateless, to a stateful server'],
  }
  for (const [at, [name, { era, server }]] of Object.entries(rows).entries())
    await t.test(name, async (t) => {
      // The broker keeps its count when the registry changes: another name, another count.
      const own = `mine${at}`
      await using mine = await serveMcp({ name: 'mine', era: server === 'old' ? 'stateful' : 'stateless', methods })
      const entry = { url: mine.url, forward: ['x-tenant'], lists: 'per-caller' }
      const begin = (limits: JsonObject, whole?: JsonObject) =>
        play(
          gateway,
          registry(
            { [own]: { ...entry, limits }, old: [old, {}] },
            { gateway: { url, auth: tokens.auth, ...(whole && { limits: whole }) } },
          ),
        )
      const client = async (sub: string): Promise<AskingClient> =>
        askingClient(url, era, 'direct', { ...(await as(sub)), 'x-tenant': 'red' })
      const levels: readonly (readonly [JsonObject, JsonObject?])[] = [
        [{ calls: RATE }],
        [{ tools: { 'of-*': { calls: RATE } } }],
        [{ body: '1MiB' }, { calls: RATE }],
      ]
      for (const [limits, whole] of levels) {
        await begin(limits, whole)
        await using ann = await client(somebody())
        await using bob = await client(somebody())
        for (let count = 0; count < CALLS; count++) t.ok((await call(ann, own, 'of-red')).message.result)
        mine.forget()
        isTooMany(t, await call(ann, own, 'of-red'))
        t.equal(mine.count('tools/call'), 0)
        t.ok((await ann.list('tools/list')).includes(`${own}_of-red`))
        t.equal((await call(ann, own, 'more')).status, limits['tools'] === undefined ? 429 : 200)
        t.ok((await call(bob, own, 'of-red')).message.result)
      }
      await begin({ calls: '1/h', tools: { 'of-*': { calls: RATE, per: 'tool' } } })
      for (let count = 0; count < CALLS; count++) {
        await using one = await client(somebody())
        t.ok((await call(one, own, 'of-red')).message.result)
        for (let more = 0; more < 5; more++) t.equal((await call(one, own, 'of-red')).status, 429)
      }
      await using last = await client(somebody())
      isTooMany(t, await call(last, own, 'of-red'))
      t.ok((await call(last, own, 'more')).message.result, 'what one share refuses takes nothing of another')
    })
})

await t.test('the broker’s own count', async (t) => {
  const rate = (calls: number, perMs: number): Rate => ({ calls, perMs, per: 'subject', place: { line: 1, column: 1 } })
  const at = (start: number) => {
    let nowMs = start
    const rates = callRates(() => nowMs)
    return {
      pass: (ms: number) => (nowMs += ms),
      take: (key: string, calls = 2, perMs = 1000) => rates.take([{ key, rate: rate(calls, perMs) }]),
      rates,
    }
  }
  await t.test('begins full, fills as time passes, never more than full', async (t) => {
    const { pass, take } = at(5)
    t.same([take('a'), take('a'), take('a')], [undefined, undefined, 500])
    pass(200)
    t.equal(take('a'), 300)
    pass(300)
    t.same([take('a'), take('a')], [undefined, 500])
    pass(3_600_000)
    t.same([take('a'), take('a'), take('a')], [undefined, undefined, 500])
  })
  await t.test('a rate that is another one now', async (t) => {
    const { take } = at(0)
    t.same([take('a', 10), take('a', 10)], [undefined, undefined])
    t.same([take('a', 1), take('a', 1)], [undefined, 1000])
  })
  await t.test('of several shares all or none', async (t) => {
    const { rates, take } = at(0)
    const both = [
      { key: 'wide', rate: rate(2, 1000) },
      { key: 'tight', rate: rate(1, 4000) },
    ]
    t.equal(rates.take(both), undefined)
    t.equal(rates.take(both), 4000, 'when the last of them is there')
    t.same([take('wide'), take('wide')], [undefined, 500])
    t.equal(rates.take([]), undefined)
  })
  await t.test('of 10,000 shares it forgets the one that was used longest ago', async (t) => {
    const { take } = at(0)
    t.same([take('first', 1), take('second', 1)], [undefined, undefined])
    for (let count = 0; count < 9_999; count++) take(`other-${count}`, 1)
    t.same([take('second', 1), take('first', 1)], [1000, undefined])
  })
})

// --- size ---------------------------------------------------------------------------------------------------------

await t.test('the largest request of a server', async (t) => {
  await play(
    gateway,
    registry(
      { old: [old, { client: ['elicitation'], limits: { body: '1KiB' } }], young: [young, {}] },
      { gateway: { url, auth: tokens.auth }, views: { desk: {} } },
    ),
  )
  const large = { x: 'x'.repeat(1024) }
  for (const view of ['', 'desk'])
    for (const [name, way] of Object.entries(ways).filter(([, { server }]) => server === 'old'))
      await t.test(view === '' ? name : `${name}, in a view`, async (t) => {
        await using client = await open(way, somebody(), view)
        t.ok((await call(client, 'old')).message.result)
        old.forget()
        const refused = await call(client, 'old', 'read', large)
        t.same([refused.status, reasonOf(refused)], [413, 'too-large'])
        t.match(asObject(refused.message.error), { code: -32600, message: /old takes 1024 bytes at most$/ })
        t.equal(old.count('tools/call'), 0)
        t.ok((await call(client, 'young', 'read', large)).message.result, 'others take more')
        t.ok((await call(client, 'old')).message.result)
      })
})

// --- calls under way ----------------------------------------------------------------------------------------------

/** A call of `wait`, which its server has begun. */
const holding = async (client: AskingClient, server: Name): Promise<{ readonly ended: Promise<Got> }> => {
  const at = servers[server]
  const before = at.count('tools/call')
  const ended = call(client, server, 'wait')
  await at.until(() => (at.count('tools/call') > before ? true : undefined))
  return { ended }
}
const isFull = (t: Tap, got: Got): void => {
  t.same([got.status, reasonOf(got), got.retryAfter], [429, 'too-many-calls', '1'])
  t.match(rawMember(got.message.raw, 'id'), /^"[cs]-\d+"$/, 'the id of the request')
}

await t.test('calls under way', async (t) => {
  const kinds: Readonly<Record<string, { readonly limits: Limited; readonly leavesOther: boolean }>> = {
    gateway: { limits: { gateway: { concurrent: 1 } }, leavesOther: false },
    server: { limits: { server: { concurrent: 1 } }, leavesOther: true },
  }
  for (const [kind, { limits, leavesOther }] of Object.entries(kinds))
    for (const [name, way] of Object.entries(ways))
      await t.test(`${kind}: ${name}`, async (t) => {
        await play(gateway, limited(limits))
        hold = gate()
        const { server } = way
        const [ann, bob] = [somebody(), somebody()]
        const mine = await Promise.all(
          eras.map(async (era) => open({ ...way, era }, ann, era === way.era ? '' : 'desk')),
        )
        const [client] = mine.filter(({ era }) => era === way.era)
        if (client === undefined) throw new Error(way.era)
        await using other = await open(way, bob)
        for (const one of [...mine, other]) await call(one, server)
        const first = await holding(client, server)
        const before = servers[server].count('tools/call')
        for (const one of mine) isFull(t, await call(one, server))
        t.equal(servers[server].count('tools/call'), before, 'the server heard nothing of them')
        t.equal((await call(client, otherOf(server))).status, leavesOther ? 200 : 429)
        t.ok((await client.list('tools/list')).includes(`${server}_read`), 'lists are not calls')
        const theirs = await holding(other, server)
        isFull(t, await call(other, server))
        hold.open()
        for (const { ended } of [first, theirs]) t.ok((await ended).message.result)
        for (const one of [...mine, other]) t.ok((await call(one, server)).message.result, 'there is room again')
        for (const one of mine) await one[Symbol.asyncDispose]()
        const paths = servers[server].received.filter(({ message }) => message?.method === 'tools/call').map(pathOf)
        t.equal(paths.at(-1), 'broker', 'whoever counts has to see them end')
      })

  await t.test('without a cap of its own, a server is reached directly beside one that has one', async (t) => {
    await play(gateway, registry({ old: [old, { limits: { concurrent: 1 } }], young: [young, {}] }))
    await using client = await open(ways['stateless, direct'], undefined)
    for (const [server, path] of [
      ['young', 'direct'],
      ['old', 'broker'],
    ] as const) {
      t.ok((await call(client, server)).message.result)
      const served = servers[server].received.findLast(({ message }) => message?.method === 'tools/call')
      t.equal(served && pathOf(served), path)
    }
  })

  await t.test('a call that its client gives up makes room', async (t) => {
    await play(gateway, limited({ server: { concurrent: 1 } }))
    hold = gate()
    const headers = await as(somebody())
    const room = async (ask: () => Promise<number>): Promise<void> => {
      await eventually('room', gateway.child, async () => ((await ask()) === 200 ? true : undefined))
    }
    await using stateful = await connect(url, { headers })
    await stateful.call('old_read')
    old.forget()
    const cancelled = stateful.send('tools/call', { name: 'old_wait' }, { id: '7' }).catch(() => undefined)
    await old.nextOf('tools/call')
    const ask = async () => (await stateful.send('tools/call', { name: 'old_read' })).reply.status
    t.equal(await ask(), 429)
    await stateful.notify('notifications/cancelled', { requestId: 7 })
    await room(ask)
    await cancelled
    await using gone = stateless({ url, headers })
    const leaving = new AbortController()
    young.forget()
    const left = gone.request('tools/call', { name: 'young_wait' }, { signal: leaving.signal }).catch(() => undefined)
    await young.nextOf('tools/call')
    const again = async () => (await gone.request('tools/call', { name: 'young_read' })).status
    t.equal(await again(), 429)
    leaving.abort()
    await room(again)
    await left
    hold.open()
  })

  await t.test('what a human agrees to is not refused for want of room', async (t) => {
    const access = [
      { tools: 'write', allow: 'anyone', confirm: true },
      { tools: '*', allow: 'anyone' },
    ]
    await play(gateway, limited({ access, server: { concurrent: 1, body: '1KiB' } }))
    const capabilities = { elicitation: {} }
    await t.test('a stateful client: its call is under way while a human is asked', async (t) => {
      const human = gate()
      const answer = () => human.opened.then(() => ({ action: 'accept', content: {} }))
      const answers = { 'elicitation/create': answer }
      await using client = await connect(url, { headers: await as(somebody()), capabilities, answers })
      const { reply } = await client.send('tools/call', { name: 'old_write', arguments: { x: 'x'.repeat(1024) } })
      t.equal(reply.status, 413)
      t.same(client.heard, [], 'nobody is asked about what will be refused')
      const asked = client.call('old_write')
      await client.next(({ message }) => message.method === 'elicitation/create')
      t.equal((await client.send('tools/call', { name: 'old_read' })).reply.status, 429)
      human.open()
      t.ok((await asked).result)
      t.ok((await client.call('old_read')).result)
    })
    await t.test('a stateless client: the answer is not used up', async (t) => {
      hold = gate()
      await using client = stateless({ url, headers: await as(somebody()), capabilities })
      const write = (more: JsonObject = {}) => client.request('tools/call', { name: 'young_write', ...more })
      const { requestState } = asObject((await write()).message?.result)
      const agreed = { requestState, inputResponses: { 'mcp-gateway:confirm': { action: 'accept', content: {} } } }
      young.forget()
      const running = client.call('young_wait')
      await young.nextOf('tools/call')
      t.equal((await write(agreed)).status, 429)
      hold.open()
      await running
      t.match((await write(agreed)).message?.result, { resultType: 'complete' })
    })
  })
})

// --- streams ------------------------------------------------------------------------------------------------------

await t.test('streams', async (t) => {
  const entries = { old: [old, {}], young: [young, { forward: ['x-tenant'], lists: 'per-caller' }] } as const
  const begin = (streams: number) =>
    play(
      gateway,
      registry(entries, { gateway: { url, auth: tokens.auth, limits: { streams } }, views: { desk: { tools: '*' } } }),
    )
  const changes = { toolsListChanged: true }

  await t.test('of both eras and all views together, for each principal', async (t) => {
    await begin(2)
    const [headers, others] = [await as(somebody()), await as(somebody())]
    await using first = await connect(url, { headers })
    await using second = stateless({ url: `${url}/desk`, headers })
    const streams = [await first.stream(), await second.listen(changes)]
    t.same(
      streams.map(({ status }) => status),
      [200, 200],
    )
    await using third = await connect(`${url}/desk`, { headers })
    const refused = await request(`${url}/desk`, { headers: { ...third.headers, accept: 'text/event-stream' } })
    t.same([refused.status, refused.headers['retry-after']], [429, '1'])
    t.match(refused.messages[0]?.error, { code: -32603, data: { reason: 'too-many-own-streams' } })
    await using fourth = stateless({ url, headers })
    const listen = await fourth.listen(changes)
    t.equal(listen.status, 429)
    t.equal(rawMember(listen.heard[0]?.raw ?? '', 'id'), listen.id)
    t.match(listen.heard[0]?.error, { code: -32603, data: { reason: 'too-many-own-streams', retryAfterMs: 1000 } })
    await using other = stateless({ url, headers: others })
    const theirs = await other.listen(changes)
    t.equal(theirs.status, 200)
    const instead = await first.stream()
    t.equal(instead.status, 200, 'one that takes the place of its own')
    for (const stream of streams) stream.close()
    const again = await eventually('room', gateway.child, async () => {
      const stream = await fourth.listen(changes)
      return stream.status === 200 ? stream : undefined
    })
    for (const stream of [instead, theirs, again]) stream.close()
    await Promise.allSettled([...streams, instead, theirs, again].map(({ ended }) => ended))
  })

  await t.test('asked for at once', async (t) => {
    await begin(1)
    const headers = { ...(await as(somebody())), 'x-tenant': 'red' }
    const clients = Array.from({ length: 8 }, () => stateless({ url, headers }))
    const streams = await Promise.all(clients.map((client) => client.listen(changes)))
    t.same(
      [200, 429].map((status) => streams.filter((stream) => stream.status === status).length),
      [1, 7],
    )
    for (const stream of streams) stream.close()
    await Promise.allSettled(streams.map(({ ended }) => ended))
  })

  await t.test('the rest of a call’s answer is not counted', async (t) => {
    await begin(1)
    hold = gate()
    const headers = await as(somebody())
    await using listening = await connect(url, { headers })
    const stream = await listening.stream()
    await using calling = await connect(url, { headers, capabilities: { elicitation: {} } })
    const body = rpc('"call"', 'tools/call', { name: 'old_tell', arguments: {} })
    const lost = await openEvents(url, calling.headers, body)
    const { id = '' } = await lost.event('begun')
    lost.cut()
    const rest = await openEvents(url, { ...calling.headers, 'last-event-id': id })
    t.equal(rest.status, 200)
    hold.open()
    await rest.event('done')
    await rest.ended
    t.equal((await calling.stream()).status, 429, 'a stream of its own is')
    stream.close()
    await stream.ended.catch(() => undefined)
  })
})
