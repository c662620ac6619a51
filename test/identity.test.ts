/** Identity without a gateway: keys are fetched, filtered and kept fresh, tokens verified, clients told where to get one. */
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t from 'tap'
import { authenticator, type Identified } from '../src/identity/authenticator.ts'
import { keysAt, metadataUrls } from '../src/identity/discovery.ts'
import { type Fetched, fetchJson } from '../src/identity/fetch-json.ts'
import { keySet } from '../src/identity/key-set.ts'
import { publicKeys } from '../src/identity/public-keys.ts'
import { challenge, resourceMetadata } from '../src/identity/resource-metadata.ts'
import type { Access, Auth, Registry, View } from '../src/registry/model.ts'
import { trusted } from '../src/xds/system-ca.ts'
import { httpServer, registryOf } from './support/registry-value.ts'
import { badTokens, inSeconds, type SigningKey, signingKey } from './support/tokens.ts'

const ISSUER = 'https://idp.example.com/realms/tools'
const RESOURCE = 'https://mcp.example.com/mcp'
const place = { line: 3, column: 3 }
const auth: Auth = { place, issuer: ISSUER, audience: RESOURCE, jwks: { kind: 'discovered' }, skewMs: 60_000 }

/** Whatever waits for promises that are resolved already has gone on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

// --- what a JWKS is good for --------------------------------------------------------------------------------------

const kinds = await Promise.all(['RS256', 'PS384', 'ES256', 'ES384', 'ES512', 'EdDSA'].map((alg) => signingKey(alg)))
const [rsa] = kinds
const small: Record<string, unknown> = {
  kty: 'RSA',
  kid: 'small',
  e: 'AQAB',
  n: Buffer.alloc(128, 0xff).toString('base64url'),
}

await t.test('which keys of a JWKS count', async (t) => {
  const rows: readonly (readonly [name: string, key: unknown, counts: boolean])[] = [
    ...kinds.map(({ alg, published }) => [`public, ${alg}`, published, true] as const),
    ['public, without use and algorithm', { ...rsa?.published, use: undefined, alg: undefined }, true],
    ['public, for verifying', { ...rsa?.published, key_ops: ['verify'] }, true],
    ['with its private members', rsa?.jwk, true],
    ['a shared secret', { kty: 'oct', kid: 'a', k: 'c2VjcmV0' }, false],
    ['for encryption', { ...rsa?.published, use: 'enc' }, false],
    ['for encryption by its algorithm', { ...rsa?.published, alg: 'RSA-OAEP' }, false],
    ['for a symmetric algorithm', { ...rsa?.published, alg: 'HS256' }, false],
    ['for another kind of algorithm', { ...rsa?.published, alg: 'ES256' }, false],
    ['for other operations', { ...rsa?.published, key_ops: ['encrypt'] }, false],
    ['of a curve Envoy does not know', { kty: 'EC', crv: 'secp256k1', x: 'AA', y: 'AA' }, false],
    ['a point that is not on its curve', { ...kinds[2]?.published, x: kinds[2]?.published.y }, false],
    ['too small', small, false],
    ['with a part missing', { ...rsa?.published, n: undefined }, false],
    ['of an unknown kind', { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AA' }, false],
    ['no object', 'key', false],
  ]
  for (const [name, key, counts] of rows) {
    await t.test(name, async (t) => {
      const found = publicKeys({ keys: [key] })
      t.equal(found.length, counts ? 1 : 0)
      const members = ['kty', 'kid', 'alg', 'use', 'crv', 'x', 'y', 'n', 'e']
      for (const one of found)
        t.strictSame(
          Object.keys(one).filter((member) => !members.includes(member)),
          [],
        )
    })
  }
})

await t.test('what is no JWKS holds no key', async (t) => {
  for (const document of [undefined, null, 'keys', [], {}, { keys: {} }, { keys: 'x' }, { keys: [null, [], 1] }]) {
    await t.test(JSON.stringify(document) ?? 'nothing', async (t) => t.strictSame(publicKeys(document), []))
  }
})

await t.test('property: the order in which keys are published does not matter', async (t) => {
  const published = kinds.map((key) => key.published)
  const usual = JSON.stringify(publicKeys({ keys: published }))
  fc.assert(
    fc.property(
      fc.shuffledSubarray(published, { minLength: published.length }),
      (keys) => JSON.stringify(publicKeys({ keys })) === usual,
    ),
  )
  t.pass()
})

// --- where keys are -----------------------------------------------------------------------------------------------

await t.test('where an issuer is asked about itself', async (t) => {
  const rows: readonly (readonly [issuer: string, urls: readonly string[]])[] = [
    [
      'https://idp.example.com',
      [
        'https://idp.example.com/.well-known/openid-configuration',
        'https://idp.example.com/.well-known/oauth-authorization-server',
      ],
    ],
    [
      'https://idp.example.com/',
      [
        'https://idp.example.com/.well-known/openid-configuration',
        'https://idp.example.com/.well-known/oauth-authorization-server',
      ],
    ],
    [
      'https://idp.example.com:8443/realms/tools',
      [
        'https://idp.example.com:8443/realms/tools/.well-known/openid-configuration',
        'https://idp.example.com:8443/.well-known/oauth-authorization-server/realms/tools',
        'https://idp.example.com:8443/.well-known/openid-configuration/realms/tools',
      ],
    ],
  ]
  for (const [issuer, urls] of rows) await t.test(issuer, async (t) => t.strictSame(metadataUrls(issuer), urls))
})

await t.test('what its answer says', async (t) => {
  const url = 'https://keys.example.com/jwks'
  const rows: readonly (readonly [name: string, document: unknown, expected: RegExp | undefined])[] = [
    ['where they are', { issuer: ISSUER, jwks_uri: url }, undefined],
    ['another issuer', { issuer: 'https://evil.example.com', jwks_uri: url }, /is of the issuer "https:\/\/evil/],
    ['the issuer, with a slash', { issuer: `${ISSUER}/`, jwks_uri: url }, /is of the issuer/],
    ['no issuer', { jwks_uri: url }, /is of no issuer/],
    ['no keys', { issuer: ISSUER }, /names no jwks_uri/],
    ['keys that are no URL', { issuer: ISSUER, jwks_uri: 7 }, /names no jwks_uri/],
    ['nothing', null, /is not a JSON object/],
  ]
  for (const [name, document, problem] of rows) {
    await t.test(name, async (t) => {
      const at = keysAt(document, ISSUER, 'there')
      if (problem === undefined) t.strictSame(at, { ok: true, url })
      else t.match(at, { ok: false, problem })
    })
  }
})

await t.test('fetching', async (t) => {
  const answers: Readonly<Record<string, (res: ServerResponse) => void>> = {
    '/json': (res) => res.end('{"a":1}'),
    '/missing': (res) => res.writeHead(404).end('{}'),
    '/broken': (res) => res.end('{"a":'),
    '/long': (res) => res.end(`{"a":"${'x'.repeat(600_000)}"}`),
    '/moved': (res) => res.writeHead(302, { location: '/json' }).end(),
    '/round': (res) => res.writeHead(302, { location: '/round' }).end(),
    '/away': (res) => res.writeHead(302, { location: 'http://127.0.0.1:1/json' }).end(),
    '/insecure': (res) => res.writeHead(302, { location: 'http://idp.example.com/json' }).end(),
    '/nowhere': (res) => res.writeHead(302).end(),
    '/silent': () => undefined,
    '/stuck': (res) => res.write('{'),
  }
  const handle = (req: IncomingMessage, res: ServerResponse): void => answers[req.url ?? '']?.(res)
  const certificate = (name: string) => fileURLToPath(new URL(`./support/certs/${name}`, import.meta.url))
  const pem = (name: string) => readFile(certificate(name), 'utf8')
  const nowhere = '/nowhere/ca.pem'
  const ca = await pem('ca.pem')
  const plain = createServer(handle)
  const secure = createSecureServer({ cert: await pem('server.pem'), key: await pem('server.key') }, handle)
  const listen = async (server: typeof plain | typeof secure): Promise<number> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }
  const [http, https] = [`http://127.0.0.1:${await listen(plain)}`, `https://127.0.0.1:${await listen(secure)}`]
  const rows: readonly (readonly [name: string, url: string, expected: RegExp | undefined, limitMs?: number])[] = [
    ['a document', `${http}/json`, undefined],
    ['elsewhere on the same host', `${http}/moved`, undefined],
    ['missing', `${http}/missing`, /answers 404/],
    ['no JSON', `${http}/broken`, /is not JSON/],
    ['too large', `${http}/long`, /is larger than/],
    ['round and round', `${http}/round`, /redirects more than 3 times/],
    ['another host', `${http}/away`, /redirects elsewhere/],
    ['another host, unencrypted', `${http}/insecure`, /redirects elsewhere/],
    ['a redirect to nowhere', `${http}/nowhere`, /answers 302/],
    ['nobody there', 'http://127.0.0.1:1/json', /cannot be fetched: .*ECONNREFUSED/],
    ['unencrypted beyond this machine', 'http://idp.example.com/json', /is not https/],
    ['another scheme', 'file:///etc/passwd', /is not https/],
    ['no URL', 'idp', /is not a URL/],
    ['no answer', `${http}/silent`, /no answer within/, 50],
    ['half an answer', `${http}/stuck`, /no answer within/, 50],
  ]
  for (const [name, url, problem, limitMs] of rows) {
    await t.test(name, async (t) => {
      const fetching = fetchJson(ca, limitMs)
      const fetched = await fetching.get(url)
      if (problem === undefined) t.strictSame(fetched, { ok: true, document: { a: 1 } })
      else t.match(fetched, { ok: false, problem })
      await fetching.close()
    })
  }
  const trusts = [
    ['the authority given', [ca, nowhere], true],
    ['the authority given, which the system does not know', [ca, certificate('client.pem')], true],
    ["one of the system's", [undefined, certificate('ca.pem')], true],
    ["none of the system's", [undefined, certificate('client.pem')], false],
    ["none of Node's, while the system's cannot be read", [undefined, nowhere], false],
  ] as const
  for (const [name, [own, system], ok] of trusts) {
    await t.test(`over TLS, signed by ${name}`, async (t) => {
      const fetching = fetchJson(trusted(own, system))
      const fetched = await fetching.get(`${https}/json`)
      t.equal(fetched.ok, ok)
      if (!fetched.ok) t.match(fetched.problem, /cannot be fetched/)
      await fetching.close()
    })
  }
  for (const server of [plain, secure]) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

// --- an issuer that says what a test wants, and time that passes when it does -----------------------------------------

const stage = (published: readonly SigningKey[] = []) => {
  let nowMs = 1_800_000_000_000
  let keys = published
  let failing: string | undefined
  const timers = new Map<object, { readonly atMs: number; readonly fire: () => void }>()
  const asked: string[] = []
  const problems: string[] = []
  let changes = 0
  let closed = 0
  const answer = (url: string): unknown =>
    url.endsWith('/jwks') ? { keys: keys.map((key) => key.published) } : { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks` }
  const get = async (url: string): Promise<Fetched> => {
    asked.push(url.slice(ISSUER.length))
    return failing === undefined ? { ok: true, document: answer(url) } : { ok: false, problem: failing }
  }
  const close = async (): Promise<void> => void closed++
  return {
    means: {
      get,
      close,
      fetching: () => ({ get, close }),
      now: () => nowMs,
      after: (ms: number, fire: () => void) => {
        const timer = {}
        timers.set(timer, { atMs: nowMs + ms, fire })
        return () => void timers.delete(timer)
      },
      random: () => 0.5,
      onChange: () => void changes++,
      onProblem: (problem: string) => void problems.push(problem),
    },
    asked,
    problems,
    get nowMs() {
      return nowMs
    },
    get changes() {
      return changes
    },
    get closed() {
      return closed
    },
    /** In how many ms something happens by itself; undefined: never. */
    get nextMs() {
      const [first] = [...timers.values()].map(({ atMs }) => atMs - nowMs).toSorted((a, b) => a - b)
      return first
    },
    publish: (...next: readonly SigningKey[]) => void (keys = next),
    fail: (problem: string | undefined) => void (failing = problem),
    pass: async (ms: number) => {
      nowMs += ms
      for (const [timer, { atMs, fire }] of timers) {
        if (atMs > nowMs) continue
        timers.delete(timer)
        fire()
      }
      await settle()
    },
  }
}

