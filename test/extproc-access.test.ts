/** Who asks, and what the processor makes of it: tokens as Envoy hands them on, sessions, views, rules, limits and forwarded headers. */
import loader from '@grpc/proto-loader'
import fc from 'fast-check'
import protobuf from 'protobufjs/minimal.js'
import t from 'tap'
import { mergeCatalogue } from '../src/catalog/catalogue.ts'
import { type Page, parsePage, type ServerCatalogue } from '../src/catalog/server-catalogue.ts'
import { claimsOf, payloadIn } from '../src/extproc/claims.ts'
import { decodeRequest } from '../src/extproc/codec.ts'
import { type Decision, decide, decideHead } from '../src/extproc/decide.ts'
import { type Rules, type State, start, step } from '../src/extproc/exchange.ts'
import { rememberPrincipals } from '../src/extproc/principals.ts'
import type { Fields, Metadata, Mutation } from '../src/extproc/processing.ts'
import type { Edge, RequestHead } from '../src/mcp/request-head.ts'
import { ANYBODY, type Claims, type Principal, principalOf } from '../src/policy/principal.ts'
import type { Json } from '../src/registry/model.ts'
import { parseRegistry } from '../src/registry/parse.ts'
import type { ClientSession, SessionLookup } from '../src/sessions/session-table.ts'
import { registryIn } from './support/registry-text.ts'

// --- what Envoy says of a token -----------------------------------------------------------------------------------

const JWT_AUTHN = 'envoy.filters.http.jwt_authn'

/** google.protobuf.Value and Struct, as their proto file has them. */
const value = (writer: protobuf.Writer, json: Json): void => {
  if (json === null) writer.uint32(8).int32(0)
  else if (typeof json === 'number') writer.uint32(17).double(json)
  else if (typeof json === 'string') writer.uint32(26).string(json)
  else if (typeof json === 'boolean') writer.uint32(32).bool(json)
  else if (Array.isArray(json)) {
    writer.uint32(50).fork()
    for (const each of json) within(writer, 1, () => value(writer, each))
    writer.ldelim()
  } else within(writer, 5, () => struct(writer, json))
}
const within = (writer: protobuf.Writer, field: number, write: () => void): void => {
  writer.uint32((field << 3) | 2).fork()
  write()
  writer.ldelim()
}
const struct = (writer: protobuf.Writer, members: object): void => {
  for (const [key, json] of Object.entries(members)) {
    within(writer, 1, () => {
      writer.uint32(10).string(key)
      within(writer, 2, () => value(writer, json))
    })
  }
}
/** An envoy.config.core.v3.Metadata. */
const metadataOf = (namespaces: Readonly<Record<string, object>>): Buffer => {
  const writer = protobuf.Writer.create()
  for (const [name, fields] of Object.entries(namespaces)) {
    within(writer, 1, () => {
      writer.uint32(10).string(name)
      within(writer, 2, () => struct(writer, fields))
    })
  }
  return Buffer.from(writer.finish())
}
const verified = (claims: object): Buffer => metadataOf({ [JWT_AUTHN]: { jwt: claims } })
const claimsIn = (metadata: Buffer): Claims | undefined => {
  const payload = payloadIn(metadata)
  return payload === undefined ? undefined : claimsOf(payload)
}

