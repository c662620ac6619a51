/** What servers are shown: tokens of our own kept fresh, callers' tokens exchanged, and who counts as the same caller. */
import t from 'tap'
import type { ServerCatalogue } from '../src/catalog/server-catalogue.ts'
import { type Caller, nobody } from '../src/clients/caller.ts'
import { callerKey } from '../src/clients/caller-key.ts'
import { ClientState } from '../src/clients/client-session.ts'
import { credentials } from '../src/credentials/credentials.ts'
import { type Exchanged, exchanger } from '../src/credentials/exchange.ts'
import {
  CLIENT_CREDENTIALS,
  type Issued,
  type NotIssued,
  TOKEN_EXCHANGE,
  tokenEndpoint,
} from '../src/credentials/token-endpoint.ts'
import { tokenFetch } from '../src/credentials/token-fetch.ts'
import { tokenSource } from '../src/credentials/token-source.ts'
import { principalOf } from '../src/policy/principal.ts'
import { type HttpServer, type OAuthClient, Secret } from '../src/registry/model.ts'
import { callerUpstreams } from '../src/upstreams/caller-upstreams.ts'
import {
  failed,
  type Upstream,
  type UpstreamCall,
  type UpstreamEvents,
  type UpstreamStatus,
} from '../src/upstreams/upstream.ts'
import {
  refuses,
  startAuthorizationServer,
  type TokenAnswer,
  type TokenRequest,
} from './support/authorization-server.ts'
import { httpServer, registryOf } from './support/registry-value.ts'
import { gate } from './support/stage.ts'

const SECRET = 'the/client+secret:of 1'

const client = (token: string, changes: Partial<OAuthClient> = {}): OAuthClient => ({
  token,
  client: 'gateway & co',
  secret: new Secret(SECRET),
  scopes: ['mcp', 'tools'],
  audience: 'search',
  resource: 'https://search.example.com/mcp',
  place: { line: 7, column: 5 },
  ...changes,
})
const isIssued = (answer: Issued | NotIssued): answer is Issued => answer.ok
const shown = (answer: Issued | NotIssued): unknown =>
  isIssued(answer) ? [answer.token.reveal(), answer.lifeMs] : [answer.error, answer.detail]

const good = { access_token: 'abc', token_type: 'bearer', expires_in: 60 }