const [first, second, foreign] = [
  await signingKey('RS256', 'first'),
  await signingKey('ES256', 'second'),
  await signingKey(),
]
const discovery = ['/.well-known/openid-configuration', '/jwks']

await t.test('keys are fetched at the start and every ten minutes', async (t) => {
  const issuer = stage([first])
  const set = keySet(auth, issuer.means)
  t.equal(set.keys(), undefined)
  await set.settled
  t.match(set.status(), { keys: 1, fetchedMs: issuer.nowMs, problem: undefined })
  t.strictSame(issuer.asked, discovery)
  t.equal(issuer.nextMs, 600_000)
  const before = set.keys()
  await issuer.pass(600_000)
  t.strictSame(issuer.asked, [...discovery, ...discovery])
  t.equal(set.keys(), before, 'the same keys are the same object')
  t.equal(issuer.changes, 1)
  issuer.publish(first, second)
  await issuer.pass(600_000)
  t.equal(set.status().keys, 2)
  t.equal(issuer.changes, 2)
  await set.close()
  t.equal(issuer.nextMs, undefined)
  t.equal(issuer.closed, 1)
})

await t.test('a key that is not known is looked for, but not again within 30 s', async (t) => {
  const issuer = stage([first])
  const set = keySet(auth, issuer.means)
  await set.settled
  issuer.publish(second)
  await Promise.all([set.missed(), set.missed(), set.missed()])
  t.equal(issuer.asked.length, 4, 'once for all who miss it')
  t.match(set.keys()?.jwks, '"kid":"second"')
  await set.missed()
  await issuer.pass(29_999)
  await set.missed()
  t.equal(issuer.asked.length, 4)
  await issuer.pass(1)
  await set.missed()
  t.equal(issuer.asked.length, 6)
  t.equal(issuer.nextMs, 600_000, 'one refresh is planned, not several')
  await set.close()
})

