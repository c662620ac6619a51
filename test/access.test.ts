/** The one property of access, over HTTP and through a real Envoy: what a list shows can be used, and of what it hides nothing reaches a server. */
import { isDeepStrictEqual } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'
import type { Era } from '../src/mcp/versions.ts'
import { type AskingClient, askingClient, type Got } from './support/asking.ts'
import { type ConfirmingClient, confirmingClients } from './support/confirming-client.ts'
import { freePort, noServers, startGateway } from './support/gateway.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { JsonObject } from './support/raw-json.ts'
import { type Path, pathOf, play, registry } from './support/stage.ts'
import { tokenMaker } from './support/token-maker.ts'

// --- what there is ------------------------------------------------------------------------------------------------

const hinted = (name: string, annotations: JsonObject) => ({
  name,
  definition: { name, inputSchema: { type: 'object' }, annotations },
})
const offering = (name: string) => ({
  name,
  tools: [
    hinted('read', { readOnlyHint: true }),
    hinted('write', { readOnlyHint: false, destructiveHint: true }),
    hinted('search_web', { readOnlyHint: true }),
    { name: 'search_code' },
  ],
  prompts: [{ name: 'greet' }, { name: 'secret' }],
  resources: [{ uri: `doc://${name}/a` }, { uri: `doc://${name}/b` }, { uri: `mem://${name}/x` }],
  templates: [
    { uriTemplate: `doc://${name}/t/{id}`, matches: new RegExp(`^doc://${name}/t/`) },
    { uriTemplate: `mem://${name}/t/{id}`, matches: new RegExp(`^mem://${name}/t/`) },
  ],
})
await using old = await serveMcp({ ...offering('old'), era: 'stateful' })
await using young = await serveMcp({ ...offering('young'), era: 'stateless' })
await using dual = await serveMcp({ ...offering('dual'), era: 'both' })
const servers: Readonly<Record<string, McpServer>> = { old, young, dual }

type Kind = 'tools' | 'prompts' | 'resources' | 'templates'
interface Item {
  readonly server: string
  readonly kind: Kind
  readonly own: string
  readonly exposed: string
}
const items: readonly Item[] = Object.keys(servers).flatMap((server) => {
  const { tools, prompts, resources, templates } = offering(server)
  const named = (kind: Kind, own: string): Item => ({ server, kind, own, exposed: `${server}_${own}` })
  const located = (kind: Kind, own: string): Item => ({ server, kind, own, exposed: own })
  return [
    ...tools.map(({ name }) => named('tools', name)),
    ...prompts.map(({ name }) => named('prompts', name)),
    ...resources.map(({ uri }) => located('resources', uri)),
    ...templates.map(({ uriTemplate }) => located('templates', uriTemplate)),
  ]
})

const LIST: Readonly<Record<Kind, string>> = {
  tools: 'tools/list',
  prompts: 'prompts/list',
  resources: 'resources/list',
  templates: 'resources/templates/list',
}
/** What an item is for; of a template, the read of what it can stand for. */
const useOf = (kind: Kind, exposed: string): readonly [method: string, params: JsonObject] => {
  switch (kind) {
    case 'tools':
      return ['tools/call', { name: exposed, arguments: {} }]
    case 'prompts':
      return ['prompts/get', { name: exposed }]
    case 'resources':
      return ['resources/read', { uri: exposed }]
    case 'templates':
      return ['resources/read', { uri: exposed.replace('{id}', '7') }]
    default:
      return kind satisfies never
  }
}
const completionOf = ({ kind, exposed }: Item): readonly [method: string, params: JsonObject] | undefined => {
  const argument = { name: 'x', value: 'y' }
  if (kind === 'prompts') return ['completion/complete', { ref: { type: 'ref/prompt', name: exposed }, argument }]
  if (kind === 'templates') return ['completion/complete', { ref: { type: 'ref/resource', uri: exposed }, argument }]
  return undefined
}
const NOTHING: Readonly<Record<Kind, string>> = {
  tools: 'old_no-such',
  prompts: 'old_no-such',
  resources: 'doc://nowhere/a',
  templates: 'doc://nowhere/t/{id}',
}

