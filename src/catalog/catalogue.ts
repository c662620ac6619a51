/** All servers' lists merged into one, with the routing table that belongs to them; a pure function of registry and answers. */
import { members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { Registry, Selection, Server } from '../registry/model.ts'
import { select } from '../registry/selection.ts'
import { emptyTable, type Row, type RoutingTable, type ServerRow, type TemplateRow } from './routing-table.ts'
import { type Item, type ItemKind, type ListMethod, lists, type ServerCatalogue } from './server-catalogue.ts'
import { templateParts } from './uri-template.ts'

/** An item that a server offers and nobody sees although the registry selects it. */
export interface Hidden {
  readonly server: string
  readonly kind: ItemKind
  readonly name: string
  readonly reason: string
}

/** A merged list, ready to send: items as exposed, and the same joined into one JSON array. */
export interface MergedList {
  readonly items: readonly Buffer[]
  readonly whole: Buffer
}

/** One value of everything the gateway offers. */
export interface Catalogue {
  readonly table: RoutingTable
  readonly lists: Readonly<Record<ListMethod, MergedList>>
  readonly hidden: readonly Hidden[]
  /** Union of the servers' capabilities, as the gateway declares it. */
  readonly capabilities: Readonly<Record<string, Readonly<Record<string, boolean>>>>
  /** Each server's instructions under its name. */
  readonly instructions: string | undefined
  /** How many items of each kind each server shows. */
  readonly counts: ReadonlyMap<string, Readonly<Record<ItemKind, number>>>
}

const emptyList: MergedList = { items: [], whole: Buffer.from('[]') }

/** The catalogue before any server has answered. */
export const emptyCatalogue: Catalogue = {
  table: emptyTable,
  lists: {
    'tools/list': emptyList,
    'prompts/list': emptyList,
    'resources/list': emptyList,
    'resources/templates/list': emptyList,
  },
  hidden: [],
  capabilities: { tools: { listChanged: true } },
  instructions: undefined,
  counts: new Map(),
}

/** Merges in registry order, then each server's own; `answers` holds the servers that have answered so far. */
export const mergeCatalogue = (registry: Registry, answers: ReadonlyMap<string, ServerCatalogue>): Catalogue => {
  const servers = registry.servers.filter(({ enabled }) => enabled)
  const merged = Object.fromEntries(
    (['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'] as const).map((method) => [
      method,
      mergeList(method, servers, answers),
    ]),
  ) as Record<ListMethod, Merged>
  const table: RoutingTable = {
    servers: new Map(servers.map((server) => [server.name, serverRow(server)])),
    tools: merged['tools/list'].rows,
    prompts: merged['prompts/list'].rows,
    resources: merged['resources/list'].rows,
    templates: [...merged['resources/templates/list'].rows.values()].flatMap(templateRow),
  }
  const each = Object.values(merged)
  return {
    table,
    lists: {
      'tools/list': merged['tools/list'].list,
      'prompts/list': merged['prompts/list'].list,
      'resources/list': merged['resources/list'].list,
      'resources/templates/list': merged['resources/templates/list'].list,
    },
    hidden: each.flatMap(({ hidden }) => hidden),
    capabilities: mergeCapabilities([...answers.values()]),
    instructions: mergeInstructions(servers, answers),
    counts: new Map(servers.map(({ name }) => [name, countsOf(merged, name)])),
  }
}

interface Merged {
  readonly rows: ReadonlyMap<string, Row>
  readonly list: MergedList
  readonly hidden: readonly Hidden[]
}

const mergeList = (
  method: ListMethod,
  servers: readonly Server[],
  answers: ReadonlyMap<string, ServerCatalogue>,
): Merged => {
  const { kind } = lists[method]
  const rows = new Map<string, Row>()
  const items: Buffer[] = []
  const hidden: Hidden[] = []
  for (const server of servers) {
    for (const item of answers.get(server.name)?.[kind] ?? []) {
      const exposed = exposedName(kind, server, item.own)
      if (exposed === undefined) continue
      const reason = whyHidden(kind, item, exposed, rows)
      if (reason !== undefined) {
        hidden.push({ server: server.name, kind, name: exposed, reason })
        continue
      }
      rows.set(exposed, {
        exposed,
        own: item.own,
        server: server.name,
        hints: kind === 'tools' ? traitsOf(item).hints : '',
      })
      items.push(
        exposed === item.own
          ? item.json
          : replaceSpans(item.json, [{ span: item.name, with: JSON.stringify(exposed) }]),
      )
    }
  }
  return { rows, list: { items, whole: joined(items) }, hidden }
}

/** The name an item is shown under; undefined: the registry leaves it out. */
const exposedName = (kind: ItemKind, server: Server, own: string): string | undefined => {
  if (kind === 'tools' || kind === 'prompts') {
    const name = select(server[kind], own)
    return name === undefined ? undefined : server.prefix + name
  }
  const uri = select(withoutRename(server.resources), own)
  return uri === undefined ? undefined : server.resources.prefix ? `${server.name}+${uri}` : uri
}

const unrenamed = new WeakMap<Selection, Selection>()
const withoutRename = (selection: Selection): Selection => {
  const known = unrenamed.get(selection)
  if (known !== undefined) return known
  const made: Selection = { include: selection.include, exclude: selection.exclude, rename: new Map() }
  unrenamed.set(selection, made)
  return made
}

/** Names that clients take: printable ASCII, at most 128 characters (MCP's own advice); spaces only in prompts and URIs never. */
const speakable = {
  tools: /^[\x21-\x7e]{1,128}$/,
  prompts: /^[\x20-\x7e]{1,128}$/,
  resources: /^[^\s\p{C}]{1,8192}$/u,
  templates: /^[^\s\p{C}]{1,2048}$/u,
}

const whyHidden = (kind: ItemKind, item: Item, exposed: string, rows: ReadonlyMap<string, Row>): string | undefined => {
  const first = rows.get(exposed)
  if (first !== undefined) return `the name is taken by server "${first.server}"`
  if (!speakable[kind].test(exposed)) return 'the name has characters or a length that clients refuse'
  if (kind === 'templates' && templateParts(exposed) === undefined) return 'the URI template is malformed'
  if (kind === 'tools' && traitsOf(item).needsTask)
    return 'the tool can only be called as a task, which the gateway does not offer'
  return undefined
}

/** What a tool says of itself beside its name; read once, since every change of any list merges them all again. */
interface Traits {
  readonly needsTask: boolean
  readonly hints: string
}
const traits = new WeakMap<Item, Traits>()
const traitsOf = (item: Item): Traits => {
  const known = traits.get(item)
  if (known !== undefined) return known
  const said = members(item.json)
  const read = { needsTask: needsTask(item, said.get('execution')), hints: hintsOf(item, said.get('annotations')) }
  traits.set(item, read)
  return read
}

const needsTask = ({ json }: Item, execution: Span | undefined): boolean => {
  if (execution === undefined || json[execution.start] !== 0x7b) return false
  const support = members(json, execution).get('taskSupport')
  return support !== undefined && json[support.start] === 0x22 && stringOf(json, support) === 'required'
}

const hints = [
  ['readOnly', 'readOnlyHint'],
  ['destructive', 'destructiveHint'],
  ['idempotent', 'idempotentHint'],
  ['openWorld', 'openWorldHint'],
] as const

/** The tool's annotations as one header value; what it does not say is `unspecified`. */
const hintsOf = ({ json }: Item, annotations: Span | undefined): string => {
  const said =
    annotations !== undefined && json[annotations.start] === 0x7b
      ? members(json, annotations)
      : new Map<string, never>()
  return hints
    .map(([short, key]) => {
      const span = said.get(key)
      const text = span === undefined ? '' : json.toString('latin1', span.start, span.end)
      return `${short}=${text === 'true' || text === 'false' ? text : 'unspecified'}`
    })
    .join(',')
}

const serverRow = (server: Server): ServerRow => ({
  name: server.name,
  cluster: server.kind === 'http' ? `direct.${server.name}` : undefined,
  path: server.kind === 'http' ? server.endpoint.path : '',
  client: server.client,
  prefixedResources: server.resources.prefix,
})

const templateRow = (row: Row): readonly TemplateRow[] => {
  const parts = templateParts(row.exposed)
  return parts === undefined ? [] : [{ ...row, parts }]
}

const comma = Buffer.from(',')
const joined = (items: readonly Buffer[]): Buffer =>
  Buffer.concat([Buffer.from('['), ...items.flatMap((item, i) => (i === 0 ? [item] : [comma, item])), Buffer.from(']')])

const mergeCapabilities = (answers: readonly ServerCatalogue[]): Catalogue['capabilities'] => {
  const any = (name: string): boolean => answers.some(({ capabilities }) => capabilities.has(name))
  return {
    tools: { listChanged: true },
    ...(any('prompts') && { prompts: { listChanged: true } }),
    ...(any('resources') && {
      resources: { listChanged: true, ...(any('resources.subscribe') && { subscribe: true }) },
    }),
    ...(any('completions') && { completions: {} }),
    ...(any('logging') && { logging: {} }),
  }
}

const mergeInstructions = (
  servers: readonly Server[],
  answers: ReadonlyMap<string, ServerCatalogue>,
): string | undefined => {
  const labelled = servers.flatMap(({ name }) => {
    const text = answers.get(name)?.instructions?.trim()
    return text === undefined || text === '' ? [] : [`[${name}]\n${text}`]
  })
  return labelled.length === 0 ? undefined : labelled.join('\n\n')
}

const countsOf = (merged: Readonly<Record<ListMethod, Merged>>, server: string): Record<ItemKind, number> => {
  const count = (method: ListMethod): number => {
    let n = 0
    for (const row of merged[method].rows.values()) if (row.server === server) n++
    return n
  }
  return {
    tools: count('tools/list'),
    prompts: count('prompts/list'),
    resources: count('resources/list'),
    templates: count('resources/templates/list'),
  }
}