await t.test('an issuer that fails is asked again, more and more rarely', async (t) => {
  const issuer = stage([first])
  issuer.fail('the issuer cannot be reached')
  const set = keySet(auth, issuer.means)
  await set.settled
  t.strictSame(issuer.asked.length, 3, 'each of its addresses once')
  const pauses: unknown[] = []
  for (let round = 0; round < 7; round++) {
    pauses.push(issuer.nextMs)
    await issuer.pass(issuer.nextMs ?? 0)
  }
  t.strictSame(pauses, [1000, 2000, 4000, 5000, 5000, 5000, 5000])
  t.match(set.status(), { keys: 0, fetchedMs: undefined, problem: 'the issuer cannot be reached' })
  t.strictSame(issuer.problems, ['the issuer cannot be reached'], 'told once')
  issuer.fail(undefined)
  await issuer.pass(5000)
  t.match(set.status(), { keys: 1, problem: undefined })
  t.equal(issuer.nextMs, 600_000)
  issuer.fail('the issuer cannot be reached')
  await issuer.pass(600_000)
  t.match(set.status(), { keys: 1, problem: 'the issuer cannot be reached' }, 'the last good keys stay')
  pauses.length = 0
  for (let round = 0; round < 7; round++) {
    pauses.push(issuer.nextMs)
    await issuer.pass(issuer.nextMs ?? 0)
  }
  t.strictSame(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000], 'there is more time while there are some')
  await set.close()
})

