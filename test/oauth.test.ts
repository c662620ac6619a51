/** OAuth end to end: a real identity provider, a real gateway, the published clients' own flow, and every token that must not count. */
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import * as v2 from '@modelcontextprotocol/client'
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import * as v1 from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { decodeJwt } from 'jose'
import t from 'tap'
import type { Status } from '../src/admin/status.ts'
import { eventually, freePort, startGateway } from './support/gateway.ts'
import { startIdentityProvider } from './support/identity-provider.ts'
import { says } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { meta } from './support/mcp-stateless.ts'
import { type OAuthApplication, oauthApplication } from './support/oauth-client.ts'
import { ACCEPT, connect, request, rpc, stateless } from './support/raw-client.ts'
import { serveSse } from './support/sse-server.ts'
import { badTokens, inSeconds, type SigningKey, signingKey } from './support/tokens.ts'

await using idp = await startIdentityProvider({ scopes: ['code:read', 'code:write'] })
const roles = { realm_access: { roles: ['developer'] }, resource_access: { desk: { roles: ['tool:look'] } } }
idp.accounts.set('ann', { scopes: ['code:read', 'code:write'], claims: roles })
idp.accounts.set('bob', { scopes: ['code:read'], claims: roles })

const tools = (...names: readonly string[]) => names.map((name) => ({ name }))
await using code = await serveMcp({
  era: 'both',
  tools: tools('read', 'write'),
  prompts: [{ name: 'review' }],
  resources: [{ uri: 'doc://code/a' }],
})
await using desk = await serveMcp({ era: 'both', tools: tools('look', 'shred') })

const registryFor = (url: string, issuer: string): string =>
  JSON.stringify({
    gateway: { url, auth: { issuer } },
    servers: {
      code: {
        url: code.url,
        access: [
          { tools: ['read'], allow: { scopes: ['code:read'] } },
          { tools: ['write'], allow: { scopes: ['code:write'] } },
        ],
      },
      desk: { url: desk.url, access: 'roles' },
    },
    views: { oncall: { tools: ['desk_*'] } },
  })
const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
/** Where the gateway's own sockets are. */
const runtime = await mkdtemp(path.join(tmpdir(), 'run-'))
t.teardown(() => rm(runtime, { recursive: true, force: true }))
await using gateway = await startGateway(registryFor(url, idp.issuer), { port, env: { XDG_RUNTIME_DIR: runtime } })
await gateway.settled()

const at = (path: string): string => new URL(path, url).href
const challenge = (path: string, error = ''): string =>
  `Bearer ${error}resource_metadata="${at(`/.well-known/oauth-protected-resource${path}`)}"`
const INVALID = 'error="invalid_token", '

// --- the published clients' own flow ------------------------------------------------------------------------------

/** A published client in front of which somebody sits. */
interface SignedIn extends AsyncDisposable {
  tools(): Promise<readonly string[]>
  call(name: string): Promise<unknown>
}

/** Does it; and once more, after whoever has to log in has done so. */
const signingIn = async <T>(
  application: OAuthApplication,
  finish: (back: URLSearchParams) => Promise<void>,
  work: () => Promise<T>,
): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof UnauthorizedError || error instanceof v2.UnauthorizedError)) throw error
    await finish(await application.callback())
    return await work()
  }
}

type Open = (url: string, application: OAuthApplication) => Promise<SignedIn>

const sdkV1: Open = async (url, application) => {
  const options = { authProvider: application.provider }
  let transport = new StreamableHTTPClientTransport(new URL(url), options)
  const finish = (back: URLSearchParams): Promise<void> => transport.finishAuth(back.get('code') ?? '')
  const client = await signingIn(application, finish, async () => {
    transport = new StreamableHTTPClientTransport(new URL(url), options)
    const made = new v1.Client({ name: 'v1', version: '1.0.0' })
    await made.connect(transport)
    return made
  })
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name) => signingIn(application, finish, () => client.callTool({ name, arguments: {} })),
    [Symbol.asyncDispose]: () => client.close(),
  }
}

