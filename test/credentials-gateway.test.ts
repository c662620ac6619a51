/** What servers are shown, through a whole gateway: each caller's token exchanged, headers forwarded, our own tokens added, none of it told. */
import { readFile, writeFile } from 'node:fs/promises'
import { request as ask, createServer, type IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import type { Era } from '../src/mcp/versions.ts'
import { auditLines } from './support/audit-lines.ts'
import {
  granted,
  refuses,
  startAuthorizationServer,
  type TokenAnswer,
  type TokenRequest,
} from './support/authorization-server.ts'
import { eventually, freePort, startGateway } from './support/gateway.ts'
import type { Received, Script } from './support/mcp-script.ts'
import { HttpAnswer, says } from './support/mcp-script.ts'
import { type McpServer, serveMcp } from './support/mcp-server.ts'
import { connect, type Reply, request, stateless } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { serveSse } from './support/sse-server.ts'
import { sample } from './support/stage.ts'

const CLIENT_SECRET = 'client-secret-3f1b'
const PLAIN = 'plain-bearer-77aa'
const IN_FILE = 'secret-in-file-0001'
const ROTATED = 'secret-in-file-0002'
const COOKIE = 'cookie-of-the-client-5150'

await using idp = await startAuthorizationServer()
const answersOf = new Map<string, (asked: TokenRequest) => TokenAnswer>()
/** By whom the token is for; most get what they ask for. */
idp.answer = (asked) => (answersOf.get(asked.form.get('audience') ?? '') ?? granted())(asked)

const eras = ['stateful', 'stateless'] as const satisfies readonly Era[]

/** What some callers see beside their one tool. */
const more = new Map<string, readonly string[]>()
/** Shows each caller one tool, by the token it is shown. */
const ownTools: Partial<Script> = {
  methods: {
    'tools/list': ({ received }) => ({
      tools: [`of-${whoIn(received)}`, ...(more.get(whoIn(received)) ?? [])].map((name) => ({
        name,
        inputSchema: { type: 'object' },
      })),
    }),
    'tools/call': ({ received }) => says(`served ${whoIn(received)}`),
  },
}
/** Tokens name whom they were made for. */
const whoIn = ({ headers }: Received): string => headers.authorization?.split('.')[1] ?? 'nobody'

interface Servers {
  readonly each: McpServer
  readonly own: McpServer
  readonly tenant: McpServer
  readonly mine: McpServer
  readonly plain: McpServer
}
const serve = async (era: Era): Promise<Servers> => {
  const tools = [{ name: 'look' }]
  const [each, own, tenant, mine, plain] = await Promise.all([
    serveMcp({ era, tools, prompts: [{ name: 'brief' }], resources: [{ uri: `note://${era}/each` }] }),
    serveMcp({ era, tools }),
    serveMcp({ era, tools }),
    serveMcp({ era, ...ownTools }),
    serveMcp({ era, tools }),
  ])
  return { each, own, tenant, mine, plain }
}
const servers: Readonly<Record<Era, Servers>> = {
  stateful: await serve('stateful'),
  stateless: await serve('stateless'),
}
const all = eras.flatMap((era) => Object.values<McpServer>({ ...servers[era] }))
t.teardown(() => Promise.all(all.map((server) => server[Symbol.asyncDispose]())))

const oauth = (audience: string) => ({
  token: idp.endpoint,
  client: 'gateway',
  secret: CLIENT_SECRET,
  scopes: ['mcp'],
  audience,
})
const entries = (era: Era, { each, own, tenant, mine, plain }: Servers): Record<string, JsonObject> => ({
  [`each-${era}`]: { url: each.url, credential: { exchange: oauth(`each-${era}`) } },
  [`own-${era}`]: { url: own.url, credential: { oauth: oauth(`own-${era}`) } },
  [`tenant-${era}`]: { url: tenant.url, forward: ['x-tenant'] },
  [`mine-${era}`]: { url: mine.url, credential: { exchange: oauth(`mine-${era}`) }, lists: 'per-caller' },
  [`plain-${era}`]: { url: plain.url, credential: { bearer: PLAIN } },
})

const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
const registry = (more: Record<string, unknown> = {}): string =>
  JSON.stringify({
    gateway: { url, auth: { issuer: idp.issuer }, audit: 'audit.jsonl' },
    servers: { ...Object.assign({}, ...eras.map((era) => entries(era, servers[era]))), ...more },
  })
await using gateway = await startGateway(registry(), {
  port,
  // One worker, so that the lines of the audit log have the order of the requests.
  args: ['--access-log', '--log-level', 'debug', '--concurrency', '1'],
  files: { 'token.txt': `${IN_FILE}\n` },
})
await gateway.settled()

/** Everything that clients were told, to be searched. */
const told: Reply[] = []
interface Caller {
  readonly sub: string
  readonly token: string
  list(): Promise<readonly string[]>
  call(tool: string): Promise<Reply>
  ask(method: string, params: JsonObject): Promise<Reply>
  end(): Promise<void>
}
const headersOf = (token: string, tenant: string) => ({
  authorization: `Bearer ${token}`,
  cookie: `session=${COOKIE}`,
  'x-tenant': tenant,
})
const keep = (reply: Reply): Reply => {
  told.push(reply)
  return reply
}

const callers: Readonly<Record<Era, (sub: string, tenant?: string, view?: string) => Promise<Caller>>> = {
  async stateful(sub, tenant = `tenant-of-${sub}`, view = '') {
    const token = await idp.tokenOf(sub, url)
    const client = await connect(`${url}${view}`, { headers: headersOf(token, tenant) })
    const stream = await client.stream()
    const ask = async (method: string, params: JsonObject): Promise<Reply> =>
      keep(await client.post(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })))
    return {
      sub,
      token,
      list: async () => namesIn(await ask('tools/list', {})),
      call: (name) => ask('tools/call', { name, arguments: {} }),
      ask,
      async end() {
        stream.close()
        keep(await client.delete())
      },
    }
  },
  async stateless(sub, tenant = `tenant-of-${sub}`, view = '') {
    const token = await idp.tokenOf(sub, url)
    const client = stateless({ url: `${url}${view}`, headers: headersOf(token, tenant) })
    const ask = async (method: string, params: JsonObject): Promise<Reply> => keep(await client.request(method, params))
    return {
      sub,
      token,
      list: async () => namesIn(await ask('tools/list', {})),
      call: (name) => ask('tools/call', { name, arguments: {} }),
      ask,
      async end() {
        await client[Symbol.asyncDispose]()
      },
    }
  },
}
const namesIn = ({ messages }: Reply): readonly string[] => {
  const tools = messages.at(-1)?.result?.['tools']
  return Array.isArray(tools) ? tools.map(({ name }) => String(name)) : []
}
const texts = ({ messages }: Reply): unknown => messages.at(-1)?.result?.['content']
const reasonIn = ({ messages }: Reply): unknown => {
  const data = messages.at(-1)?.error?.data
  return typeof data === 'object' && data !== null && 'reason' in data ? data.reason : undefined
}

