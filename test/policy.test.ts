/** Policy of the operator's own: what filters are told about a request, how they come and go, and what is said about wrong ones. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseRegistry } from '../src/registry/parse.ts'
import { resources } from '../src/xds/resources.ts'
import { runPaths } from '../src/xds/run-paths.ts'
import { fitted, snapshot } from '../src/xds/snapshot.ts'
import { LISTENER } from '../src/xds/type-url.ts'
import { startChild } from './support/child.ts'
import { command, eventually, freePort, startGateway } from './support/gateway.ts'
import { serveMcp } from './support/mcp-server.ts'
import {
  ask,
  askOverGrpc,
  deny,
  lua,
  mark,
  mirror,
  type Protocol,
  serveGrpcPolicy,
  servePolicy,
} from './support/policy-filters.ts'
import { ACCEPT, connect, type Reply, request, stateless } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { connectOn, type Path, play, registry } from './support/stage.ts'
import { tokenMaker } from './support/token-maker.ts'

const offers = {
  tools: [
    {
      name: 'look-up',
      definition: { name: 'look-up', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
    },
    { name: 'wipe' },
  ],
  prompts: [{ name: 'p' }],
  resources: [{ uri: 'x:1%20' }],
} as const
await using both = await serveMcp({ name: 'both', era: 'both', ...offers })
await using old = await serveMcp({ name: 'old', era: 'stateful', ...offers })
const onlyTools = { prompts: { exclude: ['*'] }, resources: { exclude: ['*'] } } as const
const MANY = '100000/s'
const servers = {
  a: [both, {}],
  o: [old, onlyTools],
  r: [
    old,
    {
      ...onlyTools,
      access: [{ tools: 'look-up', allow: 'anyone' }],
      limits: { calls: MANY, tools: { 'look*': { calls: MANY, per: 'session' } } },
    },
  ],
} as const
const withFilters = (filters: readonly JsonObject[], gateway: JsonObject = {}): string =>
  registry(servers, { gateway: { filters, ...gateway } })

await using gateway = await startGateway(withFilters([mirror], { limits: { calls: MANY, per: 'tool' } }))
await gateway.settled()

// --- the contract ---------------------------------------------------------------------------------------------------

/** What the filter saw: `header-method` and the like. */
const seenOf = ({ headers }: Reply): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith('seen-') && typeof value === 'string' ? [[name.slice('seen-'.length), value]] : [],
    ),
  )

const hints = 'readOnly=true,destructive=unspecified,idempotent=unspecified,openWorld=unspecified'
/** What is said of a request that names something; `server` is the registry's name. */
const about = (method: string, server: string, kind: string, own: string) => ({
  'header-method': method,
  'header-servername': server,
  [`header-${kind}`]: own,
  ...(kind === 'toolname' ? { 'header-annotation-hints': hints } : {}),
  'mcp-method': method,
  [kind === 'resourceuri' ? 'mcp-params-uri' : 'mcp-params-name']: own,
  'gateway-method': method,
  'gateway-server': server,
  'gateway-tool': own,
})
const onlyMethod = (method: string) => ({ 'header-method': method, 'mcp-method': method, 'gateway-method': method })
const aTool = (server: string) => about('tools/call', server, 'toolname', 'look-up')

const lying = { 'x-mcp-toolname': 'other', 'x-mcp-subject': 'root', 'x-mcp-decision': 'mine' }
const headersOf = async (path: Path): Promise<Reply> => {
  await using client = await connectOn(path, gateway.url, ['a_look-up'])
  return (await client.send('tools/call', { name: 'a_look-up' }, { id: '7', headers: lying })).reply
}
const inSession = async (method: string, params: JsonObject): Promise<Reply> => {
  await using client = await connectOn('direct', gateway.url, ['a_look-up'])
  return (await client.send(method, params)).reply
}
const withoutSession = (method: string, params: JsonObject): Promise<Reply> =>
  stateless({ url: gateway.url }).request(method, params)
const post = (body: string): Promise<Reply> => request(gateway.url, { headers: ACCEPT, body })

