/** Who may do what: claims, rules, roles, views, scopes; the decision by table and by property, and what is said about it. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import type { Kind, MethodName } from '../src/mcp/methods.ts'
import type { Asker } from '../src/policy/asker.ts'
import { rulesWithoutTools, runPolicyTests } from '../src/policy/check.ts'
import { claimValues } from '../src/policy/claims.ts'
import { explain } from '../src/policy/explain.ts'
import { judge, OWN_METHOD, type Verdict } from '../src/policy/judge.ts'
import { namedTool } from '../src/policy/named-tool.ts'
import { noPolicy, type Policy, policyOf } from '../src/policy/policy.ts'
import { type Claims, principalOf } from '../src/policy/principal.ts'
import type { Thing } from '../src/policy/thing.ts'
import { compileExpression } from '../src/registry/expression.ts'
import type { Access, Condition, Expression, Lock, Registry, Rule } from '../src/registry/model.ts'
import { parseRegistry } from '../src/registry/parse.ts'

const place = { line: 1, column: 1 }

const registryFrom = (text: string, lock?: Lock): Registry => {
  const result = parseRegistry(text, {
    file: '/etc/mcp/registry.yaml',
    env: {},
    readFile: () => {
      throw new Error('no file')
    },
    lock,
  })
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.registry
}

const askerOf = (claims: Claims, changes: Partial<Asker> = {}): Asker => ({
  principal: principalOf(claims) ?? { subject: '', key: '', claims },
  view: '',
  era: 'stateful',
  address: '192.0.2.7',
  ...changes,
})

const toolOf = (own: string, hints = '', server = 'github'): Thing => ({ exposed: `gh_${own}`, own, server, hints })

/** One line for each verdict: what tables compare. */
const inWords = (verdict: Verdict): string => {
  if (!verdict.allowed) return `denied by ${verdict.by}${verdict.scopes ? `, scopes ${verdict.scopes.join(' ')}` : ''}`
  return [verdict.confirm ? 'confirm' : 'allowed', ...verdict.grounds.map(({ path }) => path)].join(' ')
}

const isClaims = (value: unknown): value is Claims => typeof value === 'object' && value !== null

// --- claims -------------------------------------------------------------------------------------------------------

await t.test('what claims hold at a path', async (t) => {
  const strange: unknown = JSON.parse('{ "__proto__": { "roles": ["own"] }, "constructor": "mine" }')
  const rows: readonly (readonly [string, Claims, string, readonly string[]])[] = [
    ['a text is a list of one', { groups: 'dev' }, 'groups', ['dev']],
    ['a list', { groups: ['dev', 'ops'] }, 'groups', ['dev', 'ops']],
    ['a nested path', { realm_access: { roles: ['a'] } }, 'realm_access.roles', ['a']],
    ['a name with dots', { 'https://example.com/roles': ['a'] }, 'https://example.com/roles', ['a']],
    ['dots in the middle of a path', { org: { 'team.name': { of: 'red' } } }, 'org.team.name.of', ['red']],
    ['the longest name first', { 'a.b': 'long', a: { b: 'short' } }, 'a.b', ['long']],
    ['the longest name that is there', { 'a.b': { d: 'long' }, a: { b: { c: 'short' } } }, 'a.b.c', []],
    ['a name that starts with a dot', { '.a': { b: 'x' } }, '.a.b', ['x']],
    ['only dots', { '': { '': 'x' } }, '.', ['x']],
    ['scope, split at spaces', { scope: 'read  write ' }, 'scope', ['read', 'write']],
    ['scp as a list', { scp: ['read', 'write all'] }, 'scp', ['read', 'write', 'all']],
    ['no other claim is split', { groups: 'a b' }, 'groups', ['a b']],
    ['numbers and booleans', { n: [1, 2.5, true], big: 12_345_678 }, 'n', ['1', '2.5', 'true']],
    ['null, maps and lists in lists do not count', { x: [null, { a: 'b' }, ['c'], 'd'] }, 'x', ['d']],
    ['a map is no value', { x: { a: 'b' } }, 'x', []],
    ['a list is not walked into', { x: [{ a: 'b' }] }, 'x.a', []],
    ['nor by index', { x: ['a'] }, 'x.0', []],
    ['nor is its length', { x: ['a'] }, 'x.length', []],
    ['nor is a text', { x: 'abc' }, 'x.length', []],
    ['no claim', {}, 'groups', []],
    ['nothing of the prototype: toString', {}, 'toString', []],
    ['nothing of the prototype: __proto__', {}, '__proto__', []],
    ['nothing of the prototype: constructor.name', {}, 'constructor.name', []],
    ['nor deeper', { a: {} }, 'a.constructor.name', []],
  ]
  for (const [name, claims, path, expected] of rows) {
    await t.test(name, async (t) => t.strictSame(claimValues(claims, path), expected))
  }
  await t.test('a claim that has such a name itself', async (t) => {
    if (!isClaims(strange)) throw new Error('no claims')
    t.strictSame(claimValues(strange, '__proto__.roles'), ['own'])
    t.strictSame(claimValues(strange, 'constructor'), ['mine'])
  })
})

await t.test('a path is read as it is written, whatever the claims', async () => {
  const key = fc.string({ minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 4 }), fc.string(), (keys, value) => {
      const claims = keys.reduceRight<Claims | string>((inner, name) => Object.fromEntries([[name, inner]]), value)
      fc.pre(typeof claims !== 'string' && keys[0] !== 'scp')
      return isDeepStrictEqual(claimValues(claims, keys.join('.')), [value])
    }),
  )
})

// --- rules, by table ----------------------------------------------------------------------------------------------

interface Row {
  readonly name: string
  /** YAML of `gateway.access`, of the server's `access` and of the view `oncall`. */
  readonly gateway?: string
  readonly server?: string
  readonly view?: string
  readonly roles?: string
  readonly claims?: Claims
  readonly asker?: Partial<Asker>
  readonly method?: MethodName
  readonly kind?: Kind
  readonly own?: string
  readonly hints?: string
  readonly is: string
}

