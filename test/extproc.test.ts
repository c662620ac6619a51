/** From request to decision, and from decision to what Envoy is told: tables, steps, properties, and the wire against the protos. */
import assert from 'node:assert/strict'
import loader from '@grpc/proto-loader'
import fc from 'fast-check'
import t from 'tap'
import type { RoutingTable, Row, ServerRow } from '../src/catalog/routing-table.ts'
import { templateParts } from '../src/catalog/uri-template.ts'
import { decodeRequest, encodeResponse } from '../src/extproc/codec.ts'
import { type Decision, decide as decideAsked, decideHead, type Sender } from '../src/extproc/decide.ts'
import { type Effect, type Event, type Rules, type State, start, step } from '../src/extproc/exchange.ts'
import { bodyMutation, metadata } from '../src/extproc/mutation.ts'
import type { ProcessingRequest, ProcessingResponse } from '../src/extproc/processing.ts'
import { decodeHeaderValue } from '../src/mcp/header-value.ts'
import type { ParamHeader } from '../src/mcp/param-headers.ts'
import type { Edge, RequestHead } from '../src/mcp/request-head.ts'
import type { Asker } from '../src/policy/asker.ts'
import { noPolicy } from '../src/policy/policy.ts'
import { ANYBODY } from '../src/policy/principal.ts'
import type { ClientFeature } from '../src/registry/model.ts'
import type { ClientSession, SessionLookup } from '../src/sessions/session-table.ts'

const serverRow = (name: string, more: Partial<ServerRow> = {}): ServerRow => ({
  name,
  cluster: `direct.${name}`,
  path: `/${name}/mcp`,
  eras: new Set(['stateful']),
  client: ['elicitation'],
  prefixedResources: false,
  ...more,
})
const rows = (...list: readonly Row[]): ReadonlyMap<string, Row> => new Map(list.map((row) => [row.exposed, row]))
const row = (exposed: string, own: string, server: string, hints = '', params: readonly ParamHeader[] = []): Row => ({
  exposed,
  own,
  server,
  hints,
  params,
})
/** Only its own era's clients are in the tables below, unless a row says otherwise. */
const dual = { eras: new Set(['stateful', 'stateless'] as const) }
const servers = [
  serverRow('git'),
  serverRow('quiet', { client: [] }),
  serverRow('pipe', { cluster: undefined }),
  serverRow('cold'),
  serverRow('plain'),
  serverRow('new', dual),
  serverRow('newpipe', { ...dual, cluster: undefined }),
  serverRow('newquiet', { eras: new Set(['stateless']), client: [] }),
]
const table: RoutingTable = {
  policy: noPolicy,
  servers: new Map(servers.map((server) => [server.name, server])),
  tools: rows(
    row(
      'git_search',
      'search',
      'git',
      'readOnly=true,destructive=unspecified,idempotent=unspecified,openWorld=unspecified',
    ),
    row('same', 'same', 'git'),
    row('quiet_ask', 'ask', 'quiet'),
    row('pipe_run', 'run', 'pipe'),
    row('cold_start', 'start', 'cold'),
    row('plain_x', 'x', 'plain'),
    row('odd', 'a b%é', 'git'),
    row('lost', 'lost', 'gone'),
    row('__proto__', 'p', 'git'),
    row('new_x', 'x', 'new'),
    row('new_odd', '=?base64?é?=', 'new'),
    row('keep', 'keep', 'new'),
    row('größe', 'größe', 'new'),
    row('near', 'near', 'new', '', [
      { header: 'Region', key: 'region', path: ['region'], type: 'string' },
      { header: 'Limit', key: 'limit', path: ['limits', 'most'], type: 'integer' },
    ]),
    { ...row('new_only', 'only', 'new'), only: 'stateless' },
    row('newpipe_x', 'x', 'newpipe'),
    row('newquiet_x', 'x', 'newquiet'),
  ),
  prompts: rows(row('git_review', 'review', 'git'), row('new_review', 'review', 'new')),
  resources: rows(row('doc://a', 'doc://a', 'git'), row('new+doc://b', 'doc://b', 'new')),
  templates: [
    {
      exposed: 'file:///{p}',
      own: 'file:///{p}',
      server: 'quiet',
      hints: '',
      params: [],
      parts: templateParts('file:///{+p}') ?? [],
    },
  ],
}

const sessionOf = (features: readonly ClientFeature[] = []): ClientSession => ({
  claims: {
    key: 'k',
    createdMs: 0,
    protocolVersion: '2025-11-25',
    capabilities: '{}',
    features,
    clientName: 'c',
    clientVersion: '1',
    principal: '',
    view: '',
  },
  servers: new Map([
    ['git', { id: 'git-session', protocolVersion: '2025-06-18' }],
    ['quiet', { id: 'quiet-session', protocolVersion: '2025-11-25' }],
    ['pipe', { id: 'pipe-session', protocolVersion: '2025-11-25' }],
    ['plain', { id: undefined, protocolVersion: '2025-03-26' }],
    ['gone', { id: 'gone-session', protocolVersion: '2025-11-25' }],
    ['new', { id: 'new-session', protocolVersion: '2025-11-25' }],
  ]),
  directCalls: new Map(),
  lastUsedMs: 0,
})
const sender: Sender = { principal: ANYBODY, address: '10.0.0.1' }
const anybody: Asker = { ...sender, principal: ANYBODY, view: '', era: 'stateful' }
const statelessly: Asker = { ...anybody, era: 'stateless' }
const bare = sessionOf()
const asks = sessionOf(['elicitation'])

const message = (method: string, params: string, id = '1') =>
  `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`
const tool = (name: string, id?: string) =>
  message('tools/call', `{"name":"${name}","arguments":{"n":9007199254740993}}`, id)

/** As after the head of a request in that session. */
const decide = (given: RoutingTable, session: ClientSession, bytes: Buffer): Decision =>
  decideAsked(given, { to: 'body', era: 'stateful', asker: anybody, session }, bytes)