const sdkV2 =
  (mode: v2.VersionNegotiationMode): Open =>
  async (url, application) => {
    const options = { authProvider: application.provider }
    let transport = new v2.StreamableHTTPClientTransport(new URL(url), options)
    const finish = (back: URLSearchParams): Promise<void> => transport.finishAuth(back)
    const client = await signingIn(application, finish, async () => {
      transport = new v2.StreamableHTTPClientTransport(new URL(url), options)
      const made = new v2.Client({ name: 'v2', version: '1.0.0' }, { versionNegotiation: { mode } })
      await made.connect(transport)
      return made
    })
    return {
      tools: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name) => signingIn(application, finish, () => client.callTool({ name, arguments: {} })),
      [Symbol.asyncDispose]: () => client.close(),
    }
  }

const clients: Readonly<Record<string, Open>> = {
  'v1 SDK': sdkV1,
  'v2 SDK, stateful': sdkV2('legacy'),
  'v2 SDK, auto': sdkV2('auto'),
  'v2 SDK, stateless': sdkV2({ pin: '2026-07-28' }),
}

/** What a client asked for last, and for whom. */
const asked = ({ authorizations }: OAuthApplication) => {
  const { searchParams } = authorizations.at(-1) ?? new URL('none:')
  return {
    scopes: (searchParams.get('scope') ?? '').split(' ').filter((scope) => scope.startsWith('code:')),
    resource: searchParams.get('resource'),
  }
}

await t.test('from a bare 401 to a working call', async (t) => {
  const rows = [
    ['all of the gateway', url, ['code_read', 'code_write', 'desk_look']],
    ['a view', `${url}/oncall`, ['desk_look']],
  ] as const
  for (const [name, open] of Object.entries(clients)) {
    for (const [where, resource, expected] of rows) {
      await t.test(`${name}, ${where}`, async (t) => {
        code.forget()
        desk.forget()
        const application = oauthApplication('ann')
        await using client = await open(resource, application)
        t.same(await client.tools(), expected)
        t.match(await client.call('desk_look'), says('fixture:look'))
        t.equal(application.authorizations.length, 1, 'asked to log in once')
        t.same(asked(application), { scopes: ['code:read', 'code:write'], resource }, 'for this address')
        t.match(decodeJwt(application.token()), { aud: resource, sub: 'ann' })
        for (const { headers } of [...code.received, ...desk.received]) t.notOk('authorization' in headers)
      })
    }
  }
})

await t.test('what needs a scope the token lacks is asked for when it is called', async (t) => {
  for (const [name, open] of Object.entries(clients)) {
    await t.test(name, async (t) => {
      idp.accounts.set('eve', { scopes: ['code:read'], claims: roles })
      const application = oauthApplication('eve')
      await using client = await open(url, application)
      t.same(await client.tools(), ['code_read', 'desk_look'], 'nothing is shown that cannot be called')
      const before = code.executions.get('write') ?? 0
      idp.accounts.set('eve', { scopes: ['code:read', 'code:write'], claims: roles })
      t.match(await client.call('code_write'), says('fixture:write'))
      t.equal(application.authorizations.length, 2)
      t.ok(asked(application).scopes.includes('code:write'))
      t.equal(code.executions.get('write'), before + 1)
    })
  }
})

// --- keys -----------------------------------------------------------------------------------------------------------

const claimsFor = (resource: string) => ({
  iss: idp.issuer,
  aud: resource,
  sub: 'ann',
  client_id: 'forger',
  scope: 'code:read code:write',
  exp: inSeconds(300),
  ...roles,
})
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** Before anybody else shows tokens of unknown keys: they are looked for once in 30 s only. */
await t.test('keys that change are taken over without a restart', async (t) => {
  const before = await idp.key.sign(claimsFor(url))
  await idp.rotate()
  const after = await idp.key.sign(claimsFor(url))
  const initialize = rpc('1', 'initialize', {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'raw-client', version: '1.0.0' },
  })
  const with_ = (token: string) => request(url, { headers: { ...ACCEPT, ...bearer(token) }, body: initialize })
  const reply = await eventually('the new key', gateway.child, async () => {
    const reply = await with_(after)
    return reply.status === 401 ? undefined : reply
  })
  t.equal(reply.status, 200)
  t.equal((await with_(before)).status, 401, 'the old key is not published any more')
})