// --- who may have it ----------------------------------------------------------------------------------------------

/** What a decision may look at, in this test's own words. */
interface Question extends Item {
  readonly view: string
  readonly era: Era
  readonly claims: JsonObject
}
interface Row {
  readonly name: string
  /** Of every server, or of some. */
  readonly access?: unknown
  readonly accessOf?: Readonly<Record<string, unknown>>
  readonly gateway?: JsonObject
  readonly viewAccess?: unknown
  readonly more?: JsonObject
  /** Another token may be all that is missing. */
  readonly asksForScopes?: true
  /** Claims of those who ask; none: nobody is authenticated. */
  readonly claims?: readonly JsonObject[]
  /** Without what the view leaves out anyway. */
  readonly allowed: (question: Question) => boolean
}

const readers = { sub: 'rita', groups: ['readers'], scope: 'mcp:read', realm_access: { roles: ['viewer'] } }
const writers = {
  sub: 'wim',
  groups: 'writers',
  scope: 'mcp:read mcp:write',
  realm_access: { roles: ['viewer', 'editor'] },
  resource_access: {
    old: { roles: ['tool:search_*', 'prompt:greet', 'resource:doc://old/a'] },
    shared: { roles: ['tool:write', 'resource:doc://young/t/*'] },
  },
  team: { name: 'blue' },
}
const own = (pattern: RegExp) => (item: Item) => pattern.test(item.own)

const rows: readonly Row[] = [
  { name: 'no rules', allowed: () => true },
  {
    name: 'patterns for anyone',
    access: [
      { tools: ['read', 'search_*'], allow: 'anyone' },
      { resources: 'doc:*', allow: 'anyone' },
    ],
    allowed: own(/^(read|search_.*|doc:.*)$/),
  },
  {
    name: 'a single resource, and not the template that could give it',
    access: [{ resources: ['doc://old/t/8', 'doc://old/a', 'mem://young/*'], allow: 'anyone' }],
    allowed: own(/^(doc:\/\/old\/a|mem:\/\/young\/.*)$/),
  },
  {
    name: 'one server with rules',
    accessOf: { dual: [{ tools: 'read', prompts: 'greet', allow: 'anyone' }] },
    allowed: ({ server, own: name }) => server !== 'dual' || name === 'read' || name === 'greet',
  },
  {
    name: 'rules that nobody can fulfil',
    access: [{ when: 'false' }],
    allowed: () => false,
  },
  {
    name: 'expressions on what a tool says of itself; an error denies',
    access: [{ when: 'tool.annotations.readOnlyHint' }, { prompts: 'greet', when: 'prompt.name == "greet"' }],
    allowed: own(/^(read|search_web|greet)$/),
  },
  {
    name: 'expressions on names of servers',
    gateway: { access: [{ when: 'server.name == "old" || server.name.startsWith("y")' }] },
    allowed: ({ server }) => server !== 'dual',
  },
  {
    name: 'expressions on the view',
    access: [{ when: 'request.view == "oncall"' }, { tools: 'read', when: 'request.view == ""' }],
    allowed: ({ view, own: name }) => view === 'oncall' || (view === '' && name === 'read'),
  },
  {
    name: 'expressions on the era',
    access: [
      { tools: '*', when: 'request.era == "stateless"' },
      { prompts: '*', when: 'request.era == "stateful"' },
    ],
    allowed: ({ era, kind }) => (era === 'stateless' ? kind === 'tools' : kind === 'prompts'),
  },
  {
    name: 'expressions on the client’s address',
    access: [{ tools: '*', when: 'request.address == "127.0.0.1"' }, { when: 'request.address == "192.0.2.1"' }],
    allowed: ({ kind }) => kind === 'tools',
  },
  {
    name: 'a rule of the gateway and one of the server',
    gateway: { access: [{ tools: ['*_read', '*_write'], prompts: '*', allow: 'anyone' }] },
    access: [
      { tools: ['read', 'search_*'], allow: 'anyone' },
      { prompts: 'secret', allow: 'anyone' },
    ],
    allowed: own(/^(read|secret)$/),
  },
  {
    name: 'rules of a view',
    viewAccess: [{ tools: 'old_*', resources: '*', allow: 'anyone' }],
    allowed: ({ view, kind, exposed }) =>
      view !== 'oncall' || kind === 'resources' || kind === 'templates' || /^old_(?!greet|secret)/.test(exposed),
  },
  {
    name: 'claims: roles, groups, scopes, subjects, a path',
    access: [
      { tools: 'read', allow: { roles: 'viewer' } },
      { tools: 'search_web', allow: { groups: ['writers', 'others'] } },
      { tools: 'write', allow: { subjects: 'wim', claims: { 'team.name': ['blue', 'red'] } } },
      { prompts: '*', allow: { roles: ['editor'], groups: 'readers' } },
      { resources: 'doc:*', when: 'claims.team.name == "blue"' },
    ],
    claims: [readers, writers],
    allowed: ({ claims, own: name }) =>
      name === 'read' || (claims === writers && /^(search_web|write|doc:.*)$/.test(name)),
  },
  {
    name: 'scopes alone',
    asksForScopes: true,
    access: [
      { tools: 'read', allow: { scopes: 'mcp:read' } },
      { tools: 'write', resources: 'mem:*', allow: { scopes: 'mcp:read mcp:write' } },
    ],
    claims: [readers, writers],
    allowed: ({ claims, own: name }) => name === 'read' || (claims === writers && /^(write|mem:.*)$/.test(name)),
  },
  {
    name: 'roles that name tools',
    more: { defaults: { access: 'roles' } },
    accessOf: { young: { roles: 'shared' } },
    claims: [readers, writers],
    allowed: ({ claims, server, own: name }) =>
      claims === writers &&
      ((server === 'old' && /^(search_.*|greet|doc:\/\/old\/a)$/.test(name)) ||
        (server === 'young' && /^(write|doc:\/\/young\/t\/.*)$/.test(name))),
  },
]

