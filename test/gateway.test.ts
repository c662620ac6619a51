/** Lists, calls and refusals through a real Envoy: what arrives at servers and what comes back to clients, on both paths. */
import http from 'node:http'
import type { Test } from 'tap'
import t from 'tap'
import { eventually, freePort, startGateway } from './support/gateway.ts'
import type { Tool } from './support/mcp-script.ts'
import { says, standardTools } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { RawClient, Reply } from './support/raw-client.ts'
import { ACCEPT, connect, request, rpc } from './support/raw-client.ts'
import { message, rawMember } from './support/raw-json.ts'
import { connectOn, gate, type Path, pathOf, play, registry, sample } from './support/stage.ts'

const named = (...names: readonly string[]): readonly Tool[] => names.map((name) => ({ name }))
const many = (count: number): readonly Tool[] => named(...Array.from({ length: count }, (_, at) => `t${at}`))
const listChanged = 'notifications/tools/list_changed'
const paths: readonly Path[] = ['direct', 'broker']

/** The same id, but for its first character. */
const flipped = (id: string): string => `${id.startsWith('A') ? 'B' : 'A'}${id.slice(1)}`

/** Sends a body without saying how long it is. */
const chunked = ({ url, headers }: RawClient, body: string): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = http.request(url, { method: 'POST', agent: false, headers }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.once('error', reject)
      res.once('end', () => {
        const whole = Buffer.concat(chunks)
        const messages = [message(whole.toString())]
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          rawHeaders: res.rawHeaders,
          body: whole,
          text: whole.toString(),
          messages,
        })
      })
    })
    sent.once('error', reject)
    for (let at = 0; at < body.length; at += 16_384) sent.write(body.slice(at, at + 16_384))
    sent.end()
  })

/** Longer than any test may take: as good as for ever. */
const hung = gate()
await using live = await serveMcp({ name: 'live', tools: named('one', 'two') })
await using hanging = await serveMcp({ before: () => hung.opened })
const deadUrl = `http://127.0.0.1:${await freePort()}/mcp`
await using gateway = await startGateway(
  registry({
    dead: { url: deadUrl, listTimeout: '700ms' },
    hanging: [hanging, { listTimeout: '700ms' }],
    live: [live, {}],
  }),
)

const stateOf = async (server: string) => (await gateway.status()).servers.find(({ name }) => name === server)
/** The status once it fits. */
const statusWith = (what: string, fits: (state: Awaited<ReturnType<typeof stateOf>>) => boolean, server: string) =>
  eventually(what, gateway.child, async () => {
    const state = await stateOf(server)
    return fits(state) ? state : undefined
  })

await t.test('a dead server and a hanging one', async (t) => {
  await t.test('the others are listed all the same, and their tools can be called', async (t) => {
    await using client = await connect(gateway.url)
    t.same(await client.tools(), ['live_one', 'live_two'])
    t.match((await client.call('live_one')).result, says('live:one'))
  })
  await t.test('afterwards the catalogue answers; no server is asked', async (t) => {
    await using client = await connect(gateway.url)
    for (let n = 0; n < 20; n++) t.same(await client.tools(), ['live_one', 'live_two'])
    t.equal(live.count('tools/list'), 1)
  })
  await t.test('/status and the metrics name both', async (t) => {
    const { servers, problems } = await gateway.status()
    t.match(servers, [
      { name: 'dead', state: 'down', lastError: /connection|connect|UF/i },
      { name: 'hanging', state: 'down', lastError: 'no answer within 700 ms' },
      { name: 'live', state: 'up', tools: 2 },
    ])
    t.match(problems, [
      { severity: 'warning', server: 'dead', path: 'servers.dead', place: { line: 2, column: 3 } },
      { severity: 'warning', server: 'hanging', place: { line: 3 } },
    ])
    const metrics = await gateway.metrics()
    t.same(
      ['dead', 'hanging', 'live'].map((server) => sample(metrics, 'mcp_gateway_server_up', { server })),
      [0, 0, 1],
    )
  })
  await t.test('a server that hangs later keeps its tools in the list', async (t) => {
    await using slow = await serveMcp({ name: 'slow' })
    await play(gateway, registry({ slow: [slow, { listTimeout: '300ms' }], live: [live, {}] }))
    await using client = await connect(gateway.url)
    const before = await client.tools()
    const held = gate()
    slow.script.before = () => held.opened
    slow.notify(listChanged)
    const state = await statusWith('stale', (one) => one?.stale === true && one.state === 'degraded', 'slow')
    t.match(state?.lastError, /tools\/list: not complete within 300 ms/)
    t.same(await client.tools(), before)
    t.equal(sample(await gateway.metrics(), 'mcp_gateway_server_stale', { server: 'slow' }), 1)
    slow.script.before = undefined
    held.open()
    await statusWith('healed', (one) => one?.state === 'up', 'slow')
  })
})