const policyFrom = ({ gateway, server, view, roles }: Pick<Row, 'gateway' | 'server' | 'view' | 'roles'>): Policy =>
  policyOf(
    registryFrom(`gateway:
  url: https://mcp.example.com/mcp
  auth:
    issuer: https://idp.example.com/realms/tools
${roles === undefined ? '' : `    roles: ${roles}\n`}${gateway === undefined ? '' : `  access: ${gateway}\n`}
servers:
  github:
    url: https://github.example.com/mcp
    prefix: gh_
    description: code hosting
${server === undefined ? '' : `    access: ${server}\n`}${view === undefined ? '' : `views:\n  oncall: ${view}\n`}`),
  )

const dev: Claims = { sub: 'ann', groups: ['dev', 'staff'] }
const SERVER = 'servers.github.access'

const rows: readonly Row[] = [
  { name: 'no rules at all', is: 'allowed' },
  { name: 'a group', server: '[{ tools: "get_*", allow: { groups: dev } }]', claims: dev, is: `allowed ${SERVER}[0]` },
  { name: 'another group', server: '[{ tools: "*", allow: { groups: ops } }]', claims: dev, is: 'denied by server' },
  { name: 'no claims', server: '[{ tools: "*", allow: { groups: dev } }]', is: 'denied by server' },
  { name: 'anyone', server: '[{ tools: "*", allow: anyone }]', is: `allowed ${SERVER}[0]` },
  {
    name: 'what no rule is about is denied',
    server: '[{ tools: "set_*", allow: anyone }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'a rule without patterns is about everything',
    server: '[{ allow: { groups: dev } }]',
    claims: dev,
    kind: 'resources',
    own: 'file:///etc/hosts',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'a rule about tools is not about prompts',
    server: '[{ tools: "*", allow: anyone }]',
    kind: 'prompts',
    is: 'denied by server',
  },
  {
    name: 'a rule about resources is about their URIs',
    server: '[{ resources: "file:///srv/*", allow: anyone }]',
    kind: 'resources',
    own: 'file:///srv/a',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'keys of one allow are ANDed: one is missing',
    server: '[{ tools: "*", allow: { groups: dev, subjects: bob } }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'keys of one allow are ANDed: all are there',
    server: '[{ tools: "*", allow: { groups: dev, subjects: [bob, ann], claims: { tier: "2" } } }]',
    claims: { ...dev, tier: 2 },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'values are compared whole, and by case',
    server: '[{ tools: "*", allow: { groups: [de, DEV, "dev*", "*"] } }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'a claim by its path',
    server: '[{ tools: "*", allow: { claims: { org.team: red } } }]',
    claims: { org: { team: ['red'] } },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'any rule allows',
    server: '[{ tools: "*", allow: { groups: ops } }, { tools: "*", allow: { groups: dev } }]',
    claims: dev,
    is: `allowed ${SERVER}[1]`,
  },
  {
    name: 'the first rule that allows is named',
    server: '[{ tools: "*", allow: { groups: staff } }, { tools: "get_*", allow: { groups: dev } }]',
    claims: dev,
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'any allowing rule that says confirm asks a human',
    server: '[{ tools: "*", allow: anyone }, { tools: "get_*", allow: { groups: dev }, confirm: true }]',
    claims: dev,
    is: `confirm ${SERVER}[1]`,
  },
  {
    name: 'a rule that does not allow asks nobody',
    server: '[{ tools: "*", allow: anyone }, { tools: "get_*", allow: { groups: ops }, confirm: true }]',
    claims: dev,
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'gateway and server: both allow',
    gateway: '[{ tools: "gh_*", allow: { groups: staff } }]',
    server: '[{ tools: "get_*", allow: { groups: dev } }]',
    claims: dev,
    is: `allowed gateway.access[0] ${SERVER}[0]`,
  },
  {
    name: 'gateway and server: the gateway denies',
    gateway: '[{ tools: "gh_*", allow: { groups: ops } }]',
    server: '[{ tools: "*", allow: anyone }]',
    claims: dev,
    is: 'denied by gateway',
  },
  {
    name: 'the gateway alone',
    gateway: '[{ tools: "gh_get_*", allow: anyone }]',
    is: 'allowed gateway.access[0]',
  },
  {
    name: "the gateway's patterns are of exposed names",
    gateway: '[{ tools: "get_*", allow: anyone }]',
    is: 'denied by gateway',
  },
  { name: "a server's are of its own", server: '[{ tools: "gh_*", allow: anyone }]', is: 'denied by server' },
  {
    name: 'confirm of the gateway counts',
    gateway: '[{ allow: anyone, confirm: true }]',
    server: '[{ allow: anyone }]',
    is: `confirm gateway.access[0] ${SERVER}[0]`,
  },
  {
    name: 'confirm of the server counts',
    gateway: '[{ allow: anyone }]',
    server: '[{ allow: anyone, confirm: true }]',
    is: `confirm gateway.access[0] ${SERVER}[0]`,
  },
  // roles
  {
    name: "roles: Keycloak's realm roles",
    server: '[{ tools: "*", allow: { roles: admin } }]',
    claims: { realm_access: { roles: ['admin'] } },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'roles: a claim of that name',
    server: '[{ tools: "*", allow: { roles: admin } }]',
    claims: { roles: 'admin' },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'roles of a client are not those of the realm',
    server: '[{ tools: "*", allow: { roles: admin } }]',
    claims: { resource_access: { github: { roles: ['admin'] } } },
    is: 'denied by server',
  },
  {
    name: 'roles elsewhere',
    roles: 'claims.permissions',
    server: '[{ tools: "*", allow: { roles: admin } }]',
    claims: { permissions: ['admin'] },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'roles elsewhere: only there',
    roles: 'permissions',
    server: '[{ tools: "*", allow: { roles: admin } }]',
    claims: { realm_access: { roles: ['admin'] }, roles: ['admin'] },
    is: 'denied by server',
  },
  // the mapping known from Keycloak
  {
    name: 'access: roles',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:get_issue'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, no role',
    server: 'roles',
    claims: { resource_access: { github: { roles: [] } } },
    is: 'denied by server',
  },
  { name: 'access: roles, no claim', server: 'roles', claims: dev, is: 'denied by server' },
  {
    name: 'access: roles of the client named like the server, of no other',
    server: 'roles',
    claims: { resource_access: { gitlab: { roles: ['tool:get_issue'] } }, realm_access: { roles: ['tool:get_issue'] } },
    is: 'denied by server',
  },
  {
    name: 'access: roles of a client by name, dots and all',
    server: '{ roles: tools.example.com }',
    claims: { resource_access: { 'tools.example.com': { roles: ['tool:get_issue'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, a prefix',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:get_*'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, another prefix',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:set_*', 'tool:get_issue_*', 'tool:get_issu'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles, every tool',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:*'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, a lone star names no kind',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['*', 't*', 'tool*'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles, a star in the middle is none',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:*issue', 'tool:g*t_issue'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles, the name as the server says it',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:gh_get_issue'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles, prompts',
    server: 'roles',
    kind: 'prompts',
    claims: { resource_access: { github: { roles: ['prompt:get_issue'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, a role for a tool is none for a prompt',
    server: 'roles',
    kind: 'prompts',
    claims: { resource_access: { github: { roles: ['tool:*'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles, resources',
    server: 'roles',
    kind: 'resources',
    own: 'file:///srv/a',
    claims: { resource_access: { github: { roles: ['resource:file:///srv/*'] } } },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, where other providers have them',
    roles: 'claims.permissions',
    server: 'roles',
    claims: { permissions: ['tool:get_issue'] },
    is: `allowed ${SERVER}`,
  },
  {
    name: 'access: roles, only where the registry says',
    roles: 'claims.permissions',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:get_issue'] } } },
    is: 'denied by server',
  },
  {
    name: 'access: roles and the gateway',
    gateway: '[{ tools: "*", allow: { groups: ops } }]',
    server: 'roles',
    claims: { resource_access: { github: { roles: ['tool:get_issue'] } } },
    is: 'denied by gateway',
  },
  // expressions
  {
    name: 'when, and nothing else',
    server: `[{ tools: "*", when: "claims.sub == 'ann'" }]`,
    claims: dev,
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'when and allow are ANDed: when fails',
    server: '[{ tools: "*", allow: { groups: dev }, when: "false" }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'when and allow are ANDed: allow fails',
    server: '[{ tools: "*", allow: { groups: ops }, when: "true" }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'a missing claim is an error, and denies',
    server: `[{ tools: "*", when: "claims.email.endsWith('@example.com')" }]`,
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'also when it is negated',
    server: `[{ tools: "*", when: "!(claims.email == 'x')" }]`,
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'an error in one rule leaves the others',
    server: `[{ tools: "*", when: "claims.email == 'x'" }, { tools: "*", allow: anyone }]`,
    is: `allowed ${SERVER}[1]`,
  },
  {
    name: 'annotations',
    server: '[{ tools: "*", when: "tool.annotations.readOnlyHint" }]',
    hints: 'readOnly=true,destructive=unspecified,idempotent=false,openWorld=unspecified',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'what a tool does not say of itself is not there',
    server: '[{ tools: "*", when: "!tool.annotations.destructiveHint" }]',
    hints: 'readOnly=true,destructive=unspecified,idempotent=false,openWorld=unspecified',
    is: 'denied by server',
  },
  {
    name: "a server's rules see the server's names",
    server: `[{ tools: "*", when: "tool.name == 'get_issue' && server.name == 'github' && server.description == 'code hosting'" }]`,
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: "the gateway's see exposed names",
    gateway: `[{ tools: "*", when: "tool.name == 'gh_get_issue'" }]`,
    is: 'allowed gateway.access[0]',
  },
  {
    name: 'a prompt is no tool',
    server: `[{ when: "tool.name != ''" }]`,
    kind: 'prompts',
    is: 'denied by server',
  },
  {
    name: 'a prompt by name',
    server: `[{ when: "prompt.name == 'get_issue'" }]`,
    kind: 'prompts',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'a resource by URI',
    server: `[{ when: "resource.uri.startsWith('file:///srv/')" }]`,
    kind: 'resources',
    own: 'file:///srv/a',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'the request',
    server: `[{ when: "request.method == 'tools/call' && request.era == 'stateless' && request.view == '' && request.address == '192.0.2.7'" }]`,
    asker: { era: 'stateless' },
    is: `allowed ${SERVER}[0]`,
  },
  // methods beside the kind's own
  {
    name: 'another method needs what the own method needs',
    server: `[{ when: "request.method == 'completion/complete'" }]`,
    method: 'completion/complete',
    kind: 'prompts',
    is: 'denied by server',
  },
  {
    name: 'and its own',
    server: `[{ when: "request.method == 'prompts/get'" }]`,
    method: 'completion/complete',
    kind: 'prompts',
    is: 'denied by server',
  },
  {
    name: 'with both it is allowed',
    server: `[{ when: "request.method in ['resources/read', 'resources/subscribe']" }]`,
    method: 'resources/subscribe',
    kind: 'resources',
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'a confirmation that one of them needs is needed',
    server: `[{ when: "request.method == 'resources/read'", confirm: true }, { allow: anyone }]`,
    method: 'resources/subscribe',
    kind: 'resources',
    is: `confirm ${SERVER}[0]`,
  },
  // views
  { name: 'a view shows everything', view: '{ description: all }', asker: { view: 'oncall' }, is: 'allowed' },
  { name: 'a view shows it', view: '{ tools: ["gh_*"] }', asker: { view: 'oncall' }, is: 'allowed' },
  { name: 'a view does not show it', view: '{ tools: ["gl_*"] }', asker: { view: 'oncall' }, is: 'denied by view' },
  {
    name: 'a view is about exposed names',
    view: '{ tools: ["get_*"] }',
    asker: { view: 'oncall' },
    is: 'denied by view',
  },
  {
    name: 'a view of tools shows no prompt',
    view: '{ tools: ["*"] }',
    kind: 'prompts',
    asker: { view: 'oncall' },
    is: 'denied by view',
  },
  { name: 'outside of the view', view: '{ tools: ["gl_*"] }', is: 'allowed' },
  { name: 'a view that is not there', view: '{ tools: ["*"] }', asker: { view: 'night' }, is: 'denied by view' },
  {
    name: 'nor is the prototype of anything',
    view: '{ tools: ["*"] }',
    asker: { view: '__proto__' },
    is: 'denied by view',
  },
  {
    name: "a view's rules are ANDed with the others",
    gateway: '[{ allow: anyone }]',
    server: '[{ allow: { groups: dev } }]',
    view: '{ tools: ["*"], access: [{ allow: { groups: ops } }] }',
    claims: dev,
    asker: { view: 'oncall' },
    is: 'denied by view',
  },
  {
    name: 'all three levels are named',
    gateway: '[{ allow: anyone }]',
    server: '[{ allow: { groups: dev } }]',
    view: '{ tools: ["*"], access: [{ tools: "gh_get_*", allow: { groups: staff } }] }',
    claims: dev,
    asker: { view: 'oncall' },
    is: `allowed gateway.access[0] ${SERVER}[0] views.oncall.access[0]`,
  },
  {
    name: "a view's rules mean nothing elsewhere",
    view: '{ tools: ["*"], access: [{ allow: { groups: ops } }] }',
    claims: dev,
    is: 'allowed',
  },
  // scopes
  {
    name: 'a scope',
    server: '[{ allow: { scopes: read } }]',
    claims: { scope: 'write read' },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'a scope of scp',
    server: '[{ allow: { scopes: read } }]',
    claims: { scp: ['read'] },
    is: `allowed ${SERVER}[0]`,
  },
  {
    name: 'a scope is missing',
    server: '[{ allow: { scopes: read } }]',
    claims: dev,
    is: 'denied by server, scopes read',
  },
  {
    name: 'a value of several words needs all',
    server: '[{ allow: { scopes: "read write" } }]',
    claims: { scope: 'read' },
    is: 'denied by server, scopes read write',
  },
  {
    name: 'the cheapest value',
    server: '[{ allow: { scopes: [admin root, "read write", delete everything] } }]',
    claims: { scope: 'write' },
    is: 'denied by server, scopes read write',
  },
  {
    name: 'the cheapest rule',
    server: '[{ allow: { scopes: "a b" } }, { allow: { scopes: c } }, { allow: { scopes: d } }]',
    claims: {},
    is: 'denied by server, scopes c',
  },
  {
    name: 'scopes are not all that is missing',
    server: '[{ allow: { scopes: read, groups: ops } }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'nor are they with an expression that fails',
    server: '[{ allow: { scopes: read }, when: "claims.nope == 1" }]',
    claims: dev,
    is: 'denied by server',
  },
  {
    name: 'another rule is out of reach, this one is not',
    server: '[{ allow: { scopes: read, groups: ops } }, { allow: { scopes: read write } }]',
    claims: dev,
    is: 'denied by server, scopes read write',
  },
  {
    name: 'levels together, also those that would pass',
    gateway: '[{ allow: { scopes: mcp } }]',
    server: '[{ allow: { scopes: read } }]',
    claims: { scope: 'mcp' },
    is: 'denied by server, scopes mcp read',
  },
  {
    name: 'levels together: the first fails, and both would',
    gateway: '[{ allow: { scopes: mcp } }]',
    server: '[{ allow: { scopes: read } }]',
    is: 'denied by gateway, scopes mcp read',
  },
  {
    name: 'a later level is out of reach',
    gateway: '[{ allow: { scopes: mcp } }]',
    server: '[{ allow: { groups: ops } }]',
    claims: dev,
    is: 'denied by gateway',
  },
  {
    name: 'a level that passes without scopes adds none',
    gateway: '[{ allow: { scopes: mcp } }]',
    server: '[{ allow: { scopes: read } }, { allow: { groups: dev } }]',
    claims: dev,
    is: 'denied by gateway, scopes mcp',
  },
  {
    name: 'no scope helps a role',
    gateway: '[{ allow: { scopes: mcp } }]',
    server: 'roles',
    claims: dev,
    is: 'denied by gateway',
  },
  {
    name: 'nor what a view does not show',
    server: '[{ allow: { scopes: read } }]',
    view: '{ tools: ["gl_*"] }',
    asker: { view: 'oncall' },
    is: 'denied by server',
  },
]

await t.test('rules', async (t) => {
  for (const row of rows) {
    const { name, claims = {}, asker = {}, kind = 'tools', own = 'get_issue', hints = '', is } = row
    await t.test(name, async (t) => {
      const policy = policyFrom(row)
      const thing = { ...toolOf(own, hints), ...(kind === 'resources' && { exposed: own }) }
      const who = askerOf(claims, asker)
      const method = row.method ?? OWN_METHOD[kind]
      t.equal(inWords(judge(policy, who, method, kind, thing)), is)
      t.equal(inWords(judge(policy, who, method, kind, thing)), is, 'the second time')
      const { verdict, levels } = explain(policy, who, method, kind, thing)
      t.equal(inWords(verdict), is, 'explained')
      t.equal(
        levels.every(({ allowed }) => allowed),
        verdict.allowed,
        'what is explained is what is decided',
      )
    })
  }
})

await t.test('without auth nobody is told to get scopes', async (t) => {
  const policy = { ...policyFrom({ server: '[{ allow: { scopes: read } }]' }), authenticated: false }
  t.equal(inWords(judge(policy, askerOf({}), 'tools/call', 'tools', toolOf('x'))), 'denied by server')
})

await t.test('names of the prototype are names', async (t) => {
  const policy = policyFrom({ server: '[{ tools: [constructor, "get_*"], allow: anyone }]' })
  const rows = [
    ['constructor', true],
    ['toString', false],
    ['__proto__', false],
    ['hasOwnProperty', false],
  ] as const
  for (const [own, allowed] of rows) {
    t.equal(judge(policy, askerOf({}), 'tools/call', 'tools', toolOf(own)).allowed, allowed, own)
  }
})

await t.test('a server that the policy does not know', async (t) => {
  const policy = policyFrom({})
  t.equal(inWords(judge(policy, askerOf({}), 'tools/call', 'tools', toolOf('x', '', 'other'))), 'denied by server')
  t.equal(inWords(judge(noPolicy, askerOf({}), 'tools/call', 'tools', toolOf('x', '', 'other'))), 'allowed')
})

await t.test('what came out is remembered for nobody else', async (t) => {
  const policy = policyFrom({ server: `[{ when: "claims.sub == 'ann' || request.address == '192.0.2.1'" }]` })
  const tool = toolOf('x')
  const allowed = (claims: Claims, changes: Partial<Asker> = {}): boolean =>
    judge(policy, askerOf(claims, changes), 'tools/call', 'tools', tool).allowed
  t.ok(allowed({ sub: 'ann' }))
  t.notOk(allowed({ sub: 'bob' }))
  t.ok(allowed({ sub: 'bob' }, { address: '192.0.2.1' }))
  t.notOk(allowed({ sub: 'bob' }))

  const byEra = policyFrom({ server: `[{ when: "request.era == 'stateless'" }]` })
  const ann = askerOf({ sub: 'ann' })
  for (const era of ['stateful', 'stateless', 'stateful'] as const)
    t.equal(judge(byEra, { ...ann, era }, 'tools/call', 'tools', tool).allowed, era === 'stateless', era)

  const byAddress = policyFrom({ server: `[{ when: "request.address.startsWith('10.')" }]` })
  for (const address of ['10.0.0.1', '192.0.2.7', '10.0.0.1'])
    t.equal(
      judge(byAddress, { ...ann, address }, 'tools/call', 'tools', tool).allowed,
      address.startsWith('10.'),
      address,
    )
})

await t.test('more things than are remembered', async (t) => {
  const policy = policyFrom({ server: `[{ when: "tool.name.endsWith('7')" }]` })
  const tools = Array.from({ length: 600 }, (_, i) => toolOf(`t${i}`))
  const asker = askerOf({})
  for (const round of [1, 2]) {
    const allowed = tools.filter((tool) => judge(policy, asker, 'tools/call', 'tools', tool).allowed)
    t.equal(allowed.length, 60, `round ${round}`)
  }
})

// --- rules, by property -------------------------------------------------------------------------------------------

const expression = (source: string): Expression => {
  const form = compileExpression(source, place)
  if (!form.ok) throw new Error(`${source}: ${form.message}`)
  return form.value
}

const faults = [
  'claims.nope == 1',
  '!(claims.nope == 1)',
  'claims.sub.nope',
  'resource.uri == "x" && tool.name == "y"',
  '1 / 0 == 1',
  '!(1 / 0 == 1)',
  '[1][5] == 1',
  'claims.groups.startsWith("d")',
  'int("x") == 1',
  'claims.sub > 1',
].map(expression)
const sound = [
  'true',
  'false',
  '"dev" in claims.groups',
  'server.name == "s"',
  'request.era == "stateful"',
  'request.address == "192.0.2.7"',
  'has(claims.sub)',
].map(expression)

const word = fc.constantFrom('a', 'b', 'c')
const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc
    .tuple(fc.constantFrom('roles', 'groups', 'subjects'), fc.uniqueArray(word, { minLength: 1, maxLength: 2 }))
    .map(([of, values]): Condition => ({ of, path: '', values })),
  fc
    .uniqueArray(fc.constantFrom('a', 'b', 'c', 'a b', 'b c', 'a b c'), { minLength: 1, maxLength: 2 })
    .map((values): Condition => ({ of: 'scopes', path: '', values })),
  fc
    .uniqueArray(word, { minLength: 1, maxLength: 2 })
    .map((values): Condition => ({ of: 'claim', path: 'org.team', values })),
)
const patterns = fc.uniqueArray(
  fc.constantFrom('*', 'x', 'y', 'x*', '*y', 's_x', 's_*', 's_*y', 'x*y', 'constructor', '__proto__'),
  { minLength: 1, maxLength: 3 },
)
const shapes = fc.record({ tools: patterns, prompts: patterns, resources: patterns }, { requiredKeys: [] })
const rule: fc.Arbitrary<Rule> = fc
  .tuple(
    shapes,
    fc.uniqueArray(condition, { maxLength: 2, selector: ({ of }) => of }),
    fc.option(fc.constantFrom(...sound, ...faults), { nil: undefined, freq: 3 }),
    fc.boolean(),
  )
  .map(([shape, allow, when, confirm]) => ({
    place,
    path: 'rule',
    ...shape,
    allow,
    ...(when !== undefined && { when }),
    confirm,
  }))
const rulesAccess = fc.array(rule, { maxLength: 12 }).map((rules): Access => ({ kind: 'rules', rules }))
const access = fc.oneof(
  { weight: 5, arbitrary: rulesAccess },
  { weight: 1, arbitrary: fc.constant<Access>({ kind: 'roles', place, path: 'servers.s.access' }) },
)

const policies: fc.Arbitrary<Policy> = fc
  .record({
    gateway: fc.option(rulesAccess, { nil: undefined }),
    server: fc.option(access, { nil: undefined }),
    view: fc.option(rulesAccess, { nil: undefined }),
    shape: shapes,
    roles: fc.option(fc.constant('permissions'), { nil: undefined }),
  })
  .map(({ gateway, server, view, shape, roles }) => ({
    authenticated: true,
    audience: '',
    gateway,
    views: new Map([['v', { name: 'v', place, ...shape, ...(view !== undefined && { access: view }) }]]),
    servers: new Map([['s', { access: server, description: '' }]]),
    roles,
  }))

const oneOrMore = fc.oneof(word, fc.array(word, { maxLength: 3 }))
const role = fc.constantFrom('tool:x', 'tool:x*', 'tool:*', 'prompt:y', 'resource:*', '*', 'a')
const claims: fc.Arbitrary<Claims> = fc.record(
  {
    sub: word,
    groups: oneOrMore,
    roles: oneOrMore,
    permissions: fc.array(role, { maxLength: 2 }),
    scope: fc.array(word, { maxLength: 3 }).map((words) => words.join(' ')),
    org: fc.record({ team: oneOrMore }),
    realm_access: fc.record({ roles: fc.array(word, { maxLength: 2 }) }),
    resource_access: fc.record({ s: fc.record({ roles: fc.array(role, { maxLength: 2 }) }) }),
  },
  { requiredKeys: [] },
)
const askers = fc
  .record({
    claims,
    view: fc.constantFrom('', '', 'v', 'w'),
    era: fc.constantFrom('stateful', 'stateless'),
    address: fc.constantFrom('192.0.2.7', '192.0.2.8'),
  })
  .map(({ claims, ...changes }) => askerOf(claims, changes))
const kinds = fc.constantFrom<Kind>('tools', 'prompts', 'resources')
const things = fc
  .tuple(fc.constantFrom('x', 'y', 'xy', 'z', '__proto__', 'constructor'), fc.constantFrom('', 'readOnly=true'))
  .map(([own, hints]): Thing => ({ exposed: `s_${own}`, own, server: 's', hints }))

const asked = (policy: Policy, asker: Asker, kind: Kind, thing: Thing): Verdict =>
  judge(policy, asker, OWN_METHOD[kind], kind, thing)

/** The same said again, slowly and without remembering anything. */
const slowly = (policy: Policy, asker: Asker, kind: Kind, thing: Thing): { allowed: boolean; confirm: boolean } => {
  const { claims } = asker.principal
  const valuesOf = (path: string): readonly string[] => claimValues(claims, path)
  const sourceOf = {
    roles: () =>
      policy.roles === undefined ? [...valuesOf('realm_access.roles'), ...valuesOf('roles')] : valuesOf(policy.roles),
    groups: () => valuesOf('groups'),
    scopes: () => [...valuesOf('scope'), ...valuesOf('scp')],
    subjects: () => valuesOf('sub'),
  }
  const fits = (pattern: string, name: string): boolean =>
    new RegExp(`^${pattern.replaceAll('*', '.*')}$`, 's').test(name)
  const speaksOf = (spoken: { tools?: unknown; prompts?: unknown; resources?: unknown }, name: string): boolean => {
    const { tools, prompts, resources } = spoken
    const list = { tools, prompts, resources }[kind]
    if (Array.isArray(list)) return list.some((pattern) => fits(String(pattern), name))
    return tools === undefined && prompts === undefined && resources === undefined
  }
  const level = (access: Access | undefined, name: string): { allowed: boolean; confirm: boolean } => {
    if (access === undefined) return { allowed: true, confirm: false }
    if (access.kind === 'roles') {
      const roles = valuesOf(policy.roles ?? 'resource_access.s.roles')
      const start = { tools: 'tool:', prompts: 'prompt:', resources: 'resource:' }[kind]
      const allowed = roles.some((role) => role.startsWith(start) && fits(role, start + thing.own))
      return { allowed, confirm: false }
    }
    const subject =
      kind === 'tools'
        ? { tool: { name, annotations: thing.hints === '' ? {} : { readOnlyHint: true } } }
        : kind === 'prompts'
          ? { prompt: { name } }
          : { resource: { uri: name } }
    const holding = access.rules.filter(
      (rule) =>
        speaksOf(rule, name) &&
        rule.allow.every(({ of, path, values }) => {
          const has = of === 'claim' ? valuesOf(path) : sourceOf[of]()
          return values.some((value) => value.split(' ').every((part) => has.includes(part)))
        }) &&
        (rule.when === undefined ||
          rule.when.holds({
            ...subject,
            claims,
            server: { name: thing.server, description: '' },
            request: { method: OWN_METHOD[kind], view: asker.view, era: asker.era, address: asker.address },
          })),
    )
    return { allowed: holding.length > 0, confirm: holding.some(({ confirm }) => confirm) }
  }
  const view = policy.views.get(asker.view)
  const levels = [
    level(policy.gateway, thing.exposed),
    level(policy.servers.get('s')?.access, thing.own),
    ...(asker.view === ''
      ? []
      : [
          view !== undefined && speaksOf(view, thing.exposed)
            ? level(view.access, thing.exposed)
            : { allowed: false, confirm: false },
        ]),
  ]
  const allowed = levels.every((each) => each.allowed)
  return { allowed, confirm: allowed && levels.some(({ confirm }) => confirm) }
}

const runs = { numRuns: 2000 }

await t.test('the decision is what its definition says, also asked again in any order', async () => {
  fc.assert(
    fc.property(
      policies,
      fc.array(fc.tuple(askers, kinds, things), { minLength: 1, maxLength: 6 }),
      (policy, questions) => {
        const answers = (): readonly Verdict[] =>
          questions.map(([asker, kind, thing]) => asked(policy, asker, kind, thing))
        const first = answers()
        const expected = questions.map(([asker, kind, thing]) => slowly(policy, asker, kind, thing))
        return (
          isDeepStrictEqual(
            first.map((verdict) => ({ allowed: verdict.allowed, confirm: verdict.allowed && verdict.confirm })),
            expected,
          ) && isDeepStrictEqual(answers(), first)
        )
      },
    ),
    runs,
  )
})

/** The policy with one more rule at one level that has rules already; undefined: there is none there. */
const withRule = (
  policy: Policy,
  at: 'gateway' | 'server' | 'view',
  index: number,
  added: Rule,
): Policy | undefined => {
  const longer = (access: Access | undefined): Access | undefined =>
    access?.kind === 'rules'
      ? { kind: 'rules', rules: access.rules.toSpliced(index % (access.rules.length + 1), 0, added) }
      : undefined
  const [server, view] = [policy.servers.get('s'), policy.views.get('v')]
  const access = longer({ gateway: policy.gateway, server: server?.access, view: view?.access }[at])
  if (access === undefined || server === undefined || view === undefined) return undefined
  switch (at) {
    case 'gateway':
      return { ...policy, gateway: access }
    case 'server':
      return { ...policy, servers: new Map([['s', { ...server, access }]]) }
    case 'view':
      return { ...policy, views: new Map([['v', { ...view, access }]]) }
    default:
      return at satisfies never
  }
}
const levelNames = fc.constantFrom('gateway', 'server', 'view')

await t.test('one more rule takes nothing away; only one that says confirm adds a confirmation', async () => {
  fc.assert(
    fc.property(
      policies,
      levelNames,
      fc.nat(),
      rule,
      askers,
      kinds,
      things,
      (policy, at, index, added, asker, kind, thing) => {
        const longer = withRule(policy, at, index, added)
        fc.pre(longer !== undefined)
        const [before, after] = [asked(policy, asker, kind, thing), asked(longer, asker, kind, thing)]
        if (!before.allowed) return true
        return after.allowed && (before.confirm ? after.confirm : !after.confirm || added.confirm)
      },
    ),
    runs,
  )
})

await t.test('a rule whose expression cannot be worked out is as if it were not there', async () => {
  fc.assert(
    fc.property(
      policies,
      levelNames,
      fc.nat(),
      rule,
      fc.constantFrom(...faults),
      askers,
      kinds,
      things,
      (policy, at, index, added, when, asker, kind, thing) => {
        const longer = withRule(policy, at, index, { ...added, when })
        fc.pre(longer !== undefined)
        const [before, after] = [asked(policy, asker, kind, thing), asked(longer, asker, kind, thing)]
        return (
          before.allowed === after.allowed && (!before.allowed || !after.allowed || before.confirm === after.confirm)
        )
      },
    ),
    runs,
  )
})

await t.test('without claims nothing is allowed but what is anyone’s', async () => {
  const forSome = rule.filter(({ allow }) => allow.length > 0)
  const closed = fc.oneof(
    fc.array(forSome, { maxLength: 8 }).map((rules): Access => ({ kind: 'rules', rules })),
    fc.constant<Access>({ kind: 'roles', place, path: 'servers.s.access' }),
  )
  fc.assert(
    fc.property(
      policies,
      closed,
      levelNames,
      kinds,
      things,
      fc.constantFrom('', 'v'),
      (policy, access, at, kind, thing, view) => {
        const view0 = policy.views.get('v')
        if (view0 === undefined) return false
        const shut: Policy = {
          ...policy,
          ...(at === 'gateway' && { gateway: access }),
          ...(at === 'server' && { servers: new Map([['s', { access, description: '' }]]) }),
          ...(at === 'view' && { views: new Map([['v', { ...view0, access }]]) }),
        }
        return !asked(shut, askerOf({}, { view: at === 'view' ? 'v' : view }), kind, thing).allowed
      },
    ),
    runs,
  )
})

await t.test('the scopes of a denial are what is missing, and none are named where none would do', async () => {
  const scoped = (asker: Asker, scopes: readonly string[]): Asker => {
    const all = [...claimValues(asker.principal.claims, 'scope'), ...scopes]
    return { ...asker, principal: askerOf({ ...asker.principal.claims, scope: all.join(' ') }).principal }
  }
  fc.assert(
    fc.property(policies, askers, kinds, things, (policy, asker, kind, thing) => {
      const verdict = asked(policy, asker, kind, thing)
      if (verdict.allowed) return true
      if (verdict.scopes === undefined) return !asked(policy, scoped(asker, ['a', 'b', 'c']), kind, thing).allowed
      const only = {
        ...asker,
        principal: askerOf({ ...asker.principal.claims, scope: verdict.scopes.join(' ') }).principal,
      }
      return [scoped(asker, verdict.scopes), only].every((who) => asked(policy, who, kind, thing).allowed)
    }),
    runs,
  )
})

await t.test('what is explained is what is decided', async () => {
  const methods = fc.constantFrom<MethodName>('tools/call', 'prompts/get', 'resources/read', 'completion/complete')
  fc.assert(
    fc.property(policies, askers, methods, kinds, things, (policy, asker, method, kind, thing) => {
      const { verdict, levels } = explain(policy, asker, method, kind, thing)
      return (
        isDeepStrictEqual(verdict, judge(policy, asker, method, kind, thing)) &&
        levels.every(({ allowed }) => allowed) === verdict.allowed &&
        levels.every(({ allowed, rules }) => rules.some(({ holds }) => holds) === allowed) &&
        levels.every(({ rules }) => rules.every(({ holds, reasons }) => reasons.every((each) => each.holds) === holds))
      )
    }),
    runs,
  )
})

// --- what is said about it ----------------------------------------------------------------------------------------

await t.test('explanations', async (t) => {
  const policy = policyFrom({
    gateway: '[{ tools: "gh_*", allow: { groups: [staff] } }]',
    server: `[{ tools: "get_*", allow: { roles: [admin, "the boss"], claims: { org.team: red } } },
             { tools: "set_*", allow: anyone },
             { tools: "*", allow: { subjects: ann }, when: "claims.email == 'x'" },
             { tools: "*", allow: { groups: dev }, confirm: true }]`,
    view: '{ prompts: ["*"] }',
  })
  const told = (asker: Asker, kind: Kind = 'tools'): readonly string[] =>
    explain(policy, asker, OWN_METHOD[kind], kind, toolOf('get_issue')).levels.flatMap(
      ({ path, allowed, note, rules }) => [
        `${allowed ? '+' : '-'} ${path}${note === undefined ? '' : `: ${note}`}`,
        ...rules.map(({ path, holds, confirm, reasons }) =>
          [
            `${holds ? '+' : '-'} ${path}${confirm ? ' confirm' : ''}`,
            ...reasons.map(({ holds, text }) => `${holds ? '+' : '-'} ${text}`),
          ].join(' | '),
        ),
      ],
    )
  await t.test('allowed', async (t) =>
    t.strictSame(told(askerOf(dev)), [
      '+ gateway.access',
      '+ gateway.access[0] | + groups: needs "staff", has "dev", "staff"',
      '+ servers.github.access',
      '- servers.github.access[0] | - roles: needs "admin" or "the boss", has nothing | - org.team: needs "red", has nothing',
      '- servers.github.access[2] | + subjects: needs "ann", has "ann" | - when: cannot be worked out: no such key: email',
      '+ servers.github.access[3] confirm | + groups: needs "dev", has "dev", "staff"',
    ]),
  )
  await t.test('denied everywhere', async (t) =>
    t.strictSame(
      told(askerOf({ groups: Array.from({ length: 12 }, (_, i) => `g${i}`) }, { view: 'oncall' }), 'tools').slice(0, 2),
      [
        '- gateway.access',
        '- gateway.access[0] | - groups: needs "staff", has "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9" and 2 more',
      ],
    ),
  )
  await t.test('a view that does not show it, and levels without a rule about it', async (t) => {
    t.strictSame(told(askerOf(dev, { view: 'oncall' })).at(-1), '- views.oncall: the view does not show it')
    t.strictSame(told(askerOf(dev), 'prompts'), [
      '- gateway.access: no rule is about it',
      '- servers.github.access: no rule is about it',
    ])
    t.strictSame(told(askerOf(dev, { view: 'night' })).at(-1), '- views.night: there is no such view')
  })
  await t.test('roles', async (t) => {
    const roles = policyFrom({ server: 'roles' })
    const has: Claims = { resource_access: { github: { roles: ['tool:set_issue'] } } }
    t.strictSame(
      explain(roles, askerOf(has), 'tools/call', 'tools', toolOf('get_issue')).levels[0]?.rules[0]?.reasons,
      [{ holds: false, text: 'resource_access.github.roles: needs "tool:get_issue", has "tool:set_issue"' }],
    )
    t.strictSame(
      explain(roles, askerOf(has), 'tools/call', 'tools', toolOf('set_issue')).levels[0]?.rules[0]?.reasons,
      [{ holds: true, text: 'resource_access.github.roles: has "tool:set_issue"' }],
    )
  })
  await t.test('nothing restricts it', async (t) =>
    t.strictSame(explain(policyFrom({}), askerOf({}), 'tools/call', 'tools', toolOf('x')), {
      verdict: { allowed: true, confirm: false, grounds: [] },
      levels: [],
    }),
  )
})

const tested = `
servers:
  github:
    url: https://github.example.com/mcp
    prefix: gh_
    tools: { exclude: ["drop_*"], rename: { get_issue: issue, list: all } }
    access:
      - tools: ["get_*", list, serach]
        allow: anyone
      - tools: set_issue
        when: "request.era == 'stateless'"
      - tools: ["*"]
        when: "tool.annotations.readOnlyHint"
        confirm: true
  weather:
    url: https://weather.example.com/mcp
views:
  oncall: { tools: ["gh_*", "wether_*"] }
`
const withTests = (tests: string): Registry => registryFrom(`${tested}tests:\n${tests}`)
const toldBy = (
  problems: readonly { severity: string; place: { line: number }; path: string; message: string; hint?: string }[],
): readonly string[] =>
  problems.map(
    ({ severity, path, message, hint }) => `${severity} ${path}: ${message}${hint === undefined ? '' : ` (${hint})`}`,
  )

await t.test('the registry’s own tests', async (t) => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['all well', '  - { claims: {}, allowed: [gh_issue, gh_all, weather_now], denied: [gh_merge] }\n', []],
    [
      'denied, and should not be',
      '  - { name: ann reads, claims: {}, allowed: [gh_merge] }\n',
      [
        'error tests[0].allowed[0]: ann reads: gh_merge is denied, by servers.github.access (servers.github.access[2]: when: cannot be worked out: no such key: readOnlyHint)',
      ],
    ],
    [
      'allowed, and should not be',
      '  - { claims: {}, denied: [gh_merge, gh_issue] }\n',
      ['error tests[0].denied[1]: tests[0]: gh_issue is allowed, by servers.github.access[0] (line 8)'],
    ],
    [
      'nothing restricts it',
      '  - { claims: {}, denied: [weather_now] }\n',
      ['error tests[0].denied[0]: tests[0]: weather_now is allowed: no rule restricts it'],
    ],
    [
      'one era only',
      '  - { claims: {}, allowed: [gh_set_issue] }\n  - { claims: {}, denied: [gh_set_issue] }\n',
      [
        'error tests[0].allowed[0]: tests[0]: gh_set_issue is denied for stateful clients, by servers.github.access (servers.github.access[1]: when: false; servers.github.access[2]: when: cannot be worked out: no such key: readOnlyHint)',
        'error tests[1].denied[0]: tests[1]: gh_set_issue is allowed for stateless clients, by servers.github.access[1] (line 10)',
      ],
    ],
    [
      'in a view',
      '  - { claims: {}, view: oncall, allowed: [gh_issue, weather_now] }\n',
      ['error tests[0].allowed[1]: tests[0]: weather_now is denied, by views.oncall (the view does not show it)'],
    ],
    [
      'tools that nobody has',
      '  - { claims: {}, allowed: [gh_isue], denied: [gh_drop_it, other] }\n',
      [
        'error tests[0].allowed[0]: no tool is called "gh_isue" (did you mean "gh_issue"?)',
        'error tests[0].denied[0]: no tool is called "gh_drop_it"',
        'error tests[0].denied[1]: no tool is called "other"',
      ],
    ],
  ]
  const names = ['gh_issue', 'gh_all', 'gh_merge', 'gh_set_issue', 'weather_now']
  for (const [name, tests, expected] of rows) {
    await t.test(name, async (t) => {
      const registry = withTests(tests)
      const resolve = (exposed: string): Thing | undefined =>
        names.includes(exposed) ? namedTool(registry, exposed) : undefined
      t.strictSame(toldBy(runPolicyTests(registry, policyOf(registry), resolve, names)), expected)
    })
  }
})

await t.test('which tool a name stands for', async (t) => {
  const registry = registryFrom(tested)
  const pin = (annotations: unknown) => ({ sha256: '', definition: { annotations } })
  const locked = registryFrom(
    tested,
    new Map([
      [
        'github',
        {
          tools: new Map([
            ['get_issue', pin({ readOnlyHint: true, destructiveHint: 'no', title: 'x' })],
            ['list', pin(undefined)],
          ]),
        },
      ],
    ]),
  )
  const rows: readonly (readonly [string, Registry, string, string | undefined, string])[] = [
    ['a renamed tool', registry, 'gh_issue', 'get_issue', ''],
    ['the name it had', registry, 'gh_get_issue', undefined, ''],
    ['any other', registry, 'gh_anything', 'anything', ''],
    ['one that is hidden', registry, 'gh_drop_it', undefined, ''],
    ['of no server', registry, 'gl_x', undefined, ''],
    ['a name of the prototype', registry, 'gh___proto__', '__proto__', ''],
    ['what a pinned tool says of itself', locked, 'gh_issue', 'get_issue', 'readOnly=true'],
    ['a pinned tool that says nothing', locked, 'gh_all', 'list', ''],
    ['one that is not pinned', locked, 'gh_anything', undefined, ''],
    ['of a server that is not in the lock', locked, 'weather_now', 'now', ''],
  ]
  for (const [name, from, exposed, own, hints] of rows) {
    await t.test(name, async (t) => {
      const tool = namedTool(from, exposed)
      t.equal(tool?.own, own)
      if (tool !== undefined) t.equal(tool.hints, hints)
    })
  }
})

await t.test('rules about tools that nobody has', async (t) => {
  const registry = registryFrom(tested)
  const tools = new Map([
    ['github', ['get_issue', 'list', 'search', 'set_issue', 'drop_all']],
    ['weather', ['now']],
  ])
  await t.test('all servers are known', async (t) =>
    t.strictSame(toldBy(rulesWithoutTools(registry, (server) => tools.get(server))), [
      'warning servers.github.access[0].tools: "serach": server "github" shows no tool so named (did you mean "search"?)',
      'warning views.oncall.tools: "wether_*": no server shows a tool under this name',
    ]),
  )
  await t.test('one is not', async (t) =>
    t.strictSame(
      toldBy(rulesWithoutTools(registry, (server) => (server === 'github' ? tools.get(server) : undefined))),
      [
        'warning servers.github.access[0].tools: "serach": server "github" shows no tool so named (did you mean "search"?)',
      ],
    ),
  )
  await t.test('none is', async (t) =>
    t.strictSame(
      rulesWithoutTools(registry, () => undefined),
      [],
    ),
  )
})
