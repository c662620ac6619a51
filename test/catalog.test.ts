/** Merging servers' lists: order, names, clashes, selection, raw bytes, templates, paging. */
import fc from 'fast-check'
import t from 'tap'
import { pageOf } from '../src/broker/paging.ts'
import { strictest } from '../src/catalog/caching.ts'
import { type Catalogue, emptyCatalogue, type MergedList, mergeCatalogue } from '../src/catalog/catalogue.ts'
import { changedLists } from '../src/catalog/changed-lists.ts'
import { resourceRow } from '../src/catalog/routing-table.ts'
import { capabilityNames, parsePage, type ServerCatalogue } from '../src/catalog/server-catalogue.ts'
import { templateMatches, templateParts } from '../src/catalog/uri-template.ts'
import { visible } from '../src/catalog/visible.ts'
import { nobody } from '../src/clients/caller.ts'
import type { Era } from '../src/mcp/versions.ts'
import type { Asker } from '../src/policy/asker.ts'
import { ANYBODY, type Claims } from '../src/policy/principal.ts'
import type { CachePolicy, Registry } from '../src/registry/model.ts'
import { parseRegistry } from '../src/registry/parse.ts'

const registryOf = (servers: string): Registry => {
  const parsed = parseRegistry(`servers:\n${servers}`, {
    file: '/registry.yaml',
    env: {},
    readFile: () => {
      throw new Error('no files here')
    },
  })
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join())
  return parsed.registry
}

interface Offer {
  readonly tools?: string
  readonly prompts?: string
  readonly resources?: string
  readonly templates?: string
  readonly instructions?: string
  readonly capabilities?: unknown
  readonly eras?: readonly Era[]
  readonly caching?: ServerCatalogue['caching']
}
const page = (method: Parameters<typeof parsePage>[0], member: string, json: string) => {
  const bytes = Buffer.from(`{"${member}":[${json}]}`)
  return parsePage(method, bytes, { start: 0, end: bytes.length })?.items ?? []
}
const offer = ({
  tools = '',
  prompts = '',
  resources = '',
  templates = '',
  instructions,
  capabilities = {},
  eras = ['stateful'],
  caching = {},
}: Offer): ServerCatalogue => ({
  protocolVersion: '2025-11-25',
  eras,
  caching,
  capabilities: capabilityNames(capabilities),
  instructions,
  tools: page('tools/list', 'tools', tools),
  prompts: page('prompts/list', 'prompts', prompts),
  resources: page('resources/list', 'resources', resources),
  templates: page('resources/templates/list', 'resourceTemplates', templates),
})
const merged = (servers: string, offers: Readonly<Record<string, Offer>>) =>
  mergeCatalogue(registryOf(servers), new Map(Object.entries(offers).map(([name, each]) => [name, offer(each)])))
const A_AND_B = '  a: { url: "http://127.0.0.1:1/mcp" }\n  b: { url: "http://127.0.0.1:2/mcp" }\n'
const PLAIN = '  a: { url: "http://127.0.0.1:1/mcp", prefix: "" }\n  b: { url: "http://127.0.0.1:2/mcp", prefix: "" }\n'