await t.test('an issuer without keys is a problem, and takes none away', async (t) => {
  const issuer = stage([first])
  const set = keySet(auth, issuer.means)
  await set.settled
  issuer.publish()
  await issuer.pass(600_000)
  t.match(set.status(), { keys: 1, problem: /holds no public key/ })
  await set.close()
})

await t.test('what comes after the end changes nothing', async (t) => {
  const issuer = stage([first])
  const set = keySet(auth, issuer.means)
  await set.close()
  await set.settled
  t.equal(set.keys(), undefined)
  t.equal(issuer.nextMs, undefined)
  await set.missed()
  t.equal(issuer.changes, 0)
})

await t.test('keys elsewhere than discovered', async (t) => {
  const text = JSON.stringify({ keys: [first.jwk] })
  const rows = [
    ['a URL', { kind: 'url', url: `${ISSUER}/jwks` }, ['/jwks'], 1, undefined],
    ['a file', { kind: 'file', text }, [], 1, undefined],
    ['a file without keys', { kind: 'file', text: '{"keys":[]}' }, [], 0, /holds no public key/],
    ['a file that is no JSON', { kind: 'file', text: '{' }, [], 0, /is not JSON/],
  ] as const
  for (const [name, jwks, asked, keys, problem] of rows) {
    await t.test(name, async (t) => {
      const issuer = stage([first])
      const set = keySet({ issuer: ISSUER, jwks }, issuer.means)
      await set.settled
      await set.missed()
      t.strictSame(new Set(issuer.asked), new Set(asked))
      t.match(set.status(), { keys, problem })
      t.notMatch(set.keys()?.jwks ?? '', /"(d|p|q|dp|dq|qi)"/)
      await set.close()
    })
  }
})