/** In front of a server on this port: passes everything on, and keeps the headers of what it got. */
const recording = async (behind: number) => {
  const headers: IncomingHttpHeaders[] = []
  const server = createServer((req, res) => {
    headers.push(req.headers)
    const { method, url: path } = req
    const sent = ask({ host: '127.0.0.1', port: behind, method, path, headers: req.headers }, (reply) => {
      res.writeHead(reply.statusCode ?? 502, reply.headers)
      reply.pipe(res)
    })
    sent.once('error', () => res.destroy())
    res.once('close', () => sent.destroy())
    req.pipe(sent)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    headers,
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/sse`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Of what a server got, what is from callers: all but what the gateway asks in its own name. */
const shownTo = ({ received }: McpServer): readonly string[] => [
  ...new Set(received.map(({ headers }) => headers.authorization?.replace(/\.\d+$/, '') ?? 'nothing')),
]
/** Nothing of the client's may be anywhere in it. */
const leaks = ({ received }: McpServer, { token }: Caller): readonly string[] =>
  received.flatMap(({ headers, text, path }) =>
    [token, COOKIE].filter((secret) => `${JSON.stringify(headers)} ${text} ${path}`.includes(secret)),
  )

for (const clientEra of eras)
  for (const era of eras)
    await t.test(`a ${clientEra} client and ${era} servers`, async (t) => {
      const { each, own, tenant, mine, plain } = servers[era]
      const [ann, bob] = [await callers[clientEra]('ann'), await callers[clientEra]('bob')]
      for (const server of all) server.forget()

      await t.test('each caller’s token is exchanged', async (t) => {
        for (const caller of [ann, bob]) {
          each.forget()
          t.same(texts(await caller.call(`each-${era}_look`)), [{ type: 'text', text: 'fixture:look' }])
          t.same(shownTo(each), [`Bearer token.${caller.sub}.each-${era}`])
          t.same(leaks(each, caller), [])
        }
        const exchanges = idp.requests.filter(
          ({ form, subject }) => form.get('audience') === `each-${era}` && subject?.sub === 'ann',
        )
        t.match(exchanges[0], { client: 'gateway', secret: CLIENT_SECRET, how: 'basic' })
        await ann.call(`each-${era}_look`)
        await ann.call(`each-${era}_look`)
        t.equal(
          idp.requests.filter(({ form, subject }) => form.get('audience') === `each-${era}` && subject?.sub === 'ann')
            .length,
          exchanges.length,
          'once, however often it is needed',
        )
      })
      await t.test('our own token is added', async (t) => {
        own.forget()
        t.same(texts(await ann.call(`own-${era}_look`)), [{ type: 'text', text: 'fixture:look' }])
        t.same(texts(await ann.call(`own-${era}_look`)), [{ type: 'text', text: 'fixture:look' }])
        t.same(shownTo(own), [`Bearer token.gateway.own-${era}`])
        t.same(leaks(own, ann), [])
      })
      await t.test('headers are forwarded, and no others', async (t) => {
        tenant.forget()
        await ann.call(`tenant-${era}_look`)
        await ann.call(`tenant-${era}_look`)
        t.ok(tenant.received.length > 0)
        t.same([...new Set(tenant.received.map(({ headers }) => headers['x-tenant']))], ['tenant-of-ann'])
        t.same(shownTo(tenant), ['nothing'])
        t.same(leaks(tenant, ann), [])
        plain.forget()
        await ann.call(`plain-${era}_look`)
        await ann.call(`plain-${era}_look`)
        t.same(shownTo(plain), [`Bearer ${PLAIN}`])
        t.same(leaks(plain, ann), [])
      })
      await t.test('each caller sees what is the caller’s', async (t) => {
        mine.forget()
        for (const [caller, other] of [
          [ann, bob],
          [bob, ann],
        ] as const) {
          const names = (await caller.list()).filter((name) => name.startsWith('mine-'))
          t.same(
            names,
            eras.map((one) => `mine-${one}_of-${caller.sub}`),
          )
          t.same(texts(await caller.call(`mine-${era}_of-${caller.sub}`)), [
            { type: 'text', text: `served ${caller.sub}` },
          ])
          const before = mine.count('tools/call')
          t.equal(reasonIn(await caller.call(`mine-${era}_of-${other.sub}`)), 'unknown-tool')
          t.equal(mine.count('tools/call'), before)
        }
        t.ok(shownTo(mine).every((shown) => /^Bearer token\.(ann|bob)\.mine-/.test(shown)))
        t.same([...leaks(mine, ann), ...leaks(mine, bob)], [])
      })
      await t.test('the session ends in the caller’s name', async (t) => {
        for (const server of [each, tenant]) server.forget()
        await ann.end()
        await bob.end()
        if (clientEra === 'stateless' || era === 'stateless') return
        const ended = await Promise.all([each, tenant].map((server) => server.next(({ http }) => http === 'DELETE')))
        t.match(ended[0]?.headers.authorization, /^Bearer token\.(ann|bob)\.each-stateful\.\d+$/)
        t.match(ended[1]?.headers['x-tenant'], /^tenant-of-(ann|bob)$/)
        t.same([...leaks(each, ann), ...leaks(tenant, ann)], [])
      })
    })

await t.test('who sees another list hears of it', async (t) => {
  const { mine } = servers.stateful
  const clients = await Promise.all(
    ['fred', 'gina'].map(async (sub) => {
      const client = await connect(url, { headers: headersOf(await idp.tokenOf(sub, url), 'any') })
      await client.stream()
      t.ok((await client.tools()).includes(`mine-stateful_of-${sub}`))
      return client
    }),
  )
  const [fred, gina] = clients
  if (fred === undefined || gina === undefined) throw new Error('two clients')
  more.set('fred', ['more'])
  mine.notify('notifications/tools/list_changed')
  await fred.next(({ message }) => message.method === 'notifications/tools/list_changed')
  t.ok((await fred.tools()).includes('mine-stateful_more'))
  t.notOk((await gina.tools()).includes('mine-stateful_more'))
  t.same(gina.heard, [])
  for (const client of clients) await client[Symbol.asyncDispose]()
})

/** Makes every caller of these a new one. */
let count = 0
const refusals: Readonly<
  Record<string, { readonly answer: TokenAnswer; readonly status: number; readonly reason: string }>
> = {
  'that the caller may not have one': {
    answer: refuses('invalid_target', 'not for them'),
    status: 403,
    reason: 'exchange-refused',
  },
  'that the caller’s is no good': { answer: refuses('invalid_grant', 'revoked'), status: 401, reason: 'bad-token' },
  'that we are unknown': { answer: refuses('invalid_client', 'who?', 401), status: 502, reason: 'exchange-failed' },
  nothing: { answer: { status: 503, body: 'down' }, status: 502, reason: 'exchange-failed' },
}
for (const clientEra of eras)
  for (const era of eras)
    for (const [name, { answer, status, reason }] of Object.entries(refusals))
      await t.test(`the endpoint says ${name}: a ${clientEra} client, a ${era} server`, async (t) => {
        const { each } = servers[era]
        const caller = await callers[clientEra](`${reason}-${era}-${clientEra}-${status}-${++count}`)
        each.forget()
        answersOf.set(`each-${era}`, (asked) => (asked.subject?.sub === caller.sub ? answer : granted()(asked)))
        const name = `each-${era}_brief`
        const requests = [
          ['tools/call', { name: `each-${era}_look`, arguments: {} }],
          ['prompts/get', { name }],
          ['resources/read', { uri: `note://${era}/each` }],
          ['completion/complete', { ref: { type: 'ref/prompt', name }, argument: { name: 'x', value: 'y' } }],
        ] as const
        for (const [method, params] of requests) {
          const reply = await caller.ask(method, params)
          t.equal(reply.status, status, method)
          t.equal(reasonIn(reply), reason)
          t.equal(typeof reply.headers['www-authenticate'], status === 401 ? 'string' : 'undefined')
          t.equal(each.count(method), 0)
        }
        t.same(
          each.received.filter(({ headers }) => headers.authorization?.includes(caller.sub)),
          [],
        )
        answersOf.delete(`each-${era}`)
        t.same(texts(await caller.call(`each-${era}_look`)), [{ type: 'text', text: 'fixture:look' }])
        await caller.end()
      })