/** A decision in words. */
const told = (decision: Decision): string =>
  decision.to === 'server'
    ? `${decision.server.name} ${decision.method} ${decision.row.own} id ${decision.id} ${decision.body?.toString() ?? 'unchanged'}`
    : ['broker', decision.method, decision.row === undefined ? undefined : `(${decision.row.server})`, decision.id]
        .filter((word) => word !== undefined)
        .join(' ')

const cells: readonly (readonly [string, ClientSession, string, string])[] = [
  ['a tool', bare, tool('git_search'), `git tools/call search id 1 ${tool('search')}`],
  ['a tool without another name', bare, tool('same'), 'git tools/call same id 1 unchanged'],
  ['an id as sent', bare, tool('same', '9007199254740993'), 'git tools/call same id 9007199254740993 unchanged'],
  ['a string id', bare, tool('same', '"a\\u0062"'), 'git tools/call same id "a\\u0062" unchanged'],
  ['a name spelt with an escape', bare, tool('git\\u005fsearch'), `git tools/call search id 1 ${tool('search')}`],
  [
    'a prompt',
    bare,
    message('prompts/get', '{"name":"git_review"}'),
    `git prompts/get review id 1 ${message('prompts/get', '{"name":"review"}')}`,
  ],
  ['a resource', bare, message('resources/read', '{"uri":"doc://a"}'), 'git resources/read doc://a id 1 unchanged'],
  [
    'a resource of a template',
    bare,
    message('resources/read', '{"uri":"file:///x"}'),
    'quiet resources/read file:///x id 1 unchanged',
  ],
  ['a way up from it', bare, message('resources/read', '{"uri":"file:///x/../y"}'), 'broker resources/read 1'],
  ['a server without sessions', bare, tool('plain_x'), `plain tools/call x id 1 ${tool('x')}`],
  ['a client that can be asked', asks, tool('git_search'), 'broker tools/call (git) 1'],
  ['but not by this server', asks, tool('quiet_ask'), `quiet tools/call ask id 1 ${tool('ask')}`],
  [
    'a feature the server may not use',
    sessionOf(['sampling', 'roots']),
    tool('same'),
    'git tools/call same id 1 unchanged',
  ],
  ['a stdio server', bare, tool('pipe_run'), 'broker tools/call (pipe) 1'],
  ['no session with the server yet', bare, tool('cold_start'), 'broker tools/call (cold) 1'],
  ['a row without its server', bare, tool('lost'), 'broker tools/call (gone) 1'],
  ['a server of both eras', bare, tool('new_x'), `new tools/call x id 1 ${tool('x')}`],
  [
    'a body that claims the other era',
    bare,
    message('tools/call', '{"name":"same","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}'),
    'broker tools/call (git) 1',
  ],
  ['a tool for the other era', bare, tool('new_only'), 'broker tools/call 1'],
  ['an unknown tool', bare, tool('nope'), 'broker tools/call 1'],
  ['the own name of a renamed tool', bare, tool('search'), 'broker tools/call 1'],
  ['a prompt asked for as a tool', bare, tool('git_review'), 'broker tools/call 1'],
  ['a name in another case', bare, tool('Same'), 'broker tools/call 1'],
  ['constructor', bare, tool('constructor'), 'broker tools/call 1'],
  ['__proto__, when it is a tool', bare, tool('__proto__'), `git tools/call p id 1 ${tool('p')}`],
  ['no name', bare, message('tools/call', '{}'), 'broker tools/call 1'],
  ['a name that is no string', bare, message('tools/call', '{"name":["same"]}'), 'broker tools/call 1'],
  ['a URI where a name belongs', bare, message('tools/call', '{"uri":"same"}'), 'broker tools/call 1'],
  [
    'a URI that fits no header',
    bare,
    message('resources/read', `{"uri":"file:///${'x'.repeat(5000)}"}`),
    'broker resources/read 1',
  ],
  [
    'a URI that fits, however it is written',
    bare,
    message('resources/read', `{"uri":"file:///${'\\u0078'.repeat(1000)}"}`),
    `quiet resources/read file:///${'x'.repeat(1000)} id 1 unchanged`,
  ],
  ['an id that nobody should remember', bare, tool('same', `"${'x'.repeat(300)}"`), 'broker tools/call (git)'],
  [
    'a call as notification',
    bare,
    '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"same"}}',
    'broker tools/call (git)',
  ],
  ['a list', bare, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', 'broker tools/list 1'],
  ['a subscription', bare, message('resources/subscribe', '{"uri":"doc://a"}'), 'broker resources/subscribe 1'],
  ['a method of Object', bare, message('toString', '{"name":"same"}'), 'broker toString 1'],
  ['a response', bare, '{"jsonrpc":"2.0","id":1,"result":{}}', 'broker 1'],
  ['two names', bare, message('tools/call', '{"name":"same","name":"git_search"}'), 'broker 1'],
  ['a name in another case beside it', bare, message('tools/call', '{"name":"same","Name":"git_search"}'), 'broker 1'],
  ['a batch', bare, `[${tool('same')}]`, 'broker'],
  ['nothing', bare, '', 'broker'],
  ['rubbish behind', bare, `${tool('same')}x`, 'broker 1'],
]
void t.test('decide', async (t) => {
  for (const [name, session, body, expected] of cells) {
    await t.test(name, async (t) => t.equal(told(decide(table, session, Buffer.from(body))), expected))
  }
  await t.test('is total, and sends nothing to a server that is not a valid request for it', async () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '"',
      ':',
      ',',
      '"name"',
      '"same"',
      '"git_search"',
      '"params":',
      '"method":"tools/call"',
      '"id":1',
      '"jsonrpc":"2.0"',
      '\\u0000',
    )
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((array) => Buffer.from(array)),
      fc.array(piece, { maxLength: 20 }).map((list) => Buffer.from(list.join(''))),
      fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
        const body = Buffer.from(tool('git_search'))
        body[at % body.length] = byte
        return body
      }),
    )
    fc.assert(
      fc.property(bytes, (body) => {
        const decision = decide(table, bare, body)
        if (decision.to === 'broker') return true
        const parsed: unknown = JSON.parse((decision.body ?? body).toString())
        return JSON.stringify(parsed).includes(`"name":${JSON.stringify(decision.row.own)}`)
      }),
      { numRuns: 5000 },
    )
  })
})