// --- tokens ---------------------------------------------------------------------------------------------------------

const authenticated = async (issuer: ReturnType<typeof stage>, changes: Partial<Auth> = {}) => {
  const who = authenticator({ ...auth, ...changes }, issuer.means)
  await who.prepare({ ...auth, ...changes }, 1000)
  return who
}
const claimsAt = (nowMs: number): Readonly<Record<string, unknown>> => ({
  iss: ISSUER,
  aud: RESOURCE,
  sub: 'ann',
  azp: 'cli',
  exp: inSeconds(300, nowMs),
})
const said = (identified: Identified): string =>
  identified.ok ? identified.principal.subject : `${identified.reason}: ${identified.detail}`

await t.test('tokens that count', async (t) => {
  const issuer = stage([...kinds, first])
  const who = await authenticated(issuer)
  const claims = claimsAt(issuer.nowMs)
  const rows: readonly (readonly [name: string, token: string | Promise<string>])[] = [
    ...kinds.map((key) => [key.alg, key.sign(claims)] as const),
    ['an audience among several', first.sign({ ...claims, aud: ['account', RESOURCE] })],
    ['of an access token by RFC 9068', first.sign(claims, { typ: 'at+jwt' })],
    ['that names no key', first.sign(claims, { kid: undefined })],
    ['just expired: clocks differ', first.sign({ ...claims, exp: inSeconds(-59, issuer.nowMs) })],
    ['not valid for a little while: clocks differ', first.sign({ ...claims, nbf: inSeconds(59, issuer.nowMs) })],
  ]
  for (const [name, token] of rows) {
    await t.test(name, async (t) => {
      const sent = await token
      const identified = await who.identify(`Bearer ${sent}`, '')
      t.match(identified, { ok: true, principal: { subject: 'ann', claims: { azp: 'cli' } }, token: sent })
    })
  }
  await who.close()
})