await t.test('lists', async (t) => {
  await t.test('all pages of a server, and what it says beside them', async (t) => {
    await using a = await serveMcp({ tools: many(5), pageSize: 2, instructions: 'Mind the gap.' })
    await play(gateway, registry({ a: [a, {}] }))
    await using client = await connect(gateway.url)
    t.same(await client.tools(), ['a_t0', 'a_t1', 'a_t2', 'a_t3', 'a_t4'])
    t.equal(a.count('tools/list'), 3)
    t.match(client.initialized.result, { instructions: '[a]\nMind the gap.', serverInfo: { name: 'mcp-gateway' } })
  })
  await t.test(
    'two servers with the same name: the first wins, the second is reported, nothing else is hidden',
    async (t) => {
      await using a = await serveMcp({ name: 'first', tools: named('same', 'mine') })
      await using b = await serveMcp({ name: 'second', tools: named('same', 'yours') })
      const { servers, problems } = await play(gateway, registry({ a: [a, { prefix: '' }], b: [b, { prefix: '' }] }))
      await using client = await connect(gateway.url)
      t.same(await client.tools(), ['same', 'mine', 'yours'])
      t.match((await client.call('same')).result, says('first:same'))
      t.match((await client.call('yours')).result, says('second:yours'))
      t.same(servers[1]?.hidden, [{ name: 'same', reason: 'the name is taken by server "a"' }])
      t.match(problems, [{ server: 'b', message: /"same" of server "b" is hidden/, place: { line: 3 } }])
      t.equal(sample(await gateway.metrics(), 'mcp_gateway_catalogue_hidden', { server: 'b' }), 1)
    },
  )
  for (const [cursors, why] of [
    ['loop', 'the server gave the same cursor twice'],
    ['endless', 'more than 1000 pages'],
  ] as const) {
    await t.test(`a list without an end (${cursors}) is cut short and named`, async (t) => {
      await using a = await serveMcp({ tools: many(3), pageSize: 2, cursors })
      await play(gateway, registry({ a: [a, { listTimeout: '60s' }], live: [live, {}] }))
      t.match(await stateOf('a'), { state: 'degraded', lastError: `tools/list: ${why}` })
      t.ok(sample(await gateway.metrics(), 'mcp_gateway_list_capped_total', { server: 'a', list: 'tools/list' }) >= 1)
      await using client = await connect(gateway.url)
      const tools = await client.tools()
      t.same(tools.slice(0, 2), ['a_t0', 'a_t1'])
      t.same(tools.slice(-2), ['live_one', 'live_two'])
    })
  }
  await t.test('more than a thousand: our own pages, complete and in order', async (t) => {
    await using a = await serveMcp({ tools: many(900) })
    await using b = await serveMcp({ tools: many(700), pageSize: 300 })
    await play(gateway, registry({ a: [a, {}], b: [b, {}] }))
    await using client = await connect(gateway.url)
    const expected = [...many(900).map(({ name }) => `a_${name}`), ...many(700).map(({ name }) => `b_${name}`)]
    t.same(await client.tools(), expected)
    const { message } = await client.send('tools/list')
    const cursor = message.result?.['nextCursor']
    t.type(cursor, 'string')
    const stream = await client.stream()
    a.setTools(many(901))
    await client.next(({ message: { method } }) => method === listChanged)
    for (const bad of [cursor, 'x', ''])
      t.match(
        (await client.send('tools/list', { cursor: bad })).message.error,
        { code: -32602 },
        `cursor ${String(bad)}`,
      )
    t.equal((await client.tools()).length, 1601)
    stream.close()
  })
  await t.test("the order is the registry's, whoever answers first", async (t) => {
    const held = gate()
    await using late = await serveMcp({ tools: named('z', 'a'), before: () => held.opened })
    await using early = await serveMcp({ tools: named('y', 'b') })
    await gateway.edit(registry({ late: [late, {}], early: [early, {}] }))
    await statusWith('early is up', (one) => one?.state === 'up', 'early')
    await using client = await connect(gateway.url)
    t.same(await client.tools(), ['early_y', 'early_b'])
    held.open()
    await gateway.settled()
    t.same(await client.tools(), ['late_z', 'late_a', 'early_y', 'early_b'])
  })
  await t.test('items are as the server wrote them, but for the name', async (t) => {
    const odd = (key: string, name: string) =>
      `{"unknown":{"z":1,"a":[1.0,9007199254740993]}, "${key}" : "${name}","_meta":{"name":"odd","k":1e2},"title":"\\u00fc🙂","icons":[]}`
    await using a = await serveMcp({
      tools: [{ name: 'odd', definition: odd('name', 'odd') }],
      prompts: [{ name: 'odd', definition: odd('name', 'odd') }],
      resources: [{ uri: 'x:odd', definition: odd('uri', 'x:odd') }],
      templates: [{ uriTemplate: 'x:{y}', matches: /^x:/, definition: odd('uriTemplate', 'x:{y}') }],
    })
    await play(gateway, registry({ a: [a, {}] }))
    await using client = await connect(gateway.url)
    for (const [method, key, expected] of [
      ['tools/list', 'tools', odd('name', 'a_odd')],
      ['prompts/list', 'prompts', odd('name', 'a_odd')],
      ['resources/list', 'resources', odd('uri', 'x:odd')],
      ['resources/templates/list', 'resourceTemplates', odd('uriTemplate', 'x:{y}')],
    ] as const)
      t.equal(rawMember((await client.send(method)).message.raw, 'result', key, 0), expected, method)
  })
  await t.test('rename, include and exclude count for calls as for lists', async (t) => {
    await using a = await serveMcp({ name: 'a', tools: named('get_x', 'set_x', 'drop_x', 'other') })
    const tools = { include: ['*_x'], exclude: ['drop_*'], rename: { get_x: 'fetch' } }
    await play(gateway, registry({ a: [a, { prefix: 'p-', tools }] }))
    await using client = await connect(gateway.url)
    t.same(await client.tools(), ['p-fetch', 'p-set_x'])
    t.match((await client.call('p-fetch')).result, says('a:get_x'))
    for (const name of ['p-get_x', 'p-drop_x', 'p-other', 'get_x', 'a_get_x', '__proto__', 'constructor'])
      t.match((await client.call(name)).error, { code: -32602 }, name)
  })
})