void t.test('the token endpoint', async (t) => {
  await using idp = await startAuthorizationServer()
  const endpoint = (changes: Partial<OAuthClient> = {}) =>
    tokenEndpoint(client(idp.endpoint, changes), tokenFetch(undefined))

  await t.test('is told whom the token is for', async (t) => {
    const about = { scope: 'mcp tools', audience: 'search', resource: 'https://search.example.com/mcp' }
    const bare = client(idp.endpoint)
    const { audience: _, resource: __, ...less } = bare
    const rows: readonly (readonly [string, OAuthClient, string, Record<string, string>, Record<string, string>])[] = [
      ['for ourselves', bare, CLIENT_CREDENTIALS, {}, about],
      ['for a caller', bare, TOKEN_EXCHANGE, { subject_token: 'x' }, { ...about, subject_token: 'x' }],
      ['by nothing but the client', { ...less, scopes: [] }, CLIENT_CREDENTIALS, {}, {}],
    ]
    for (const [name, as, grant, parameters, form] of rows)
      await t.test(name, async (t) => {
        idp.answer = () => ({ body: good })
        idp.requests.length = 0
        t.same(shown(await tokenEndpoint(as, tokenFetch(undefined))(grant, parameters)), ['abc', 60_000])
        t.same(Object.fromEntries(idp.requests[0]?.form ?? []), { grant_type: grant, ...form })
      })
  })

  await t.test('knows the client', async (t) => {
    const takes = (how: TokenRequest['how']) => (asked: TokenRequest) =>
      asked.how === how ? { body: good } : { ...refuses('invalid_client', 'who?', 401), headers: challenge }
    const challenge = { 'www-authenticate': 'Basic realm="token"' }
    const { secret: _, ...open } = client(idp.endpoint)
    const rows: readonly (readonly [string, OAuthClient, TokenRequest['how'], readonly TokenRequest['how'][]])[] = [
      ['by the header', client(idp.endpoint), 'basic', ['basic', 'basic']],
      ['by the body, once the header was refused', client(idp.endpoint), 'post', ['basic', 'post', 'post']],
      ['by its name alone', open, 'none', ['none', 'none']],
    ]
    for (const [name, as, how, asked] of rows)
      await t.test(name, async (t) => {
        idp.answer = takes(how)
        idp.requests.length = 0
        const ask = tokenEndpoint(as, tokenFetch(undefined))
        t.ok((await ask(CLIENT_CREDENTIALS, {})).ok)
        t.ok((await ask(CLIENT_CREDENTIALS, {})).ok)
        t.same(
          idp.requests.map((request) => request.how),
          asked,
        )
        t.equal(idp.requests.at(-1)?.client, 'gateway & co')
        t.equal(idp.requests.at(-1)?.secret, how === 'none' ? undefined : SECRET)
      })
  })

  const idToken = { ...good, id_token: 'not.even.a-token' }
  const answers: Readonly<Record<string, readonly [TokenAnswer, readonly [unknown, unknown]]>> = {
    'a token without an end': [{ body: { access_token: 'abc', token_type: 'BEARER' } }, ['abc', undefined]],
    'an end as text': [{ body: { ...good, expires_in: '60' } }, ['abc', 60_000]],
    'an ID token that nobody needs': [{ body: idToken }, ['abc', 60_000]],
    'a token of another type': [{ body: { ...good, token_type: 'DPoP' } }, [undefined, 'its token is no bearer token']],
    'a token that would break the header': [
      { body: { ...good, access_token: 'a\r\nb' } },
      [undefined, 'its token fits no header'],
    ],
    'an error': [{ ...refuses('invalid_target') }, ['invalid_target', 'invalid_target']],
    'an error in words': [refuses('invalid_scope', 'no such scope'), ['invalid_scope', 'invalid_scope: no such scope']],
    'what it was sent, sent back': [
      refuses('invalid_request', `"${SECRET}" and opaque-subject-token`),
      ['invalid_request', 'invalid_request: "[secret]" and [secret]'],
    ],
    'an error with a challenge': [
      { ...refuses('invalid_grant', 'revoked', 401), headers: { 'www-authenticate': 'Bearer error="x"' } },
      ['invalid_grant', 'invalid_grant: revoked'],
    ],
    'being down': [{ status: 503, body: 'try later' }, [undefined, 'HTTP 503']],
    'a page': [
      { status: 404, headers: { 'content-type': 'text/html' }, body: '<html>' },
      [undefined, 'HTTP 404, and no answer of a token endpoint'],
    ],
    'another address, which is not gone to': [
      { status: 307, headers: { location: '/token' }, body: '' },
      [undefined, 'HTTP 307, and no answer of a token endpoint'],
    ],
    'far too much': [{ body: ' '.repeat(300_000) }, [undefined, 'its answer is larger than 262144 bytes']],
  }
  for (const [name, [answer, wanted]] of Object.entries(answers))
    await t.test(`answers with ${name}`, async (t) => {
      idp.answer = () => answer
      idp.requests.length = 0
      t.same(shown(await endpoint()(TOKEN_EXCHANGE, { subject_token: 'opaque-subject-token' })), wanted)
      t.equal(idp.requests.length, 1)
    })

  await t.test('that cannot be reached says why', async (t) => {
    await using gone = await startAuthorizationServer()
    const nowhere = gone.endpoint
    await gone[Symbol.asyncDispose]()
    const answer = await tokenEndpoint(client(nowhere), tokenFetch(undefined))(CLIENT_CREDENTIALS, {})
    t.match(shown(answer), [undefined, /ECONNREFUSED/])
  })
})