const edge: Edge = { path: '/mcp', views: new Set(['ops']), hosts: new Set(), origins: new Set(), maxBody: 1_000_000 }
const post: RequestHead = {
  method: 'POST',
  path: '/mcp',
  host: 'localhost:8080',
  origin: undefined,
  contentType: 'application/json',
  contentEncoding: undefined,
  accept: 'application/json, text/event-stream',
  contentLength: '10',
  sessionId: 'bare',
  protocolVersion: '2025-11-25',
  mcpMethod: undefined,
  mcpName: undefined,
  mcpParams: new Map(),
}
const stranger: ClientSession = { ...bare, servers: new Map() }
const known: Readonly<Record<string, ClientSession>> = {
  bare,
  asks,
  stranger,
  all: sessionOf(['elicitation', 'sampling', 'roots']),
}
const lookup: SessionLookup = { find: (id) => (Object.hasOwn(known, id) ? known[id] : undefined) }
const onlyAsking: RoutingTable = { ...table, servers: new Map([['git', serverRow('git')]]) }
const onlyPipe: RoutingTable = { ...table, servers: new Map([['p', serverRow('p', { ...dual, cluster: undefined })]]) }
const heads: readonly (readonly [string, RequestHead, RoutingTable, string])[] = [
  ['a session with a direct way', post, table, 'body'],
  ['a client that can be asked, by all but one', { ...post, sessionId: 'asks' }, table, 'body'],
  ['a client that can be asked by all', { ...post, sessionId: 'asks' }, onlyAsking, 'broker'],
  ['a session without server sessions', { ...post, sessionId: 'stranger' }, table, 'broker'],
  ['no server at all', post, { ...table, servers: new Map() }, 'broker'],
  ['an unknown session', { ...post, sessionId: 'forged' }, table, 'broker'],
  ['a session named as a member of Object', { ...post, sessionId: 'constructor' }, table, 'broker'],
  ['no session', { ...post, sessionId: undefined }, table, 'broker'],
  ['a GET', { ...post, method: 'GET' }, table, 'broker'],
  ['a DELETE', { ...post, method: 'DELETE' }, table, 'broker'],
  ['a foreign host', { ...post, host: 'evil.example.com' }, table, 'broker'],
  ['a foreign origin', { ...post, origin: 'https://evil.example.com' }, table, 'broker'],
  ['another content type', { ...post, contentType: 'text/plain' }, table, 'broker'],
  ['an unknown version', { ...post, protocolVersion: '1999-01-01' }, table, 'broker'],
  ['an unknown version to come', { ...post, protocolVersion: '2099-01-01' }, table, 'broker, stateless'],
  ['a stateless client', { ...post, sessionId: undefined, protocolVersion: '2026-07-28' }, table, 'body, stateless'],
  ['a stateless client with a session id', { ...post, protocolVersion: '2026-07-28' }, table, 'body, stateless'],
  [
    'a stateless client with a forged one',
    { ...post, sessionId: 'x', protocolVersion: '2026-07-28' },
    table,
    'body, stateless',
  ],
  ['a stateless client, no server for it', { ...post, protocolVersion: '2026-07-28' }, onlyAsking, 'broker, stateless'],
  ['a stateless client, only stdio for it', { ...post, protocolVersion: '2026-07-28' }, onlyPipe, 'broker, stateless'],
  ['a stateless GET', { ...post, method: 'GET', protocolVersion: '2026-07-28' }, table, 'broker, stateless'],
  [
    'a stateless client from a foreign origin',
    { ...post, protocolVersion: '2026-07-28', origin: 'https://evil.example.com' },
    table,
    'broker, stateless',
  ],
  ['a session without version', { ...post, protocolVersion: undefined }, table, 'body'],
]
void t.test('decide by the head', async (t) => {
  for (const [name, head, given, expected] of heads) {
    await t.test(name, async (t) => {
      const { to, era } = decideHead(head, sender, edge, lookup, given, false)
      t.equal(era === 'stateful' ? to : `${to}, ${era}`, expected)
    })
  }
  await t.test('for filters that decide on bodies, every body is read that the broker would act on', async (t) => {
    const refused = ['a GET', 'a DELETE', 'a foreign host', 'a foreign origin', 'another content type']
    const unread = [...refused, 'a stateless GET', 'a stateless client from a foreign origin']
    for (const [name, head, given] of heads) {
      await t.test(name, async (t) => {
        const { to } = decideHead(head, sender, edge, lookup, given, true)
        t.equal(to, unread.includes(name) ? 'broker' : 'body')
      })
    }
  })
  await t.test('a body that is read for filters alone goes to the broker', async (t) => {
    const call = Buffer.from(message('tools/call', '{"name":"git_search"}'))
    for (const sessionId of [undefined, 'forged']) {
      const asked = decideHead({ ...post, sessionId }, sender, edge, lookup, table, true)
      if (asked.to !== 'body') throw new Error('the body was not asked for')
      t.match(decideAsked(table, asked, call), { to: 'broker', method: 'tools/call', row: { own: 'search' } })
    }
  })
})

const REVISION = '2026-07-28'
interface Asking {
  readonly method?: string
  readonly params?: string
  readonly capabilities?: string
  readonly version?: string
  readonly id?: string
}
/** A request of a stateless client. */
const stateless = (name: string, { method = 'tools/call', params = '', capabilities = '{}', ...rest }: Asking = {}) =>
  message(
    method,
    `{"_meta":{"io.modelcontextprotocol/protocolVersion":"${rest.version ?? REVISION}","io.modelcontextprotocol/clientCapabilities":${capabilities}},"${
      method === 'resources/read' ? 'uri' : 'name'
    }":"${name}"${params}}`,
    rest.id,
  )