await t.test('a token that the server refuses is exchanged anew', async (t) => {
  const { each } = servers.stateless
  const caller = await callers.stateless('carol')
  await caller.call('each-stateless_look')
  const first = each.received.at(-1)?.headers.authorization
  const revoked = new HttpAnswer(401, { 'www-authenticate': 'Bearer error="invalid_token"' })
  each.script.refuse = ({ headers }) => (headers.authorization === first ? revoked : undefined)
  t.equal(reasonIn(await caller.call('each-stateless_look')), 'server-refused')
  t.same(texts(await caller.call('each-stateless_look')), [{ type: 'text', text: 'fixture:look' }])
  each.script.refuse = undefined
})

await t.test('a header that is forwarded belongs to its request', async (t) => {
  const { tenant } = servers.stateful
  await t.test('sessions that stateless clients share are of one value', async (t) => {
    tenant.forget()
    for (const of of ['a', 'b', 'a', 'b']) {
      const caller = await callers.stateless('ivy', of)
      t.same(texts(await caller.call('tenant-stateful_look')), [{ type: 'text', text: 'fixture:look' }])
    }
    const values = new Map<unknown, Set<unknown>>()
    for (const { headers } of tenant.received) {
      const known = values.get(headers['mcp-session-id']) ?? new Set()
      values.set(headers['mcp-session-id'], known.add(headers['x-tenant']))
    }
    values.delete(undefined)
    t.same([...values.values()].map((of) => [...of].join()).toSorted(), ['a', 'b'])
  })
  await t.test('a call that is sent again, because its session was lost, has its own', async (t) => {
    const client = await connect(url, { headers: headersOf(await idp.tokenOf('jane', url), 'first') })
    await client.call('tenant-stateful_look')
    tenant.forgetSessions()
    tenant.forget()
    await client.call('tenant-stateful_look', {}, { headers: { 'x-tenant': 'second' } })
    const calls = tenant.received.filter(({ message }) => message?.method === 'tools/call')
    t.ok(calls.length > 1, 'it was refused and sent again')
    t.same([...new Set(calls.map(({ headers }) => headers['x-tenant']))], ['second'])
    await client.delete()
  })
})