await t.test('tools/list', async (t) => {
  const rows: readonly {
    name: string
    servers: string
    offers: Record<string, Offer>
    whole: string
    hidden?: unknown
  }[] = [
    {
      name: 'registry order, then the server’s own, whoever answered first',
      servers: A_AND_B,
      offers: { b: { tools: '{"name":"z"},{"name":"y"}' }, a: { tools: '{"name":"x"}' } },
      whole: '[{"name":"a_x"},{"name":"b_z"},{"name":"b_y"}]',
    },
    {
      name: 'unknown fields, key order, big integers and white space stay',
      servers: A_AND_B,
      offers: { a: { tools: '{"x-new":{"b":9007199254740993,"a":1.0}, "name" : "x" ,"_meta":{}}' } },
      whole: '[{"x-new":{"b":9007199254740993,"a":1.0}, "name" : "a_x" ,"_meta":{}}]',
    },
    {
      name: 'a clash hides only the later tool and says so',
      servers: PLAIN,
      offers: { a: { tools: '{"name":"t"}' }, b: { tools: '{"name":"t"},{"name":"u"}' } },
      whole: '[{"name":"t"},{"name":"u"}]',
      hidden: [{ server: 'b', kind: 'tools', name: 't', reason: 'the name is taken by server "a"' }],
    },
    {
      name: 'include, exclude and rename, then the prefix',
      servers:
        '  a: { url: "http://127.0.0.1:1/mcp", prefix: p_, tools: { include: ["get*", x], exclude: [get_bad], rename: { x: y } } }\n',
      offers: { a: { tools: '{"name":"get_a"},{"name":"get_bad"},{"name":"x"},{"name":"other"}' } },
      whole: '[{"name":"p_get_a"},{"name":"p_y"}]',
    },
    {
      name: 'a name that is escaped in the server’s text is read, and written plainly',
      servers: A_AND_B,
      offers: { a: { tools: '{"name":"do\\u005fit"}' } },
      whole: '[{"name":"a_do_it"}]',
    },
    {
      name: 'items that are no objects or have no name are left out',
      servers: A_AND_B,
      offers: { a: { tools: '7,{"title":"nameless"},{"name":5},{"name":"ok"}' } },
      whole: '[{"name":"a_ok"}]',
    },
    {
      name: 'a tool that needs a task is hidden where there are none, an optional one does not speak of them',
      servers: A_AND_B,
      offers: {
        a: {
          tools:
            '{"name":"must","execution":{"taskSupport":"required"}},{"name":"may","execution":{"taskSupport":"optional"}}',
        },
      },
      whole: '[{"name":"a_may"}]',
      hidden: [
        {
          server: 'a',
          kind: 'tools',
          name: 'a_must',
          reason: 'the tool can only be called as a task, which the server does not offer',
        },
      ],
    },
    {
      name: 'a disabled server shows nothing',
      servers: '  a: { url: "http://127.0.0.1:1/mcp", enabled: false }\n  b: { url: "http://127.0.0.1:2/mcp" }\n',
      offers: { a: { tools: '{"name":"x"}' }, b: { tools: '{"name":"x"}' } },
      whole: '[{"name":"b_x"}]',
    },
  ]
  for (const { name, servers, offers, whole, hidden = [] } of rows)
    await t.test(name, async (t) => {
      const catalogue = merged(servers, offers)
      t.equal(catalogue.lists.stateful['tools/list'].whole.toString(), whole)
      t.equal(catalogue.lists.stateless['tools/list'], catalogue.lists.stateful['tools/list'], 'one list for both eras')
      t.strictSame(catalogue.hidden, hidden)
    })
})

await t.test('tasks', async (t) => {
  const tasks = { tasks: { list: {}, requests: { tools: { call: {} } } } }
  const extension = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
  const must = '{"name":"must","execution":{"taskSupport":"required"}}'
  const may = '{"name":"may","execution":{"taskSupport":"optional","x":1.0}}'
  const kept = { must: must.replace('must', 'a_must'), may: may.replace('may', 'a_may') }
  const plain = '{"name":"a_may","execution":{"x":1.0}}'
  const rows: readonly {
    name: string
    eras: readonly Era[]
    capabilities: object
    lists: Readonly<Record<Era, readonly string[]>>
    only: Era | undefined
    declared: unknown
  }[] = [
    {
      name: 'a stateful server that has them',
      eras: ['stateful'],
      capabilities: tasks,
      lists: { stateful: [kept.must, kept.may], stateless: [plain] },
      only: 'stateful',
      declared: { stateful: { list: true, cancel: false }, stateless: false },
    },
    {
      name: 'a stateless server that has the extension',
      eras: ['stateless'],
      capabilities: extension,
      lists: { stateful: [plain], stateless: [kept.must, kept.may] },
      only: 'stateless',
      declared: { stateful: undefined, stateless: true },
    },
    {
      name: 'a server of both eras that has both',
      eras: ['stateful', 'stateless'],
      capabilities: { ...tasks, ...extension },
      lists: { stateful: [kept.must, kept.may], stateless: [kept.must, kept.may] },
      only: undefined,
      declared: { stateful: { list: true, cancel: false }, stateless: true },
    },
    {
      name: 'a stateless server that declares those of the other era',
      eras: ['stateless'],
      capabilities: tasks,
      lists: { stateful: [plain], stateless: [kept.must, kept.may] },
      only: 'stateless',
      declared: { stateful: undefined, stateless: false },
    },
  ]
  for (const { name, eras, capabilities, lists, only, declared } of rows)
    await t.test(name, async (t) => {
      const catalogue = merged(A_AND_B, { a: { eras, capabilities, tools: `${must},${may}` } })
      for (const era of ['stateful', 'stateless'] as const)
        t.strictSame(catalogue.lists[era]['tools/list'].items.map(String), lists[era], era)
      t.equal(catalogue.table.tools.get('a_must')?.only, only)
      t.equal(catalogue.table.tools.get('a_may')?.only, undefined)
      t.strictSame(catalogue.tasks, declared)
      t.equal(catalogue.table.servers.get('a')?.tasks, catalogue.tasks.stateless ? true : undefined)
      t.strictSame(catalogue.hidden, [])
    })
})