const statelessHead = (mcpName: string | undefined, more: Partial<RequestHead> = {}): RequestHead => ({
  ...post,
  sessionId: undefined,
  protocolVersion: REVISION,
  mcpMethod: 'tools/call',
  mcpName,
  ...more,
})
const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`
const withParams = (entries: Readonly<Record<string, string>>) => ({ mcpParams: new Map(Object.entries(entries)) })
const near = ',"arguments":{"region":"eu","limits":{"most":42}}'
const arrived = (server: string, body: string, own = 'x', method = 'tools/call') =>
  `${server} ${method} ${own} id 1 ${body}`

const statelessCells: readonly (readonly [string, RequestHead, string, string])[] = [
  ['a tool', statelessHead('new_x'), stateless('new_x'), `${arrived('new', stateless('x'))} as x`],
  [
    'a tool of a server of this era only',
    statelessHead('newquiet_x'),
    stateless('newquiet_x'),
    `${arrived('newquiet', stateless('x'))} as x`,
  ],
  [
    'a tool for this era',
    statelessHead('new_only'),
    stateless('new_only'),
    `${arrived('new', stateless('only'), 'only')} as only`,
  ],
  ['a tool without another name', statelessHead('keep'), stateless('keep'), 'new tools/call keep id 1 unchanged'],
  [
    'an id as sent',
    statelessHead('keep'),
    stateless('keep', { id: '9007199254740993' }),
    'new tools/call keep id 9007199254740993 unchanged',
  ],
  ['a name in base64', statelessHead(base64('größe')), stateless('größe'), 'new tools/call größe id 1 unchanged'],
  [
    'a plain name in base64',
    statelessHead(base64('new_x')),
    stateless('new_x'),
    `${arrived('new', stateless('x'))} as x`,
  ],
  [
    'an own name that looks like base64',
    statelessHead('new_odd'),
    stateless('new_odd'),
    `${arrived('new', stateless('=?base64?é?='), '=?base64?é?=')} as ${base64('=?base64?é?=')}`,
  ],
  [
    'a prompt',
    statelessHead('new_review', { mcpMethod: 'prompts/get' }),
    stateless('new_review', { method: 'prompts/get' }),
    `${arrived('new', stateless('review', { method: 'prompts/get' }), 'review', 'prompts/get')} as review`,
  ],
  [
    'a resource',
    statelessHead('new+doc://b', { mcpMethod: 'resources/read' }),
    stateless('new+doc://b', { method: 'resources/read' }),
    `${arrived('new', stateless('doc://b', { method: 'resources/read' }), 'doc://b', 'resources/read')} as doc://b`,
  ],
  [
    'a retry with what was asked for',
    statelessHead('keep'),
    stateless('keep', { params: ',"inputResponses":{"a":{"action":"accept"}},"requestState":"s"' }),
    'new tools/call keep id 1 unchanged',
  ],
  [
    'repeated arguments',
    statelessHead('near', withParams({ region: 'eu', limit: '42.0' })),
    stateless('near', { params: near }),
    'new tools/call near id 1 unchanged',
  ],
  [
    'repeated arguments that no schema knows',
    statelessHead('keep', withParams({ other: 'anything' })),
    stateless('keep', { params: near }),
    'new tools/call keep id 1 unchanged',
  ],
  [
    'a client that the server may ask',
    statelessHead('keep'),
    stateless('keep', { capabilities: '{"elicitation":{"form":{}}}' }),
    'new tools/call keep id 1 unchanged',
  ],
  [
    'a client that declares more than the server may ask for',
    statelessHead('keep'),
    stateless('keep', { capabilities: '{"elicitation":{},"sampling":{}}' }),
    'broker tools/call (new) 1',
  ],
  [
    'a client that declares what this server may not ask for',
    statelessHead('newquiet_x'),
    stateless('newquiet_x', { capabilities: '{"elicitation":{}}' }),
    'broker tools/call (newquiet) 1',
  ],
  [
    'capabilities that nobody asks for',
    statelessHead('newquiet_x'),
    stateless('newquiet_x', { capabilities: '{"extensions":{},"other":true}' }),
    `${arrived('newquiet', stateless('x', { capabilities: '{"extensions":{},"other":true}' }))} as x`,
  ],
  ['a stateful server', statelessHead('git_search'), stateless('git_search'), 'broker tools/call (git) 1'],
  ['a stdio server', statelessHead('newpipe_x'), stateless('newpipe_x'), 'broker tools/call (newpipe) 1'],
  ['an unknown tool', statelessHead('nope'), stateless('nope'), 'broker tools/call 1'],
  ['the own name of a renamed tool', statelessHead('x'), stateless('x'), 'broker tools/call 1'],
  ['another name in the header', statelessHead('keep'), stateless('new_x'), 'broker tools/call (new) 1'],
  ['a header in another case', statelessHead('Keep'), stateless('keep'), 'broker tools/call (new) 1'],
  ['no name in the header', statelessHead(undefined), stateless('keep'), 'broker tools/call (new) 1'],
  ['broken base64 in the header', statelessHead('=?base64?a?='), stateless('keep'), 'broker tools/call (new) 1'],
  ['the name twice', statelessHead('keep, keep'), stateless('keep'), 'broker tools/call (new) 1'],
  [
    'another method in the header',
    statelessHead('keep', { mcpMethod: 'prompts/get' }),
    stateless('keep'),
    'broker tools/call (new) 1',
  ],
  [
    'no method in the header',
    statelessHead('keep', { mcpMethod: undefined }),
    stateless('keep'),
    'broker tools/call (new) 1',
  ],
  [
    'a repeated argument that is missing',
    statelessHead('near', withParams({ region: 'eu' })),
    stateless('near', { params: near }),
    'broker tools/call (new) 1',
  ],
  [
    'a repeated argument that differs',
    statelessHead('near', withParams({ region: 'us', limit: '42' })),
    stateless('near', { params: near }),
    'broker tools/call (new) 1',
  ],
  [
    'a repeated argument that is not there',
    statelessHead('near', withParams({ region: 'eu', limit: '42' })),
    stateless('near'),
    'broker tools/call (new) 1',
  ],
  [
    'another version in the body',
    statelessHead('keep'),
    stateless('keep', { version: '2025-11-25' }),
    'broker tools/call (new) 1',
  ],
  [
    'a version nobody speaks',
    statelessHead('keep', { protocolVersion: '2099-01-01' }),
    stateless('keep', { version: '2099-01-01' }),
    'broker tools/call (new) 1',
  ],
  ['no `_meta`', statelessHead('keep'), tool('keep'), 'broker tools/call (new) 1'],
  [
    'capabilities of the wrong kind',
    statelessHead('keep'),
    stateless('keep', { capabilities: '[]' }),
    'broker tools/call (new) 1',
  ],
  [
    'a feature of the wrong kind',
    statelessHead('keep'),
    stateless('keep', { capabilities: '{"elicitation":true}' }),
    'broker tools/call (new) 1',
  ],
  [
    'a list',
    statelessHead(undefined, { mcpMethod: 'tools/list' }),
    stateless('keep', { method: 'tools/list' }),
    'broker tools/list 1',
  ],
  [
    'a handshake',
    statelessHead(undefined, { mcpMethod: 'initialize' }),
    message('initialize', '{"protocolVersion":"2025-11-25"}'),
    'broker initialize 1',
  ],
  [
    'a call as notification',
    statelessHead('keep'),
    stateless('keep').replace('"id":1,', ''),
    'broker tools/call (new)',
  ],
  ['two names', statelessHead('keep'), stateless('keep', { params: ',"name":"new_x"' }), 'broker 1'],
  ['no JSON', statelessHead('keep'), '{', 'broker'],
]
/** Decided in the stateless era; the era is added where it turned out to be the other. */
const decideStateless = (head: RequestHead, body: string) =>
  decideAsked(table, { to: 'body', era: 'stateless', asker: statelessly, head }, Buffer.from(body))