void t.test('claims', async (t) => {
  await t.test('come out as they went in', async () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 5 })), (claims) => {
        return JSON.stringify(claimsIn(verified(claims))) === JSON.stringify(claims)
      }),
    )
  })
  await t.test('by the protos', async (t) => {
    const definition = loader.loadSync('envoy/service/ext_proc/v3/external_processor.proto', {
      includeDirs: ['protos'],
      keepCase: true,
    })
    const service = definition['envoy.service.ext_proc.v3.ExternalProcessor']
    if (service === undefined || 'format' in service || service['Process'] === undefined) throw new Error('no service')
    const jwt = {
      structValue: {
        fields: {
          sub: { stringValue: 'ann' },
          exp: { numberValue: 2e9 },
          admin: { boolValue: true },
          nothing: { nullValue: 0 },
          groups: { listValue: { values: [{ stringValue: 'dev' }, { listValue: { values: [] } }] } },
          realm_access: { structValue: { fields: { roles: { listValue: { values: [{ stringValue: 'r' }] } } } } },
        },
      },
    }
    const request = decodeRequest(
      service['Process'].requestSerialize({
        request_headers: { headers: { headers: [] } },
        metadata_context: {
          filter_metadata: { other: { fields: { jwt } }, [JWT_AUTHN]: { fields: { header: {}, jwt } } },
          typed_filter_metadata: {},
        },
      }),
    )
    if (request.of !== 'request_headers' || request.metadata === undefined) throw new Error('no metadata')
    t.same(claimsIn(request.metadata), {
      sub: 'ann',
      exp: 2e9,
      admin: true,
      nothing: null,
      groups: ['dev', []],
      realm_access: { roles: ['r'] },
    })
  })
  await t.test('a claim may be called __proto__', async (t) => {
    const claims = claimsIn(verified(JSON.parse('{"__proto__":{"groups":["admin"]},"sub":"ann"}')))
    t.equal(claims?.['groups'], undefined)
    t.same(Object.keys(claims ?? {}), ['__proto__', 'sub'])
  })
  const none: readonly (readonly [string, Buffer])[] = [
    ['nothing', metadataOf({})],
    ['another filter', metadataOf({ other: { jwt: { sub: 'eve' } } })],
    ['another key', metadataOf({ [JWT_AUTHN]: { token: { sub: 'eve' } } })],
    ['no object', metadataOf({ [JWT_AUTHN]: { jwt: 'eve' } })],
    ['a name that begins so', metadataOf({ [`${JWT_AUTHN}.x`]: { jwt: { sub: 'eve' } } })],
  ]
  for (const [name, metadata] of none) {
    await t.test(`none in ${name}`, async (t) => t.equal(claimsIn(metadata), undefined))
  }
})

void t.test('principals', async (t) => {
  const ann = { authorization: 'Bearer ann', metadata: verified({ iss: 'i', sub: 'ann' }) }
  const bob = { authorization: 'Bearer bob', metadata: verified({ iss: 'i', sub: 'bob' }) }
  await t.test('the same for the same token', async (t) => {
    const principals = rememberPrincipals()
    const first = principals(ann)
    t.equal(first?.subject, 'ann')
    t.equal(principals({ ...ann, authorization: ['Bearer', 'ann'].join(' ') }), first)
    t.equal(principals(bob)?.subject, 'bob')
    t.equal(principals(ann), first)
  })
  await t.test('tokens are compared whole', async (t) => {
    const principals = rememberPrincipals()
    const end = '.signature'.padEnd(64, 's')
    t.equal(principals({ ...ann, authorization: `Bearer a${end}` })?.subject, 'ann')
    t.equal(principals({ ...bob, authorization: `Bearer b${end}` })?.subject, 'bob')
    t.equal(principals({ ...ann, authorization: `Bearer a${end}` })?.subject, 'ann')
  })
  await t.test('a token that was let in once is not let in without Envoy', async (t) => {
    const principals = rememberPrincipals()
    t.ok(principals(ann))
    for (const metadata of [undefined, metadataOf({}), metadataOf({ other: { jwt: { sub: 'ann' } } })]) {
      t.equal(principals({ ...ann, metadata }), undefined)
    }
    t.equal(principals({ ...ann, authorization: undefined }), undefined)
  })
  await t.test('who has no subject is nobody', async (t) => {
    const principals = rememberPrincipals()
    for (const claims of [{ iss: 'i' }, { sub: '' }, { sub: 7 }]) {
      const nobody = { authorization: JSON.stringify(claims), metadata: verified(claims) }
      t.equal(principals(nobody), undefined)
      t.equal(principals(nobody), undefined)
    }
  })
  await t.test('few are remembered, and those in use stay', async (t) => {
    const principals = rememberPrincipals(4)
    const first = principals(ann)
    const once = principals(bob)
    for (let i = 0; i < 20; i++) {
      principals({ ...bob, authorization: `Bearer ${i}` })
      t.equal(principals(ann), first)
    }
    t.not(principals(bob), once)
  })
})

// --- what is decided ----------------------------------------------------------------------------------------------