await t.test('names over 128 characters are hidden, 128 are not', async (t) => {
  const catalogue = merged(PLAIN, { a: { tools: `{"name":"${'n'.repeat(128)}"},{"name":"${'m'.repeat(129)}"}` } })
  t.strictSame([...catalogue.table.tools.keys()], ['n'.repeat(128)])
  t.equal(catalogue.hidden.length, 1)
})

await t.test('the routing table', async (t) => {
  const servers =
    '  a: { url: "http://127.0.0.1:1/a/mcp?k=1", client: [] }\n  b: { url: "http://127.0.0.1:2/mcp", resources: { prefix: true } }\n  c: { command: node }\n  d: { url: "http://127.0.0.1:4/sse", transport: sse }\n'
  const { table } = merged(servers, {
    a: {
      eras: ['stateful', 'stateless'],
      tools: '{"name":"t","annotations":{"readOnlyHint":true,"destructiveHint":false}}',
      resources: '{"uri":"x://one"}',
      templates: '{"uriTemplate":"x://item/{id}"}',
    },
    b: { resources: '{"uri":"x://one"}', templates: '{"uriTemplate":"x://item/{id}"}' },
  })
  t.strictSame(table.tools.get('a_t'), {
    exposed: 'a_t',
    own: 't',
    server: 'a',
    hints: 'readOnly=true,destructive=false,idempotent=unspecified,openWorld=unspecified',
    params: [],
  })
  t.strictSame(table.servers.get('a'), {
    name: 'a',
    cluster: 'direct.a',
    path: '/a/mcp?k=1',
    eras: new Set(['stateful', 'stateless']),
    client: [],
    prefixedResources: false,
  })
  t.equal(table.servers.get('b')?.cluster, 'direct.b')
  t.strictSame(table.servers.get('b')?.eras, new Set(['stateful']))
  t.equal(table.servers.get('c')?.cluster, undefined, 'a stdio server has no cluster')
  t.equal(table.servers.get('d')?.cluster, undefined, 'nor has one of the old transport')
  t.strictSame(table.servers.get('d')?.eras, new Set(), 'it has not answered')
  const rows: readonly (readonly [uri: string, server: string | undefined, own: string])[] = [
    ['x://one', 'a', 'x://one'],
    ['b+x://one', 'b', 'x://one'],
    ['x://item/5', 'a', 'x://item/5'],
    ['b+x://item/5', 'b', 'x://item/5'],
    ['x://item/5/6', undefined, ''],
    ['x://two', undefined, ''],
  ]
  for (const [uri, server, own] of rows) {
    const row = resourceRow(table, uri)
    t.equal(row?.server, server, uri)
    if (server !== undefined) t.equal(row?.own, own, uri)
  }
})

/** A tool whose argument `r` is repeated as a header of this name. */
const withHeader = (name: string, header: string) =>
  `{"name":"${name}","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"${header}"}}}}`