// --- tokens that do not count ---------------------------------------------------------------------------------------

await t.test('nothing reaches a server without a good token', async (t) => {
  const good = await idp.key.sign(claimsFor(url))
  const foreign = await signingKey()
  const client = await connect(url, { headers: bearer(good) })
  t.match((await client.call('code_read')).result, says('fixture:read'))
  const body = rpc('7', 'tools/call', { name: 'code_read', arguments: {} })
  const { authorization: _authorization, ...session } = client.headers

  type Sent = { readonly url: string; readonly headers: Readonly<Record<string, string>> }
  const forged = await Promise.all(
    Object.entries(badTokens).map(async ([name, forge]): Promise<[string, Sent, string]> => {
      const token = await forge({ key: idp.key, foreign, claims: claimsFor(url) })
      return [`a token ${name}`, { url, headers: bearer(token) }, challenge('/mcp', INVALID)]
    }),
  )
  const rows: readonly (readonly [name: string, sent: Sent, challenge: string])[] = [
    ...forged,
    ['no token', { url, headers: {} }, challenge('/mcp')],
    ['a token in the query', { url: `${url}?access_token=${good}`, headers: {} }, challenge('/mcp')],
    ['a token in a cookie', { url, headers: { cookie: `access_token=${good}` } }, challenge('/mcp')],
    ['a token under another scheme', { url, headers: { authorization: `Basic ${good}` } }, challenge('/mcp')],
    ['two tokens', { url, headers: { authorization: `Bearer ${good}, Bearer ${good}` } }, challenge('/mcp', INVALID)],
    ['no token, at a view', { url: `${url}/oncall`, headers: {} }, challenge('/mcp/oncall')],
    ['no token, at no view', { url: `${url}/none`, headers: {} }, challenge('/mcp')],
    [
      'a token for a view, at all of the gateway',
      { url, headers: bearer(await idp.key.sign(claimsFor(`${url}/oncall`))) },
      challenge('/mcp', INVALID),
    ],
  ]
  code.forget()
  desk.forget()
  for (const [name, sent, expected] of rows) {
    await t.test(name, async (t) => {
      const requests = [
        { method: 'POST', headers: { ...session, ...sent.headers }, body },
        { method: 'POST', headers: { ...ACCEPT, ...sent.headers }, body: rpc('7', 'initialize', {}) },
        { method: 'POST', headers: { ...ACCEPT, ...sent.headers }, body: 'not even JSON' },
        { method: 'GET', headers: { ...session, ...sent.headers } },
        { method: 'DELETE', headers: { ...session, ...sent.headers } },
      ]
      for (const options of requests) {
        const reply = await request(sent.url, options)
        t.equal(reply.status, 401, options.method)
        t.equal(reply.headers['www-authenticate'], expected)
        t.match(JSON.parse(reply.text), { jsonrpc: '2.0', error: { code: -32000, data: { decision: /.+/ } } })
      }
      const modern = stateless({ url: sent.url, headers: sent.headers })
      t.equal((await modern.request('tools/call', { name: 'code_read', arguments: {} })).status, 401)
    })
  }
  await t.test('a preflight that carries a call', async (t) => {
    for (const origin of ['https://evil.example', 'http://localhost']) {
      const headers = {
        ...ACCEPT,
        origin,
        'access-control-request-method': 'POST',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'code_read',
      }
      const _meta = { [meta('protocolVersion')]: '2026-07-28', [meta('clientCapabilities')]: {} }
      const call = rpc('7', 'tools/call', { name: 'code_read', arguments: {}, _meta })
      const reply = await request(url, { method: 'OPTIONS', headers, body: call })
      t.equal(reply.status, origin === 'http://localhost' ? 200 : 405, origin)
      t.notMatch(reply.text, 'fixture:')
    }
  })
  t.same([code.received.length, desk.received.length], [0, 0])
  t.match((await client.call('code_read')).result, says('fixture:read'), 'the session itself is unharmed')
})