type Case = readonly [
  name: string,
  run: () => Promise<Reply>,
  said: Readonly<Record<string, string>>,
  era: string,
  path: Path,
]
const cases: readonly Case[] = [
  ['a call, direct', () => headersOf('direct'), { ...aTool('a'), 'gateway-id': '7' }, 'stateful', 'direct'],
  ['a call that only the broker can make', () => headersOf('broker'), aTool('a'), 'stateful', 'broker'],
  ['a call, stateless', () => withoutSession('tools/call', { name: 'a_look-up' }), aTool('a'), 'stateless', 'direct'],
  [
    'a call, to a server of the other era',
    () => withoutSession('tools/call', { name: 'o_look-up' }),
    aTool('o'),
    'stateless',
    'broker',
  ],
  [
    'a prompt',
    () => inSession('prompts/get', { name: 'a_p' }),
    about('prompts/get', 'a', 'promptname', 'p'),
    'stateful',
    'direct',
  ],
  [
    'a resource',
    () => withoutSession('resources/read', { uri: 'x:1%20' }),
    about('resources/read', 'a', 'resourceuri', 'x:1%20'),
    'stateless',
    'direct',
  ],
  ['a list', () => inSession('tools/list', {}), onlyMethod('tools/list'), 'stateful', 'broker'],
  ['a list, stateless', () => withoutSession('tools/list', {}), onlyMethod('tools/list'), 'stateless', 'broker'],
  [
    'a call that rules and limits are about',
    () => inSession('tools/call', { name: 'r_look-up' }),
    {
      ...aTool('r'),
      'gateway-rule': '5 servers.r.access[0]',
      'gateway-limit_gateway': 'gateway',
      'gateway-limit_gateway_of': 'tool:r_look-up',
      'gateway-limit_server': 'r',
      'gateway-limit_server_of': 'subject:',
      'gateway-limit_tool': 'r/look*',
    },
    'stateful',
    'broker',
  ],
  [
    'a call that they deny',
    () => inSession('tools/call', { name: 'r_wipe' }),
    onlyMethod('tools/call'),
    'stateful',
    'broker',
  ],
  [
    'a tool that nobody has',
    () => inSession('tools/call', { name: 'wipe' }),
    onlyMethod('tools/call'),
    'stateful',
    'broker',
  ],
  [
    'the first request of all',
    () => post('{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'),
    onlyMethod('initialize'),
    'stateful',
    'broker',
  ],
  ['a body that is no JSON', () => post('{"jsonrpc":"2.0","method":"tools/call"'), {}, 'stateful', 'broker'],
  [
    'a request without a body',
    () => request(gateway.url, { method: 'DELETE', headers: ACCEPT }),
    {},
    'stateful',
    'broker',
  ],
]

const page = readFileSync(new URL('../docs/policy-contract.md', import.meta.url), 'utf8')

/** Which entries the page names: `x-mcp-method` as `header-method`, `params.name` of Envoy's own as `mcp-params-name`. */
const documented = (): readonly string[] => {
  const tables = page.split(/^## |^`(?=envoy\.|mcp\.)/m)
  const keys = (start: string): readonly string[] =>
    (tables.find((part) => part.startsWith(start)) ?? '')
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, key = '']) => key))
  return [
    ...keys('Request headers').map((key) => key.replace(/^x-mcp-/, 'header-')),
    ...keys('envoy.filters.http.mcp').map((key) => `mcp-${key.replace('.', '-')}`),
    ...keys('mcp.gateway').map((key) => `gateway-${key}`),
  ]
}