const page = (method: Parameters<typeof parsePage>[0], key: string, items: readonly object[]): Page['items'] => {
  const message = Buffer.from(JSON.stringify({ [key]: items }))
  return parsePage(method, message, { start: 0, end: message.length })?.items ?? []
}
const answer: ServerCatalogue = {
  protocolVersion: '2025-11-25',
  eras: ['stateful', 'stateless'],
  caching: {},
  capabilities: new Set(['tools', 'prompts', 'resources']),
  instructions: undefined,
  tools: page(
    'tools/list',
    'tools',
    ['read', 'write', 'drop'].map((name) => ({
      name,
      inputSchema: { type: 'object' },
      annotations: { readOnlyHint: name === 'read' },
    })),
  ),
  prompts: page('prompts/list', 'prompts', [{ name: 'review' }, { name: 'plan' }]),
  resources: page('resources/list', 'resources', [{ uri: 'doc://a', name: 'a' }]),
  templates: page('resources/templates/list', 'resourceTemplates', [{ uriTemplate: 'doc://x/{id}', name: 'x' }]),
}
const tableOf = (text: string) => {
  const parsed = parseRegistry(text, { file: '/etc/mcp/registry.yaml', env: {}, readFile: () => '' })
  const registry = registryIn(parsed)
  return mergeCatalogue(registry, new Map(registry.servers.map(({ name }) => [name, answer]))).table
}

const RESOURCE = 'https://mcp.example.com/mcp'
const AUTH = `
  url: ${RESOURCE}
  auth: { issuer: "https://idp.example.com" }`
const text = `# who may do what
gateway:${AUTH}
  access:
    - { tools: "*", allow: { groups: staff } }
    - { prompts: "*", resources: "*", allow: anyone }
views:
  ops: { tools: ["git_*"] }
  strict: { tools: ["*"], access: [{ tools: "*", allow: { roles: ops } }] }
servers:
  git:
    url: http://127.0.0.1:1/mcp
    access:
      - { tools: read, allow: anyone }
      - { tools: write, allow: { scopes: "git:write" } }
      - { tools: write, allow: { roles: admin } }
      - { tools: drop, allow: { subjects: ann }, confirm: true }
      - { prompts: review, when: "request.era == 'stateful'" }
      - { resources: "doc://a", when: "request.address == '192.0.2.1'" }
      - { resources: "doc://x/*", allow: { subjects: ann } }
  wiki: { url: "http://127.0.0.1:2/mcp", limits: { body: 1KiB } }
`
const table = tableOf(text)
const lineOf = (part: string): number => text.split('\n').findIndex((line) => line.includes(part)) + 1

const who = (claims: Claims): Principal => {
  const principal = principalOf({ iss: 'https://idp.example.com', aud: RESOURCE, ...claims })
  if (principal === undefined) throw new Error('nobody')
  return principal
}
const ann = who({ sub: 'ann', groups: ['staff'], scope: 'openid git:write' })
const annOf = (aud: Json): Principal => who({ ...ann.claims, aud })
const bob = who({ sub: 'bob', groups: 'staff', realm_access: { roles: ['ops', 'admin'] } })
const eve = who({ sub: 'eve', groups: ['staffers'] })

const edge: Edge = {
  path: '/mcp',
  views: new Set(['ops', 'strict']),
  hosts: new Set(),
  origins: new Set(),
  maxBody: 1_000_000,
}
const post: RequestHead = {
  method: 'POST',
  path: '/mcp',
  host: 'localhost',
  origin: undefined,
  contentType: 'application/json',
  contentEncoding: undefined,
  accept: 'application/json, text/event-stream',
  contentLength: '10',
  sessionId: undefined,
  protocolVersion: '2025-11-25',
  mcpMethod: undefined,
  mcpName: undefined,
  mcpParams: new Map(),
}
const sessionOf = (principal: Principal, view: string): ClientSession => ({
  claims: {
    key: 'k',
    createdMs: 0,
    protocolVersion: '2025-11-25',
    capabilities: '{}',
    features: [],
    clientName: 'c',
    clientVersion: '1',
    principal: principal.key,
    view,
  },
  servers: new Map(['git', 'wiki'].map((name) => [name, { id: `${name}-id`, protocolVersion: '2025-11-25' }])),
  directCalls: new Map(),
  lastUsedMs: 0,
})
/** Ids such as `ann@ops`. */
const sessions: ReadonlyMap<string, ClientSession> = new Map<string, ClientSession>(
  [ann, bob, eve, ANYBODY].flatMap((principal) =>
    ['', 'ops', 'strict'].map((view) => [`${principal.subject}@${view}`, sessionOf(principal, view)] as const),
  ),
)
const lookup: SessionLookup = {
  find(id, { principal, view }) {
    const session = sessions.get(id)
    return session?.claims.principal === principal && session.claims.view === view ? session : undefined
  },
}