void t.test('decide for stateless clients', async (t) => {
  for (const [name, head, body, expected] of statelessCells) {
    await t.test(name, async (t) => {
      const decision = decideStateless(head, body)
      const mcpName = decision.to === 'server' && decision.era === 'stateless' ? decision.mcpName : undefined
      t.equal(mcpName === undefined ? told(decision) : `${told(decision)} as ${mcpName}`, expected)
      t.equal(decision.era, body.includes('"initialize"') ? 'stateful' : 'stateless')
    })
  }
  await t.test('a session whose body claims the other era is told as such', async (t) => {
    t.equal(decide(table, bare, Buffer.from(stateless('new_x'))).era, 'stateless')
    t.equal(decide(table, bare, Buffer.from(tool('nope'))).era, 'stateful')
  })
  await t.test('what goes to a server says the same in header and body', async () => {
    const name = fc.string({ unit: 'binary', maxLength: 20 })
    fc.assert(
      fc.property(name, name, fc.boolean(), (exposed, own, encoded) => {
        const given: RoutingTable = { ...table, tools: rows(row(exposed, own, 'new')) }
        const sent = encoded ? base64(exposed) : exposed
        const literal = JSON.stringify(exposed).slice(1, -1)
        const body = Buffer.from(stateless(literal))
        const decision = decideAsked(
          given,
          { to: 'body', era: 'stateless', asker: statelessly, head: statelessHead(sent) },
          body,
        )
        // The name as it is need not fit a header; in base64 it always does.
        if (decision.to === 'broker') return !encoded
        if (decision.era !== 'stateless') return false
        const header = decodeHeaderValue(decision.mcpName ?? sent)
        const parsed: unknown = JSON.parse((decision.body ?? body).toString())
        return header === own && JSON.stringify(parsed).includes(`"name":${JSON.stringify(own)}`)
      }),
    )
  })
})