await t.test('tokens that do not count', async (t) => {
  const issuer = stage([...kinds, first])
  const who = await authenticated(issuer)
  const claims = claimsAt(issuer.nowMs)
  for (const [name, forge] of Object.entries(badTokens)) {
    await t.test(name, async (t) => {
      const token = await forge({ key: first, foreign, claims, nowMs: issuer.nowMs })
      const identified = await who.identify(`Bearer ${token}`, '')
      t.match(identified, { ok: false, reason: 'bad-token', detail: String })
      t.notOk(said(identified).includes('elsewhere'), 'what it says is not repeated')
    })
  }
  const good = await first.sign(claims)
  const rows: readonly (readonly [name: string, authorization: string | undefined, reason: string | undefined])[] = [
    ['none', undefined, 'no-token'],
    ['an empty header', '', 'no-token'],
    ['the scheme alone', 'Bearer', 'no-token'],
    ['the scheme and a space', 'Bearer ', 'no-token'],
    ['the token alone', good, 'no-token'],
    ['another scheme', `Basic ${good}`, 'no-token'],
    ['two tokens', `Bearer ${good}, Bearer ${good}`, 'no-token'],
    ['a token with more behind it', `Bearer ${good} x`, 'no-token'],
    ['the scheme in another case', `bearer ${good}`, undefined],
  ]
  for (const [name, authorization, reason] of rows) {
    await t.test(`as a header: ${name}`, async (t) => {
      const identified = await who.identify(authorization, '')
      t.equal(identified.ok ? undefined : identified.reason, reason)
    })
  }
  await who.close()
})

await t.test('property: whatever the header says, there is an answer, and it is no', async (t) => {
  const who = await authenticated(stage([first]))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.base64String(),
        fc.array(fc.base64String(), { maxLength: 4 }).map((x) => x.join('.')),
      ),
      fc.boolean(),
      async (text, scheme) => !(await who.identify(scheme ? `Bearer ${text}` : text, '')).ok,
    ),
  )
  t.pass()
  await who.close()
})

await t.test('whom a token is for', async (t) => {
  const issuer = stage([first])
  const rows: readonly (readonly [audience: string, aud: unknown, view: string, counts: boolean])[] = [
    [RESOURCE, RESOURCE, '', true],
    [RESOURCE, RESOURCE, 'oncall', true],
    [RESOURCE, `${RESOURCE}/oncall`, 'oncall', true],
    [RESOURCE, `${RESOURCE}/oncall`, '', false],
    [RESOURCE, `${RESOURCE}/oncall`, 'other', false],
    [RESOURCE, `${RESOURCE}/`, '', false],
    [RESOURCE, [], '', false],
    [RESOURCE, [7, null, `${RESOURCE}/oncall`], 'oncall', true],
    ['tools', 'tools', '', true],
    ['tools', 'tools/oncall', 'oncall', true],
    ['tools', RESOURCE, '', false],
    ['https://mcp.example.com/', 'https://mcp.example.com/oncall', 'oncall', true],
  ]
  for (const [audience, aud, view, counts] of rows) {
    await t.test(`${audience}, a token for ${JSON.stringify(aud)} at ${view === '' ? 'all' : view}`, async (t) => {
      const who = await authenticated(issuer, { audience })
      const token = await first.sign({ ...claimsAt(issuer.nowMs), aud })
      t.equal((await who.identify(`Bearer ${token}`, view)).ok, counts)
      await who.close()
    })
  }
})

await t.test('a token is verified once, as long as nothing changes', async (t) => {
  const issuer = stage([first])
  const who = await authenticated(issuer)
  const bearer = `Bearer ${await first.sign(claimsAt(issuer.nowMs))}`
  const principal = async (): Promise<unknown> => {
    const identified = await who.identify(bearer, '')
    return identified.ok ? identified.principal : identified.detail
  }
  const one = await principal()
  t.equal(await principal(), one, 'the same object')
  await issuer.pass(359_000)
  t.equal(await principal(), one)
  await issuer.pass(1000)
  t.equal(await principal(), 'it has expired', 'however well it was known')
  await who.close()
})

await t.test('a key that is withdrawn takes its tokens with it', async (t) => {
  const issuer = stage([first])
  const who = await authenticated(issuer)
  const claims = { ...claimsAt(issuer.nowMs), exp: inSeconds(3600, issuer.nowMs) }
  const [old, next] = [`Bearer ${await first.sign(claims)}`, `Bearer ${await second.sign(claims)}`]
  t.equal(said(await who.identify(old, '')), 'ann')
  issuer.publish(second)
  t.equal(said(await who.identify(old, '')), 'ann', 'nobody has asked since')
  t.equal(said(await who.identify(next, '')), 'ann', 'an unknown key is looked for at once')
  t.match(said(await who.identify(old, '')), /bad-token: it is signed with a key that its issuer does not publish/)
  t.equal(issuer.changes, 2)
  await who.close()
})