interface Request {
  readonly by?: Principal
  readonly view?: string
  readonly address?: string
  readonly era?: 'stateful' | 'stateless'
  readonly method?: string
  /** Members of the parameters beside what is named. */
  readonly more?: string
}
const META =
  '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},'
const bodyOf = (name: string, { method = 'tools/call', era = 'stateful', more = '' }: Request): Buffer =>
  Buffer.from(
    `{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${era === 'stateless' ? META : ''}${more}${
      method === 'completion/complete'
        ? `"ref":{"type":"x",${name.includes(':') ? '"uri"' : '"name"'}:"${name}"},"argument":{"name":"a","value":""}`
        : `${method === 'resources/read' ? '"uri"' : '"name"'}:"${name}"`
    }}}`,
  )
const headOf = (
  name: string,
  { by = ann, view = '', era = 'stateful', method = 'tools/call' }: Request,
): RequestHead => ({
  ...post,
  path: view === '' ? '/mcp' : `/mcp/${view}`,
  ...(era === 'stateful'
    ? { sessionId: `${by.subject}@${view}` }
    : { protocolVersion: '2026-07-28', mcpMethod: method, mcpName: name }),
})
const ask = (given: typeof table, name: string, request: Request = {}): Decision => {
  const sender = { principal: request.by ?? ann, address: request.address ?? '10.0.0.1' }
  const asked = decideHead(headOf(name, request), sender, edge, lookup, given, false)
  if (asked.to !== 'body') throw new Error('the body was not asked for')
  return decide(given, asked, bodyOf(name, request))
}
const told = ({ to, row, grounds }: Decision): string =>
  [
    to === 'server' ? 'direct' : 'broker',
    row === undefined ? '' : `${row.server} ${row.own}`,
    ...grounds.map(({ path, place }) => `${path}:${place.line}`),
  ]
    .filter((word) => word !== '')
    .join(' ')

const GATEWAY = `gateway.access[0]:${lineOf('groups: staff')}`
const ANYTHING = `gateway.access[1]:${lineOf('prompts: "*"')}`
const git = (index: number, part: string): string => `servers.git.access[${index}]:${lineOf(part)}`
const READ = git(0, 'tools: read')
const stateless = { era: 'stateless' } as const
const verdicts: readonly (readonly [string, string, Request, string])[] = [
  ['what anyone may', 'git_read', {}, `direct git read ${GATEWAY} ${READ}`],
  ['in the other era', 'git_read', stateless, `direct git read ${GATEWAY} ${READ}`],
  ['a group that only begins so', 'git_read', { by: eve }, 'broker'],
  ['a claim that is one string', 'git_read', { by: bob }, `direct git read ${GATEWAY} ${READ}`],
  ['by a scope', 'git_write', {}, `direct git write ${GATEWAY} ${git(1, 'git:write')}`],
  ['by a role', 'git_write', { by: bob }, `direct git write ${GATEWAY} ${git(2, 'roles: admin')}`],
  ['after a human was asked', 'git_drop', {}, `broker git drop ${GATEWAY} ${git(3, 'confirm')}`],
  ['nobody else is asked', 'git_drop', { by: bob }, 'broker'],
  ['a server without rules', 'wiki_drop', {}, `direct wiki drop ${GATEWAY}`],
  ['a tool that there is not', 'git_nope', {}, 'broker'],
  ['in one era', 'git_review', { method: 'prompts/get' }, `direct git review ${ANYTHING} ${git(4, 'request.era')}`],
  ['not in the other', 'git_review', { method: 'prompts/get', ...stateless }, 'broker'],
  ['a prompt that no rule is about', 'git_plan', { method: 'prompts/get' }, 'broker'],
  [
    'from one address',
    'doc://a',
    { method: 'resources/read', address: '192.0.2.1' },
    `direct git doc://a ${ANYTHING} ${git(5, 'request.address')}`,
  ],
  ['from another', 'doc://a', { method: 'resources/read' }, 'broker'],
  [
    'by a template',
    'doc://x/7',
    { method: 'resources/read' },
    `direct git doc://x/7 ${ANYTHING} ${git(6, 'doc://x/*')}`,
  ],
  [
    'a resource that is not to be kept for others',
    'doc://x/7',
    { method: 'resources/read', ...stateless },
    `broker git doc://x/7 ${ANYTHING} ${git(6, 'doc://x/*')}`,
  ],
  ['by a template, for others', 'doc://x/7', { method: 'resources/read', by: bob }, 'broker'],
  ['in a view', 'git_read', { view: 'ops' }, `direct git read ${GATEWAY} ${READ}`],
  ['in a view, the other era', 'git_read', { view: 'ops', ...stateless }, `direct git read ${GATEWAY} ${READ}`],
  ['not in this view', 'wiki_read', { view: 'ops' }, 'broker'],
  ['a kind that the view does not have', 'git_review', { view: 'ops', method: 'prompts/get' }, 'broker'],
  ['not with the rules of this view', 'git_read', { view: 'strict' }, 'broker'],
  [
    'with the rules of this view',
    'git_read',
    { view: 'strict', by: bob },
    `direct git read ${GATEWAY} ${READ} views.strict.access[0]:${lineOf('strict:')}`,
  ],
  [
    'a human’s answer, though nobody asks for it any more',
    'wiki_read',
    { ...stateless, more: '"requestState":"confirm.x",' },
    `broker wiki read ${GATEWAY}`,
  ],
  ['a server’s own state', 'wiki_read', { ...stateless, more: '"requestState":"x",' }, `direct wiki read ${GATEWAY}`],
  [
    'a body as large as the server takes',
    'wiki_read',
    { more: `"x":"${'x'.repeat(900)}",` },
    `direct wiki read ${GATEWAY}`,
  ],
  ['a larger one', 'wiki_read', { more: `"x":"${'x'.repeat(1000)}",` }, `broker wiki read ${GATEWAY}`],
  [
    'one that another server takes',
    'git_read',
    { more: `"x":"${'x'.repeat(1000)}",` },
    `direct git read ${GATEWAY} ${READ}`,
  ],
]
void t.test('what goes direct is what may be', async (t) => {
  for (const [name, named, request, expected] of verdicts) {
    await t.test(name, async (t) => t.equal(told(ask(table, named, request)), expected))
  }
  await t.test('a session body that claims the other era is judged as that', async (t) => {
    const head = headOf('git_review', { method: 'prompts/get' })
    const asked = decideHead(head, { principal: ann, address: '' }, edge, lookup, table, false)
    if (asked.to !== 'body') throw new Error('the body was not asked for')
    const body = bodyOf('git_review', { method: 'prompts/get', ...stateless })
    t.equal(told(decide(table, asked, body)), 'broker')
  })
})