/** Time that passes when it is told to. */
const clock = () => {
  let nowMs = 1_000_000
  const due = new Set<{ readonly atMs: number; readonly run: () => void }>()
  /** What was set off has to get through its promises. */
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    now: () => nowMs,
    random: () => 0.5,
    after(ms: number, run: () => void) {
      const entry = { atMs: nowMs + ms, run }
      due.add(entry)
      return () => void due.delete(entry)
    },
    settle,
    pass: async (ms: number): Promise<void> => {
      const untilMs = nowMs + ms
      for (;;) {
        await settle()
        const [next] = [...due].toSorted((a, b) => a.atMs - b.atMs)
        if (next === undefined || next.atMs > untilMs) break
        due.delete(next)
        nowMs = next.atMs
        next.run()
      }
      nowMs = untilMs
    },
  }
}

const issued = (token: string, lifeMs: number | undefined): Issued => ({ ok: true, token: new Secret(token), lifeMs })
const denied = (error: string | undefined, detail = error ?? ''): NotIssued => ({ ok: false, error, detail })

void t.test('a token of our own', async (t) => {
  const source = (answers: (count: number) => Issued | NotIssued | Promise<Issued>) => {
    const time = clock()
    const log: string[] = []
    let count = 0
    const began = time.now()
    const self = tokenSource({
      ...time,
      ask: async () => {
        log.push(`ask ${(time.now() - began) / 1000}`)
        return await answers(++count)
      },
      onChange: () => log.push(`token ${self.token?.reveal() ?? 'none'} ${(time.now() - began) / 1000}`),
      onProblem: (problem) => log.push(`problem ${problem}`),
    })
    return { ...time, self, log }
  }

  await t.test('is renewed after four fifths of its life', async (t) => {
    const { self, log, pass } = source((count) => issued(`t${count}`, 100_000))
    await pass(170_000)
    t.same(log, ['ask 0', 'token t1 0', 'ask 80', 'token t2 80', 'ask 160', 'token t3 160'])
    t.match(self.status(), { obtainedMs: 1_160_000, expiresMs: 1_260_000, problem: undefined })
    self.close()
  })
  await t.test('whose end nobody knows is renewed all the same', async (t) => {
    const { self, log, pass } = source((count) => issued(`t${count}`, undefined))
    await pass(600_000)
    t.same(
      log,
      ['ask 0', 'token t1 0', 'ask 300', 'token t2 300', 'ask 600'].concat('token t3 600').slice(0, log.length),
    )
    t.ok(log.length >= 5)
    self.close()
  })
  await t.test('is kept until it ends when there is no other, and is gone then', async (t) => {
    const { self, log, pass } = source((count) => (count === 1 ? issued('t1', 10_000) : denied(undefined, 'HTTP 503')))
    await pass(12_500)
    t.same(log, ['ask 0', 'token t1 0', 'ask 8', 'problem HTTP 503', 'ask 9', 'token none 10', 'ask 11'])
    t.match(self.status(), { obtainedMs: undefined, problem: 'HTTP 503' })
    self.close()
  })
  await t.test('is asked for again, later and later, until it is there', async (t) => {
    const { self, log, pass } = source((count) => (count < 9 ? denied(undefined, 'down') : issued('t', 1_000_000)))
    await pass(200_000)
    t.same(log, ['ask 0', 'problem down', ...[1, 3, 7, 15, 31, 63, 123, 183].map((at) => `ask ${at}`), 'token t 183'])
    self.close()
  })
  await t.test('is waited for once', async (t) => {
    const { opened, open } = gate()
    const { self } = source(async () => {
      await opened
      return issued('t', 1000)
    })
    const first = self.first()
    open()
    const token = await first
    t.equal(typeof token === 'string' ? token : token.reveal(), 't')
    self.close()
  })
  await t.test('that is refused is another one soon, but not at every refusal', async (t) => {
    const { self, log, pass } = source((count) => issued(`t${count}`, 1_000_000))
    await pass(10_000)
    self.renew()
    await pass(30_000)
    self.renew()
    self.renew()
    await pass(1000)
    self.renew()
    await pass(1000)
    t.same(log, ['ask 0', 'token t1 0', 'ask 40', 'token t2 40'])
    self.close()
  })
  await t.test('is asked for no more once it is closed', async (t) => {
    const { self, log, pass } = source(() => denied(undefined, 'down'))
    await pass(0)
    self.close()
    await pass(1_000_000)
    t.same(log, ['ask 0', 'problem down'])
    t.equal(await self.first(), 'down')
  })
})