/** Asks the broker itself, as only somebody on this machine could: no Envoy has looked at it. */
const askBroker = async (headers: Readonly<Record<string, string>>): Promise<number | undefined> => {
  const [directory = ''] = await readdir(runtime)
  const socketPath = path.join(runtime, directory, 'broker.sock')
  const asking = http.request({ socketPath, path: '/mcp', method: 'POST', agent: false, headers })
  asking.end(rpc('1', 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {} }))
  const [response]: readonly http.IncomingMessage[] = await once(asking, 'response')
  response?.resume()
  return response?.statusCode
}

await t.test('the broker believes nobody: it verifies every token itself', async (t) => {
  const foreign = await signingKey()
  t.equal(await askBroker({ ...ACCEPT, ...bearer(await idp.key.sign(claimsFor(url))) }), 200)
  t.equal(await askBroker(ACCEPT), 401)
  for (const [name, forge] of Object.entries(badTokens)) {
    await t.test(`a token ${name}`, async (t) => {
      const token = await forge({ key: idp.key, foreign, claims: claimsFor(url) })
      t.equal(await askBroker({ ...ACCEPT, ...bearer(token) }), 401)
    })
  }
})

await t.test('what is said without a token', async (t) => {
  const gatewayDocument = { resource: url, authorization_servers: [idp.issuer], bearer_methods_supported: ['header'] }
  const rows = [
    ['/.well-known/oauth-protected-resource', gatewayDocument],
    ['/.well-known/oauth-protected-resource/mcp', gatewayDocument],
    ['/.well-known/oauth-protected-resource/mcp/oncall', { ...gatewayDocument, resource: `${url}/oncall` }],
  ] as const
  for (const [path, expected] of rows) {
    await t.test(path, async (t) => {
      const { status, headers, text } = await request(at(path))
      t.equal(status, 200)
      t.match(headers, { 'content-type': /^application\/json/ })
      t.match(JSON.parse(text), { ...expected, scopes_supported: ['code:read', 'code:write'] })
    })
  }
  for (const path of ['/.well-known/oauth-protected-resource/mcp/none', '/.well-known/openid-configuration', '/']) {
    await t.test(path, async (t) => t.equal((await request(at(path))).status, 404))
  }
})

// --- whose is what --------------------------------------------------------------------------------------------------

await t.test('a session belongs to whoever opened it, in the view it was opened in', async (t) => {
  const ann = bearer(await idp.key.sign(claimsFor(url)))
  const client = await connect(url, { headers: ann })
  const again = bearer(await idp.key.sign({ ...claimsFor(url), jti: 'another token' }))
  const rows = [
    ['her next token', url, again, 200],
    ["another subject's token", url, bearer(await idp.key.sign({ ...claimsFor(url), sub: 'bob' })), 404],
    ["another client's token of hers", url, bearer(await idp.key.sign({ ...claimsFor(url), client_id: 'x' })), 404],
    ['a view', `${url}/oncall`, ann, 404],
    ['no such view', `${url}/none`, ann, 404],
  ] as const
  for (const [name, target, token, status] of rows) {
    await t.test(name, async (t) => {
      const before = code.executions.get('read') ?? 0
      const headers = { ...client.headers, ...token }
      const call = rpc('1', 'tools/call', { name: 'code_read', arguments: {} })
      const reply = await request(target, { headers, body: call })
      t.equal(reply.status, status)
      t.equal(code.executions.get('read') ?? 0, before + (status === 200 ? 1 : 0))
      if (status === 200) return
      t.equal((await request(target, { headers, method: 'GET' })).status, status)
      t.equal((await request(target, { headers, method: 'DELETE' })).status, status)
    })
  }
  t.match((await client.call('code_read')).result, says('fixture:read'), 'nobody has ended it')
})