await t.test('over the old transport', async (t) => {
  await using old = await serveSse()
  await using seen = await recording(old.port)
  const entry = { url: seen.url, transport: 'sse', forward: ['x-tenant'], credential: { exchange: oauth('old') } }
  await gateway.edit(registry({ old: entry }))
  await gateway.settled()
  for (const era of eras)
    await t.test(`a ${era} client`, async (t) => {
      seen.headers.length = 0
      const caller = await callers[era]('hugo')
      t.equal(reasonIn(await caller.call('old_echo')), undefined)
      t.same(
        [...new Set(seen.headers.map((one) => [one.authorization?.replace(/\.\d+$/, ''), one['x-tenant']].join(' ')))],
        ['Bearer token.hugo.old tenant-of-hugo'],
      )
      t.ok(seen.headers.length > 3, 'its stream and its messages')
      t.notMatch(JSON.stringify(seen.headers), caller.token)
      t.notMatch(JSON.stringify(seen.headers), COOKIE)
      await caller.end()
    })
})

await t.test('without a token of our own nothing goes out, and it heals by itself', async (t) => {
  await using late = await serveMcp({ tools: [{ name: 'look' }] })
  let down = true
  answersOf.set('late', (asked) => (down ? refuses('server_error', 'not now', 500) : granted()(asked)))
  await gateway.edit(registry({ late: { url: late.url, credential: { oauth: oauth('late') } } }))
  const status = await eventually('the server is down', gateway.child, async () => {
    const { servers: known } = await gateway.status()
    return known.find(({ name, state }) => name === 'late' && state === 'down')
  })
  t.type(status.lastError, 'string')
  t.equal(late.received.length, 0, 'it was never asked')
  t.match(
    (await gateway.status()).problems.find(({ message }) => message.includes('no token'))?.message,
    /no token for server "late" can be had: HTTP 500/,
  )
  down = false
  await eventually('the server is up', gateway.child, async () => {
    const { servers: known } = await gateway.status()
    return known.find(({ name, state }) => name === 'late' && state === 'up')
  })
  const caller = await callers.stateful('dora')
  t.same(texts(await caller.call('late_look')), [{ type: 'text', text: 'fixture:look' }])
  t.same(shownTo(late), ['Bearer token.gateway.late'])
  await caller.end()
})