void t.test('whose session it is', async (t) => {
  const heads: readonly (readonly [string, Principal | undefined, Partial<RequestHead>, boolean, string])[] = [
    ['their own', ann, { sessionId: 'ann@' }, false, 'body'],
    ["another's", bob, { sessionId: 'ann@' }, false, 'broker'],
    ["another's, with filters behind", bob, { sessionId: 'ann@' }, true, 'body without session'],
    ['everybody’s, with a token', ann, { sessionId: '@' }, false, 'broker'],
    ['of a view, at it', ann, { sessionId: 'ann@ops', path: '/mcp/ops' }, false, 'body'],
    ['of a view, at another', ann, { sessionId: 'ann@ops', path: '/mcp/strict' }, false, 'broker'],
    ['of a view, at all', ann, { sessionId: 'ann@ops' }, false, 'broker'],
    ['of all, at a view', ann, { sessionId: 'ann@', path: '/mcp/ops' }, false, 'broker'],
    ['at a view that there is not', ann, { sessionId: 'ann@', path: '/mcp/nope' }, false, 'broker'],
    ['with a token for the view', annOf(`${RESOURCE}/ops`), { sessionId: 'ann@ops', path: '/mcp/ops' }, false, 'body'],
    ['with one among several', annOf(['x', RESOURCE]), { sessionId: 'ann@' }, false, 'body'],
    ['with a token for a view, at all', annOf(`${RESOURCE}/ops`), { sessionId: 'ann@' }, true, 'broker'],
    [
      'with a token for another view',
      annOf(`${RESOURCE}/strict`),
      { sessionId: 'ann@ops', path: '/mcp/ops' },
      true,
      'broker',
    ],
    ['with a token for something alike', annOf(`${RESOURCE}/`), { sessionId: 'ann@' }, true, 'broker'],
    ['with a token for nothing', annOf(null), { sessionId: 'ann@' }, true, 'broker'],
    ['nobody', undefined, { sessionId: 'ann@' }, false, 'broker'],
    ['nobody, with everybody’s', undefined, { sessionId: '@' }, false, 'broker'],
    ['nobody, with filters behind', undefined, { sessionId: 'ann@' }, true, 'broker'],
    ['nobody, stateless', undefined, { protocolVersion: '2026-07-28' }, true, 'broker'],
  ]
  for (const [name, principal, head, everyBody, expected] of heads) {
    await t.test(name, async (t) => {
      const asked = decideHead({ ...post, ...head }, { principal, address: '' }, edge, lookup, table, everyBody)
      const bare = asked.to === 'body' && asked.era === 'stateful' && asked.session === undefined
      t.equal(bare ? `${asked.to} without session` : asked.to, expected)
    })
  }
})