await t.test('what a client says of itself beside its token has no effect', async (t) => {
  const { scope: _scope, ...claims } = claimsFor(url)
  const claimed = Buffer.from(JSON.stringify(claimsFor(url))).toString('base64url')
  const headers = {
    ...bearer(await idp.key.sign({ ...claims, resource_access: {} })),
    'x-mcp-subject': 'ann',
    'x-mcp-claims': claimed,
    'x-mcp-cluster': 'direct.code',
    'x-jwt-payload': claimed,
    'x-forwarded-user': 'ann',
    'x-envoy-jwt-payload': claimed,
  }
  await using client = await connect(url, { headers })
  t.same(await client.tools(), [])
  for (const name of ['code_read', 'code_write', 'desk_look']) {
    const before = [code.executions.get(name.slice(5)), desk.executions.get(name.slice(5))]
    const { reply } = await client.send('tools/call', { name, arguments: {} })
    t.notOk(reply.text.includes('fixture:'))
    t.same([code.executions.get(name.slice(5)), desk.executions.get(name.slice(5))], before)
  }
})

await t.test('403 names all that the operation needs', async (t) => {
  const { scope: _scope, ...claims } = claimsFor(url)
  const headers = bearer(await idp.key.sign(claims))
  await using client = await connect(url, { headers })
  const expected = challenge('/mcp', 'error="insufficient_scope", scope="code:write", ')
  const replies = {
    stateful: (await client.send('tools/call', { name: 'code_write', arguments: {} })).reply,
    stateless: await stateless({ url, headers }).request('tools/call', { name: 'code_write', arguments: {} }),
  }
  for (const [era, reply] of Object.entries(replies)) {
    await t.test(era, async (t) => {
      t.equal(reply.status, 403)
      t.equal(reply.headers['www-authenticate'], expected)
    })
  }
  const [unknown, denied] = [
    await client.send('tools/call', { name: 'desk_none', arguments: {} }),
    await client.send('tools/call', { name: 'desk_shred', arguments: {} }),
  ]
  t.equal(denied.reply.status, unknown.reply.status, 'what no scope would change does not exist')
  const worded = (text: string): string => text.replaceAll(/desk_\w+|"decision":"[^"]*"|"id":"[^"]*"/g, '')
  t.equal(worded(denied.reply.text), worded(unknown.reply.text))
})

const APP = 'https://app.example.com'