await t.test('what filters are told', async (t) => {
  const told = new Set<string>()
  for (const [name, run, said, era, path] of cases) {
    await t.test(name, async (t) => {
      const seen = seenOf(await run())
      for (const key of Object.keys(seen)) told.add(key)
      const { 'header-decision': decision, 'gateway-decision': again } = seen
      t.match(decision, /^[0-9a-f-]{36}$/)
      t.equal(again, decision)
      t.match(seen, { ...said, 'gateway-era': era, 'gateway-path': path })
      const never = [
        'header-method',
        'header-toolname',
        'mcp-method',
        'gateway-method',
        'gateway-server',
        'gateway-rule',
        'gateway-limit_server',
        'gateway-limit_tool',
      ].filter((key) => !(key in said))
      for (const key of never) t.notOk(key in seen, `nothing about ${key}`)
      t.notOk('header-subject' in seen, 'what a client says in our name is not heard')
    })
  }
  await t.test('all of it is documented, and nothing else is', async (t) => {
    // The header that chooses the cluster is the gateway's own business.
    t.same([...told].filter((key) => key !== 'header-cluster').sort(), [...documented()].sort())
  })
})

// --- coming and going -----------------------------------------------------------------------------------------------

const listenerPushes = async (): Promise<unknown> =>
  (await gateway.status()).envoys[0]?.types['envoy.config.listener.v3.Listener']?.pushes

await t.test('filters come and go without the listener', async (t) => {
  const before = await listenerPushes()
  await play(gateway, registry(servers))
  await using client = await connect(gateway.url)
  const stream = await client.stream()
  const marksOf = async () => (await client.send('ping')).reply.headers['marks']
  t.equal(await marksOf(), undefined)
  const rows = [[1], [1, 2, 3, 4, 5, 6, 7, 8], [3, 2], []] as const
  for (const signs of rows) {
    await t.test(`${signs.length} of them`, async (t) => {
      await play(gateway, withFilters(signs.map(mark)))
      t.equal(await marksOf(), signs.length === 0 ? undefined : signs.join(''))
    })
  }
  t.equal(await listenerPushes(), before, 'the listener is the one from the start')
  both.notify('notifications/tools/list_changed')
  await both.nextOf('tools/list')
  let ended = false
  void stream.ended.then(
    () => (ended = true),
    () => (ended = true),
  )
  await client.send('ping')
  t.notOk(ended, 'a stream opened before is open still')
  stream.close()
})

await t.test('what a filter refuses', async (t) => {
  await play(gateway, withFilters([deny('wipe')]))
  for (const path of ['direct', 'broker'] as const) {
    await t.test(`a call, ${path}`, async (t) => {
      await using client = await connectOn(path, gateway.url, ['a_look-up'])
      both.forget()
      const { reply } = await client.send('tools/call', { name: 'a_wipe' }, { id: '9007199254740993' })
      t.equal(reply.status, 403)
      t.match(reply.text, '"id":9007199254740993,')
      t.match(JSON.parse(reply.text), { error: { code: -32600, data: { reason: 'policy-denied' } } })
      t.equal(both.count('tools/call'), 0, 'no server hears of it')
      t.match((await client.call('a_look-up')).result, { content: [{ text: 'both:look-up' }] })
    })
  }
  await t.test('with a decision that the log knows', async (t) => {
    const { text } = await stateless({ url: gateway.url }).request('tools/call', { name: 'a_wipe' })
    t.match(JSON.parse(text), { error: { data: { decision: /^[0-9a-f-]{36}$/ } } })
  })
})

const typed = ({ typed_config }: JsonObject): JsonObject =>
  typeof typed_config === 'object' && typed_config !== null ? { ...typed_config } : {}

await t.test('a filter that Envoy refuses', async (t) => {
  await play(gateway, withFilters([deny('wipe')]))
  const broken: readonly (readonly [string, JsonObject, RegExp])[] = [
    ['a field that does not exist', { ...deny('x'), typed_config: { ...typed(deny('x')), nope: 1 } }, /nope/],
    [
      'a type that does not exist',
      { name: 'x', typed_config: { '@type': 'type.googleapis.com/no.such.Type' } },
      /no\.such/,
    ],
    ['a script that is none', lua('function envoy_on_request('), /script load error|expected/],
  ]
  for (const [name, filter, words] of broken) {
    await t.test(name, async (t) => {
      await gateway.write(`gateway:\n  filters:\n    - ${JSON.stringify(filter)}\n${registry(servers)}`)
      const nack = await eventually('refused', gateway.child, async () => {
        const [envoy] = (await gateway.status()).envoys
        return envoy?.nacks.find(({ message }) => words.test(message))
      })
      t.match(nack, { path: 'gateway.filters[0]', place: { line: 3, column: 7 } })
      const { message } = await stateless({ url: gateway.url }).request('tools/call', { name: 'a_wipe' })
      t.match(message?.error, { data: { reason: 'policy-denied' } }, 'the last good one stays in force')
    })
  }
  await play(gateway, withFilters([]))
  t.match(await stateless({ url: gateway.url }).call('a_wipe'), { result: {} }, 'it is gone when it is taken out')
})