const said = (answer: Exchanged): unknown =>
  answer.ok ? answer.token.reveal() : [answer.status, answer.reason, answer.detail]

void t.test('a token made from a caller’s', async (t) => {
  const exchange = (answers: (token: string, count: number) => Issued | NotIssued | Promise<Issued>, most?: number) => {
    const time = clock()
    const asked: string[] = []
    const self = exchanger({
      now: time.now,
      ask: async (grant, { subject_token: token = '', ...rest }) => {
        t.same([grant, rest], [TOKEN_EXCHANGE, { subject_token_type: ACCESS, requested_token_type: ACCESS }])
        asked.push(token)
        return await answers(token, asked.length)
      },
      ...(most !== undefined && { most }),
    })
    const of = (key: string, token: string | undefined = `token of ${key}`, expiresMs?: number) =>
      self.exchange({ key, token, expiresMs })
    return { ...time, self, asked, of }
  }
  const ACCESS = 'urn:ietf:params:oauth:token-type:access_token'

  await t.test('is asked for once, until it ends', async (t) => {
    const { of, asked, pass } = exchange((token, count) => issued(`${token} ${count}`, 100_000))
    t.equal(said(await of('ann')), 'token of ann 1')
    t.equal(said(await of('ann', 'her next one')), 'token of ann 1')
    await pass(79_000)
    t.equal(said(await of('ann')), 'token of ann 1')
    await pass(2000)
    t.equal(said(await of('ann')), 'token of ann 2')
    t.equal(asked.length, 2)
  })
  await t.test('is nobody else’s', async (t) => {
    const { of, asked } = exchange((token) => issued(`for ${token}`, 100_000))
    t.equal(said(await of('ann')), 'for token of ann')
    t.equal(said(await of('bob')), 'for token of bob')
    t.same(asked, ['token of ann', 'token of bob'])
  })
  await t.test('is asked for once by all who want it at once', async (t) => {
    const { opened, open } = gate()
    const { of, asked } = exchange(async (token) => {
      await opened
      return issued(token, 1000)
    })
    const all = [of('ann'), of('ann'), of('ann'), of('bob')]
    open()
    t.same((await Promise.all(all)).map(said), ['token of ann', 'token of ann', 'token of ann', 'token of bob'])
    t.same(asked, ['token of ann', 'token of bob'])
  })
  await t.test('whose end nobody knows is kept for a short while', async (t) => {
    const { of, asked, pass } = exchange((token) => issued(token, undefined))
    await of('ann')
    await pass(40_000)
    await of('ann')
    t.equal(asked.length, 1)
    await pass(20_000)
    await of('ann')
    t.equal(asked.length, 2)
  })
  await t.test('is forgotten when the server refuses it', async (t) => {
    const { of, self, asked } = exchange((token) => issued(token, 100_000))
    await of('ann')
    self.forget({ key: 'ann', token: undefined, expiresMs: undefined })
    await of('ann')
    t.equal(asked.length, 2)
  })
  await t.test('is one of so many at most', async (t) => {
    const { of, self, asked } = exchange((token) => issued(token, 100_000), 2)
    for (const who of ['ann', 'bob', 'ann', 'eve', 'ann', 'bob']) await of(who)
    t.equal(self.size, 2)
    t.same(asked, ['token of ann', 'token of bob', 'token of eve', 'token of bob'])
  })
  await t.test('is not asked for with what cannot have one', async (t) => {
    const { self, of, asked, now } = exchange((token) => issued(token, 1000))
    t.match(said(await self.exchange({ key: '', token: undefined, expiresMs: undefined })), [401, 'no-token'])
    t.match(said(await of('ann', 'hers', now() - 1)), [401, 'bad-token'])
    t.same(asked, [])
  })

  const refusals: Readonly<Record<string, readonly [number, string]>> = {
    invalid_grant: [401, 'bad-token'],
    invalid_token: [401, 'bad-token'],
    invalid_request: [403, 'exchange-refused'],
    invalid_target: [403, 'exchange-refused'],
    invalid_scope: [403, 'exchange-refused'],
    access_denied: [403, 'exchange-refused'],
    invalid_client: [502, 'exchange-failed'],
    unauthorized_client: [502, 'exchange-failed'],
    unsupported_grant_type: [502, 'exchange-failed'],
    'no error at all': [502, 'exchange-failed'],
  }
  for (const [error, [status, reason]] of Object.entries(refusals))
    await t.test(`is refused with ${error}`, async (t) => {
      const code = error.includes(' ') ? undefined : error
      const { of, asked } = exchange((token, count) => (count === 1 ? denied(code, 'why') : issued(token, 1000)))
      t.same(said(await of('ann')), [status, reason, 'why'])
      t.equal(said(await of('ann')), 'token of ann')
      t.equal(asked.length, 2)
    })
})