/** What each view leaves of everything. */
const views: Readonly<Record<string, { readonly entry: JsonObject; readonly shows: (item: Item) => boolean }>> = {
  '': { entry: {}, shows: () => true },
  everything: { entry: {}, shows: () => true },
  oncall: {
    entry: { tools: ['*_read', 'dual_*', 'young_write'], prompts: ['*_greet'], resources: ['doc:*', 'mem://old/x'] },
    shows: ({ kind, exposed }) =>
      kind === 'tools'
        ? /^(.*_read|dual_.*|young_write)$/.test(exposed)
        : kind === 'prompts'
          ? exposed.endsWith('_greet')
          : /^(doc:.*|mem:\/\/old\/x)$/.test(exposed),
  },
  tools: { entry: { tools: ['*'] }, shows: ({ kind }) => kind === 'tools' },
}

// --- tokens -------------------------------------------------------------------------------------------------------

const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
const tokens = await tokenMaker(url)

await using gateway = await startGateway(noServers, { port, files: tokens.files })

const registryFor = ({ access, accessOf = {}, gateway: own = {}, viewAccess, more = {}, claims }: Row): string => {
  const { '': _root, ...others } = views
  return registry(
    Object.fromEntries(
      Object.entries(servers).map(([name, server]) => {
        const rules = accessOf[name] ?? access
        return [name, [server, { client: ['elicitation'], ...(rules !== undefined && { access: rules }) }] as const]
      }),
    ),
    {
      gateway: { ...own, ...(claims !== undefined && { url, auth: tokens.auth }) },
      views: Object.fromEntries(
        Object.entries(others).map(([name, { entry }]) => [
          name,
          { ...entry, ...(name === 'oncall' && viewAccess !== undefined && { access: viewAccess }) },
        ]),
      ),
      ...more,
    },
  )
}

// --- the property -------------------------------------------------------------------------------------------------

const USES = new Set(['tools/call', 'prompts/get', 'resources/read', 'completion/complete', 'resources/subscribe'])
/** Requests for something that servers got since they were told to forget. */
const reached = (): readonly string[] =>
  Object.values(servers).flatMap(({ received }) =>
    received.flatMap(({ message, text }) => (USES.has(message?.method ?? '') ? [text] : [])),
  )