await t.test('a filter that is refused at the start keeps everything closed until it is mended', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'policy-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const file = path.join(dir, 'registry.yaml')
  const [listen, admin] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
  await writeFile(file, withFilters([{ ...deny('wipe'), typed_config: { ...typed(deny('x')), nope: 1 } }]))
  await using child = startChild([...command, 'up', file, '--listen', listen, '--admin', admin], {
    env: {},
    cwd: fileURLToPath(new URL('../', import.meta.url)),
  })
  await child.says(/^ready /m)
  t.match(await request(`http://${admin}/ready`), { status: 503, text: /a filter was refused/ })
  const call = () => stateless({ url: `http://${listen}/mcp` }).request('tools/call', { name: 'a_look-up' })
  const { status, message } = await call()
  t.equal(status, 503)
  t.match(message?.error, { code: -32603, data: { reason: 'no-decision' } })
  await writeFile(file, withFilters([deny('wipe')]))
  await eventually('ready', child, async () => {
    const reply = await request(`http://${admin}/ready`, { fresh: true })
    return reply.status === 200 ? reply : undefined
  })
  t.match((await call()).message, { result: {} })
})

// --- clusters -------------------------------------------------------------------------------------------------------

const ca = fileURLToPath(new URL('support/certs/ca.pem', import.meta.url))
const protocols: readonly (readonly [Protocol, JsonObject])[] = [
  ['http1', {}],
  ['http2', { http2: true }],
  ['http1 over TLS', { tls: { ca } }],
  ['http2 over TLS', { tls: { ca } }],
  ['http2 over TLS', { tls: { ca }, http2: true }],
]
await t.test('a policy server', async (t) => {
  for (const [protocol, cluster] of protocols) {
    await t.test(`${protocol}, ${JSON.stringify(Object.keys(cluster))}`, async (t) => {
      await using policy = await servePolicy(protocol)
      const clusters = { policy: { address: `localhost:${policy.port}`, ...cluster } }
      await play(gateway, withFilters([ask], { clusters }))
      both.forget()
      const client = stateless({ url: gateway.url })
      const refused = await client.request('tools/call', { name: 'a_look-up' }, { id: '5' })
      t.equal(refused.status, 401)
      t.match(refused.headers, { 'www-authenticate': 'Bearer', 'content-type': 'application/json' })
      t.match(JSON.parse(refused.text), { id: 5, error: { data: { reason: 'policy-denied' } } })
      t.equal(both.count('tools/call'), 0)
      const known = { headers: { authorization: 'Bearer known' } }
      for (const name of ['a_look-up', 'o_look-up']) t.match(await client.call(name, {}, known), { result: {} })
      t.match(policy.asked.at(-1), { 'x-mcp-toolname': 'look-up', 'x-mcp-servername': 'o' })
      const arrived = [...both.received, ...old.received]
      t.ok(arrived.length > 0)
      for (const { headers } of arrived)
        t.notOk(headers.authorization ?? headers['x-mcp-toolname'], 'no server sees the token or what is published')
    })
  }
  await t.test('one that is not there', async (t) => {
    await play(gateway, withFilters([ask], { clusters: { policy: { address: `127.0.0.1:${await freePort()}` } } }))
    const reply = await stateless({ url: gateway.url }).request('tools/call', { name: 'a_look-up' })
    t.equal(reply.status, 403)
    t.match(reply.message?.error, { code: -32603, data: { reason: 'policy-failed' } })
  })
})

