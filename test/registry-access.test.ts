/** What a registry says about who may do what, and what is said about everything that is wrong in that. */
import { inspect } from 'node:util'
import t from 'tap'
import { whatChanged } from '../src/load-registry.ts'
import { compileExpression } from '../src/registry/expression.ts'
import { formatProblem } from '../src/registry/format-problem.ts'
import type { Facts, Json, Lock, Registry, Rule, Server } from '../src/registry/model.ts'
import { type ParseResult, parseRegistry } from '../src/registry/parse.ts'
import { neverThrows, problemsOf, registryIn } from './support/registry-text.ts'

// --- the world a registry is read in ------------------------------------------------------------------------------

const keys = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'

const files: Readonly<Record<string, string>> = {
  '/etc/mcp/keys.json': keys,
  '/etc/mcp/no-keys.json': '{"keys":[]}',
  '/etc/mcp/private.json': '{"keys":[{"kty":"RSA","n":"","d":""}]}',
  '/etc/mcp/shared.json': '{"keys":[{"kty":"oct","k":""}]}',
  '/etc/mcp/list.json': '[1]',
  '/etc/mcp/not.json': 's3cret',
  '/etc/mcp/secret': 's3cret\n',
  '/etc/mcp/keycloak.json':
    '{"sub":"ann","realm_access":{"roles":[],"other":1},"resource_access":{"account":{"roles":[]},"githbu":{"roles":[]}}}',
  '/etc/mcp/ann.json': '{"sub":"ann","email":"ann@example.com","level":3,"group":["dev"],"nested":{"a":[null,true]}}',
}