const circumstances = {
  brokerCluster: 'mcp.broker',
  decisionId: 'd1',
  era: 'stateful',
  view: '',
  subject: '',
  session: 's1',
  client: '',
  filtered: false,
} as const
const names = [
  ':method',
  ':path',
  ':authority',
  'host',
  'accept',
  'authorization',
  'cookie',
  'x-forwarded-proto',
  'mcp-session-id',
  'traceparent',
  'x-custom',
  'content-length',
  'mcp-method',
  'mcp-name',
  'mcp-param-region',
  'baggage',
]
const hints = 'readOnly=true,destructive=unspecified,idempotent=unspecified,openWorld=unspecified'
const decided = (name: string) => decide(table, bare, Buffer.from(tool(name)))
void t.test('what a decision changes', async (t) => {
  await t.test('towards a server', async (t) => {
    const { set, remove, body } = bodyMutation(decided('git_search'), names, circumstances)
    t.same(Object.fromEntries(set), {
      'x-mcp-decision': 'd1',
      'x-mcp-method': 'tools/call',
      'x-mcp-servername': 'git',
      'x-mcp-toolname': 'search',
      'x-mcp-annotation-hints': hints,
      'x-mcp-cluster': 'direct.git',
      ':path': '/git/mcp',
      'mcp-protocol-version': '2025-06-18',
      'mcp-session-id': 'git-session',
      'content-length': String(tool('search').length),
    })
    const unchecked = ['mcp-method', 'mcp-name', 'mcp-param-region', 'baggage']
    t.same(remove, ['host', 'authorization', 'cookie', 'x-custom', ...unchecked])
    t.equal(body?.toString(), tool('search'))
  })
  await t.test('towards a stateless server', async (t) => {
    const { set, remove, body } = bodyMutation(decideStateless(statelessHead('new_odd'), stateless('new_odd')), names, {
      ...circumstances,
      era: 'stateless',
      session: '',
    })
    t.same(Object.fromEntries(set), {
      'x-mcp-decision': 'd1',
      'x-mcp-method': 'tools/call',
      'x-mcp-servername': 'new',
      'x-mcp-toolname': '=?base64?%C3%A9?=',
      'x-mcp-cluster': 'direct.new',
      ':path': '/new/mcp',
      'mcp-name': base64('=?base64?é?='),
      'content-length': String(Buffer.byteLength(stateless('=?base64?é?='))),
    })
    t.same(remove, ['host', 'authorization', 'cookie', 'mcp-session-id', 'x-custom'])
    t.equal(body?.toString(), stateless('=?base64?é?='))
  })
  await t.test('towards a stateless server that calls it the same', async (t) => {
    const { set, body } = bodyMutation(decideStateless(statelessHead('keep'), stateless('keep')), names, circumstances)
    t.notOk(set.some(([name]) => name === 'mcp-name' || name === 'content-length'))
    t.equal(body, undefined)
  })
  await t.test('with filters behind it, which may see the token', async (t) => {
    const { remove } = bodyMutation(decided('same'), names, { ...circumstances, filtered: true })
    t.notOk(remove.includes('authorization'))
    t.ok(remove.includes('cookie'))
  })
  await t.test('without a body', async (t) => {
    const { set, body } = bodyMutation(decided('same'), names, circumstances)
    t.notOk(set.some(([name]) => name === 'content-length'))
    t.equal(body, undefined)
  })
  await t.test('towards a server without sessions', async (t) => {
    const { set, remove } = bodyMutation(decided('plain_x'), names, circumstances)
    t.ok(remove.includes('mcp-session-id'))
    t.notOk(set.some(([name]) => name === 'mcp-session-id'))
  })
  await t.test('towards the broker', async (t) => {
    const { set, remove, body } = bodyMutation(decided('cold_start'), names, circumstances)
    t.same(Object.fromEntries(set), {
      'x-mcp-cluster': 'mcp.broker',
      'x-mcp-decision': 'd1',
      'x-mcp-method': 'tools/call',
      'x-mcp-servername': 'cold',
      'x-mcp-toolname': 'start',
    })
    t.same(remove, [])
    t.equal(body, undefined)
  })
  await t.test('bytes that fit no header', async (t) => {
    const { set } = bodyMutation(decided('odd'), names, circumstances)
    t.equal(Object.fromEntries(set)['x-mcp-toolname'], 'a%20b%25%C3%A9')
    const read = decide(table, bare, Buffer.from(message('resources/read', '{"uri":"file:///a b%20\\u0001x: y"}')))
    t.equal(
      Object.fromEntries(bodyMutation(read, names, circumstances).set)['x-mcp-resourceuri'],
      'file:///a%20b%20%01x:%20y',
    )
    const method = decide(table, bare, Buffer.from('{"jsonrpc":"2.0","id":1,"method":"a\\nb"}'))
    t.equal(Object.fromEntries(bodyMutation(method, names, circumstances).set)['x-mcp-method'], 'a%0Ab')
  })
  await t.test('no published header can be split', async () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), fc.boolean(), (text, uri) => {
        const anything: RoutingTable = {
          ...table,
          tools: rows(row('x', text, 'git')),
          templates: [
            { exposed: '', own: '', server: 'git', hints: '', params: [], parts: templateParts('{+p}') ?? [] },
          ],
        }
        const body = uri ? message('resources/read', `{"uri":${JSON.stringify(text)}}`) : tool('x')
        return bodyMutation(decide(anything, bare, Buffer.from(body)), names, circumstances).set.every(([, value]) =>
          /^[\x20-\x7e]*$/.test(value),
        )
      }),
    )
  })
  await t.test('how a stateless client calls itself, on either path', async (t) => {
    const rows: readonly (readonly [name: string, info: string, client: string | undefined])[] = [
      ['new_x', '{"name":"inspector","version":"2.1"}', 'inspector/2.1'],
      ['pipe_run', '{"name":"inspector","version":"2.1"}', 'inspector/2.1'],
      ['nope', '{"name":"inspector"}', 'inspector'],
      ['pipe_run', '{"name":7}', undefined],
      ['pipe_run', '"inspector"', undefined],
      ['pipe_run', '[7]', undefined],
    ]
    for (const [name, info, client] of rows) {
      const body = stateless(name).replace('"_meta":{', `"_meta":{"io.modelcontextprotocol/clientInfo":${info},`)
      const known = metadata(decideStateless(statelessHead(name), body), circumstances)['mcp.gateway']
      t.equal(known?.['client'], client, `${name}: ${info}`)
    }
  })
  await t.test('metadata', async (t) => {
    const known = metadata(decided('git_search'), { ...circumstances, client: 'inspector/2.1' })
    t.match(known['mcp.gateway'], { session: 's1', client: 'inspector/2.1' })
    t.same(metadata(decided('git_search'), circumstances), {
      'envoy.filters.http.mcp': { method: 'tools/call', params: { name: 'search' } },
      'mcp.gateway': {
        era: 'stateful',
        path: 'direct',
        decision: 'd1',
        view: '',
        subject: '',
        session: 's1',
        server: 'git',
        tool: 'search',
        method: 'tools/call',
        id: '1',
      },
    })
    t.same(metadata(undefined, circumstances), {
      'mcp.gateway': { era: 'stateful', path: 'broker', decision: 'd1', view: '', subject: '', session: 's1' },
    })
    t.same(metadata(undefined, { ...circumstances, era: 'stateless', session: '' }), {
      'mcp.gateway': { era: 'stateless', path: 'broker', decision: 'd1', view: '', subject: '', session: '' },
    })
    t.same(metadata(decideStateless(statelessHead('new_x'), stateless('new_x')), { ...circumstances, session: '' }), {
      'envoy.filters.http.mcp': { method: 'tools/call', params: { name: 'x' } },
      'mcp.gateway': {
        era: 'stateless',
        path: 'direct',
        decision: 'd1',
        view: '',
        subject: '',
        session: '',
        server: 'new',
        tool: 'x',
        method: 'tools/call',
        id: '1',
      },
    })
  })
})