await t.test('without keys nobody is let in, until there are some', async (t) => {
  const issuer = stage([first])
  issuer.fail('the issuer cannot be reached')
  const who = await authenticated(issuer)
  const bearer = `Bearer ${await first.sign(claimsAt(issuer.nowMs))}`
  t.match(said(await who.identify(bearer, '')), /^no-keys: /)
  t.equal(who.jwks(auth), undefined)
  t.match(who.status(), { issuer: ISSUER, audience: RESOURCE, keys: 0, problem: 'the issuer cannot be reached' })
  issuer.fail(undefined)
  await issuer.pass(1000)
  t.equal(said(await who.identify(bearer, '')), 'ann')
  t.match(who.jwks(auth), '"kid":"first"')
  await who.close()
})

await t.test('another issuer, or none', async (t) => {
  const issuer = stage([first])
  const who = await authenticated(issuer)
  const bearer = `Bearer ${await first.sign(claimsAt(issuer.nowMs))}`
  const other = { ...auth, issuer: 'https://other.example.com', jwks: { kind: 'url', url: `${ISSUER}/jwks` } } as const
  await who.prepare(other, 1000)
  t.equal(said(await who.identify(bearer, '')), 'ann', 'what is only prepared does not count yet')
  t.match(who.jwks(other), '"kid":"first"')
  who.use(other)
  t.equal(issuer.closed, 1, 'the old one is asked no more')
  t.match(said(await who.identify(bearer, '')), 'bad-token: it is of another issuer')
  who.use({ ...other, skewMs: 0 })
  t.equal(issuer.asked.length, 3, 'the same keys are not fetched again')
  who.use(undefined)
  t.match(await who.identify(undefined, ''), { ok: true, principal: { key: '' } })
  t.match(await who.identify(bearer, ''), { ok: true, principal: { key: '' } })
  t.equal(who.status(), undefined)
  await who.close()
})

await t.test('one that is slow is not waited for longer than said', async (t) => {
  const issuer = stage([first])
  const silent = {
    ...issuer.means,
    fetching: () => ({ ...issuer.means, get: () => new Promise<Fetched>(() => undefined) }),
  }
  const who = authenticator(auth, silent)
  let prepared = false
  const preparing = who.prepare(auth, 3000).then(() => (prepared = true))
  await issuer.pass(2999)
  t.notOk(prepared)
  await issuer.pass(1)
  await preparing
  t.equal(who.jwks(auth), undefined)
  await who.close()
})

// --- what clients are told ------------------------------------------------------------------------------------------

const rules = (path: string, ...scopes: readonly string[]): Access => ({
  kind: 'rules',
  rules: scopes.map((scope) => ({
    place,
    path,
    allow: [
      { of: 'scopes', path: '', values: [scope] },
      { of: 'groups', path: '', values: ['dev'] },
    ],
    confirm: false,
  })),
})
const view = (name: string, changes: Partial<View> = {}): View => ({ name, place, ...changes })

const registry = (url: string | undefined, changes: Partial<Registry['gateway']> = {}): Registry => ({
  ...registryOf(
    0,
    [
      httpServer('code', 'https://code.example.com/mcp', { access: rules('a', 'code:write', 'code:read openid') }),
      httpServer('off', 'https://off.example.com/mcp', { access: rules('b', 'never'), enabled: false }),
      httpServer('roles', 'https://roles.example.com/mcp', { access: { kind: 'roles', place, path: 'c' } }),
    ],
    { auth, ...(url !== undefined && { url }), access: rules('d', 'mcp', 'offline_access', 'no "quotes"'), ...changes },
  ),
  views: [view('oncall', { description: 'What is needed at night', access: rules('e', 'oncall') }), view('docs')],
})