await t.test('403 for whatever is asked for, wherever, with the scopes of every level', async (t) => {
  const needs = (scopes: string, what: object = {}) => ({ ...what, allow: { scopes } })
  await gateway.edit(
    JSON.stringify({
      gateway: { url, auth: { issuer: idp.issuer }, origins: [APP], access: [needs('gateway:use')] },
      servers: {
        code: {
          url: code.url,
          access: [
            needs('code:read', { tools: 'read' }),
            needs('code:read code:write', { tools: 'write', prompts: '*', resources: '*' }),
          ],
        },
      },
      views: { oncall: { access: [needs('view:oncall')] } },
    }),
  )
  await gateway.settled()
  const of = async (scope: string) => bearer(await idp.key.sign({ ...claimsFor(url), scope }))
  const few = await of('code:read')
  const ref = { type: 'ref/prompt', name: 'code_review' }
  const all = 'gateway:use code:read code:write'
  const rows = [
    ['tools/call', { name: 'code_read', arguments: {} }, 'gateway:use code:read', 'both'],
    ['tools/call', { name: 'code_write', arguments: {} }, all, 'both'],
    ['prompts/get', { name: 'code_review' }, all, 'both'],
    ['resources/read', { uri: 'doc://code/a' }, all, 'both'],
    ['completion/complete', { ref, argument: { name: 'x', value: 'y' } }, all, 'both'],
    ['resources/subscribe', { uri: 'doc://code/a' }, all, 'stateful'],
  ] as const
  for (const view of ['', '/oncall']) {
    for (const [method, params, needed, eras] of rows) {
      await t.test(`${method} ${JSON.stringify(params)}${view}`, async (t) => {
        const scope = view === '' ? needed : `${needed} view:oncall`
        const ask = async (token: Readonly<Record<string, string>>) => {
          const headers = { ...token, origin: APP }
          await using session = await connect(`${url}${view}`, { headers })
          return [
            (await session.send(method, params)).reply,
            ...(eras === 'both' ? [await stateless({ url: `${url}${view}`, headers }).request(method, params)] : []),
          ]
        }
        code.forget()
        for (const { status, headers } of await ask(few)) {
          t.equal(status, 403)
          t.equal(
            headers['www-authenticate'],
            challenge(`/mcp${view}`, `error="insufficient_scope", scope="${scope}", `),
          )
          t.match(headers['access-control-expose-headers'], /www-authenticate/, 'pages may read it')
        }
        t.equal(code.count(method), 0)
        const enough = await ask(await of(scope))
        t.same(
          enough.map(({ status, messages }) => [status, messages.at(-1)?.error]),
          enough.map(() => [200, undefined]),
          'a token with just these scopes will do',
        )
      })
    }
  }
  await t.test('pages may ask where tokens come from', async (t) => {
    const documents = ['', '/mcp', '/mcp/oncall'].map((of) => at(`/.well-known/oauth-protected-resource${of}`))
    for (const where of [...documents, url, `${url}/oncall`]) {
      const preflight = await request(where, {
        method: 'OPTIONS',
        headers: {
          origin: APP,
          'access-control-request-method': 'GET',
          'access-control-request-headers': 'mcp-protocol-version',
        },
      })
      t.equal(preflight.status, 200, where)
      t.match(preflight.headers, {
        'access-control-allow-origin': APP,
        'access-control-allow-headers': /mcp-protocol-version/,
      })
      const reply = await request(where, { headers: { origin: APP, 'mcp-protocol-version': '2025-11-25' } })
      t.equal(reply.status, documents.includes(where) ? 200 : 401, where)
      t.equal(reply.headers['access-control-allow-origin'], APP)
    }
  })
  await gateway.edit(registryFor(url, idp.issuer))
})

await t.test('keys at a URL, and in a file, which is read when it changes', async (t) => {
  const text = (jwks: string): string =>
    JSON.stringify({ gateway: { url, auth: { issuer: idp.issuer, jwks } }, servers: { code: { url: code.url } } })
  const ask = async (key: SigningKey): Promise<number> => {
    const headers = bearer(await key.sign(claimsFor(url)))
    return (await stateless({ url, headers }).request('tools/list')).status
  }
  const [one, two] = [await signingKey('ES256'), await signingKey('EdDSA')]
  await t.test('a URL', async (t) => {
    await gateway.edit(text(`${idp.issuer}/jwks`))
    t.same([await ask(idp.key), await ask(one)], [200, 401])
  })
  await t.test('a file', async (t) => {
    const file = path.join(gateway.dir, 'issuer.json')
    const put = (keys: readonly SigningKey[]) =>
      writeFile(file, JSON.stringify({ keys: keys.map(({ published }) => published) }))
    await put([one])
    await gateway.edit(text('issuer.json'))
    t.same([await ask(one), await ask(two), await ask(idp.key)], [200, 401, 401])
    await put([two])
    await eventually('the new key', gateway.child, async () => ((await ask(two)) === 200 ? true : undefined))
    t.same([await ask(one), await ask(two)], [401, 200])
    await writeFile(file, '{"keys":[]}')
    const problems = await eventually('a problem', gateway.child, async () => {
      const { registry } = await gateway.status()
      return registry.problems.length === 0 ? undefined : registry.problems
    })
    t.match(problems, [{ severity: 'error', path: 'gateway.auth.jwks', place: { line: 1 } }])
    t.same([await ask(one), await ask(two)], [401, 200], 'the last good ones stay')
  })
  await gateway.edit(registryFor(url, idp.issuer))
})

