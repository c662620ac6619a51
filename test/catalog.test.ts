/** Merging servers' lists: order, names, clashes, selection, raw bytes, templates, paging. */
import fc from 'fast-check'
import t from 'tap'
import { mergeCatalogue } from '../src/catalog/catalogue.ts'
import { resourceRow } from '../src/catalog/routing-table.ts'
import { capabilityNames, parsePage, type ServerCatalogue } from '../src/catalog/server-catalogue.ts'
import { templateMatches, templateParts } from '../src/catalog/uri-template.ts'
import { pageOf } from '../src/broker/paging.ts'
import { parseRegistry } from '../src/registry/parse.ts'
import type { Registry } from '../src/registry/model.ts'

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
}: Offer): ServerCatalogue => ({
  protocolVersion: '2025-11-25',
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
      name: 'a tool that needs a task is hidden, an optional one is not',
      servers: A_AND_B,
      offers: {
        a: {
          tools:
            '{"name":"must","execution":{"taskSupport":"required"}},{"name":"may","execution":{"taskSupport":"optional"}}',
        },
      },
      whole: '[{"name":"a_may","execution":{"taskSupport":"optional"}}]',
      hidden: [
        {
          server: 'a',
          kind: 'tools',
          name: 'a_must',
          reason: 'the tool can only be called as a task, which the gateway does not offer',
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
      t.equal(catalogue.lists['tools/list'].whole.toString(), whole)
      t.strictSame(catalogue.hidden, hidden)
    })
})

await t.test('names over 128 characters are hidden, 128 are not', async (t) => {
  const catalogue = merged(PLAIN, { a: { tools: `{"name":"${'n'.repeat(128)}"},{"name":"${'m'.repeat(129)}"}` } })
  t.strictSame([...catalogue.table.tools.keys()], ['n'.repeat(128)])
  t.equal(catalogue.hidden.length, 1)
})

await t.test('the routing table', async (t) => {
  const servers =
    '  a: { url: "http://127.0.0.1:1/a/mcp?k=1", client: [] }\n  b: { url: "http://127.0.0.1:2/mcp", resources: { prefix: true } }\n  c: { command: node }\n'
  const { table } = merged(servers, {
    a: {
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
  })
  t.strictSame(table.servers.get('a'), {
    name: 'a',
    cluster: 'direct.a',
    path: '/a/mcp?k=1',
    client: [],
    prefixedResources: false,
  })
  t.equal(table.servers.get('c')?.cluster, undefined, 'a stdio server has no cluster')
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
  t.equal(catalogue.instructions, '[a]\nuse a\n\n[b]\nuse b')
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
  const list = merged(PLAIN, { a: { tools: many } }).lists['tools/list']
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
  const other = merged(PLAIN, { a: { tools: `${many},{"name":"new"}` } }).lists['tools/list']
  const first = pageOf(list, undefined)?.nextCursor
  t.equal(pageOf(other, first), undefined, 'a cursor of a list that has changed since')
  for (const bad of ['', 'x', '0', `${first}0`, `${first?.split('.')[0]}.999999`, `${first?.split('.')[0]}.-1`])
    t.equal(pageOf(list, bad), undefined, bad)
})