const readFile = (path: string): string => {
  const content = Object.hasOwn(files, path) ? files[path] : undefined
  if (content === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' })
  return content
}

const env = { TOKEN: 's3cret-token', CEL: 'claims.s3cret ==' }

const pin = (...tools: readonly string[]): Lock =>
  new Map([['a', { tools: new Map(tools.map((name) => [name, { sha256: '', definition: {} }])) }]])

const read = (text: string, lock?: Lock): ParseResult =>
  parseRegistry(text, { file: '/etc/mcp/registry.yaml', env, readFile, lock })

/** Lines 1 to 3, with a gateway that knows its callers. */
const head =
  'gateway:\n  url: https://mcp.example.com/mcp\n  auth: { issuer: https://idp.example.com, roles: claims.perms }\n'
const url = 'url: https://a.example.com/mcp'
/** One server `a` behind it; `lines` start on line 7, indented by four. */
const serverA = (...lines: readonly string[]): string =>
  `${[`${head}servers:`, '  a:', `    ${url}`, ...lines.map((line) => `    ${line}`)].join('\n')}\n`
/** One rule of it: its keys start at 8:9. */
const rule = (...lines: readonly string[]): string =>
  serverA('access:', ...lines.map((line, index) => `${index === 0 ? '  - ' : '    '}${line}`))
/** Other sections after a plain server; they start on line 5. */
const withServer = (...lines: readonly string[]): string =>
  `${[`${head}servers: { a: { ${url} } }`, ...lines].join('\n')}\n`
/** More of the gateway, without a caller known; starts on line 2, indented by two. */
const gateway = (...lines: readonly string[]): string =>
  `${['gateway:', ...lines.map((line) => `  ${line}`), `servers: { a: { ${url} } }`].join('\n')}\n`

const first = (registry: Registry): Server => {
  const [server] = registry.servers
  if (server === undefined) throw new Error('no server')
  return server
}
const rulesOf = (registry: Registry): readonly Rule[] => {
  const { access } = first(registry)
  return access?.kind === 'rules' ? access.rules : []
}
const http = (registry: Registry): Extract<Server, { readonly kind: 'http' }> => {
  const server = first(registry)
  if (server.kind !== 'http') throw new Error('not over HTTP')
  return server
}
const at = (line: number, column: number) => ({ line, column })

// --- values -------------------------------------------------------------------------------------------------------

await t.test('a registry with every key of access', async (t) => {
  const result = read(`
gateway:
  listen: 0.0.0.0:8080
  url: https://mcp.example.com/mcp
  auth:
    issuer: https://idp.example.com/realms/tools
    audience: tools
    jwks: keys.json
    roles: claims.permissions
    skew: 5m
  access:
    - allow: anyone
      when: request.address != "10.0.0.1"
  limits: { calls: 600/m, per: session, concurrent: 20, streams: 8 }
  confirm: 90s
servers:
  a:
    url: https://a.example.com/mcp
    credential:
      exchange:
        token: https://idp.example.com/token
        client: gateway
        secret: { file: secret }
        scopes: [read, write]
        audience: a
        resource: https://a.example.com/
    forward: [X-Tenant]
    lists: per-caller
    access:
      - { tools: ["get_*", search], prompts: ask, resources: "file:*", allow: { roles: dev, claims: { org.team: [1, red] } } }
      - tools: merge
        allow: { groups: [platform], scopes: "a b", subjects: [ann, 7] }
        confirm: true
    limits: { calls: 10/s, concurrent: 4, body: 256KiB, tools: { "search_*": { calls: 1/s, per: tool } } }
  b: { command: run, access: { roles: b-client } }
  c:
    url: https://c.example.com/mcp
    credential: { oauth: { token: "http://127.0.0.1:9/token", client: gateway } }
defaults: { access: roles }
views:
  oncall: { tools: ["a_*"], prompts: a_ask, access: [{ allow: { groups: oncall } }], description: d, instructions: i }
  all: {}
tests:
  - { name: ann, claims: { sub: ann, groups: [dev], org: { team: { n: 7, t: true, z: null, s: "7" } } }, view: oncall, allowed: [a_get], denied: [a_merge] }
  - claims: ann.json
    denied: [a_merge]
`)
  const registry = registryIn(result)
  t.strictSame(problemsOf(result), [
    '45:5: warning: tests[1].claims.group: no rule looks at this claim, did you mean "groups"?',
  ])
  t.strictSame(result.files, ['/etc/mcp/keys.json', '/etc/mcp/secret', '/etc/mcp/ann.json'])
  const { auth, access, limits, confirmMs } = registry.gateway
  t.strictSame(auth, {
    place: at(5, 3),
    issuer: 'https://idp.example.com/realms/tools',
    audience: 'tools',
    jwks: { kind: 'file', text: keys },
    roles: 'permissions',
    skewMs: 300_000,
  })
  const [guard] = access?.kind === 'rules' ? access.rules : []
  t.strictSame(
    [guard?.place, guard?.path, guard?.allow, guard?.confirm, guard?.when?.source, guard?.when?.place],
    [at(12, 7), 'gateway.access[0]', [], false, 'request.address != "10.0.0.1"', at(13, 7)],
  )
  t.strictSame(limits, {
    rate: { calls: 600, perMs: 60_000, per: 'session', place: at(14, 13) },
    concurrent: 20,
    streams: 8,
    tools: [],
  })
  t.equal(confirmMs, 90_000)
  const a = http(registry)
  t.strictSame(
    { ...a.exchange, secret: a.exchange?.secret?.reveal() },
    {
      token: 'https://idp.example.com/token',
      client: 'gateway',
      secret: 's3cret',
      scopes: ['read', 'write'],
      audience: 'a',
      resource: 'https://a.example.com/',
      place: at(20, 7),
    },
  )
  t.strictSame([a.credential, a.oauth, a.forward, a.perCaller], [undefined, undefined, ['x-tenant'], true])
  t.strictSame(rulesOf(registry), [
    {
      place: at(30, 9),
      path: 'servers.a.access[0]',
      tools: ['get_*', 'search'],
      prompts: ['ask'],
      resources: ['file:*'],
      allow: [
        { of: 'roles', path: '', values: ['dev'] },
        { of: 'claim', path: 'org.team', values: ['1', 'red'] },
      ],
      confirm: false,
    },
    {
      place: at(31, 9),
      path: 'servers.a.access[1]',
      tools: ['merge'],
      allow: [
        { of: 'groups', path: '', values: ['platform'] },
        { of: 'scopes', path: '', values: ['a b'] },
        { of: 'subjects', path: '', values: ['ann', '7'] },
      ],
      confirm: true,
    },
  ])
  t.strictSame(a.limits, {
    rate: { calls: 10, perMs: 1_000, per: 'subject', place: at(34, 15) },
    concurrent: 4,
    maxBody: 256 * 1024,
    tools: [{ pattern: 'search_*', rate: { calls: 1, perMs: 1_000, per: 'tool', place: at(34, 80) } }],
  })
  const [, b, c] = registry.servers
  t.strictSame(b?.access, { kind: 'roles', client: 'b-client', place: at(35, 22), path: 'servers.b.access' })
  t.strictSame(c?.access, { kind: 'roles', place: at(39, 13), path: 'defaults.access' })
  t.strictSame(c?.kind === 'http' ? [c.oauth, c.exchange] : [], [
    { token: 'http://127.0.0.1:9/token', client: 'gateway', scopes: [], place: at(38, 19) },
    undefined,
  ])
  t.strictSame(registry.views, [
    {
      name: 'oncall',
      place: at(41, 3),
      description: 'd',
      instructions: 'i',
      tools: ['a_*'],
      prompts: ['a_ask'],
      access: {
        kind: 'rules',
        rules: [
          {
            place: at(41, 54),
            path: 'views.oncall.access[0]',
            allow: [{ of: 'groups', path: '', values: ['oncall'] }],
            confirm: false,
          },
        ],
      },
    },
    { name: 'all', place: at(42, 3) },
  ])
  t.strictSame(registry.tests, [
    {
      name: 'ann',
      place: at(44, 5),
      claims: { sub: 'ann', groups: ['dev'], org: { team: { n: 7, t: true, z: null, s: '7' } } },
      view: 'oncall',
      allowed: [{ tool: 'a_get', place: at(44, 130) }],
      denied: [{ tool: 'a_merge', place: at(44, 147) }],
    },
    {
      name: 'tests[1]',
      place: at(45, 5),
      claims: { sub: 'ann', email: 'ann@example.com', level: 3, group: ['dev'], nested: { a: [null, true] } },
      view: '',
      allowed: [],
      denied: [{ tool: 'a_merge', place: at(46, 14) }],
    },
  ])
  t.notMatch(inspect(registry, { depth: 9 }) + JSON.stringify(registry), /s3cret/)
})

await t.test('what values mean', async (t) => {
  // biome-ignore format: a table
  const rows: readonly (readonly [string, string, (registry: Registry) => unknown, unknown])[] = [
    ['the audience is the public address', withServer(), (r) => r.gateway.auth?.audience, 'https://mcp.example.com/mcp'],
    ['keys are discovered', withServer(), (r) => r.gateway.auth?.jwks, { kind: 'discovered' }],
    ['keys at a URL', gateway('url: https://b.example.com/mcp', 'auth: { issuer: "http://[::1]:9/", jwks: https://b.example.com/certs }'), (r) => r.gateway.auth?.jwks, { kind: 'url', url: 'https://b.example.com/certs' }],
    ['a minute of skew, roles where Keycloak has them', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com }'), (r) => [r.gateway.auth?.skewMs, r.gateway.auth?.roles], [60_000, undefined]],
    ['roles without claims. before them', withServer(), (r) => r.gateway.auth?.roles, 'perms'],
    ['access: roles', serverA('access: roles'), (r) => first(r).access, { kind: 'roles', place: at(7, 5), path: 'servers.a.access' }],
    ['own access beside defaults', `${serverA('access: [{ allow: anyone }]')}defaults: { access: roles }\n`, (r) => first(r).access?.kind, 'rules'],
    ['no access', withServer(), (r) => 'access' in first(r), false],
    ['anyone', rule('allow: anyone'), (r) => rulesOf(r)[0]?.allow, []],
    ['anyone, from a variable', rule('allow: "${NO:-anyone}"'), (r) => rulesOf(r)[0]?.allow, []],
    ['a rate an hour', serverA('limits: { calls: 5/h }'), (r) => first(r).limits?.rate, { calls: 5, perMs: 3_600_000, per: 'subject', place: at(7, 15) }],
    ['a rate a millisecond', serverA('limits: { calls: 5/ms }'), (r) => first(r).limits?.rate?.perMs, 1],
    ['limits of a program', `${head}servers: { a: { command: x, limits: { concurrent: 1 } } }\n`, (r) => first(r).limits, { concurrent: 1, tools: [] }],
    ['nothing is forwarded', withServer(), (r) => [http(r).forward, http(r).perCaller], [[], false]],
  ]
  for (const [name, text, value, expected] of rows) {
    await t.test(name, async (t) => {
      const result = read(text)
      t.strictSame(problemsOf(result), [])
      t.strictSame(value(registryIn(result)), expected)
    })
  }
})

// --- problems -----------------------------------------------------------------------------------------------------

const noAuth = 'add gateway.auth'
const hides = 'of this server hides all that it matches'
const others = (index: number): string =>
  `it never matters: servers.a.access[${index}] allows the same or more, remove it, or narrow the other`

// biome-ignore format: a table
const problemRows: readonly (readonly [string, string, readonly string[]])[] = [
  // auth
  ['auth without url', gateway('auth: { issuer: https://b.example.com }'), ["2:3: error: gateway.auth: auth needs the gateway's public address: tokens are for it, add gateway.url, such as https://mcp.example.com/mcp"]],
  ['auth with a url that is none', gateway('url: b', 'auth: { issuer: https://b.example.com }'), ['2:8: error: gateway.url: must be a whole URL, such as https://weather.example.com/mcp']],
  ['auth without issuer', gateway('url: https://b.example.com/mcp', 'auth: {}'), ['3:3: error: gateway.auth: "issuer" is missing']],
  ['an issuer in the clear', gateway('url: https://b.example.com/mcp', 'auth: { issuer: http://b.example.com }'), ['3:19: error: gateway.auth.issuer: must be an https URL, http is for this machine alone']],
  ['an issuer with a user', gateway('url: https://b.example.com/mcp', 'auth: { issuer: "https://u:s3cret@b.example.com" }'), ['3:19: error: gateway.auth.issuer: must not have a user or a password in it']],
  ['an issuer with a query', gateway('url: https://b.example.com/mcp', 'auth: { issuer: "https://b.example.com?x" }'), ['3:19: error: gateway.auth.issuer: must not have a query (?…)']],
  ['no audience', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, audience: "" }'), ['3:52: error: gateway.auth.audience: is empty']],
  ['keys in the clear', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, jwks: http://b.example.com }'), ['3:48: error: gateway.auth.jwks: must be an https URL, http is for this machine alone']],
  ['no file of keys', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, jwks: gone.json }'), ['3:48: error: gateway.auth.jwks: the file does not exist, paths are relative to the registry file']],
  ...['no-keys.json', 'list.json', 'not.json'].map((file): readonly [string, string, readonly string[]] => [`keys in ${file}`, gateway('url: https://b.example.com/mcp', `auth: { issuer: https://b.example.com, jwks: ${file} }`), ['3:48: error: gateway.auth.jwks: the file must hold a JSON Web Key Set, { "keys": [ … ] } with a key at least']]),
  ['no path of roles', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, roles: claims. }'), ['3:49: error: gateway.auth.roles: must be the path of a claim, such as claims.permissions']],
  ['too much skew', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, skew: 6m }'), ['3:48: error: gateway.auth.skew: must be at most 5m']],
  ['tokens in the clear', gateway('url: http://b.example.com/mcp', 'auth: { issuer: https://b.example.com }'), ['2:8: warning: gateway.url: tokens travel unencrypted, use https']],
  ['tokens in the clear on this machine', gateway('url: "http://[::1]:80/mcp"', 'auth: { issuer: https://b.example.com }'), []],
  ['no path', gateway('url: https://b.example.com', 'auth: { issuer: https://b.example.com }'), ['2:8: warning: gateway.url: tokens are for exactly this address, and it has no path, agents connect at /mcp, such as https://mcp.example.com/mcp']],
  ['private keys', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, jwks: private.json }'), ['3:48: warning: gateway.auth.jwks: the file holds private keys or shared secrets, which are not used, keep public keys only']],
  ['shared secrets', gateway('url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com, jwks: shared.json }'), ["3:48: error: gateway.auth.jwks: the file holds shared secrets alone, which no token is verified with, it takes the issuer's public keys: RSA, EC or OKP"]],
  ['a slash at the end', gateway('url: https://b.example.com/mcp/', 'auth: { issuer: https://b.example.com }'), ['2:8: warning: gateway.url: tokens are for exactly this address, and it ends in a slash, agents connect at /mcp, such as https://mcp.example.com/mcp']],
  ['unknown in auth', gateway('url: https://b.example.com/mcp', 'auth: { isuer: https://b.example.com }'), ['3:3: error: gateway.auth: "issuer" is missing', '3:11: error: gateway.auth.isuer: unknown key "isuer", did you mean "issuer"?']],
  ['auth where it does not belong', withServer('auth: {}'), ['5:1: error: auth: unknown key "auth", it belongs under gateway']],
  ['beyond loopback with auth', gateway('listen: 0.0.0.0:80', 'admin: 0.0.0.0:81', 'url: https://b.example.com/mcp', 'auth: { issuer: https://b.example.com }'), ['3:10: error: gateway.admin: anybody could connect beyond loopback, use 127.0.0.1, or say gateway.open: true']],

  // rules
  ['no rules', serverA('access: []'), ['7:13: error: servers.a.access: is empty, so it would deny everything, leave it out to allow everything']],
  ['a rule for nobody', rule('tools: x'), ['8:9: error: servers.a.access[0]: a rule needs allow or when, allow: anyone is for everybody']],
  ['an empty rule', serverA('access: [{}]'), ['7:14: error: servers.a.access[0]: a rule needs allow or when, allow: anyone is for everybody']],
  ['a rule without a value', serverA('access: [~]'), ['7:14: error: servers.a.access[0]: has no value, give it one, or remove the key']],
  ['no rules but a word', serverA('access: anyone'), ['7:13: error: servers.a.access: must be roles, { roles: client } or a list of rules']],
  ['roles in upper case', serverA('access: Roles'), ['7:13: error: servers.a.access: must be roles, { roles: client } or a list of rules, did you mean "roles"?']],
  ['roles of no client', serverA('access: { roles: "" }'), ['7:22: error: servers.a.access.roles: is empty']],
  ['roles mistyped', serverA('access: { role: x }'), ['7:5: error: servers.a.access: "roles" is missing', '7:15: error: servers.a.access.role: unknown key "role", did you mean "roles"?']],
  ['roles for the gateway', gateway('access: roles'), ['2:11: error: gateway.access: must be a list, not a text, write [ … ]']],
  ['unknown in a rule', rule('alow: anyone'), ['8:9: error: servers.a.access[0].alow: unknown key "alow", did you mean "allow"?']],
  ['a rule does not hide the next', serverA('access:', '  - alow: anyone', '    when: "true"', '  - { allow: anyon }'), ['8:9: error: servers.a.access[0].alow: unknown key "alow", did you mean "allow"?', '10:18: error: servers.a.access[1].allow: must be anyone or conditions, such as { groups: dev }']],
  ['rules that deny', rule('tools: x', 'deny: anyone'), ['9:9: error: servers.a.access[0].deny: unknown key "deny", rules only allow: what none of them allows is denied']],
  ['one rule instead of a list', serverA('access: { tools: x, allow: anyone }'), ['7:13: error: servers.a.access: must be a list of rules, begin each with "- "']],
  ["one rule of the gateway's instead of a list", gateway('access: { allow: anyone }'), ['2:11: error: gateway.access: must be a list, not keys and values, begin each with "- "']],
  ['a claim beside the others', rule('allow: { email: x }'), ['8:18: error: servers.a.access[0].allow.email: unknown key "email", claims looks at any claim: claims: { email: … }']],
  ['a path that begins outside', rule('allow: { claims: { claims.x: y } }'), ['8:38: warning: servers.a.access[0].allow.claims["claims.x"]: the path begins inside the token, leave "claims." away']],
  ['a server that confirms', serverA('confirm: true'), ['7:5: error: servers.a.confirm: unknown key "confirm", a rule of its access says so']],
  ['auth of a server', serverA('auth: {}'), ['7:5: error: servers.a.auth: unknown key "auth", credential lets the gateway in at the server, gateway.auth agents at the gateway']],
  ['headers of a server', serverA('headers: {}'), ['7:5: error: servers.a.headers: unknown key "headers", credential adds a header, forward lets those of clients through']],
  ['servers of a view', withServer('views: { v: { servers: [a] } }'), ['5:15: error: views.v.servers: unknown key "servers", tools, prompts and resources say what is in a view']],
  ['a star without quotes', rule('tools: *', 'allow: anyone'), ['8:16: error: a text cannot start with *, put it in quotes, such as "*"']],
  ['a renamed tool', serverA('tools: { rename: { get: fetch } }', 'access: [{ tools: fetch, allow: anyone }]'), [`8:23: warning: servers.a.access[0].tools: rules take the server's own names, and this is a new one, did you mean "get"?`]],
  ['a log that is on', gateway('audit: true'), ['2:10: error: gateway.audit: must be the path of a file, or -, such as audit.jsonl']],
  ['a word that is not anyone', rule('allow: everyone'), ['8:16: error: servers.a.access[0].allow: must be anyone or conditions, such as { groups: dev }']],
  ['a list for allow', rule('allow: [x]'), ['8:16: error: servers.a.access[0].allow: must be anyone or conditions, not a list']],
  ['allow without conditions', rule('allow: {}'), ['8:16: error: servers.a.access[0].allow: says nothing, anyone is for everybody']],
  ['unknown in allow', rule('allow: { group: dev }'), ['8:18: error: servers.a.access[0].allow.group: unknown key "group", did you mean "groups"?']],
  ['no groups', rule('allow: { groups: [] }'), ['8:26: error: servers.a.access[0].allow.groups: is empty, so it would allow nobody']],
  ['an empty group', rule('allow: { groups: [dev, " "] }'), ['8:32: error: servers.a.access[0].allow.groups[1]: is empty']],
  ['an empty role', rule('allow: { roles: "" }'), ['8:25: error: servers.a.access[0].allow.roles: is empty']],
  ['a group twice', rule('allow: { groups: [dev, dev] }'), ['8:32: warning: servers.a.access[0].allow.groups[1]: this stands here twice']],
  ['groups as keys', rule('allow: { groups: { a: b } }'), ['8:26: error: servers.a.access[0].allow.groups: must be a text or a list, not keys and values']],
  ['no values for a claim', rule('allow: { claims: { org: [] } }'), ['8:33: error: servers.a.access[0].allow.claims.org: is empty, so it would allow nobody']],
  ['no tools', rule('tools: []', 'allow: anyone'), ['8:16: error: servers.a.access[0].tools: is empty, name something, or leave the key out']],
  ['an empty pattern', rule('tools: ""', 'allow: anyone'), ['8:16: warning: servers.a.access[0].tools: an empty pattern matches nothing']],
  ['a regular expression', rule('tools: ["get?", x]', 'allow: anyone'), ['8:17: warning: servers.a.access[0].tools[0]: no name has these characters, so it matches nothing, * stands for any characters']],
  ['a pattern twice', rule('prompts: [x, x]', 'allow: anyone'), ['8:22: warning: servers.a.access[0].prompts[1]: this pattern stands here twice']],
  ['claims without auth', gateway('access: [{ allow: { groups: dev } }]'), [`2:21: warning: gateway.access[0].allow: without gateway.auth nobody has claims, so it allows nobody, ${noAuth}`]],
  ['claims in an expression without auth', gateway('access: [{ when: has(claims.a) }]'), [`2:20: warning: gateway.access[0].when: it looks at claims, and without gateway.auth there are none, ${noAuth}`]],
  ['no claims without auth', gateway('access: [{ when: request.view == "x" }]'), []],
  ['roles without auth', `servers: { a: { ${url}, access: roles } }\n`, [`1:57: warning: servers.a.access: without gateway.auth nobody has roles, so everything is denied, ${noAuth}`]],
  ['roles for all without auth, said once', `servers: { a: { ${url} }, b: { command: x } }\ndefaults: { access: roles }\n`, [`2:21: warning: defaults.access: without gateway.auth nobody has roles, so everything is denied, ${noAuth}`]],
  ['another default', withServer('defaults: { access: [] }'), ['5:21: error: defaults.access: must be a text, not a list']],
  ['unknown in defaults', withServer('defaults: { acess: roles }'), ['5:13: error: defaults.acess: unknown key "acess", did you mean "access"?']],

  // expressions
  ['an expression that ends too early', rule('when: claims.a =='), ['8:15: error: servers.a.access[0].when: unexpected token: the end, at column 12 of the expression']],
  ['an empty expression', rule('when: ""'), ['8:15: error: servers.a.access[0].when: is empty']],
  ['an unknown variable', rule('when: tol.name == "x"'), ['8:15: error: servers.a.access[0].when: unknown variable: tol, at column 1 of the expression, did you mean "tool"?']],
  ['one =', rule('when: claims.a = 1'), ['8:15: error: servers.a.access[0].when: unexpected character: =, at column 10 of the expression, equal is ==']],
  ['and', rule('when: claims.a == 1 and claims.b == 2'), ['8:15: error: servers.a.access[0].when: unexpected character: \'d\', at column 15 of the expression, and is &&, or is ||, not is !']],
  ['arguments', rule('when: request.arguments.x == 1'), ['8:15: error: servers.a.access[0].when: no such key: arguments, at column 9 of the expression, arguments cannot be looked at: lists have none']],
  ['an unknown variable like none', rule('when: somebody.x == "x"'), ['8:15: error: servers.a.access[0].when: unknown variable: somebody, at column 1 of the expression, there are claims, tool, prompt, resource, server, request']],
  ['an unknown field', rule('when: tool.annotations.readOnly'), ['8:15: error: servers.a.access[0].when: no such key: readOnly, at column 18 of the expression, did you mean "readOnlyHint"?']],
  ['an unknown function', rule('when: tool.name.startswith("x")'), ["8:15: error: servers.a.access[0].when: found no matching overload for 'string.startswith(string)', at column 1 of the expression, did you mean \"startsWith\"?"]],
  ['a type error', rule('when: request.view == 1'), ['8:15: error: servers.a.access[0].when: no such overload: string == int, at column 1 of the expression']],
  ['not a yes or no', rule('when: tool.name'), ['8:15: error: servers.a.access[0].when: must be true or false, not of type string, compare it with something']],
  ['in a second line', rule('when: |', '  claims.a == 1 &&', '  foo'), ['8:15: error: servers.a.access[0].when: unknown variable: foo, at line 2, column 1 of the expression, there are claims, tool, prompt, resource, server, request']],
  ['an expression of the environment', rule('when: "${CEL}"'), ['8:15: error: servers.a.access[0].when: is not a CEL expression that can be used here']],
  ['a pattern that is none', rule("when: tool.name.matches('(')"), ['8:15: error: servers.a.access[0].when: matches needs a regular expression']],
  ['a pattern of the token', rule('when: tool.name.matches(claims.pattern)'), ['8:15: error: servers.a.access[0].when: matches needs a pattern in quotes']],
  ...['(a+)+', '(a|b)*', '(?:a?b)+', '(?<x>a)(?<y>a{1,2})+', '((a|b)c)+', '^((?:x|y*)z?){2,}$', '(a(b*))+', '([)]*)*', '(\\\\(+)+'].map((pattern): readonly [string, string, readonly string[]] => [`matches ${pattern}`, rule(`when: resource.uri.matches('${pattern}')`), ['8:15: error: servers.a.access[0].when: the pattern of matches could take forever, do not repeat a group that has choices or repetitions in it']]),
  ...['(a+)', '(a+)?', '(?:ab)+', '(a|b)c+', '(ab)+c*', '(a+){3}', '([(+*]x)*', '(\\\\+a)+'].map((pattern): readonly [string, string, readonly string[]] => [`matches ${pattern}`, rule(`when: resource.uri.matches('${pattern}')`), []]),
  ['an expression that never ends', rule(`when: ${Array.from({ length: 600 }, () => 'true').join(' && ')}`), ['8:15: error: servers.a.access[0].when: exceeded maxAstNodes (1000), at column 1 of the expression']],

  // rules that do nothing
  ['the same rule twice', serverA('access:', '  - { tools: x, allow: { groups: dev } }', '  - { tools: x, allow: { groups: dev } }'), [`9:9: warning: servers.a.access[1]: ${others(0)}`]],
  ['an earlier rule for all', serverA('access: [{ allow: anyone }, { tools: x, allow: { roles: r } }]'), [`7:33: warning: servers.a.access[1]: ${others(0)}`]],
  ['a later rule for all', serverA('access: [{ tools: x, allow: { roles: r } }, { tools: ["*"], allow: anyone }]'), [`7:14: warning: servers.a.access[0]: ${others(1)}`]],
  ['wider patterns', serverA('access: [{ tools: ["get_*"], allow: { groups: [a, b] } }, { tools: [get_x, "get_y*"], allow: { groups: b, roles: r } }]'), [`7:63: warning: servers.a.access[1]: ${others(0)}`]],
  ['the same expression', serverA('access: [{ allow: anyone, when: claims.a == 1 }, { tools: x, allow: { roles: r }, when: "claims.a == 1 " }]'), [`7:54: warning: servers.a.access[1]: ${others(0)}`]],
  ['an expression narrows', serverA('access: [{ allow: anyone, when: claims.a == 1 }, { tools: x, allow: anyone }]'), []],
  ['another kind of thing', serverA('access: [{ tools: "*", allow: anyone }, { prompts: x, allow: anyone }]'), []],
  ['everything is more than all tools', serverA('access: [{ tools: "*", allow: anyone }, { allow: { roles: r } }]'), []],
  ['other groups', serverA('access: [{ allow: { groups: [a] } }, { allow: { groups: [a, b] } }]'), [`7:14: warning: servers.a.access[0]: ${others(1)}`]],
  ['it adds that a human confirms', serverA('access: [{ allow: anyone }, { tools: x, allow: anyone, confirm: true }]'), []],
  ['a human confirms all of it already', serverA('access: [{ allow: anyone, confirm: true }, { tools: x, allow: anyone }]'), [`7:48: warning: servers.a.access[1]: ${others(0)}`]],
  ["the gateway's", gateway('access: [{ tools: "x*", allow: anyone }, { tools: xy, when: request.view == "v" }]'), ['2:44: warning: gateway.access[1]: it never matters: gateway.access[0] allows the same or more, remove it, or narrow the other']],
  ["a view's", withServer('views: { v: { access: [{ allow: { groups: a }, when: claims.x == 1 }, { allow: { groups: [a, b] } }] } }'), ['5:24: warning: views.v.access[0]: it never matters: views.v.access[1] allows the same or more, remove it, or narrow the other']],
  ['about what is excluded', serverA('tools: { exclude: ["delete_*"] }', 'access: [{ tools: [delete_x, "delete_all*", "del*"], allow: anyone }]'), [`8:24: warning: servers.a.access[0].tools[0]: tools: ${hides}`, `8:34: warning: servers.a.access[0].tools[1]: tools: ${hides}`]],
  ['about what is not included', serverA('tools: { include: ["get_*"] }', 'access: [{ tools: search, allow: anyone }]'), [`8:23: warning: servers.a.access[0].tools: tools: ${hides}`]],

  // limits
  ['no limits', serverA('limits: {}'), ['7:13: error: servers.a.limits: says nothing, add calls, such as 10/s']],
  ['per without calls', serverA('limits: { per: tool }'), ['7:20: error: servers.a.limits.per: per needs calls, add calls, such as 10/s']],
  ...['10', '10/d', '1.5/s', '10 / s', '-1/s'].map((rate): readonly [string, string, readonly string[]] => [`a rate of ${rate}`, serverA(`limits: { calls: ${rate} }`), ['7:22: error: servers.a.limits.calls: must be a rate, write a number, a slash and a unit (ms, s, m, h), such as 10/s']]),
  ...['0/s', '1000001/s', '9999999999999999999999/s'].map((rate): readonly [string, string, readonly string[]] => [`a rate of ${rate}`, serverA(`limits: { calls: ${rate} }`), ['7:22: error: servers.a.limits.calls: must allow from 1 to 1000000']]),
  ['per something else', serverA('limits: { calls: 1/s, per: user }'), ['7:32: error: servers.a.limits.per: must be one of subject, session, tool']],
  ['streams of a server', serverA('limits: { streams: 1 }'), ['7:15: error: servers.a.limits.streams: unknown key "streams", it belongs under gateway.limits']],
  ['a larger body than the gateway takes', serverA('limits: { body: 5MiB }'), ['7:21: warning: servers.a.limits.body: larger requests than gateway.maxBody never get here']],
  ['a rate of some tools without calls', serverA('limits: { tools: { x: { per: tool } } }'), ['7:24: error: servers.a.limits.tools.x: "calls" is missing']],
  ['a rate of no tools', serverA('limits: { tools: { "a b": { calls: 1/s } } }'), ['7:31: warning: servers.a.limits.tools["a b"]: no name has these characters, so it matches nothing, * stands for any characters']],
  ['too many at once', gateway('limits: { concurrent: 5000 }'), ['2:25: error: gateway.limits.concurrent: must be from 1 to 4096']],
  ['a minute in words', gateway('confirm: 1 minute'), ['2:12: error: gateway.confirm: must be a duration, write a number and a unit (ms, s, m, h), such as 30s']],

  // credentials and headers
  ['a token endpoint in the clear', serverA('credential: { oauth: { token: "http://b.example.com/", client: c } }'), ['7:35: error: servers.a.credential.oauth.token: must be an https URL, http is for this machine alone']],
  ['names that others use', serverA('credential: { oauth: { token: https://a.example.com, client: c, client_secret: x, token_url: y } }'), ['7:69: error: servers.a.credential.oauth.client_secret: unknown key "client_secret", did you mean "secret"?', '7:87: error: servers.a.credential.oauth.token_url: unknown key "token_url", did you mean "token"?']],
  ['a variable as keys', serverA('credential: { bearer: { env: TOKEN } }'), ['7:19: error: servers.a.credential.bearer: "file" is missing', '7:29: error: servers.a.credential.bearer.env: unknown key "env", a variable is written as a text: "${NAME}"']],
  ['no token endpoint', serverA('credential: { oauth: { client: c } }'), ['7:19: error: servers.a.credential.oauth: "token" is missing']],
  ['no client', serverA('credential: { oauth: { token: "https://b.example.com/", client: "" } }'), ['7:69: error: servers.a.credential.oauth.client: is empty']],
  ['two scopes in one', serverA('credential: { oauth: { token: "https://b.example.com/", client: c, scopes: [a b] } }'), ['7:81: error: servers.a.credential.oauth.scopes[0]: must be one scope']],
  ['a resource that is none', serverA('credential: { oauth: { token: "https://b.example.com/", client: c, resource: b } }'), ['7:82: error: servers.a.credential.oauth.resource: must be a URI without a fragment, such as https://api.example.com/']],
  ['unknown in oauth', serverA('credential: { oauth: { token: "https://b.example.com/", client: c, secert: x } }'), ['7:72: error: servers.a.credential.oauth.secert: unknown key "secert", did you mean "secret"?']],
  ['oauth and exchange', serverA('credential: { oauth: { token: "https://b.example.com/", client: c }, exchange: { token: "https://b.example.com/", client: c } }'), ['7:17: error: servers.a.credential: says more than one thing, give one of bearer, header with value, basic, oauth or exchange']],
  ['exchange without auth', `servers: { a: { ${url}, credential: { exchange: { token: "https://b.example.com/", client: c } } } }\n`, [`1:63: error: servers.a.credential.exchange: callers have no token to exchange, ${noAuth}`]],
  ['forward of a program', `servers: { a: { command: x, forward: [x-tenant], lists: per-caller } }\n`, ['1:29: error: servers.a.forward: forward means nothing for a server with a command', '1:50: error: servers.a.lists: lists means nothing for a server with a command']],
  ...['Host', 'Content-Type', 'MCP-Session-Id', 'x-mcp-server', 'X-Forwarded-For', 'connection'].map((header): readonly [string, string, readonly string[]] => [`forward ${header}`, serverA(`forward: [${header}]`), ['7:15: error: servers.a.forward[0]: this header is not yours to set: it belongs to HTTP, to MCP or to the gateway']]),
  ['forward what is no name', serverA('forward: ["a b"]'), ['7:15: error: servers.a.forward[0]: must be the name of a header']],
  ['forward twice', serverA('forward: [x-a, X-A]'), ['7:20: error: servers.a.forward[1]: this stands here twice']],
  ['forward the token', serverA('forward: [Authorization]'), ["7:15: warning: servers.a.forward[0]: the server gets the client's own token, and could use it elsewhere, credential.exchange gets it one of its own"]],
  ['forward cookies', serverA('forward: [cookie]'), ["7:15: warning: servers.a.forward[0]: the server gets all of the client's cookies"]],
  ['forward the token beside a credential', serverA('credential: { bearer: x }', 'forward: [authorization]'), ["8:15: error: servers.a.forward[0]: the server's credential is in this header"]],
  ['forward the header of a credential', serverA('credential: { header: X-Key, value: x }', 'forward: [x-key]'), ["8:15: error: servers.a.forward[0]: the server's credential is in this header"]],
  ['forward the token beside oauth', serverA('credential: { oauth: { token: "https://b.example.com/", client: c } }', 'forward: [authorization]'), ["8:15: error: servers.a.forward[0]: the server's credential is in this header"]],
  ['lists of callers it cannot tell apart', serverA('lists: per-caller'), ['7:12: error: servers.a.lists: the server cannot tell callers apart, add forward or credential.exchange']],
  ['other lists', serverA('forward: [x-a]', 'lists: per-Caller'), ['8:12: error: servers.a.lists: must be one of per-caller, did you mean "per-caller"?']],

  // views
  ['a view with a capital', withServer('views: { OnCall: {} }'), ['5:10: error: views.OnCall: "OnCall" is not a view name: lower-case letters, digits and hyphens, a letter first']],
  ['a view of nothing', withServer('views: { v: { tools: [] } }'), ['5:22: error: views.v.tools: is empty, name something, or leave the key out']],
  ['unknown in a view', withServer('views: { v: { tool: x } }'), ['5:15: error: views.v.tool: unknown key "tool", did you mean "tools"?']],
  ['a view as a list', withServer('views: { v: [x] }'), ['5:13: error: views.v: must be keys and values, not a list, such as { tools: … }']],
  ['a view for roles', withServer('views: { v: { access: roles } }'), ['5:23: error: views.v.access: must be a list, not a text, write [ … ]']],

  // tests
  ['no claims', withServer('tests: [{ allowed: [x] }]'), ['5:9: error: tests[0]: "claims" is missing']],
  ['claims as a list', withServer('tests: [{ claims: [x], allowed: [x] }]'), ['5:19: error: tests[0].claims: must be the path of a file or keys and values, not a list']],
  ['no file of claims', withServer('tests: [{ claims: gone.json, allowed: [x] }]'), ['5:19: error: tests[0].claims: the file does not exist, paths are relative to the registry file']],
  ...['not.json', 'list.json'].map((file): readonly [string, string, readonly string[]] => [`claims in ${file}`, withServer(`tests: [{ claims: ${file}, allowed: [x] }]`), ['5:19: error: tests[0].claims: the file must hold claims as JSON, { "sub": "ann", … }']]),
  ['it expects nothing', withServer('tests: [{ claims: { sub: x } }]'), ['5:9: error: tests[0]: it expects nothing, add allowed or denied']],
  ['another view', withServer('views: { oncall: {} }', 'tests: [{ claims: {}, view: oncal, denied: [x] }]'), ['6:29: error: tests[0].view: there is no such view, did you mean "oncall"?']],
  ['no views at all', withServer('tests: [{ claims: {}, view: v, denied: [x] }]'), ['5:29: error: tests[0].view: there is no such view']],
  ['allowed and denied', withServer('tests: [{ claims: {}, allowed: [x], denied: [y, x] }]'), ['5:49: error: tests[0].denied[1]: it is expected to be allowed too']],
  ['a tool twice', withServer('tests: [{ claims: {}, allowed: [x, x] }]'), ['5:36: warning: tests[0].allowed[1]: this stands here twice']],
  ['a pattern of tools', withServer('tests: [{ claims: {}, allowed: ["x*"] }]'), ['5:33: error: tests[0].allowed[0]: must be the name of a tool, as clients see it']],
  ['unknown in a test', withServer('tests: [{ claim: {}, allowed: [x] }]'), ['5:9: error: tests[0]: "claims" is missing', '5:11: error: tests[0].claim: unknown key "claim", did you mean "claims"?']],
  ['a claim nothing looks at', `${rule('allow: { groups: dev, claims: { org.team: red } }')}tests: [{ claims: { iss: x, sub: y, scope: z, group: [dev], org: {}, other: 1 }, denied: [x] }]\n`, ['9:54: warning: tests[0].claims.group: no rule looks at this claim, did you mean "groups"?', '9:77: warning: tests[0].claims.other: no rule looks at this claim']],
  ['claims an expression looks at', `${rule('when: claims.a == 1 && "b" in claims && has(claims.c.d)')}tests: [{ claims: { a: 1, b: 1, c: 1, d: 1 }, denied: [x] }]\n`, ['9:42: warning: tests[0].claims.d: no rule looks at this claim']],
  ['an expression that may look at any', `${rule('when: claims.exists(k, k == "x")')}tests: [{ claims: { z: 1 }, denied: [x] }]\n`, []],
  ['the claim of roles', `${rule('allow: { roles: r }')}tests: [{ claims: { perms: [r], realm_access: {} }, denied: [x] }]\n`, ['9:47: warning: tests[0].claims.realm_access: no rule looks at this claim']],
  ['a claim within a claim', `${rule('allow: { claims: { org.team: red } }')}tests: [{ claims: { org: { taem: red, unit: 7, team: { a: 1 } } }, denied: [x] }]\n`, ['9:34: warning: tests[0].claims.org.taem: no rule looks at this claim, did you mean "team"?', '9:45: warning: tests[0].claims.org.unit: no rule looks at this claim']],
  ['roles at another place of Keycloak\'s', `gateway: { url: https://b.example.com/mcp, auth: { issuer: https://b.example.com } }\nservers: { a: { ${url}, access: [{ allow: { roles: r } }] }, b: { command: x, access: roles }, c: { command: x, access: { roles: d.e } } }\ntests: [{ claims: { realm_access: { role: [r], roles: [r] }, resource_access: { a: {}, b: { roles: [] }, d.e: { roles: [] } }, roles: [] }, denied: [x] }]\n`, ['3:43: warning: tests[0].claims.realm_access.role: no rule looks at this claim, did you mean "roles"?', '3:84: warning: tests[0].claims.resource_access.a: no rule looks at this claim']],
  ['a token in a file, beside more than rules look at', `${head.replace(', roles: claims.perms', '')}servers: { github: { ${url}, access: roles } }\ntests: [{ claims: keycloak.json, denied: [x] }]\n`, ['5:11: warning: tests[0].claims.resource_access.githbu: no rule looks at this claim, did you mean "github"?']],
  ['claims with dots in their names', `${rule('allow: { claims: { "https://example.com/team": x } }')}tests: [{ claims: { "https://example.com/team": x, "https://example": {} }, denied: [x] }]\n`, []],
]

await t.test('problems', async (t) => {
  for (const [name, text, expected] of problemRows) {
    await t.test(name, async (t) => {
      const result = read(text)
      t.strictSame(problemsOf(result), expected)
      t.equal(
        result.ok,
        expected.every((line) => line.includes(': warning: ')),
      )
    })
  }
})

await t.test('no message shows a secret', async (t) => {
  for (const [name, text] of problemRows) {
    const result = read(text)
    for (const problem of result.ok ? result.warnings : result.problems)
      t.notMatch(formatProblem('registry.yaml', problem, text), /s3cret/, `${name}: ${problem.message}`)
  }
})

await t.test('nothing written makes it throw', async (t) => {
  neverThrows(
    read,
    problemRows.map(([, text]) => text),
    2_000,
  )
  t.pass('2,000 texts')
})

await t.test('with a lock, tools that are named are there', async (t) => {
  const text = serverA(
    'access: [{ tools: [get, serch, "del*"], allow: anyone }, { tools: gone, allow: anyone, confirm: true }]',
    'limits: { tools: { serach: { calls: 1/s }, "x*": { calls: 1/s } } }',
  )
  const warned = 'the server has no tool of this name in mcp.lock'
  t.strictSame(problemsOf(read(text, pin('get', 'search'))), [
    `7:29: warning: servers.a.access[0].tools[1]: ${warned}, did you mean "search"?`,
    `7:71: warning: servers.a.access[1].tools: ${warned}`,
    `8:32: warning: servers.a.limits.tools.serach: ${warned}, did you mean "search"?`,
  ])
  t.strictSame(problemsOf(read(text, new Map())), [], 'a server that was never locked')
  t.equal(registryIn(read(text, pin('get'))).lock?.size, 1)
})

await t.test('what is said of a change', async (t) => {
  const oauth = (secret: string): string =>
    serverA(`credential: { oauth: { token: "https://b.example.com/", client: c, secret: ${secret} } }`)
  const guarded = (who: string): string => gateway(`access: [{ when: 'request.view == "${who}"' }]`)
  // biome-ignore format: a table
  const rows: readonly (readonly [string, before: string, after: string, said: string])[] = [
    ['only lines moved', rule('when: claims.a == 1'), `\n\n${rule('when: claims.a == 1')}`, ''],
    ['an expression', rule('when: claims.a == 1'), rule('when: claims.a == 2'), 'changed a'],
    ['a secret', oauth('one'), oauth('two'), 'changed a'],
    ["the gateway's rules", guarded('x'), guarded('y'), 'changed gateway.access'],
    ['limits', gateway('limits: { streams: 1 }'), gateway('limits: { streams: 2 }'), 'changed gateway.limits'],
    ['how long a human has', gateway('confirm: 1m'), gateway('confirm: 2m'), 'changed gateway.confirm'],
    ['where the log goes', gateway('audit: "-"'), gateway('audit: a.jsonl'), 'changed gateway.audit'],
    ['origins', gateway('confirm: 5m'), gateway('origins: [https://a.example.com]'), 'changed gateway.origins'],
    ['tests', withServer(), withServer('tests: [{ claims: {}, allowed: [a_x] }]'), 'changed tests'],
    ['views', withServer('views: { v: {} }'), withServer('views: { v: { tools: x } }'), 'changed views'],
    ['auth, and a server is gone', withServer(), 'servers: { b: { command: x } }\n', 'added b; removed a; changed gateway.url, gateway.auth'],
  ]
  for (const [name, before, after, said] of rows)
    t.equal(whatChanged(registryIn(read(before)), registryIn(read(after))), said, name)
})

// --- expressions --------------------------------------------------------------------------------------------------

const claims: Readonly<Record<string, Json>> = {
  email: 'ann@example.com',
  level: 3,
  share: 0.5,
  groups: ['dev', 'ops'],
  org: { team: { name: 'red' }, seats: [1, 2] },
  verified: true,
  nothing: null,
}
const facts: Facts = {
  claims,
  tool: { name: 'get_x', annotations: { readOnlyHint: true } },
  server: { name: 'a', description: '' },
  request: { method: 'tools/call', view: '', era: 'stateless', address: '10.0.0.7' },
}

await t.test('what expressions come to', async (t) => {
  const missing = (word: string): string => `no such key: ${word}`
  // biome-ignore format: a table
  const rows: readonly (readonly [source: string, holds: boolean, fault?: string])[] = [
    ["claims.email.endsWith('@example.com') && tool.annotations.readOnlyHint", true],
    ['claims.level >= 3 && claims.level + 1 == 4 && claims.level in [1, 3]', true],
    ['claims.org.seats == [1, 2] && claims.org.seats[1] == 2 && claims.share == 0.5', true],
    ['claims.org.team.name == "red" && claims["org"]["team"].name == "red"', true],
    ['"dev" in claims.groups && claims.groups.exists(g, g.startsWith("op")) && size(claims.groups) == 2', true],
    ['claims.verified', true],
    ['claims.nothing == null', true],
    ['claims.email', false, 'it is neither true nor false'],
    ['claims.level == "3"', false],
    ['claims.missing == "x"', false, missing('missing')],
    ['claims.missing != "x"', false, missing('missing')],
    ['!has(claims.missing)', true],
    ['claims.missing == "x" || claims.verified', true],
    ['claims.constructor != null', false, missing('constructor')],
    ['claims.__proto__ != null', false, missing('__proto__')],
    ['has(claims.toString)', false],
    ['tool.annotations.destructiveHint', false, missing('destructiveHint')],
    ['!tool.annotations.destructiveHint', false, missing('destructiveHint')],
    ['has(tool.annotations.destructiveHint)', false],
    ['tool.name.startsWith("get_") && request.method == "tools/call" && server.name == "a"', true],
    ['prompt.name == "x"', false, 'there is no prompt here'],
    ['prompt.name != "x"', false, 'there is no prompt here'],
    ['resource.uri.startsWith("file:")', false, 'there is no resource here'],
    ['claims.groups.all(g, g.matches("^[a-z]+$"))', true],
    ['tool.name.matches("^get_[a-z]+(_x)?$")', true],
    ['1 / (claims.level - 3) == 1', false, 'division by zero'],
  ]
  for (const [source, holds, fault] of rows) {
    await t.test(source, async (t) => {
      const form = compileExpression(source, at(1, 1))
      if (!form.ok) return t.fail(form.message)
      t.equal(form.value.holds(facts), holds)
      t.equal(form.value.fault(facts), fault)
    })
  }
})

await t.test('a URI may be too long to be matched', async (t) => {
  const form = compileExpression('resource.uri.matches("^x*$")', at(1, 1))
  if (!form.ok) return t.fail(form.message)
  const of = (uri: string): Facts => ({ ...facts, resource: { uri } })
  t.equal(form.value.holds(of('x'.repeat(2_048))), true)
  t.equal(form.value.holds(of('x'.repeat(2_049))), false)
  t.equal(form.value.fault(of('x'.repeat(2_049))), 'the URI is too long to be matched')
})

await t.test('what expressions look at', async (t) => {
  const every = ['address', 'method', 'era', 'view']
  // biome-ignore format: a table
  const rows: readonly (readonly [source: string, looksAt: readonly string[], claims: readonly string[] | 'any'])[] = [
    ['true', [], []],
    ['request.view == claims.a && request["era"] == claims["b"]', ['era', 'view'], ['a', 'b']],
    ['request.method == "x" || has(claims.a.b)', ['method'], ['a']],
    ['claims.x == 1 || request.address == ""', ['address'], ['x']],
    ['dyn(request) == 1', every, []],
    ['dyn(request)[claims.k] == 1', every, ['k']],
    ['claims[claims.k] == 1', [], 'any'],
    ['claims.exists(k, k == "x")', [], 'any'],
    ['[1].exists(request, request == 1)', every, []],
  ]
  for (const [source, looksAt, read] of rows) {
    await t.test(source, async (t) => {
      const form = compileExpression(source, at(1, 1))
      if (!form.ok) return t.fail(form.message)
      t.strictSame([...form.value.looksAt].toSorted(), looksAt.toSorted())
      t.strictSame(form.value.claims === 'any' ? 'any' : [...form.value.claims], read)
    })
  }
})