await t.test('arguments repeated as headers', async (t) => {
  const region = { header: 'Region', key: 'region', path: ['r'], type: 'string' }
  const rows: readonly {
    name: string
    eras: readonly Era[]
    header: string
    params: unknown
    hidden: RegExp | undefined
  }[] = [
    { name: 'a stateless server', eras: ['stateless'], header: 'Region', params: [region], hidden: undefined },
    { name: 'a stateful server', eras: ['stateful'], header: 'Region', params: [region], hidden: undefined },
    {
      name: 'no header name, stateless',
      eras: ['stateless'],
      header: 'no name',
      params: undefined,
      hidden: /x-mcp-header/,
    },
    {
      name: 'no header name, both',
      eras: ['stateful', 'stateless'],
      header: '',
      params: undefined,
      hidden: /x-mcp-header/,
    },
    { name: 'no header name, stateful', eras: ['stateful'], header: 'no name', params: [], hidden: undefined },
  ]
  for (const { name, eras, header, params, hidden } of rows)
    await t.test(name, async (t) => {
      const tools = `${withHeader('odd', header)},{"name":"plain"}`
      const catalogue = merged(A_AND_B, { a: { eras, tools } })
      t.strictSame(catalogue.table.tools.get('a_odd')?.params, params)
      t.strictSame(catalogue.table.tools.get('a_plain')?.params, [])
      t.equal(catalogue.hidden.length, hidden === undefined ? 0 : 1)
      if (hidden !== undefined)
        t.match(catalogue.hidden[0], { server: 'a', kind: 'tools', name: 'a_odd', reason: hidden })
      const shown = hidden === undefined ? 2 : 1
      for (const era of ['stateful', 'stateless'] as const) {
        t.equal(catalogue.lists[era]['tools/list'].items.length, shown, era)
      }
    })
})

await t.test('each era sees what it understands', async (t) => {
  const object = '{"type":"object","properties":{}}'
  const tools = `{"name":"x","outputSchema":{"type":"array"},"z":9007199254740993},{"name":"y","outputSchema":${object}}`
  const catalogue = merged(A_AND_B, {
    a: { eras: ['stateless'], tools, prompts: '{"name":"p"}' },
    b: { tools: '{"name":"z"}' },
  })
  const rest = `{"name":"a_y","outputSchema":${object}},{"name":"b_z"}]`
  t.equal(
    catalogue.lists.stateless['tools/list'].whole.toString(),
    `[{"name":"a_x","outputSchema":{"type":"array"},"z":9007199254740993},${rest}`,
  )
  t.equal(catalogue.lists.stateful['tools/list'].whole.toString(), `[{"name":"a_x","z":9007199254740993},${rest}`)
  t.equal(
    catalogue.lists.stateful['tools/list'].items[1],
    catalogue.lists.stateless['tools/list'].items[1],
    'an item that is the same for both is held once',
  )
  t.equal(catalogue.lists.stateful['prompts/list'], catalogue.lists.stateless['prompts/list'])
})

await t.test('what a page says about keeping it', async (t) => {
  const rows: readonly (readonly [hints: string, caching: CachePolicy | undefined])[] = [
    ['"ttlMs":5000,"cacheScope":"public"', { ttlMs: 5000, scope: 'public' }],
    ['"cacheScope":"private","ttlMs":5000', { ttlMs: 5000, scope: 'private' }],
    ['"ttlMs":5000', { ttlMs: 5000, scope: 'private' }],
    ['"ttlMs":5000,"cacheScope":"everyone"', { ttlMs: 5000, scope: 'private' }],
    ['"ttlMs":5000,"cacheScope":["public"]', { ttlMs: 5000, scope: 'private' }],
    ['"ttlMs":1.5e3,"cacheScope":"public"', { ttlMs: 1500, scope: 'public' }],
    ['"ttlMs":0.5,"cacheScope":"public"', { ttlMs: 0, scope: 'public' }],
    ['"ttlMs":-1,"cacheScope":"public"', { ttlMs: 0, scope: 'public' }],
    ['"ttlMs":1e999,"cacheScope":"public"', { ttlMs: Number.MAX_SAFE_INTEGER, scope: 'public' }],
    ['"ttlMs":"5000","cacheScope":"public"', undefined],
    ['"ttlMs":null,"cacheScope":"public"', undefined],
    ['"ttlMs":[5000],"cacheScope":"public"', undefined],
    ['"cacheScope":"public"', undefined],
    ['"nextCursor":"c"', undefined],
  ]
  for (const [hints, caching] of rows) {
    const bytes = Buffer.from(`{"tools":[],${hints}}`)
    t.strictSame(parsePage('tools/list', bytes, { start: 0, end: bytes.length })?.caching, caching, hints)
  }
})