await t.test('the metadata of what is protected', async (t) => {
  const scopes = ['code:read', 'code:write', 'mcp', 'no', 'openid']
  const all = {
    resource: RESOURCE,
    authorization_servers: [ISSUER],
    bearer_methods_supported: ['header'],
    scopes_supported: scopes,
    resource_name: 'MCP Gateway',
  }
  const oncall = {
    ...all,
    resource: `${RESOURCE}/oncall`,
    scopes_supported: [...scopes, 'oncall'].toSorted(),
    resource_name: 'What is needed at night',
  }
  const docs = { ...all, resource: `${RESOURCE}/docs`, resource_name: 'MCP Gateway, docs' }
  const at = '/.well-known/oauth-protected-resource'
  const rows: readonly (readonly [url: string | undefined, path: string, expected: unknown])[] = [
    [RESOURCE, at, all],
    [RESOURCE, `${at}/mcp`, all],
    [RESOURCE, `${at}/mcp?x=1`, all],
    [RESOURCE, `${at}/mcp/oncall`, oncall],
    [RESOURCE, `${at}/mcp/docs`, docs],
    [RESOURCE, `${at}/mcp/none`, undefined],
    [RESOURCE, `${at}/mcp/`, undefined],
    [RESOURCE, `${at}/oncall`, undefined],
    [RESOURCE, `${at}s`, undefined],
    [RESOURCE, `${at}/..`, undefined],
    [RESOURCE, '/mcp', undefined],
    [RESOURCE, '/.well-known/oauth-authorization-server', undefined],
    ['https://x.example.com/tools/mcp', `${at}/tools/mcp`, { ...all, resource: 'https://x.example.com/tools/mcp' }],
    ['https://x.example.com/tools/mcp', `${at}/mcp`, undefined],
    ['https://x.example.com/', at, { ...all, resource: 'https://x.example.com/' }],
    ['https://x.example.com/', `${at}/oncall`, { ...oncall, resource: 'https://x.example.com/oncall' }],
    [undefined, at, undefined],
  ]
  for (const [url, path, expected] of rows) {
    await t.test(`${url ?? 'without an address'}: ${path}`, async (t) => {
      const document = resourceMetadata(registry(url), path)
      t.strictSame(document === undefined ? undefined : JSON.parse(document), expected)
    })
  }
  await t.test('without rules that name scopes none are listed', async (t) => {
    const bare = { ...registryOf(0, [], { auth, url: RESOURCE }) }
    t.notOk(resourceMetadata(bare, at)?.includes('scopes_supported'))
  })
  await t.test('without auth there is none', async (t) => {
    t.equal(resourceMetadata(registryOf(0, [], { url: RESOURCE }), at), undefined)
  })
})

await t.test('the challenge', async (t) => {
  const metadata = (path: string): string =>
    `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource${path}"`
  const scopes = ['code:write', 'mcp', 'has"quote', 'has space']
  const rows: readonly (readonly [string | undefined, string, Parameters<typeof challenge>[2], string])[] = [
    [RESOURCE, '', {}, `Bearer ${metadata('/mcp')}`],
    [RESOURCE, 'oncall', {}, `Bearer ${metadata('/mcp/oncall')}`],
    [RESOURCE, 'none', {}, `Bearer ${metadata('/mcp')}`],
    ['https://mcp.example.com/', '', {}, `Bearer ${metadata('')}`],
    [RESOURCE, '', { error: 'invalid_token' }, `Bearer error="invalid_token", ${metadata('/mcp')}`],
    [
      RESOURCE,
      'docs',
      { error: 'insufficient_scope', scopes },
      `Bearer error="insufficient_scope", scope="code:write mcp", ${metadata('/mcp/docs')}`,
    ],
    [undefined, '', {}, 'Bearer'],
  ]
  for (const [url, name, given, expected] of rows) {
    await t.test(`${url ?? 'without an address'} ${name} ${JSON.stringify(given)}`, async (t) => {
      t.equal(challenge(registry(url), name, given), expected)
    })
  }
})