void t.test('a registry’s tokens', async (t) => {
  const asked: string[] = []
  let next = (): Issued | NotIssued => issued(`t${asked.length}`, 1_000_000)
  const time = clock()
  const changed: string[] = []
  const all = credentials({
    ...time,
    endpoint:
      ({ client: who, secret }) =>
      async (grant, { subject_token: token }) => {
        asked.push([who, secret?.reveal(), grant === TOKEN_EXCHANGE ? `exchange ${token}` : grant].join(' '))
        return next()
      },
    onChange: (server) => changed.push(server),
    onProblem: () => undefined,
  })
  const url = 'http://127.0.0.1:1/mcp'
  const as = (name: string, secret = 's'): OAuthClient => ({
    token: 'http://127.0.0.1:2/token',
    client: name,
    secret: new Secret(secret),
    scopes: [],
    place: { line: 1, column: 1 },
  })
  const own = (changes: Partial<HttpServer> = {}) => httpServer('own', url, { oauth: as('own'), ...changes })
  const each = httpServer('each', url, { exchange: as('each') })
  const mine = httpServer('mine', url, { exchange: as('mine'), perCaller: true })
  const values = (registry = current) => Object.fromEntries([...all.values(registry)].map(([k, v]) => [k, v.reveal()]))
  let current = registryOf(1, [])
  const use = async (...servers: readonly HttpServer[]): Promise<void> => {
    current = registryOf(1, servers)
    all.use(current)
    await time.settle()
  }

  await t.test('are those that some server needs', async (t) => {
    await use(own(), each, mine, httpServer('plain', url), httpServer('off', url, { oauth: as('off'), enabled: false }))
    t.same(asked.splice(0), ['own s client_credentials', 'each s client_credentials'])
    t.same(values(), { own: 'Bearer t1' })
    t.same(changed.splice(0), ['own'])
    t.same([...all.status().keys()], ['own', 'each'])
  })
  await t.test('go on when nothing about them changed', async (t) => {
    await use(own({ prefix: 'other_' }), each, mine)
    t.same(asked, [])
    t.same(values(), { own: 'Bearer t1' })
  })
  await t.test('go on with a new secret until there is one got with it', async (t) => {
    next = () => denied('invalid_client')
    await use(own({ oauth: as('own', 'rotated') }), each, mine)
    t.same(asked.splice(0), ['own rotated client_credentials'])
    t.same(values(), { own: 'Bearer t1' })
    next = () => issued('t9', 1_000_000)
    await time.pass(2000)
    t.same(asked.splice(0), ['own rotated client_credentials'])
    t.same(values(), { own: 'Bearer t9' })
  })
  await t.test('of one client are never shown as those of another', async (t) => {
    const other = registryOf(1, [own({ oauth: as('other') }), each, mine])
    t.same(values(other), {})
    next = () => denied('invalid_client')
    await use(own({ oauth: as('other') }), each, mine)
    t.same(values(), {})
    t.same(asked.splice(0), ['other s client_credentials'])
    next = () => issued(`t${asked.length}`, 1_000_000)
  })
  await t.test('for an exchanging server are the caller’s, and our own for its lists', async (t) => {
    const ann = { key: 'ann', token: 'hers', expiresMs: undefined }
    t.equal(said(await all.tokenFor(each, undefined)), 't2')
    t.equal(said(await all.tokenFor(each, ann)), 't1')
    t.same(asked.splice(0), ['each s exchange hers'])
    t.match(said(await all.tokenFor({ ...each, exchange: as('moved') }, ann)), [502, 'exchange-failed'])
    t.match(said(await all.tokenFor(mine, undefined)), [502, 'exchange-failed'])
    all.refused(each, ann)
    await all.tokenFor(each, ann)
    t.same(asked.splice(0), ['each s exchange hers'])
  })
  await t.test('are asked for no longer when their server is gone', async (t) => {
    await use(mine)
    await time.pass(10_000_000)
    t.same([...all.status().keys()], [])
    t.same(
      asked.filter((one) => one.startsWith('each')),
      [],
    )
    all.close()
  })
})