await t.test('how long merged lists may be kept', async (t) => {
  const hour: CachePolicy = { ttlMs: 3_600_000, scope: 'public' }
  const minute: CachePolicy = { ttlMs: 60_000, scope: 'public' }
  const own: CachePolicy = { ttlMs: 120_000, scope: 'private' }
  const none: CachePolicy = { ttlMs: 0, scope: 'private' }
  const b = '  b: { url: "http://127.0.0.1:2/mcp" }\n'
  const a = '  a: { url: "http://127.0.0.1:1/mcp" }\n'
  const aWithPolicy = '  a: { url: "http://127.0.0.1:1/mcp", cache: { ttl: 30s, scope: public } }\n'
  const x = '{"name":"x"}'
  const rows: readonly { name: string; servers: string; offers: Record<string, Offer>; tools: CachePolicy }[] = [
    { name: 'nobody has answered', servers: a + b, offers: {}, tools: none },
    {
      name: 'one server',
      servers: a + b,
      offers: { a: { tools: x, caching: { 'tools/list': hour } } },
      tools: hour,
    },
    {
      name: 'the least of two',
      servers: a + b,
      offers: { a: { tools: x, caching: { 'tools/list': hour } }, b: { tools: x, caching: { 'tools/list': minute } } },
      tools: minute,
    },
    {
      name: 'private as soon as one is',
      servers: a + b,
      offers: { a: { tools: x, caching: { 'tools/list': own } }, b: { tools: x, caching: { 'tools/list': minute } } },
      tools: { ttlMs: 60_000, scope: 'private' },
    },
    {
      name: 'a server without hints',
      servers: a + b,
      offers: { a: { tools: x }, b: { tools: x, caching: { 'tools/list': hour } } },
      tools: none,
    },
    {
      name: 'a server without hints for which the registry has some',
      servers: aWithPolicy + b,
      offers: { a: { tools: x }, b: { tools: x, caching: { 'tools/list': hour } } },
      tools: { ttlMs: 30_000, scope: 'public' },
    },
    {
      name: 'the server’s own hints before the registry’s',
      servers: aWithPolicy + b,
      offers: { a: { tools: x, caching: { 'tools/list': hour } } },
      tools: hour,
    },
    {
      name: 'a server that shows nothing there',
      servers: a + b,
      offers: { a: { prompts: x }, b: { tools: x, caching: { 'tools/list': hour } } },
      tools: hour,
    },
    {
      name: 'a server whose list is empty, by its own word for a while',
      servers: a + b,
      offers: { a: { caching: { 'tools/list': minute } }, b: { tools: x, caching: { 'tools/list': hour } } },
      tools: minute,
    },
    {
      name: 'a disabled server',
      servers: '  a: { url: "http://127.0.0.1:1/mcp", enabled: false }\n' + b,
      offers: { a: { tools: x }, b: { tools: x, caching: { 'tools/list': hour } } },
      tools: hour,
    },
  ]
  for (const { name, servers, offers, tools } of rows)
    await t.test(name, async (t) => t.strictSame(merged(servers, offers).caching['tools/list'], tools))
  await t.test('the description is of all that have answered', async (t) => {
    const { caching } = merged(aWithPolicy + b, { a: {}, b: { caching: { 'server/discover': hour } } })
    t.strictSame(caching['server/discover'], { ttlMs: 30_000, scope: 'public' })
    t.strictSame(caching['prompts/list'], none)
  })
  await t.test('before anything', async (t) => t.strictSame(emptyCatalogue.caching['server/discover'], none))
  await t.test('pages', async (t) => t.strictSame(strictest([hour, own, minute]), { ttlMs: 60_000, scope: 'private' }))
})

await t.test('capabilities are the union, instructions carry the server’s name', async (t) => {
  const catalogue = merged(A_AND_B, {
    a: { capabilities: { tools: {}, prompts: { listChanged: true }, tasks: {} }, instructions: 'use a' },
    b: { capabilities: { resources: { subscribe: true }, logging: {}, completions: {} }, instructions: ' use b\n' },
  })
  t.strictSame(catalogue.capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true, subscribe: true },
    completions: {},
    logging: {},
  })
  t.equal(visible(catalogue, nobody).instructions(), '[a]\nuse a\n\n[b]\nuse b')
})