await t.test('rules and views hold for what each caller alone is offered', async (t) => {
  for (const era of eras) {
    const { mine } = servers[era]
    const entry = {
      ...entries(era, servers[era])[`mine-${era}`],
      access: [{ tools: ['of-*', 'extra'], allow: 'anyone' }],
    }
    await gateway.edit(
      JSON.stringify({
        ...JSON.parse(registry({ [`mine-${era}`]: entry })),
        views: { small: { tools: ['*_extra'] } },
      }),
    )
    await gateway.settled()
    for (const clientEra of eras)
      await t.test(`a ${clientEra} client and a ${era} server`, async (t) => {
        const sub = `liz-${clientEra}-${era}`
        more.set(sub, ['extra', 'hidden'])
        const rows = [
          ['', [`of-${sub}`, 'extra'], ['hidden']],
          ['/small', ['extra'], [`of-${sub}`, 'hidden']],
        ] as const
        for (const [view, shown, hidden] of rows) {
          const caller = await callers[clientEra](sub, undefined, view)
          const exposed = (name: string): string => `mine-${era}_${name}`
          const names = (await caller.list()).filter((name) => name.startsWith(exposed('')))
          t.same(names, shown.map(exposed), `listed${view}`)
          for (const name of shown)
            t.same(texts(await caller.call(exposed(name))), [{ type: 'text', text: `served ${sub}` }], `${name}${view}`)
          mine.forget()
          for (const name of hidden)
            t.equal(reasonIn(await caller.call(exposed(name))), 'unknown-tool', `${name}${view}`)
          t.equal(mine.count('tools/call'), 0)
          await caller.end()
        }
        const lines = await eventually('they are in the audit log', gateway.child, async () => {
          const all = await auditLines(join(gateway.dir, 'audit.jsonl'))
          const calls = all.filter(({ subject, method }) => subject === sub && method === 'tools/call')
          return calls.length < 6 ? undefined : calls
        })
        const about = { server: `mine-${era}`, era: clientEra }
        const rule = `registry.yaml:1 servers.mine-${era}.access[0]`
        t.match(lines, [
          { ...about, view: '', tool: `of-${sub}`, decision: 'allowed', rule },
          { ...about, view: '', tool: 'extra', decision: 'allowed', rule },
          { ...about, view: '', tool: 'hidden', decision: 'refused', reason: 'denied' },
          { ...about, view: 'small', tool: 'extra', decision: 'allowed', rule },
          { ...about, view: 'small', tool: `of-${sub}`, decision: 'refused', reason: 'denied' },
          { ...about, view: 'small', tool: 'hidden', decision: 'refused', reason: 'denied' },
        ])
      })
  }
  await gateway.edit(registry())
})