await t.test('clocks may differ as far as the registry says', async (t) => {
  const rows = [
    [{}, -45, 200],
    [{}, -90, 401],
    [{ skew: '5s' }, -45, 401],
    [{ skew: '3m' }, -90, 200],
  ] as const
  for (const [more, ago, status] of rows) {
    await gateway.edit(
      JSON.stringify({ gateway: { url, auth: { issuer: idp.issuer, ...more } }, servers: { code: { url: code.url } } }),
    )
    const headers = { ...ACCEPT, ...bearer(await idp.key.sign({ ...claimsFor(url), exp: inSeconds(ago) })) }
    const body = rpc('1', 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {} })
    t.equal((await request(url, { headers, body })).status, status, `${JSON.stringify(more)}, ${ago} s`)
    t.equal(await askBroker(headers), status, 'the broker, too')
  }
  await gateway.edit(registryFor(url, idp.issuer))
})

await t.test('roles name what may be called, over every transport', async (t) => {
  await using old = await serveSse()
  const program = fileURLToPath(new URL('support/stdio-server.mjs', import.meta.url))
  const status = async () => {
    await gateway.edit(
      JSON.stringify({
        gateway: { url, auth: { issuer: idp.issuer } },
        defaults: { access: 'roles' },
        servers: {
          desk: { url: desk.url },
          old: { url: `http://127.0.0.1:${old.port}/sse`, transport: 'sse', access: { roles: 'olds' } },
          program: { command: process.execPath, args: [program] },
        },
        views: { small: { tools: ['program_*'] } },
      }),
    )
    return gateway.settled()
  }
  const { tools } = await status()
  t.same([...new Set(tools.map(({ server }) => server))].toSorted(), ['desk', 'old', 'program'])
  const rows: readonly (readonly [name: string, roles: object, allowed: readonly string[]])[] = [
    ['none', {}, []],
    ['of one client', { desk: ['tool:look'] }, ['desk_look']],
    ['of a client of another name', { olds: ['tool:echo'], old: ['tool:*'] }, ['old_echo']],
    ['with a star at the end', { desk: ['tool:l*'], program: ['tool:ech*'] }, ['desk_look', 'program_echo']],
    ['with a star that is none', { desk: ['*', 'tool:*ook'], olds: ['tool:e*o'], program: ['tools:*'] }, []],
    ['of other kinds', { desk: ['prompt:look', 'resource:*'], program: ['prompt:*'] }, []],
    ['by the name that clients know', { desk: ['tool:desk_look'] }, []],
  ]
  const named = ['desk_look', 'old_echo', 'program_echo']
  for (const [name, of, allowed] of rows) {
    await t.test(name, async (t) => {
      const access = Object.fromEntries(Object.entries(of).map(([client, roles]) => [client, { roles }]))
      const headers = bearer(await idp.key.sign({ ...claimsFor(url), resource_access: access }))
      for (const view of ['', '/small']) {
        await using session = await connect(`${url}${view}`, { headers })
        await using less = stateless({ url: `${url}${view}`, headers })
        const expected = allowed.filter((tool) => view === '' || tool.startsWith('program_'))
        for (const client of [session, less]) {
          t.same(await client.tools(), expected, view)
          const answers = await Promise.all(
            named.map(async (tool) => [tool, await client.call(tool, { text: 'x' })] as const),
          )
          t.same(
            answers.filter(([, { result }]) => result !== undefined).map(([tool]) => tool),
            expected,
            'what is listed can be called, and nothing else',
          )
        }
      }
    })
  }
  await gateway.edit(registryFor(url, idp.issuer))
})