// --- what is published --------------------------------------------------------------------------------------------

interface Published {
  readonly fields: Fields
  readonly mutation: Mutation
}
/** One exchange, from head to answer. */
const exchange = (given: typeof table, name: string, request: Request, verifiedBy?: object): Published => {
  const rules: Rules = {
    table: () => given,
    sessions: lookup,
    edge,
    brokerCluster: 'mcp.broker',
    everyBody: () => false,
    nameOf: () => 's1',
    principals: rememberPrincipals(),
  }
  let state: State = start
  let last: { readonly mutation: Mutation; readonly metadata: Metadata } | undefined
  const head = {
    of: 'request_headers',
    head: headOf(name, request),
    names: [':path', 'authorization', 'cookie', 'x-tenant', 'x-other', 'x-forwarded-for', 'accept'],
    endOfStream: false,
    requestId: 'd1',
    address: '10.0.0.1',
    authorization: verifiedBy === undefined ? undefined : 'Bearer x',
    metadata: verifiedBy === undefined ? undefined : verified(verifiedBy),
  } as const
  for (const event of [head, { of: 'request_body', body: bodyOf(name, request) } as const]) {
    const [next, effects] = step(state, event, rules)
    state = next
    for (const effect of effects) {
      if (effect.do === 'answer' && 'metadata' in effect.response) last = effect.response
    }
    if (state.at === 'done') break
  }
  const fields = last?.metadata['mcp.gateway']
  if (last === undefined || fields === undefined) throw new Error('nothing was published')
  return { fields, mutation: last.mutation }
}

void t.test('who asks, where, and what allows it is published', async (t) => {
  const claims = { iss: 'https://idp.example.com', ...ann.claims }
  await t.test('direct', async (t) => {
    const { fields } = exchange(table, 'git_write', { view: 'ops' }, claims)
    t.same(fields, {
      era: 'stateful',
      path: 'direct',
      decision: 'd1',
      view: 'ops',
      subject: 'ann',
      session: 's1',
      client: 'c/1',
      server: 'git',
      tool: 'write',
      method: 'tools/call',
      id: '1',
      rule: `${lineOf('groups: staff')} gateway.access[0], ${lineOf('git:write')} servers.git.access[1]`,
    })
  })
  await t.test('of what is denied as little as of what is not there', async (t) => {
    const denied = exchange(table, 'wiki_read', { view: 'ops' }, claims)
    const missing = exchange(table, 'wiki_nope', { view: 'ops' }, claims)
    t.same(denied, missing)
    t.match(denied.fields, { path: 'broker', method: 'tools/call', subject: 'ann', view: 'ops' })
    t.notOk('server' in denied.fields)
  })
  await t.test('of nobody, nothing', async (t) => {
    const { fields } = exchange(table, 'git_write', {})
    t.same(fields, { era: 'stateful', path: 'broker', decision: 'd1', view: '', subject: '', session: '' })
  })
  await t.test('no token counts while none is asked for', async (t) => {
    const open = tableOf(`
servers:
  git: { url: "http://127.0.0.1:1/mcp", access: [{ tools: read, allow: anyone }, { tools: "*", allow: { groups: staff } }] }
`)
    const read = exchange(open, 'git_read', { by: ANYBODY }, claims)
    t.match(read.fields, { path: 'direct', subject: '', rule: '3 servers.git.access[0]' })
    t.match(exchange(open, 'git_write', { by: ANYBODY }, claims).fields, { path: 'broker', subject: '' })
  })
})