const parsed = (gateway: string) =>
  parseRegistry(`gateway:\n${gateway}servers: { a: { url: "http://127.0.0.1:1/mcp" } }\n`, {
    file: '/r/registry.yaml',
    env: { WORD: 'said' },
    readFile: () => '',
  })

await t.test('a policy server over gRPC is told the metadata too', async (t) => {
  await using policy = await serveGrpcPolicy('wipe')
  const clusters = { policy: { address: `127.0.0.1:${policy.port}`, http2: true } }
  await play(gateway, withFilters([askOverGrpc], { clusters }))
  const client = stateless({ url: gateway.url })
  const { status, message } = await client.request('tools/call', { name: 'a_wipe' })
  t.equal(status, 403)
  t.match(message?.error, { code: -32600, data: { reason: 'policy-denied' } })
  t.match(await client.call('a_look-up'), { result: {} })
  const [asked = ''] = policy.asked
  for (const word of ['x-mcp-toolname', 'mcp.gateway', 'envoy.filters.http.mcp']) t.ok(asked.includes(word), word)
})

/** How each client goes on with a call that a human has to confirm; `questions` is told of each question. */
const confirming = {
  stateful: async (url: string, headers: Record<string, string>, questions: string[]) =>
    connect(url, {
      headers,
      capabilities: { elicitation: {} },
      answers: {
        'elicitation/create': ({ raw }) => {
          questions.push(raw)
          return { action: 'decline' }
        },
      },
    }),
  stateless: async (url: string, headers: Record<string, string>, questions: string[]) => {
    const client = stateless({ url, headers, capabilities: { elicitation: {} } })
    const send = async (method: string, params: JsonObject) => {
      const reply = await client.request(method, params)
      if (reply.message?.result?.['resultType'] === 'input_required') questions.push(reply.message.raw)
      return { reply }
    }
    return { send, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() }
  },
} as const

await t.test('who decides before whom: the token, the rules, the limits, the filters, a human', async (t) => {
  const resource = 'https://mcp.example.com/mcp'
  const tokens = await tokenMaker(resource)
  for (const [name, text] of Object.entries(tokens.files)) await writeFile(path.join(gateway.dir, name), text)
  await using policy = await serveGrpcPolicy('wipe')
  const text = registry(
    {
      a: [
        both,
        {
          access: [
            { tools: 'look-up', allow: { groups: 'dev' }, confirm: true },
            { tools: 'wipe', allow: { groups: 'dev' }, confirm: true },
          ],
        },
      ],
    },
    {
      gateway: {
        url: resource,
        auth: tokens.auth,
        filters: [askOverGrpc],
        clusters: { policy: { address: `127.0.0.1:${policy.port}`, http2: true } },
        limits: { calls: '2/h' },
      },
      views: { ops: { tools: ['*'] } },
    },
  )
  await play(gateway, text)
  for (const [era, open] of Object.entries(confirming)) {
    await t.test(era, async (t) => {
      const questions: string[] = []
      const call = async (sub: string, groups: string, name: string) => {
        await using client = await open(`${gateway.url}/ops`, await tokens.bearer({ sub, groups }), questions)
        both.forget()
        for (const heard of [policy.asked, questions]) heard.length = 0
        const { reply } = await client.send('tools/call', { name, arguments: {} })
        const reason: unknown = JSON.parse(reply.messages.at(-1)?.raw ?? '{}').error?.data?.reason
        const tellsPolicy = policy.asked.filter((asked) => asked.includes('tools/call'))
        t.equal(both.count('tools/call'), 0, 'no server hears of it')
        return { status: reply.status, reason, asked: tellsPolicy, questions: questions.length }
      }
      const unknown = await request(`${gateway.url}/ops`, { headers: ACCEPT, body: '{}' })
      t.same([unknown.status, policy.asked.length], [401, 0], 'who has no token is nobody to ask a policy about')

      const denied = await call(`eve-${era}`, 'others', 'a_look-up')
      t.match(denied, { reason: 'unknown-tool', questions: 0 })
      t.equal(denied.asked.length, 1)
      t.notMatch(
        denied.asked[0],
        /x-mcp-toolname|x-mcp-servername|servers\.a/,
        'of what rules deny a policy hears no name',
      )

      const refused = await call(`ann-${era}`, 'dev', 'a_wipe')
      t.match(refused, { status: 403, reason: 'policy-denied', questions: 0 }, 'no human is asked in vain')

      const asking = await call(`ann-${era}`, 'dev', 'a_look-up')
      t.equal(asking.questions, 1, 'then a human')
      t.equal(asking.asked.length, 1)
      for (const word of [`ann-${era}`, 'ops', 'servers.a.access[0]'])
        t.ok(asking.asked[0]?.includes(word), `the policy knows ${word}`)

      const flood = await call(`ann-${era}`, 'dev', 'a_look-up')
      t.match(flood, { status: 429, reason: 'rate-limited', questions: 0 })
      t.same(flood.asked, [], 'a policy server is spared what is too much')
    })
  }
})