void t.test('callers that a server cannot tell apart', async (t) => {
  const claims = {
    iss: 'https://idp.example.com',
    sub: 'ann',
    azp: 'agent',
    scope: 'read write',
    exp: 1,
    iat: 1,
    jti: '1',
  }
  const caller = (changes: object = {}, headers: Readonly<Record<string, string>> = {}): Caller => ({
    ...nobody,
    principal: principalOf({ ...claims, ...changes }) ?? nobody.principal,
    header: (name) => headers[name],
  })
  const url = 'http://127.0.0.1:1/mcp'
  const exchange = client('http://127.0.0.1:2/token')
  const kinds = {
    plain: httpServer('plain', url),
    exchanging: httpServer('each', url, { exchange }),
    forwarding: httpServer('fwd', url, { forward: ['x-tenant'] }),
  }
  const ann = caller({}, { 'x-tenant': 'a' })
  const others: Readonly<Record<string, readonly [Caller, readonly (keyof typeof kinds)[]]>> = {
    'the same': [caller({}, { 'x-tenant': 'a' }), ['plain', 'exchanging', 'forwarding']],
    'with a newer token': [
      caller({ exp: 2, iat: 2, jti: '2' }, { 'x-tenant': 'a' }),
      ['plain', 'exchanging', 'forwarding'],
    ],
    'with a token of fewer scopes': [caller({ scope: 'read' }, { 'x-tenant': 'a' }), ['plain', 'forwarding']],
    'with another header that is forwarded': [caller({}, { 'x-tenant': 'b' }), ['plain', 'exchanging']],
    'without it': [caller(), ['plain', 'exchanging']],
    'with another header that is not': [
      caller({}, { 'x-tenant': 'a', 'x-other': 'b' }),
      ['plain', 'exchanging', 'forwarding'],
    ],
    'another subject': [caller({ sub: 'bob' }, { 'x-tenant': 'a' }), []],
    'another client of the same subject': [caller({ azp: 'other' }, { 'x-tenant': 'a' }), []],
    'the same subject of another issuer': [caller({ iss: 'https://evil.example.com' }, { 'x-tenant': 'a' }), []],
    nobody: [{ ...nobody, header: () => 'a' }, []],
  }
  for (const [name, [other, same]] of Object.entries(others))
    await t.test(name, async (t) => {
      t.same(
        Object.entries(kinds).flatMap(([kind, server]) =>
          callerKey(server, ann) === callerKey(server, other) ? [kind] : [],
        ),
        same,
      )
    })
})