await t.test('URI templates', async (t) => {
  const rows: readonly (readonly [template: string, uri: string, matches: boolean])[] = [
    ['x://a/{id}', 'x://a/1', true],
    ['x://a/{id}', 'x://a/', false],
    ['x://a/{id}', 'x://a/1/2', false],
    ['x://a/{id}/data', 'x://a/1/data', true],
    ['x://a/{id}/data', 'x://a//data', false],
    ['x://{+path}', 'x://a/b/c', true],
    ['file:///{path*}', 'file:///a.txt', true],
    ['x://a{/rest*}', 'x://a/b/c', true],
    ['x://a{?q,r}', 'x://a?q=1&r=2', true],
    ['x://a{?q,r}', 'x://a', true],
    ['x://a{?q,r}', 'y://a', false],
    ['x://{a}{b}', 'x://12', true],
    ['x://fixed', 'x://fixed', true],
  ]
  for (const [template, uri, matches] of rows) {
    const parts = templateParts(template)
    t.equal(parts !== undefined && templateMatches(parts, uri), matches, `${template} ${uri}`)
  }
  for (const bad of ['x://{', 'x://}', 'x://{a}}', '{a}'.repeat(65)]) t.equal(templateParts(bad), undefined, bad)
  // Many wildcards against a text that almost matches: a backtracking matcher would not come back from this.
  const parts = templateParts('{+a}x{+b}x{+c}x{+d}x{+e}x{+f}x{+g}y')
  t.equal(parts !== undefined && templateMatches(parts, 'x'.repeat(4000)), false)
})

await t.test('property: a template matches what it is filled with', async (t) => {
  const segment = fc.stringMatching(/^[a-z0-9._~-]{1,8}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(segment, segment), { minLength: 1, maxLength: 5 }), (pairs) => {
      const template = `x://${pairs.map(([literal], i) => `${literal}/{v${i}}`).join('/')}`
      const uri = `x://${pairs.map(([literal, value]) => `${literal}/${value}`).join('/')}`
      const parts = templateParts(template)
      return parts !== undefined && templateMatches(parts, uri)
    }),
  )
  t.pass()
})

await t.test('the gateway’s own pages', async (t) => {
  const many = Array.from({ length: 2500 }, (_, i) => `{"name":"t${i}"}`).join()
  const list = merged(PLAIN, { a: { tools: many } }).lists.stateful['tools/list']
  const names: string[] = []
  let cursor: string | undefined
  let pages = 0
  do {
    const page = pageOf(list, cursor)
    if (page === undefined) throw new Error('a cursor of ours was refused')
    const items: unknown = JSON.parse(page.items.toString())
    if (Array.isArray(items)) for (const { name } of items) names.push(String(name))
    cursor = page.nextCursor
    pages++
  } while (cursor !== undefined)
  t.equal(pages, 3)
  t.strictSame(
    names,
    Array.from({ length: 2500 }, (_, i) => `t${i}`),
  )
  const other = merged(PLAIN, { a: { tools: `${many},{"name":"new"}` } }).lists.stateful['tools/list']
  const first = pageOf(list, undefined)?.nextCursor
  t.equal(pageOf(other, first), undefined, 'a cursor of a list that has changed since')
  for (const bad of ['', 'x', '0', `${first}0`, `${first?.split('.')[0]}.999999`, `${first?.split('.')[0]}.-1`])
    t.equal(pageOf(list, bad), undefined, bad)
})

// --- who sees what ------------------------------------------------------------------------------------------------

const askerOf = (claims: Claims = {}, changes: Partial<Asker> = {}): Asker => ({
  ...nobody,
  principal: { ...ANYBODY, claims },
  ...changes,
})
const TOOLS = ['get', 'put', 'list', 'drop']
const offers = (names: readonly string[]): Record<string, Offer> => ({
  a: {
    tools: names.map((name) => `{"name":"${name}"}`).join(),
    templates: '{"uriTemplate":"doc:{id}"},{"uriTemplate":"doc:open/{id}{?q}"}',
    instructions: 'use a',
  },
  b: { resources: '{"uri":"mem:x"}', instructions: 'use b' },
})
const ruled = (access: unknown, more = ''): string =>
  `  a: { url: "http://127.0.0.1:1/mcp", access: ${JSON.stringify(access)} }\n  b: { url: "http://127.0.0.1:2/mcp" }\n${more}`