await t.test('changed lists', async (t) => {
  /** Two clients that listen, and what each heard of lists that changed. */
  const audience = async (t: Test) => {
    const clients = [await connect(gateway.url), await connect(gateway.url, { capabilities: { elicitation: {} } })]
    for (const client of clients) {
      await client.stream()
      t.teardown(() => client[Symbol.asyncDispose]())
    }
    return clients
  }
  const notices = ({ heard }: RawClient) => heard.filter(({ message: { method } }) => method === listChanged).length
  const told = (client: RawClient) => client.next(({ message: { method } }) => method === listChanged)

  await t.test('every client is told, once the list is another one', async (t) => {
    await using a = await serveMcp({ tools: named('x') })
    await play(gateway, registry({ a: [a, {}], live: [live, {}] }))
    const clients = await audience(t)
    // The same again is no change: nobody is told.
    a.setTools(named('x'))
    a.setTools(named('x', 'y'))
    for (const client of clients) {
      t.match(await told(client), { on: 'get' })
      t.same(await client.tools(), ['a_x', 'a_y', 'live_one', 'live_two'])
      t.equal(notices(client), 1)
    }
  })
  await t.test('another description under the same name is published', async (t) => {
    const tool = (description: string) => [{ name: 'x', definition: { name: 'x', description, inputSchema: {} } }]
    await using a = await serveMcp({ tools: tool('old') })
    await play(gateway, registry({ a: [a, {}] }))
    const clients = await audience(t)
    a.setTools(tool('new'))
    for (const client of clients) {
      await told(client)
      t.match(await client.list('tools/list', 'tools'), [{ name: 'a_x', description: 'new' }])
    }
  })
  await t.test("a removed server's tools vanish", async (t) => {
    await using a = await serveMcp({ tools: named('x') })
    await play(gateway, registry({ a: [a, {}], live: [live, {}] }))
    const clients = await audience(t)
    for (const client of clients) await client.call('a_x')
    await gateway.edit(registry({ live: [live, {}] }))
    for (const client of clients) {
      await told(client)
      t.same(await client.tools(), ['live_one', 'live_two'])
      t.match((await client.call('a_x')).error, { code: -32602 })
    }
    t.equal(a.count('tools/call'), 2)
  })
  await t.test('prompts and resources have notices of their own', async (t) => {
    await using a = await serveMcp({ tools: [], prompts: [{ name: 'p' }], resources: [{ uri: 'x:1' }] })
    await play(gateway, registry({ a: [a, {}] }))
    const [client] = await audience(t)
    if (client === undefined) throw new Error('no client')
    a.script.prompts = [{ name: 'p' }, { name: 'q' }]
    a.notify('notifications/prompts/list_changed')
    await client.next(({ message: { method } }) => method === 'notifications/prompts/list_changed')
    a.script.resources = []
    a.notify('notifications/resources/list_changed')
    await client.next(({ message: { method } }) => method === 'notifications/resources/list_changed')
    t.same(await client.list('resources/list', 'resources'), [])
    t.equal(notices(client), 0)
  })
})