void t.test('a server that offers each caller something else', async (t) => {
  const url = 'http://127.0.0.1:1/mcp'
  const server = httpServer('mine', url, { exchange: client('http://127.0.0.1:2/token'), perCaller: true })
  const caller = (sub: string, token = `token of ${sub}`): Caller => ({
    ...nobody,
    principal: principalOf({ iss: 'idp', sub }) ?? nobody.principal,
    token,
  })
  const catalogue = (name: string): ServerCatalogue => ({
    protocolVersion: '2025-11-25',
    eras: ['stateful'],
    caching: {},
    capabilities: new Set(['tools', 'tasks', 'tasks.list', 'extensions.io/x', 'logging']),
    instructions: `for ${name}`,
    tools: [{ own: name, json: Buffer.from('{}'), name: { start: 0, end: 0 } }],
    prompts: [],
    resources: [],
    templates: [],
  })
  interface Member {
    readonly upstream: Upstream
    readonly as: () => Caller
    closed: boolean
    refreshed: number
    /** It has been asked: this is what it says. */
    says(offered: ServerCatalogue | undefined, status?: Partial<UpstreamStatus>): void
  }
  const stage = (most?: number) => {
    let nowMs = 1_000_000
    const members: Member[] = []
    const log: string[] = []
    let failing = false
    const make = (_: HttpServer, as: () => Caller, events: UpstreamEvents): Upstream => {
      const sub = as().principal.subject
      let offered: ServerCatalogue | undefined = failing ? undefined : catalogue(sub)
      const up: UpstreamStatus = { state: 'up', sinceMs: 0, lastError: undefined, fetchedAtMs: 0, stale: false }
      let status: UpstreamStatus = failing ? { ...up, state: 'down', lastError: 'no' } : up
      const member: Member = {
        as,
        closed: false,
        refreshed: 0,
        says(next, changes = {}) {
          offered = next
          status = { ...up, ...changes }
          events.changed(upstream)
        },
        get upstream() {
          return upstream
        },
      }
      const none = () => Promise.resolve([])
      const upstream: Upstream = {
        server,
        shared: false,
        update: () => undefined,
        status: () => status,
        catalogue: () => offered,
        settled: Promise.resolve(),
        era: () => ({ eras: ['stateful'], how: 'probed', atMs: 0 }),
        async call({ client: { caller: by } }) {
          log.push(`call ${sub} by ${by.principal.subject}`)
          return failed('server-down', sub)
        },
        async pass({ caller: by }) {
          log.push(`pass ${sub} by ${by.principal.subject}`)
          return failed('server-down', sub)
        },
        watch: none,
        async tell() {
          log.push(`tell ${sub}`)
        },
        setLevel: () => Promise.resolve(),
        listen: () => undefined,
        async leave() {
          log.push(`leave ${sub}`)
        },
        refresh() {
          member.refreshed++
          if (as().token === 'good') member.says(catalogue(sub))
        },
        async close() {
          member.closed = true
        },
      }
      members.push(member)
      return upstream
    }
    const all = callerUpstreams({
      server,
      make,
      events: {
        changed: () => log.push('changed'),
        changedFor: (_, isMeant) =>
          log.push(`changed for ${['ann', 'bob'].filter((sub) => isMeant(caller(sub))).join(' and ')}`),
        capped: () => undefined,
        shared: () => undefined,
        message: () => undefined,
      },
      now: () => nowMs,
      ...(most !== undefined && { most }),
    })
    t.teardown(() => all.close())
    const names = async (sub: string, token?: string): Promise<unknown> =>
      (await all.catalogueFor?.(caller(sub, token)))?.tools.map(({ own }) => own)
    return {
      all,
      members,
      log,
      names,
      open: () => members.filter(({ closed }) => !closed).map(({ as }) => as().principal.subject),
      fail: () => (failing = true),
      later: (ms: number) => (nowMs += ms),
    }
  }
  const clientOf = (by: Caller): ClientState => {
    const made = new ClientState({
      claims: {
        key: by.principal.subject,
        createdMs: 0,
        protocolVersion: '2025-11-25',
        capabilities: '{}',
        features: [],
        clientName: '',
        clientVersion: '',
        principal: by.principal.key,
        view: '',
      },
      servers: new Map(),
      directCalls: new Map(),
      lastUsedMs: 0,
    })
    made.caller = by
    return made
  }
  const callBy = (of: ClientState): UpstreamCall => ({
    client: of,
    method: 'tools/call',
    row: undefined,
    id: '1',
    body: Buffer.from('{}'),
    progressToken: undefined,
    onMessage: () => undefined,
    waiting: () => false,
    signal: new AbortController().signal,
  })

  await t.test('is asked by each for itself', async (t) => {
    const { all, names, members } = stage()
    t.equal(all.catalogue(), undefined)
    t.same([await names('ann'), await names('bob'), await names('ann')], [['ann'], ['bob'], ['ann']])
    t.equal(members.length, 2)
    t.equal(await all.catalogueFor?.(caller('ann')), await all.catalogueFor?.(caller('ann')), 'the same value')
  })
  await t.test('shows all of them what it is able to do, and nothing else', async (t) => {
    const { all, names, members, log } = stage()
    await names('ann')
    members[0]?.says(catalogue('ann'))
    t.same(log, ['changed', 'changed for ann'])
    t.match(all.catalogue(), { eras: ['stateful'], tools: [], instructions: undefined })
    t.same([...(all.catalogue()?.capabilities ?? [])], ['tools', 'logging'], 'no tasks')
    members[0]?.says(catalogue('more'))
    t.same(log, ['changed', 'changed for ann', 'changed for ann'])
  })
  await t.test('is asked in the name of the latest token', async (t) => {
    const { names, members } = stage()
    await names('ann', 'first')
    await names('ann', 'second')
    t.equal(members.length, 1)
    t.equal(members[0]?.as().token, 'second')
  })
  await t.test('is asked again when a caller who got nothing comes with another token', async (t) => {
    const { names, members, fail } = stage()
    fail()
    t.equal(await names('ann', 'bad'), undefined)
    t.equal(await names('ann', 'bad'), undefined)
    t.equal(members[0]?.refreshed, 0)
    t.same(await names('ann', 'good'), ['ann'])
    t.equal(members[0]?.refreshed, 1)
  })
  await t.test('forgets who came longest ago, rather one without a session', async (t) => {
    const { all, names, open } = stage(2)
    await names('ann')
    await names('bob')
    await names('ann')
    await names('eve')
    t.same(open(), ['ann', 'eve'])
    const session = clientOf(caller('ann'))
    await all.call(callBy(session))
    await names('eve')
    await names('bob')
    t.same(open(), ['ann', 'bob'])
    await all.leave(session)
    await names('bob')
    await names('eve')
    t.same(open(), ['bob', 'eve'])
  })
  await t.test('forgets who does not come any more', async (t) => {
    const { names, open, later, members } = stage()
    await names('ann')
    later(800_000)
    await names('bob')
    t.same(open(), ['ann', 'bob'])
    later(200_000)
    await names('bob')
    t.same(open(), ['bob'])
    t.same(await names('ann'), ['ann'])
    t.equal(members.length, 3)
  })
  await t.test('is tried again for the same token, but not at once', async (t) => {
    const { names, members, fail, later } = stage()
    fail()
    await names('ann', 'good')
    t.equal(members[0]?.refreshed, 0)
    later(11_000)
    await names('ann', 'good')
    t.equal(members[0]?.refreshed, 1)
    t.same(await names('ann', 'good'), ['ann'])
  })
  await t.test('has a client’s session where it began, for whoever calls in it', async (t) => {
    const { all, log } = stage()
    const session = clientOf(caller('ann'))
    await all.call(callBy(session))
    await all.tell(session, Buffer.from('{}'))
    await all.leave(session)
    const { signal } = new AbortController()
    const passing = { id: '1', method: 'tools/call', body: Buffer.from('{}'), headers: {}, signal } as const
    await all.pass({ ...passing, caller: caller('bob'), onMessage: () => undefined })
    t.same(log, ['call ann by ann', 'tell ann', 'leave ann', 'pass bob by bob'])
  })

  const down = { state: 'down', lastError: 'gone' } as const
  const states: Readonly<Record<string, readonly [readonly Partial<UpstreamStatus>[], Partial<UpstreamStatus>]>> = {
    'before anybody came': [[], { state: 'up', lastError: undefined }],
    'up for one': [[down, { state: 'up' }, down], { state: 'up' }],
    'degraded at best': [[down, { state: 'degraded', lastError: 'half' }], { state: 'degraded', lastError: 'half' }],
    'down for all': [[down, down], { state: 'down', lastError: 'gone' }],
    'not asked by who has nothing to show': [[{ ...down, notShown: true }], { state: 'up', lastError: undefined }],
    'still being asked': [[{ state: 'starting' }], { state: 'up' }],
  }
  for (const [name, [each, wanted]] of Object.entries(states))
    await t.test(`is ${name}`, async (t) => {
      const { all, names, members } = stage()
      for (const [at, status] of each.entries()) {
        await names(`caller ${at}`)
        members[at]?.says(undefined, status)
      }
      t.match(all.status(), wanted)
    })
})