await t.test('what is forwarded on purpose gets there, whoever carries it', async (t) => {
  for (const era of eras) {
    await using trusted = await serveMcp({ era, tools: [{ name: 'look' }] })
    await gateway.edit(registry({ trusted: { url: trusted.url, forward: ['authorization', 'cookie'] } }))
    await gateway.settled()
    for (const clientEra of eras)
      await t.test(`a ${clientEra} client and a ${era} server`, async (t) => {
        const caller = await callers[clientEra]('kate')
        trusted.forget()
        for (const _time of ['broker', 'direct'])
          t.same(texts(await caller.call('trusted_look')), [{ type: 'text', text: 'fixture:look' }])
        const calls = trusted.received.filter(({ message }) => message?.method === 'tools/call')
        t.equal(calls.length, 2)
        for (const { headers } of calls)
          t.match(headers, { authorization: `Bearer ${caller.token}`, cookie: `session=${COOKIE}` })
        await caller.end()
      })
  }
})

await t.test('a secret in a file is another one as soon as the file is', async (t) => {
  const file = 'token.txt'
  const basic = (password: string) => `Basic ${Buffer.from(`us:${password}`).toString('base64')}`
  const rows = [
    ['bearer', { bearer: { file } }, 'authorization', (secret: string) => `Bearer ${secret}`],
    ['basic', { basic: { user: 'us', password: { file } } }, 'authorization', basic],
    ['another header', { header: 'X-Key', value: { file } }, 'x-key', (secret: string) => secret],
  ] as const
  for (const [name, credential, header, shown] of rows)
    await t.test(name, async (t) => {
      await writeFile(join(gateway.dir, file), `${IN_FILE}\n`)
      await using filed = await serveMcp({ era: 'both', tools: [{ name: 'look' }] })
      await gateway.edit(registry({ filed: { url: filed.url, credential } }))
      await gateway.settled()
      const caller = await callers.stateless('emma')
      const seen = async (): Promise<unknown> => {
        filed.forget()
        await caller.call('filed_look')
        return filed.received.at(-1)?.headers[header]
      }
      t.equal(await seen(), shown(IN_FILE))
      const pushes = async () => {
        const metrics = await gateway.metrics()
        const of = (type: string): number => sample(metrics, 'mcp_gateway_ads_pushes_total', { type })
        return { Secret: of('Secret'), others: sample(metrics, 'mcp_gateway_ads_pushes_total') - of('Secret') }
      }
      const before = await pushes()
      await writeFile(join(gateway.dir, file), `${ROTATED}\n`)
      await eventually('the new secret is used', gateway.child, async () =>
        (await seen()) === shown(ROTATED) ? true : undefined,
      )
      t.same(await pushes(), { Secret: before.Secret + 1, others: before.others })
    })
})

await t.test('nothing of it is told to anybody', async (t) => {
  const pages = await Promise.all(
    ['/status', '/metrics', '/', '/ready'].map((path) => request(`${gateway.admin}${path}`)),
  )
  await gateway.stop()
  const audit = await readFile(join(gateway.dir, 'audit.jsonl'), 'utf8')
  const places: Readonly<Record<string, string>> = {
    'the log': gateway.log(),
    'the audit log': audit,
    'the admin pages': pages.map(({ text, headers }) => text + JSON.stringify(headers)).join(),
    'what clients were told': told.map(({ text, headers }) => text + JSON.stringify(headers)).join(),
  }
  for (const [place, text] of Object.entries(places))
    await t.test(place, async (t) => {
      t.ok(text.length > 1000)
      const files = [IN_FILE, ROTATED].flatMap((secret) => [secret, Buffer.from(`us:${secret}`).toString('base64')])
      const secrets = [...idp.given, CLIENT_SECRET, PLAIN, ...files, COOKIE]
      t.ok(secrets.length > 50)
      t.same(
        secrets.filter((secret) => text.includes(secret)),
        [],
      )
    })
  const sessions = all.flatMap((server) => [...server.sessions.keys()])
  t.same(
    sessions.filter((id) => told.some(({ text, headers }) => (text + JSON.stringify(headers)).includes(id))),
    [],
    'no session id of a server reaches a client',
  )
})