await t.test('no filter sees what a server is shown', async (t) => {
  const secret = 'what-only-the-server-is-shown'
  const tell = lua(`
    function envoy_on_request(handle)
      local all = ""
      for name, value in pairs(handle:headers()) do all = all .. name .. "=" .. value .. ";" end
      handle:streamInfo():dynamicMetadata():set("seen", "all", all)
    end
    function envoy_on_response(handle)
      handle:headers():add("seen-all", handle:streamInfo():dynamicMetadata():get("seen").all)
    end
  `)
  const rows = [
    [{ bearer: secret }, 'authorization', `Bearer ${secret}`],
    [{ header: 'X-Key', value: secret }, 'x-key', secret],
  ] as const
  for (const [credential, header, shown] of rows) {
    await t.test(header, async (t) => {
      await play(gateway, registry({ a: [both, { credential }] }, { gateway: { filters: [tell] } }))
      both.forget()
      const headers = { authorization: 'Bearer of-the-client' }
      const reply = await stateless({ url: gateway.url, headers }).request('tools/call', { name: 'a_look-up' })
      t.equal(both.received.at(-1)?.headers[header], shown)
      t.match(reply.headers['seen-all'], 'authorization=Bearer of-the-client', "the client's own it sees")
      t.notMatch(JSON.stringify(reply.headers) + reply.text, secret)
    })
  }
})

await t.test('what the documentation shows is taken by Envoy', async (t) => {
  const blocks = [...page.matchAll(/^```yaml\n(gateway:.*?)^```/gms)].map(([, block = '']) => block)
  t.equal(blocks.length, 2)
  for (const block of blocks) {
    const result = parsed(block.replace('gateway:\n', ''))
    t.same(result.ok ? result.warnings : result.problems, [])
    await play(gateway, block + registry(servers)) // fails when Envoy does not acknowledge it
    t.match(await gateway.status(), { envoys: [{ applied: true, nacks: [] }] })
  }
})

// --- what is written ------------------------------------------------------------------------------------------------

const FAULT = 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault'
const one = (config: string): string =>
  `  filters:\n    - { name: x, typed_config: { "@type": ${FAULT}, ${config} } }\n`

await t.test('a configuration is passed on as it is written', async (t) => {
  const rows: readonly (readonly [string, unknown])[] = [
    ['a: true', { a: true }],
    ['a: "true"', { a: 'true' }],
    ['a: 7, b: "7", c: 0.5, d: -1', { a: 7, b: '7', c: 0.5, d: -1 }],
    ['a: 9007199254740993', { a: '9007199254740993' }],
    ['a: null, b: [], c: {}', { a: null, b: [], c: {} }],
    ['a: [{ b: [1, x, false] }]', { a: [{ b: [1, 'x', false] }] }],
    ['a: "${WORD}", b: "$${WORD}"', { a: 'said', b: '${WORD}' }],
  ]
  for (const [written, config] of rows) {
    await t.test(written, async (t) => {
      const result = parsed(one(written))
      t.ok(result.ok, JSON.stringify(result))
      if (result.ok)
        t.same(result.registry.gateway.filters, [{ name: 'x', place: { line: 3, column: 7 }, type: FAULT, config }])
    })
  }
})