const forget = (): void => {
  for (const server of Object.values(servers)) server.forget()
}

/** A refusal without what differs from one request to the next. */
const worded = ({ status, message }: Got, name: string): unknown => [
  status,
  JSON.parse(JSON.stringify(message.error ?? {}).replaceAll(name, 'NAME'), (key, value) =>
    key === 'decision' ? undefined : value,
  ),
]

const INSUFFICIENT = /^Bearer error="insufficient_scope", scope="[^"]+", resource_metadata="[^"]+"$/

const holds = async (t: Test, client: AskingClient, path: Path, question: Omit<Question, keyof Item>, row: Row) => {
  const { view } = question
  const isAllowed = (item: Item): boolean => views[view]?.shows(item) === true && row.allowed({ ...item, ...question })
  const shown = new Set<string>()
  for (const [kind, method] of Object.entries(LIST)) {
    const listed = await client.list(method)
    t.same(
      listed,
      items.filter((item) => item.kind === kind && isAllowed(item)).map(({ exposed }) => exposed),
      method,
    )
    for (const name of listed) shown.add(`${kind} ${name}`)
  }
  const isShown = ({ kind, exposed }: Item): boolean => shown.has(`${kind} ${exposed}`)

  const usesOf = (item: Item) => [useOf(item.kind, item.exposed), completionOf(item)].filter((one) => one !== undefined)
  /** What went wrong; one assertion for all of it, since there are thousands. */
  const use = async (item: Item): Promise<readonly string[]> => {
    const wrong: string[] = []
    for (const [method, params] of usesOf(item)) {
      const { message } = await client.ask(method, params)
      if (message.result === undefined) wrong.push(`${method} of ${item.exposed}: ${message.raw}`)
    }
    return wrong
  }
  // A session at a server begins with the first call there, on the broker's path whatever the client.
  for (const server of Object.keys(servers)) {
    const first = items.find((item) => item.server === server && isShown(item))
    if (first !== undefined) t.same(await use(first), [], 'the first call')
  }
  forget()
  t.same((await Promise.all(items.filter(isShown).map(use))).flat(), [], 'what is shown can be used')
  const wayOf = (item: Item): readonly [string, string] => {
    const [method, { uri = item.own }] = useOf(item.kind, item.exposed)
    const got = servers[item.server]?.received.find(
      ({ message }) => message?.method === method && (message.params?.['name'] ?? message.params?.['uri']) === uri,
    )
    return [item.exposed, got === undefined ? 'none' : pathOf(got)]
  }
  const sameEra = ({ server }: Item): boolean => server === 'dual' || (server === 'old') === (client.era === 'stateful')
  const { claims, gateway: own, access, accessOf = {} } = row
  // Where somebody has a say, a stateless client is told not to keep a resource for others: by the broker.
  const isMarked = ({ kind, server }: Item): boolean =>
    client.era === 'stateless' &&
    (kind === 'resources' || kind === 'templates') &&
    (view !== '' || [claims, own, accessOf[server] ?? access].some((one) => one !== undefined))
  t.same(
    items.filter(isShown).map(wayOf),
    items.filter(isShown).map((item) => [item.exposed, sameEra(item) && !isMarked(item) ? path : 'broker']),
    'the way it took',
  )

  const unknown = new Map<Kind, unknown>()
  for (const kind of ['tools', 'prompts', 'resources', 'templates'] as const) {
    const [method, params] = useOf(kind, NOTHING[kind])
    unknown.set(kind, worded(await client.ask(method, params), NOTHING[kind].replace('{id}', '7')))
  }
  const refused = async (item: Item): Promise<readonly string[]> => {
    const wrong: string[] = []
    for (const [method, params] of usesOf(item)) {
      const got = await client.ask(method, params)
      const name = item.exposed.replace('{id}', '7')
      const asUnknown = isDeepStrictEqual(worded(got, name), unknown.get(item.kind))
      const fine =
        got.status === 403
          ? row.asksForScopes === true && INSUFFICIENT.test(got.challenge ?? '')
          : got.message.result === undefined && (asUnknown || method === 'completion/complete')
      if (!fine) wrong.push(`${method} of ${name}: HTTP ${got.status} ${got.message.raw}`)
    }
    return wrong
  }
  forget()
  const hidden = items.filter((item) => !isShown(item))
  t.same((await Promise.all(hidden.map(refused))).flat(), [], 'what is hidden is as unknown as what does not exist')
  t.same(reached(), [], 'no server heard of it')

  const uris = items.filter(({ kind }) => kind === 'resources')
  t.same(
    await client.watch(uris.map(({ exposed }) => exposed)),
    uris.filter(isShown).map(({ exposed }) => exposed),
    'what it may be told of',
  )
}

const eras = ['stateful', 'stateless'] as const
const paths = ['direct', 'broker'] as const
/** Everything with everything, but for the views that are like another. */
const ways: readonly (readonly [view: string, era: Era, path: Path])[] = [
  ...['', 'oncall'].flatMap((view) => eras.flatMap((era) => paths.map((path) => [view, era, path] as const))),
  ['everything', 'stateful', 'direct'],
  ['tools', 'stateless', 'direct'],
]

for (const row of rows) {
  await t.test(row.name, async (t) => {
    await play(gateway, registryFor(row))
    for (const claims of row.claims ?? [{}]) {
      const headers = row.claims === undefined ? {} : await tokens.bearer(claims)
      for (const [view, era, path] of ways) {
        const who = typeof claims['sub'] === 'string' ? `${claims['sub']}, ` : ''
        await t.test(`${who}${view === '' ? 'no view' : `view ${view}`}, ${era}, ${path}`, async (t) => {
          const at = view === '' ? gateway.url : `${gateway.url}/${view}`
          await using client = await askingClient(at, era, path, headers)
          await holds(t, client, path, { view, era, claims }, row)
        })
      }
    }
  })
}

// --- with a human in between --------------------------------------------------------------------------------------

await t.test('rules that a human has to confirm', async (t) => {
  const row: Row = {
    name: '',
    access: [
      { tools: ['read', 'search_*'], resources: 'doc:*', allow: { groups: 'readers' }, confirm: true },
      { prompts: 'greet', allow: 'anyone', confirm: true },
    ],
    claims: [readers],
    allowed: own(/^(read|search_.*|doc:.*|greet)$/),
  }
  await play(gateway, registryFor(row))
  const headers = await tokens.bearer(readers)
  const use = ({ kind, exposed }: Item, client: ConfirmingClient): Promise<unknown> =>
    kind === 'tools'
      ? client.call(exposed)
      : kind === 'prompts'
        ? client.get(exposed)
        : client.read(exposed.replace('{id}', '7'))
  for (const [name, { era, open }] of Object.entries(confirmingClients))
    for (const view of ['', 'oncall'])
      await t.test(`${name}, ${view === '' ? 'no view' : `view ${view}`}`, async (t) => {
        const at = view === '' ? gateway.url : `${gateway.url}/${view}`
        const isAllowed = (item: Item): boolean =>
          views[view]?.shows(item) === true && row.allowed({ ...item, view, era, claims: readers })
        await using lists = await askingClient(at, era, 'broker', headers)
        const shown = items.filter(isAllowed)
        for (const [kind, method] of Object.entries(LIST))
          t.same(
            await lists.list(method),
            shown.filter((item) => item.kind === kind).map(({ exposed }) => exposed),
            method,
          )
        await using client = await open(at, () => 'accept', headers)
        await using alone = await open(at, undefined, headers)
        for (const item of shown) {
          const asked = client.shown.length
          await use(item, client)
          t.equal(client.shown.length, asked + 1, `a human was asked about ${item.exposed}`)
        }
        forget()
        for (const item of shown) await t.rejects(use(item, alone), `nobody to ask about ${item.exposed}`)
        const asked = client.shown.length
        for (const item of items.filter((one) => !isAllowed(one))) await t.rejects(use(item, client), item.exposed)
        t.equal(client.shown.length, asked, 'no human was asked about what is hidden')
        t.same(reached(), [], 'no server heard of it')
      })
})

// --- one thing under two names ------------------------------------------------------------------------------------

await t.test('what servers could take for something else', async (t) => {
  await using files = await serveMcp({
    name: 'files',
    era: 'both',
    prompts: [{ name: 'greet' }, { name: 'secret' }],
    resources: [{ uri: 'file:///pub/../listed' }],
    templates: [{ uriTemplate: '{+uri}', matches: /./ }],
  })
  const entry = {
    client: ['elicitation'],
    resources: { exclude: ['file:///pub/hidden/*'] },
    access: [{ resources: ['file:///pub/*', 'http://*'], prompts: 'greet', allow: 'anyone' }],
  }
  await play(gateway, registry({ files: [files, entry] }))
  const argument = { name: 'x', value: 'y' }
  const read = (uri: string): readonly [method: string, params: JsonObject] => ['resources/read', { uri }]
  const complete = (ref: JsonObject): readonly [method: string, params: JsonObject] => [
    'completion/complete',
    { ref, argument },
  ]
  const uses: Readonly<Record<string, readonly [use: readonly [method: string, params: JsonObject], may: boolean]>> = {
    'a URI': [read('file:///pub/a'), true],
    'a listed one is what it is': [read('file:///pub/../listed'), true],
    'what has to be encoded': [read('file:///pub/a%20b%2Fc%C3%BC'), true],
    'what need not be, by many': [read('file:///pub/ü b'), true],
    'dots that lead nowhere': [read('file:///pub/..a/b..c/...'), true],
    'dots behind the path': [read('file:///pub/a?from=../b'), true],
    'no path at all': [read('http://host.example'), true],
    'steps up': [read('file:///pub/../priv/a'), false],
    'steps up, encoded': [read('file:///pub/%2e%2E/priv/a'), false],
    'steps up between encoded slashes': [read('file:///pub/x%2f..%2F..%2Fpriv'), false],
    'steps up between backslashes': [read('file:///pub/..\\priv'), false],
    'steps up between encoded backslashes': [read('file:///pub/x%5C..%5cpriv'), false],
    'a step on the spot': [read('file:///pub/./a'), false],
    'a letter that hides': [read('file:///pub/%61'), false],
    'a tab that is dropped': [read('file:///pub/a\tb'), false],
    'a blank that is cut off': [read('file:///pub/a '), false],
    'a host in other letters': [read('http://HOST.example/a'), false],
    'a port that goes without saying': [read('http://host.example:80/a'), false],
    'what the registry leaves out': [read('file:///pub/hidden/a'), false],
    'a prompt’s argument': [complete({ type: 'ref/prompt', name: 'files_greet' }), true],
    'a prompt behind a resource': [complete({ type: 'ref/prompt', name: 'secret', uri: 'file:///pub/a' }), false],
    'a resource behind a prompt': [
      complete({ type: 'ref/resource', name: 'files_greet', uri: 'file:///priv/a' }),
      false,
    ],
    'a prompt behind no resource': [complete({ type: 'ref/prompt', name: 'files_greet', uri: 5 }), false],
  }
  for (const era of eras)
    for (const path of paths) {
      await using client = await askingClient(gateway.url, era, path)
      for (const [name, [[method, params], may]] of Object.entries(uses))
        await t.test(`${name}, ${era}, ${path}`, async (t) => {
          files.forget()
          const { message } = await client.ask(method, params)
          t.equal(message.result !== undefined, may, message.raw)
          t.equal(files.count(method), may ? 1 : 0)
        })
      const uris = Object.values(uses).flatMap(([[, { uri }]]) => (typeof uri === 'string' ? [uri] : []))
      const may = new Set(Object.values(uses).flatMap(([[, { uri }], is]) => (is ? [uri] : [])))
      t.same(
        await client.watch(uris),
        uris.filter((uri) => may.has(uri)),
        'subscribed to as it is read',
      )
    }
})