await t.test('what one asker sees', async (t) => {
  const namesIn = (list: MergedList) => list.rows.map(({ exposed }) => exposed)
  await t.test('without rules: the very lists of all', async (t) => {
    const catalogue = merged(A_AND_B, offers(TOOLS))
    const seen = visible(catalogue, askerOf({ sub: 'ann' }))
    t.equal(seen, visible(catalogue, askerOf({ sub: 'bob' })))
    t.equal(seen.list('tools/list'), catalogue.lists.stateful['tools/list'])
    t.equal(seen.caching('tools/list'), catalogue.caching['tools/list'])
  })
  await t.test('with rules: one list for all who see the same', async (t) => {
    const catalogue = merged(ruled([{ tools: 'get', allow: { groups: ['dev', 'ops'] } }]), offers(TOOLS))
    const [ann, bob, eve] = [{ groups: 'dev' }, { groups: 'ops' }, {}].map((claims) =>
      visible(catalogue, askerOf(claims)).list('tools/list'),
    )
    t.same(ann && namesIn(ann), ['a_get'])
    t.equal(ann?.whole.toString(), '[{"name":"a_get"}]')
    t.equal(ann, bob)
    t.same(eve && namesIn(eve), [])
  })
  await t.test('addresses count where a rule looks at them, and only there', async (t) => {
    const looks = merged(ruled([{ when: 'request.address == "192.0.2.1"' }]), offers(TOOLS))
    const principal = { ...ANYBODY }
    const from = (address: string) => visible(looks, { ...nobody, principal, address }).list('tools/list').items.length
    t.same([from('192.0.2.1'), from('192.0.2.2'), from('192.0.2.1')], [4, 0, 4])
    const plain = merged(ruled([{ when: 'true' }]), offers(TOOLS))
    const seen = ['192.0.2.1', '192.0.2.2'].map((address) => visible(plain, { ...nobody, principal, address }))
    t.equal(seen[0], seen[1])
  })
  await t.test('a template, when everything that it could be is allowed', async (t) => {
    const rows: Readonly<Record<string, readonly string[]>> = {
      '*': ['doc:{id}', 'doc:open/{id}{?q}'],
      'doc:*': ['doc:{id}', 'doc:open/{id}{?q}'],
      'doc:open/*': ['doc:open/{id}{?q}'],
      'doc:open/7': [],
      'doc:{id}': [],
      'doc:o*': ['doc:open/{id}{?q}'],
      'doc:*7': [],
    }
    for (const [pattern, seen] of Object.entries(rows))
      await t.test(pattern, async (t) => {
        const catalogue = merged(ruled([{ resources: pattern, allow: 'anyone' }]), offers(TOOLS))
        t.same(namesIn(visible(catalogue, askerOf()).list('resources/templates/list')), seen)
      })
  })
  await t.test('instructions of servers that show something, the view’s own in front', async (t) => {
    const view = 'views: { v: { tools: "*_get", instructions: "be brief" }, none: { tools: [nothing] } }\n'
    const catalogue = merged(`${A_AND_B}${view}`, offers(TOOLS))
    t.equal(visible(catalogue, askerOf()).instructions(), '[a]\nuse a\n\n[b]\nuse b')
    t.equal(visible(catalogue, askerOf({}, { view: 'v' })).instructions(), 'be brief\n\n[a]\nuse a')
    t.equal(visible(catalogue, askerOf({}, { view: 'none' })).instructions(), undefined)
    t.equal(visible(catalogue, askerOf({}, { view: 'unknown' })).instructions(), undefined)
  })
})

await t.test('property: whose lists changed is what a look at all of them would say', async () => {
  const rules = fc.array(
    fc.record({
      tools: fc.subarray(['get', 'put', 'l*', '*'], { minLength: 1 }),
      allow: fc.record({ groups: fc.subarray(['dev', 'ops'], { minLength: 1 }) }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  const tools = fc.shuffledSubarray(TOOLS)
  fc.assert(
    fc.property(
      rules,
      fc.option(rules),
      tools,
      tools,
      fc.subarray(['dev', 'ops']),
      (first, second, one, two, groups) => {
        const registry = registryOf(ruled(first))
        const answers = (names: readonly string[]) =>
          new Map(Object.entries(offers(names)).map(([name, each]) => [name, offer(each)]))
        const before = mergeCatalogue(registry, answers(one))
        const after = mergeCatalogue(second === null ? registry : registryOf(ruled(second)), answers(two))
        const asker = askerOf({ groups })
        const whole = (catalogue: Catalogue) => visible(catalogue, asker).list('tools/list').whole
        const differs = !whole(before).equals(whole(after))
        return changedLists(before, after)(asker).includes('tools') === differs
      },
    ),
    { numRuns: 300 },
  )
})