await t.test('what is wrong with one is said at its place', async (t) => {
  const filter = `    - { name: x, typed_config: { "@type": ${FAULT} } }\n`
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    [
      'a ninth filter',
      `  filters:\n${filter.repeat(10)}`,
      ['error 11:7 gateway.filters[8] this is one filter too many'],
    ],
    ['no configuration', '  filters: [{ name: x }]\n', ['error 2:13 gateway.filters[0] "typed_config" is missing']],
    [
      'no type',
      '  filters: [{ name: x, typed_config: {} }]\n',
      ['error 2:24 gateway.filters[0].typed_config "@type" is missing'],
    ],
    [
      'a type that is none',
      '  filters: [{ name: x, typed_config: { "@type": Lua } }]\n',
      ['error 2:49 gateway.filters[0].typed_config["@type"] must be the URL of a type'],
    ],
    [
      'a type that is a number',
      '  filters: [{ name: x, typed_config: { "@type": 5 } }]\n',
      ['error 2:49 gateway.filters[0].typed_config["@type"] must be a text, not a number'],
    ],
    [
      'no name',
      `  filters: [{ name: "", typed_config: { "@type": ${FAULT} } }]\n`,
      ['error 2:21 gateway.filters[0].name must not be empty'],
    ],
    [
      'a cluster that nobody knows',
      `${one('b: { cluster_name: opas }')}  clusters: { opa: { address: "opa:1" } }\n`,
      ['warning 3:132 gateway.filters[0].typed_config.b.cluster_name no cluster in gateway.clusters has this name'],
    ],
    [
      'a cluster with a bad name',
      '  clusters: { Opa: { address: "opa:1" } }\n',
      [
        'error 2:15 gateway.clusters.Opa "Opa" is not a cluster name: lower-case letters, digits and hyphens, a letter first',
      ],
    ],
    [
      'an address without a port',
      '  clusters: { opa: { address: opa } }\n',
      ['error 2:31 gateway.clusters.opa.address must be a host and a port'],
    ],
    [
      'port 0',
      '  clusters: { opa: { address: "opa:0" } }\n',
      ['error 2:31 gateway.clusters.opa.address must have a port from 1 to 65535'],
    ],
    [
      'a host that is none',
      '  clusters: { opa: { address: "o_o:1" } }\n',
      ['error 2:31 gateway.clusters.opa.address must have a host name or an IP address before the port'],
    ],
    [
      'half a certificate',
      '  clusters: { opa: { address: "[::1]:1", tls: { cert: c.pem } } }\n',
      ['error 2:55 gateway.clusters.opa.tls.cert a client certificate needs its key'],
    ],
  ]
  for (const [name, written, expected] of rows) {
    await t.test(name, async (t) => {
      const result = parsed(written)
      const problems = result.ok ? result.warnings : result.problems
      t.same(
        problems.map(
          ({ severity, place, path, message }) => `${severity} ${place.line}:${place.column} ${path} ${message}`,
        ),
        expected,
      )
    })
  }
})

await t.test('each Envoy gets a listener that takes the filters it knows, and always the same', async (t) => {
  const result = parsed('  filters: []\n')
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  const shared = snapshot(resources(result.registry, runPaths('/run', 'envoy'), '/ca.pem'))
  const versions = (types: readonly string[]) => {
    const given = fitted(shared, types)
    const changed = [...given.types].filter(([type, entries]) =>
      [...entries].some(([name, { version }]) => shared.types.get(type)?.get(name)?.version !== version),
    )
    return [changed.map(([type]) => type), given.types.get(LISTENER)?.get('mcp_edge')?.version]
  }
  t.same(versions(['a.B', 'c.D'])[0], [LISTENER])
  t.same(versions(['a.B', 'c.D']), versions(['a.B', 'c.D']))
  t.notSame(versions(['a.B', 'c.D']), versions(['a.B']))
})