const rules: Rules = {
  table: () => table,
  sessions: lookup,
  edge,
  brokerCluster: 'mcp.broker',
  everyBody: () => false,
  nameOf: () => 's1',
  principals: () => undefined,
}
const onHead = (head: RequestHead, endOfStream = false): Event => ({
  of: 'request_headers',
  head,
  names,
  endOfStream,
  requestId: 'd1',
  address: '10.0.0.1',
  authorization: undefined,
  metadata: undefined,
})
const onBody = (body: string): Event => ({ of: 'request_body', body: Buffer.from(body) })
/** All effects of some events, in words. */
const effects = (...events: readonly Event[]): string[] => {
  let state: State = start
  return events.flatMap((event) => {
    const [next, due] = step(state, event, rules)
    state = next
    return due.map(word)
  })
}
const word = (effect: Effect): string => {
  switch (effect.do) {
    case 'answer': {
      const { response } = effect
      if (response.to === 'response_headers') return 'answer response_headers'
      if (response.to === 'request_headers' && response.next === 'body') return 'want body'
      return `answer ${response.to} ${Object.fromEntries(response.mutation.set)['x-mcp-cluster'] ?? '?'}`
    }
    case 'close':
      return 'close'
    case 'fail':
      return `fail: ${effect.why}`
    case 'remember':
      return `remember ${effect.id} ${effect.server}`
    case 'report':
      return `report ${effect.decision.to}`
  }
}
const exchanges: readonly (readonly [string, readonly Event[], readonly string[]])[] = [
  [
    'a direct call',
    [onHead(post), onBody(tool('same')), { of: 'end' }],
    ['want body', 'remember 1 git', 'answer request_body direct.git', 'close', 'report server'],
  ],
  [
    'a call for the broker',
    [onHead(post), onBody(tool('nope'))],
    ['want body', 'answer request_body mcp.broker', 'close', 'report broker'],
  ],
  [
    'by the head alone',
    [onHead({ ...post, sessionId: undefined }), { of: 'end' }],
    ['answer request_headers mcp.broker', 'close'],
  ],
  [
    'a stateless call',
    [onHead(statelessHead('keep')), onBody(stateless('keep')), { of: 'end' }],
    ['want body', 'answer request_body direct.new', 'close', 'report server'],
  ],
  [
    'a stateless call for the broker',
    [onHead(statelessHead('other')), onBody(stateless('keep'))],
    ['want body', 'answer request_body mcp.broker', 'close', 'report broker'],
  ],
  [
    'a stateless request without body',
    [onHead(statelessHead('keep'), true)],
    ['answer request_headers mcp.broker', 'close'],
  ],
  ['no body', [onHead(post, true)], ['answer request_headers mcp.broker', 'close']],
  ['a local reply', [{ of: 'response_headers' }, { of: 'end' }], ['answer response_headers', 'close']],
  ['gone before its body', [onHead(post), { of: 'end' }], ['want body', 'fail: end while at body']],
  ['nothing at all', [{ of: 'end' }], ['fail: end while at start']],
  ['a body first', [onBody(tool('same'))], ['fail: request_body while at start']],
  ['heads twice', [onHead(post), onHead(post)], ['want body', 'fail: request_headers while at body']],
  ['something unknown', [{ of: 'other' }], ['fail: other while at start']],
  [
    'a response instead of the body',
    [onHead(post), { of: 'response_headers' }],
    ['want body', 'fail: response_headers while at body'],
  ],
]
void t.test('exchange', async (t) => {
  for (const [name, events, expected] of exchanges)
    await t.test(name, async (t) => t.same(effects(...events), expected))
  await t.test('closes once, and only after the last due answer', async () => {
    const event = fc.constantFrom<Event>(
      onHead(post),
      onHead(post, true),
      onHead({ ...post, sessionId: 'x' }),
      onBody(tool('same')),
      onBody('{'),
      { of: 'response_headers' },
      { of: 'other' },
      { of: 'end' },
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 6 }), (events) => {
        const words = effects(...events)
        const ends = words.filter((one) => one === 'close' || one.startsWith('fail'))
        const closed = words.indexOf('close')
        return ends.length <= 1 && (closed < 0 || words[closed - 1]?.startsWith('answer') === true)
      }),
    )
  })
})