await t.test('nobody says where they are', async (t) => {
  const elsewhere = '192.0.2.1'
  const access = (address: string) => [{ when: `request.address == "${address}"` }]
  const auth = { issuer: idp.issuer }
  for (const [address, expected] of [
    [elsewhere, []],
    ['127.0.0.1', ['code_read', 'code_write']],
  ] as const) {
    await gateway.edit(
      JSON.stringify({ gateway: { url, auth }, servers: { code: { url: code.url, access: access(address) } } }),
    )
    await gateway.settled()
    const headers = {
      ...bearer(await idp.key.sign(claimsFor(url))),
      'x-forwarded-for': elsewhere,
      'x-envoy-external-address': elsewhere,
      'x-real-ip': elsewhere,
      forwarded: `for=${elsewhere}`,
    }
    await using session = await connect(url, { headers })
    await using less = stateless({ url, headers })
    t.same([await session.tools(), await less.tools()], [expected, expected], address)
    const before = code.executions.get('read') ?? 0
    for (const client of [session, less]) await client.call('code_read')
    t.equal(code.executions.get('read') ?? 0, before + (expected.length === 0 ? 0 : 2))
  }
  await gateway.edit(registryFor(url, idp.issuer))
})

await t.test('an issuer that is down when the gateway starts', async (t) => {
  await using late = await startIdentityProvider({ down: true })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/mcp`
  await using gateway = await startGateway(registryFor(url, late.issuer), { port, until: 'serving' })
  const token = await late.key.sign({ ...claimsFor(url), iss: late.issuer })
  const ask = () => request(url, { headers: { ...ACCEPT, ...bearer(token) }, body: rpc('1', 'ping', {}) })
  const reply = await ask()
  t.equal(reply.status, 503)
  t.match(reply.headers, { 'retry-after': /^\d+$/ })
  t.match(JSON.parse(reply.text), { error: { data: { reason: 'no-keys' } } })
  t.match((await gateway.status()).auth, { issuer: late.issuer, audience: url, keys: 0, problem: /answers 503/ })
  const { problems }: Status = await gateway.status()
  t.match(
    problems.find(({ path }) => path === 'gateway.auth'),
    { severity: 'error', message: /every request is refused/ },
  )
  const ready = await request(`${gateway.admin}/ready`)
  t.equal(ready.status, 503)
  t.match(ready.text, /tokens cannot be verified/)

  late.down = false
  await using client = await eventually('keys', gateway.child, () =>
    connect(url, { headers: bearer(token) }).catch(() => undefined),
  )
  await gateway.settled()
  t.match((await client.call('code_read')).result, says('fixture:read'))
  t.match((await gateway.status()).auth, { keys: 1, problem: undefined })
  t.equal((await request(`${gateway.admin}/ready`)).status, 200)
})

await t.test('another issuer, or none, by a reload', async (t) => {
  await using other = await startIdentityProvider()
  const old = bearer(await idp.key.sign(claimsFor(url)))
  const next = bearer(await other.key.sign({ ...claimsFor(url), iss: other.issuer }))
  const status = async (headers: Readonly<Record<string, string>>): Promise<number> =>
    (await stateless({ url, headers }).request('tools/list')).status
  t.same([await status(old), await status(next)], [200, 401])
  await gateway.edit(registryFor(url, other.issuer))
  t.same([await status(old), await status(next)], [401, 200])
  await gateway.edit(JSON.stringify({ gateway: { url }, servers: { code: { url: code.url } } }))
  t.same([await status({}), await status(old)], [200, 200])
  t.equal((await request(at('/.well-known/oauth-protected-resource'))).status, 404)
  await gateway.edit(registryFor(url, idp.issuer))
  t.same([await status({}), await status(next), await status(old)], [401, 401, 200])
})

await t.test('no token is in any log or on any page', async (t) => {
  const pages = [
    gateway.log(),
    JSON.stringify(await gateway.status()),
    await gateway.metrics(),
    (await request(gateway.admin)).text,
  ]
  for (const text of pages) t.notMatch(text, /eyJ[A-Za-z0-9_-]{10}/)
})