await t.test('requests that are refused', async (t) => {
  await using a = await serveMcp({ tools: standardTools })
  await play(gateway, registry({ a: [a, {}] }, { gateway: { origins: ['https://app.example.com'] } }))
  const initialize = rpc('1', 'initialize', { protocolVersion: '2025-11-25', capabilities: {} })
  const call = (rest: string, id = '7') => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{${rest}}}`
  const nested = (depth: number) => call(`"name":"a_echo","arguments":${'['.repeat(depth)}${']'.repeat(depth)}`)
  const good = call('"name":"a_echo","arguments":{}')

  type Row = readonly [
    what: string,
    body: string | Uint8Array,
    status: number,
    code: number,
    id: string,
    reason: string,
  ]
  const bodies: readonly Row[] = [
    ['an empty body', '', 400, -32700, 'null', 'empty'],
    ['no JSON', 'hello', 400, -32700, 'null', 'unparsable'],
    ['half a message', good.slice(0, -1), 400, -32700, '7', 'unparsable'],
    ['two messages', good + good, 400, -32700, '7', 'trailing'],
    ['something behind it', `${good}x`, 400, -32700, '7', 'trailing'],
    ['a NUL behind it', `${good}\0`, 400, -32700, '7', 'trailing'],
    ['a byte order mark', `\ufeff${good}`, 400, -32700, 'null', 'byte-order-mark'],
    ['not UTF-8', Buffer.from(good.replace('echo', 'ech\xff'), 'latin1'), 400, -32700, 'null', 'not-utf8'],
    ['UTF-16', Buffer.from(good, 'utf16le'), 400, -32700, 'null', 'unparsable'],
    ['a comment', `/**/${good}`, 400, -32700, 'null', 'unparsable'],
    ['a batch', `[${good}]`, 400, -32600, 'null', 'batch'],
    ['an empty batch', '[]', 400, -32600, 'null', 'batch'],
    ['a string', '"tools/call"', 400, -32600, 'null', 'not-jsonrpc'],
    ['the name twice', call('"name":"a_echo","name":"a_raw"'), 400, -32600, '7', 'duplicate-key'],
    ['the name twice, once escaped', call('"name":"a_echo","n\\u0061me":"a_raw"'), 400, -32600, '7', 'duplicate-key'],
    ['params twice', good.replace('"params"', '"params":{},"params"'), 400, -32600, '7', 'duplicate-key'],
    ['Name beside name', call('"name":"a_echo","Name":"a_raw"'), 400, -32600, '7', 'case-variant'],
    ['METHOD beside method', good.replace('"params"', '"METHOD":"ping","params"'), 400, -32600, '7', 'case-variant'],
    ['a key with a NUL', call('"name":"a_echo","name\\u0000":"a_raw"'), 400, -32600, '7', 'case-variant'],
    ['nested too deeply', nested(63), 400, -32600, '7', 'too-deep'],
    ['nested without end', nested(100_000), 400, -32600, '7', 'too-deep'],
    ['another version', good.replace('2.0', '1.0'), 400, -32600, '7', 'not-jsonrpc'],
    ['no method', '{"jsonrpc":"2.0","id":7}', 400, -32600, '7', 'not-jsonrpc'],
    ['an object as id', call('"name":"a_echo"', '{}'), 400, -32600, 'null', 'not-jsonrpc'],
    ['null as id', call('"name":"a_echo"', 'null'), 400, -32600, 'null', 'not-jsonrpc'],
  ]
  const refused = (t: Test, reply: Reply, [what, , status, code, id, reason]: Row) => {
    t.equal(reply.status, status, what)
    t.equal(reply.headers['content-type'], 'application/json', what)
    t.equal(rawMember(reply.text, 'id'), id, what)
    t.match(reply.messages[0]?.error, { code, data: { reason } }, what)
  }
  for (const path of paths) {
    await t.test(`bodies: ${path}`, async (t) => {
      await using client = await connectOn(path, gateway.url, ['a_echo'])
      a.forget()
      for (const row of bodies) refused(t, await client.post(row[1]), row)
      t.equal(a.received.length, 0, 'nothing was forwarded')
      t.match((await client.post(nested(61))).messages, [{ id: 7, result: {} }], 'deep, but not too deep')
      const last = a.received.at(-1)
      t.equal(last === undefined ? undefined : pathOf(last), path)
    })
  }
  await t.test('a refusal can be found again', async (t) => {
    await using client = await connect(gateway.url)
    const { messages } = await client.post('[]')
    const { decision } = { decision: '', ...Object(messages[0]?.error?.data) }
    t.match(decision, /^[0-9a-f-]{36}$/)
    t.match((await gateway.status()).refusals[0], { decision, status: 400, reason: 'batch' })
    await gateway.child.says(new RegExp(decision))
  })

  type Head = readonly [
    what: string,
    init: { readonly method?: string; readonly path?: string; readonly headers: Readonly<Record<string, string>> },
    status: number,
    code: number,
    id: string,
    reason: string,
  ]
  await t.test('heads', async (t) => {
    await using client = await connectOn('direct', gateway.url, ['a_echo'])
    a.forget()
    const { 'mcp-session-id': session = '', ...without } = client.headers
    const stream = { ...client.headers, accept: 'text/event-stream' }
    const heads: readonly Head[] = [
      ['no session id', { headers: without }, 400, -32000, '7', 'no-session-id'],
      ['an empty session id', { headers: { ...without, 'mcp-session-id': '' } }, 400, -32000, '7', 'no-session-id'],
      ['a forged id', { headers: { ...without, 'mcp-session-id': 'x' } }, 404, -32001, '7', 'unknown-session'],
      [
        'one bit flipped',
        { headers: { ...without, 'mcp-session-id': flipped(session) } },
        404,
        -32001,
        '7',
        'unknown-session',
      ],
      [
        "a server's own id",
        { headers: { ...without, 'mcp-session-id': [...a.sessions.keys()].at(-1) ?? '' } },
        404,
        -32001,
        '7',
        'unknown-session',
      ],
      [
        'two ids',
        { headers: { ...without, 'mcp-session-id': `${session}, ${session}` } },
        404,
        -32001,
        '7',
        'unknown-session',
      ],
      [
        'an unknown version',
        { headers: { ...client.headers, 'mcp-protocol-version': '2024-11-05' } },
        400,
        -32000,
        '7',
        'unsupported-version',
      ],
      [
        'Accept without streams',
        { headers: { ...client.headers, accept: 'application/json' } },
        406,
        -32600,
        'null',
        'not-acceptable',
      ],
      ['Accept without JSON', { headers: stream }, 406, -32600, 'null', 'not-acceptable'],
      [
        'another content type',
        { headers: { ...client.headers, 'content-type': 'text/plain' } },
        415,
        -32600,
        'null',
        'content-type',
      ],
      [
        'another charset',
        { headers: { ...client.headers, 'content-type': 'application/json; charset=utf-16' } },
        415,
        -32600,
        'null',
        'content-type',
      ],
      [
        'a content encoding',
        { headers: { ...client.headers, 'content-encoding': 'gzip' } },
        415,
        -32600,
        'null',
        'content-encoding',
      ],
      ['another host', { headers: { ...client.headers, host: 'evil.example' } }, 403, -32600, 'null', 'foreign-host'],
      [
        'another origin',
        { headers: { ...client.headers, origin: 'https://evil.example' } },
        403,
        -32600,
        'null',
        'foreign-origin',
      ],
      ['the null origin', { headers: { ...client.headers, origin: 'null' } }, 403, -32600, 'null', 'foreign-origin'],
      ['PUT', { method: 'PUT', headers: client.headers }, 405, -32600, 'null', 'wrong-verb'],
      ['OPTIONS', { method: 'OPTIONS', headers: client.headers }, 405, -32600, 'null', 'wrong-verb'],
      ['another path', { path: '/', headers: client.headers }, 404, -32600, 'null', 'wrong-path'],
      ['a path below', { path: '/mcp/x', headers: client.headers }, 404, -32600, 'null', 'unknown-view'],
      [
        'a way around the path',
        { path: '/x/../mcp/../admin', headers: client.headers },
        404,
        -32600,
        'null',
        'wrong-path',
      ],
    ]
    for (const [what, { path = '/mcp', ...init }, ...rest] of heads)
      refused(t, await request(new URL(path, gateway.url).href, { ...init, body: good }), [what, good, ...rest])
    const streams: readonly Head[] = [
      [
        'GET without a session',
        { headers: { ...without, accept: 'text/event-stream' } },
        400,
        -32000,
        'null',
        'no-session-id',
      ],
      [
        'GET with a forged id',
        { headers: { ...stream, 'mcp-session-id': 'x' } },
        404,
        -32001,
        'null',
        'unknown-session',
      ],
      ['GET for JSON', { headers: { ...stream, accept: 'application/json' } }, 406, -32600, 'null', 'not-acceptable'],
      ['DELETE without a session', { method: 'DELETE', headers: without }, 400, -32000, 'null', 'no-session-id'],
      [
        'DELETE with a forged id',
        { method: 'DELETE', headers: { ...stream, 'mcp-session-id': 'x' } },
        404,
        -32001,
        'null',
        'unknown-session',
      ],
    ]
    for (const [what, init, ...rest] of streams) refused(t, await request(gateway.url, init), [what, '', ...rest])
    t.equal(a.received.length, 0, 'nothing was forwarded')
    const put = await request(gateway.url, { method: 'PUT', headers: client.headers, body: good })
    t.equal(put.headers.allow, 'POST, GET, DELETE')
    for (const more of [
      { host: 'localhost' },
      { host: '[::1]:1' },
      { origin: 'http://localhost:3000' },
      { origin: 'https://app.example.com' },
      { 'content-type': 'application/json; charset=UTF-8' },
      { accept: '*/*' },
      { 'mcp-protocol-version': '2025-06-18' },
    ])
      t.equal((await client.post(good, { headers: more })).status, 200, JSON.stringify(more))
  })
  await t.test('initialize', async (t) => {
    for (const [wanted, got] of [
      ['2025-11-25', '2025-11-25'],
      ['2025-06-18', '2025-06-18'],
      ['2025-03-26', '2025-03-26'],
      ['2024-11-05', '2025-11-25'],
      ['2099-01-01', '2025-11-25'],
      ['x', '2025-11-25'],
    ] as const) {
      await using client = await connect(gateway.url, { protocolVersion: wanted })
      t.equal(client.initialized.result?.['protocolVersion'], got, wanted)
      t.match((await client.call('a_echo', { text: wanted })).result, says(wanted))
    }
    const reply = await request(gateway.url, { headers: ACCEPT, body: rpc('1', 'initialize', {}) })
    t.match(reply, { status: 200, messages: [{ id: 1, error: { code: -32602 } }] })
    t.equal(reply.headers['mcp-session-id'], undefined)
    const { headers } = await request(gateway.url, { headers: ACCEPT, body: initialize })
    t.match(headers['mcp-session-id'], /^[\x21-\x7e]{32,}$/)
  })

  await t.test('sizes', async (t) => {
    const sized = (bytes: number) => call(`"name":"a_size","arguments":{"text":"${'x'.repeat(bytes)}"}`)
    a.setTools([...standardTools, { name: 'size', run: ({ received }) => says(String(received.body.length)) }])
    await statusWith('the tool is known', (one) => one?.tools === standardTools.length + 1, 'a')
    await play(gateway, registry({ a: [a, {}] }, { gateway: { maxBody: '64KiB' } }))
    const tooLarge = [sized(65_536), 413, -32600, 'null', 'too-large'] as const
    for (const path of paths) {
      await t.test(`over gateway.maxBody: ${path}`, async (t) => {
        await using client = await connectOn(path, gateway.url, ['a_size'])
        a.forget()
        refused(t, await client.post(tooLarge[0]), ['with its length', ...tooLarge])
        refused(t, await chunked(client, tooLarge[0]), ['chunked', ...tooLarge])
        t.equal(a.received.length, 0, 'nothing was forwarded')
        const fits = sized(64_000)
        for (const reply of [await client.post(fits), await chunked(client, fits)])
          t.match(reply, { status: 200, messages: [{ result: says(String(fits.length - 2)) }] })
        const last = a.received.at(-1)
        t.equal(last === undefined ? undefined : pathOf(last), path)
      })
    }
    await play(gateway, registry({ a: [a, {}] }, { gateway: { maxBody: '16MiB' } }))
    for (const path of paths) {
      await t.test(`10 MB under a raised maxBody: ${path}`, async (t) => {
        await using client = await connectOn(path, gateway.url, ['a_size'])
        const body = sized(10_000_000)
        for (const reply of [await client.post(body), await chunked(client, body)])
          t.match(reply, { status: 200, messages: [{ result: says(String(body.length - 2)) }] })
        const last = a.received.at(-1)
        t.equal(last === undefined ? undefined : pathOf(last), path)
        t.match((await client.call('a_big', { bytes: 10_000_000 })).result, says('x'.repeat(10_000_000)))
      })
    }
  })
})