void t.test('the wire is that of the protos', async (t) => {
  const definition = loader.loadSync('envoy/service/ext_proc/v3/external_processor.proto', {
    includeDirs: ['protos'],
    keepCase: true,
    enums: String,
  })
  const service = definition['envoy.service.ext_proc.v3.ExternalProcessor']
  if (service === undefined || 'format' in service || service['Process'] === undefined)
    throw new Error('no such service')
  const { path, requestSerialize, responseDeserialize } = service['Process']
  t.equal(path, '/envoy.service.ext_proc.v3.ExternalProcessor/Process')

  const headers = [
    { key: ':method', raw_value: Buffer.from('POST') },
    { key: ':path', raw_value: Buffer.from('/mcp') },
    { key: ':authority', value: 'localhost' },
    { key: 'mcp-session-id', raw_value: Buffer.from('s') },
    { key: 'accept', raw_value: Buffer.from('a') },
    { key: 'accept', raw_value: Buffer.from('b') },
    { key: 'x-request-id', raw_value: Buffer.from('r1') },
    { key: 'x-other', raw_value: Buffer.from([0xff]) },
    { key: 'mcp-method', raw_value: Buffer.from('tools/call') },
    { key: 'mcp-name', raw_value: Buffer.from('n') },
    { key: 'mcp-param-a-b', raw_value: Buffer.from([0x31, 0xe9]) },
    { key: 'mcp-param-c', raw_value: Buffer.from('2') },
    { key: 'mcp-param-c', raw_value: Buffer.from('3') },
    { key: 'mcp-param-', raw_value: Buffer.from('') },
    { key: 'authorization', raw_value: Buffer.from('Bearer a.b.c') },
    { key: 'x-forwarded-for', raw_value: Buffer.from('10.0.0.1') },
    { key: 'x-envoy-external-address', raw_value: Buffer.from('192.0.2.7') },
  ]
  const requests: readonly (readonly [string, object, unknown])[] = [
    [
      'request headers',
      {
        request_headers: { headers: { headers }, end_of_stream: true },
        attributes: { a: {} },
        protocol_config: { request_body_mode: 'BUFFERED' },
      },
      {
        of: 'request_headers',
        names: headers.map(({ key }) => key),
        endOfStream: true,
        requestId: 'r1',
        address: '192.0.2.7',
        authorization: 'Bearer a.b.c',
        metadata: undefined,
        head: {
          method: 'POST',
          path: '/mcp',
          host: 'localhost',
          origin: undefined,
          contentType: undefined,
          contentEncoding: undefined,
          accept: 'a, b',
          contentLength: undefined,
          sessionId: 's',
          protocolVersion: undefined,
          mcpMethod: 'tools/call',
          mcpName: 'n',
          mcpParams: new Map([
            ['a-b', '1é'],
            ['c', '2, 3'],
            ['', ''],
          ]),
        },
      },
    ],
    [
      'request body',
      { request_body: { body: Buffer.from('{}'), end_of_stream: true } },
      { of: 'request_body', body: Buffer.from('{}') },
    ],
    ['an empty body', { request_body: {} }, { of: 'request_body', body: Buffer.alloc(0) }],
    [
      'response headers',
      { response_headers: { headers: { headers } }, metadata_context: {} },
      { of: 'response_headers' },
    ],
    ['trailers', { request_trailers: {} }, { of: 'other' }],
    ['nothing', {}, { of: 'other' }],
  ]
  for (const [name, sent, expected] of requests) {
    await t.test(name, async (t) => t.same(decodeRequest(requestSerialize(sent)), expected))
  }
  await t.test('bytes that are no protobuf', async () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        try {
          const request: ProcessingRequest = decodeRequest(Buffer.from(bytes))
          return request.of.length > 0
        } catch (error) {
          return error instanceof Error
        }
      }),
      { numRuns: 2000 },
    )
  })

  const mutation = {
    set: [
      ['a', 'b'],
      [':path', '/é'],
    ] as const,
    remove: ['x', 'y'],
    body: Buffer.from('body'),
  }
  const common = {
    status: undefined,
    header_mutation: {
      set_headers: [
        { header: { key: 'a', raw_value: Buffer.from('b') }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
        { header: { key: ':path', raw_value: Buffer.from('/é') }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
      ],
      remove_headers: ['x', 'y'],
    },
    body_mutation: { body: Buffer.from('body') },
    clear_route_cache: true,
  }
  const { status: _, ...response } = common
  const dynamic_metadata = {
    fields: {
      ns: {
        structValue: {
          fields: { a: { stringValue: '1' }, p: { structValue: { fields: { q: { stringValue: '' } } } } },
        },
      },
    },
  }
  const given = { ns: { a: '1', p: { q: '' } } }
  const responses: readonly (readonly [string, ProcessingResponse, object])[] = [
    ['want body', { to: 'request_headers', next: 'body' }, { request_headers: { response: {} } }],
    ['response headers', { to: 'response_headers' }, { response_headers: { response: {} } }],
    [
      'head',
      { to: 'request_headers', next: 'end', mutation, metadata: given },
      {
        request_headers: { response },
        dynamic_metadata,
        mode_override: { response_header_mode: 'SKIP', request_trailer_mode: 'SKIP', response_trailer_mode: 'SKIP' },
      },
    ],
    ['body', { to: 'request_body', mutation, metadata: given }, { request_body: { response }, dynamic_metadata }],
  ]
  for (const [name, sent, expected] of responses) {
    await t.test(name, async (t) => t.same(responseDeserialize(encodeResponse(sent)), expected))
  }
  await t.test('whatever it says', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 80 }),
      fc.nat({ max: 40_000 }).map((length) => 'x'.repeat(length)),
    )
    const answer = fc.record({
      set: fc.array(fc.tuple(text, text), { maxLength: 5 }),
      remove: fc.array(text, { maxLength: 5 }),
      body: fc.option(fc.uint8Array({ maxLength: 5000 }), { nil: undefined }),
      fields: fc.dictionary(text, text, { minKeys: 1, maxKeys: 5 }),
    })
    fc.assert(
      fc.property(answer, ({ set, remove, body, fields }) => {
        const bytes = encodeResponse({
          to: 'request_body',
          mutation: { set, remove, body: body === undefined ? undefined : Buffer.from(body) },
          metadata: { ns: fields },
        })
        const value = (stringValue: string) => ({ stringValue })
        const expected = {
          request_body: {
            response: {
              header_mutation: {
                ...(set.length > 0 && {
                  set_headers: set.map(([key, raw]) => ({
                    header: { key, raw_value: Buffer.from(raw) },
                    append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
                  })),
                }),
                ...(remove.length > 0 && { remove_headers: remove }),
              },
              ...(body !== undefined && { body_mutation: { body: Buffer.from(body) } }),
              clear_route_cache: true,
            },
          },
          dynamic_metadata: {
            fields: {
              ns: {
                structValue: {
                  fields: Object.fromEntries(Object.entries(fields).map(([key, one]) => [key, value(one)])),
                },
              },
            },
          },
        }
        assert.deepEqual(JSON.parse(JSON.stringify(responseDeserialize(bytes))), JSON.parse(JSON.stringify(expected)))
      }),
    )
  })
})