void t.test('headers of the client that a server gets', async (t) => {
  const forwarding = tableOf(`
servers:
  git: { url: "http://127.0.0.1:1/mcp", forward: [X-Tenant, authorization] }
  wiki: { url: "http://127.0.0.1:2/mcp" }
`)
  const cells: readonly (readonly [string, string, Request, readonly string[]])[] = [
    ['stateful', 'git_read', {}, ['cookie', 'x-other', 'x-forwarded-for', 'mcp-session-id']],
    ['stateless', 'git_read', stateless, ['cookie', 'x-other', 'x-forwarded-for']],
    [
      'of another server',
      'wiki_read',
      stateless,
      ['authorization', 'cookie', 'x-tenant', 'x-other', 'x-forwarded-for'],
    ],
  ]
  for (const [name, named, request, removed] of cells) {
    await t.test(name, async (t) => {
      const { fields, mutation } = exchange(forwarding, named, { by: ANYBODY, ...request })
      t.equal(fields['path'], 'direct')
      t.same(
        mutation.remove.filter((each) => each !== 'mcp-session-id'),
        removed.filter((each) => each !== 'mcp-session-id'),
      )
    })
  }
})

void t.test('what a limit counts', async (t) => {
  const limited = tableOf(`
gateway:${AUTH}
  limits: { calls: 100/s, per: tool }
servers:
  git:
    url: http://127.0.0.1:1/mcp
    access: [{ tools: [read, write], prompts: review, resources: "doc://x/*", allow: anyone }]
    limits:
      calls: 10/s
      tools: { "wr*": { calls: 1/s, per: session }, "*": { calls: 2/s } }
  wiki: { url: "http://127.0.0.1:2/mcp" }
`)
  const all = (of: string) => ({ limit_gateway: 'gateway', limit_gateway_of: of })
  const ofGit = { limit_server: 'git', limit_server_of: 'subject:ann' }
  const cells: readonly (readonly [string, string, Request, Fields])[] = [
    [
      'a tool',
      'git_read',
      {},
      { ...all('tool:git_read'), ...ofGit, limit_tool: 'git/*', limit_tool_of: 'subject:ann' },
    ],
    [
      'per session',
      'git_write',
      {},
      { ...all('tool:git_write'), ...ofGit, limit_tool: 'git/wr*', limit_tool_of: 'session:s1' },
    ],
    [
      'per session, without one',
      'git_write',
      stateless,
      { ...all('tool:git_write'), ...ofGit, limit_tool: 'git/wr*', limit_tool_of: 'subject:ann' },
    ],
    ['a prompt', 'git_review', { method: 'prompts/get' }, { ...all('server:git'), ...ofGit }],
    ['a resource of a template', 'doc://x/7', { method: 'resources/read' }, { ...all('server:git'), ...ofGit }],
    ["a prompt's completion", 'git_review', { method: 'completion/complete' }, { ...all('server:git'), ...ofGit }],
    ["a template's completion", 'doc://x/{id}', { method: 'completion/complete' }, { ...all('server:git'), ...ofGit }],
    [
      'a completion, stateless',
      'git_review',
      { method: 'completion/complete', ...stateless },
      { ...all('server:git'), ...ofGit },
    ],
    ['not the completion of what is denied', 'git_plan', { method: 'completion/complete' }, {}],
    ['a server without limits', 'wiki_read', {}, all('tool:wiki_read')],
    ['not what is denied', 'git_drop', {}, {}],
    ['not what is not there', 'git_nope', {}, {}],
    ['not a list', '', { method: 'tools/list' }, {}],
  ]
  const limitsIn = (fields: Fields): Fields =>
    Object.fromEntries(Object.entries(fields).filter(([key]) => key.startsWith('limit_')))
  for (const [name, named, request, expected] of cells) {
    await t.test(name, async (t) => {
      t.same(limitsIn(exchange(limited, named, request, ann.claims).fields), expected)
    })
  }
  await t.test('bodies are read for it that nobody else would read', async (t) => {
    const sender = { principal: ann, address: '' }
    t.equal(decideHead(post, sender, edge, lookup, limited, false).to, 'body')
    t.equal(decideHead(post, sender, edge, lookup, table, false).to, 'broker')
  })
  await t.test('without a token everybody shares', async (t) => {
    const open = tableOf('servers: { git: { url: "http://127.0.0.1:1/mcp", limits: { calls: 1/s } } }\n')
    t.same(limitsIn(exchange(open, 'git_read', { by: ANYBODY }).fields), {
      limit_server: 'git',
      limit_server_of: 'subject:',
    })
  })
})
