/** All servers' lists merged into one, with the routing table that belongs to them; a pure function of registry and answers. */
import { replaceSpans } from '../mcp/json-text.ts'
import type { Era } from '../mcp/versions.ts'
import { type Policy, policyOf } from '../policy/policy.ts'
import type { CachePolicy, Gateway, Lock, Registry, Server } from '../registry/model.ts'
import { statefulTool, withoutTaskSupport } from '../translation/tool.ts'
import { instructionsOf, unapproved, vetInstructions } from './approval.ts'
import { strictest, UNCACHED } from './caching.ts'
import { exposedName } from './exposed-name.ts'
import { type Remark, remarks } from './remarks.ts'
import { emptyTable, type RoutingTable, type Row, type ServerRow, type TemplateRow } from './routing-table.ts'
import {
  type CachedMethod,
  type ItemKind,
  type ListMethod,
  listMethods,
  lists,
  type ServerCatalogue,
} from './server-catalogue.ts'
import { lookOf, suspicion } from './suspicious.ts'
import { mergeTasks, offersTasks, type Tasks } from './tasks.ts'
import { type Traits, traitsOf } from './traits.ts'
import { templateParts } from './uri-template.ts'

/** An item that a server offers and nobody sees although the registry selects it. */
export interface Hidden {
  readonly server: string
  readonly kind: ItemKind
  readonly name: string
  readonly reason: string
  /** It hides something, or is not what was approved: no other name would help. */
  readonly withheld?: 'suspicious' | 'unapproved'
}

/** A merged list, ready to send: items as exposed, each with its row, and the same joined into one JSON array. */
export interface MergedList {
  readonly items: readonly Buffer[]
  readonly rows: readonly (Row | TemplateRow)[]
  readonly whole: Buffer
}

/** One value of everything the gateway offers. */
export interface Catalogue {
  readonly table: RoutingTable
  /** As each era's clients may see them; the very same list where they see the same. */
  readonly lists: Readonly<Record<Era, Readonly<Record<ListMethod, MergedList>>>>
  /** What stateless clients are told of how long, and for whom, it may be kept. */
  readonly caching: Readonly<Record<CachedMethod, CachePolicy>>
  readonly hidden: readonly Hidden[]
  readonly remarks: readonly Remark[]
  /** Union of the servers' capabilities, as the gateway declares it. */
  readonly capabilities: Readonly<Record<string, Readonly<Record<string, boolean>>>>
  /** What it declares about tasks beside them, in each era. */
  readonly tasks: Tasks
  /** Server's name → its instructions, as far as they may be told; those that have some. */
  readonly instructions: ReadonlyMap<string, string>
  /** How many items of each kind each server shows. */
  readonly counts: ReadonlyMap<string, Readonly<Record<ItemKind, number>>>
}

/** One value for each list. */
const each = <T>(make: (method: ListMethod) => T): Readonly<Record<ListMethod, T>> => ({
  'tools/list': make('tools/list'),
  'prompts/list': make('prompts/list'),
  'resources/list': make('resources/list'),
  'resources/templates/list': make('resources/templates/list'),
})

const emptyList: MergedList = { items: [], rows: [], whole: Buffer.from('[]') }
const emptyLists = each(() => emptyList)

/** The catalogue before any server has answered. */
export const emptyCatalogue: Catalogue = {
  table: emptyTable,
  lists: { stateful: emptyLists, stateless: emptyLists },
  caching: { ...each(() => UNCACHED), 'server/discover': UNCACHED },
  hidden: [],
  remarks: [],
  capabilities: { tools: { listChanged: true } },
  tasks: { stateful: undefined, stateless: false },
  instructions: new Map(),
  counts: new Map(),
}

/** Merges in registry order, then each server's own; `answers` holds the servers that have answered so far. */
export const mergeCatalogue = (registry: Registry, answers: ReadonlyMap<string, ServerCatalogue>): Catalogue => {
  const servers = registry.servers.filter(({ enabled }) => enabled)
  const merged = each((method) => mergeList(method, servers, answers, registry.lock))
  const table: RoutingTable = {
    servers: new Map(
      servers.map((server) => [server.name, serverRow(server, registry.gateway, answers.get(server.name))]),
    ),
    tools: merged['tools/list'].rows,
    prompts: merged['prompts/list'].rows,
    resources: merged['resources/list'].rows,
    templates: [...merged['resources/templates/list'].rows.values()].filter(isTemplate),
    ...(registry.gateway.limits !== undefined && { limits: registry.gateway.limits }),
    policy: policyIn(registry),
  }
  const counts = new Map(servers.map(({ name }) => [name, countsOf(merged, name)]))
  return {
    table,
    lists: { stateful: each((method) => merged[method].stateful), stateless: each((method) => merged[method].list) },
    caching: mergeCaching(servers, answers, counts),
    hidden: listMethods.flatMap((method) => merged[method].hidden),
    remarks: remarks(servers, answers, table, registry.lock),
    capabilities: mergeCapabilities([...answers.values()]),
    tasks: mergeTasks([...answers.values()]),
    instructions: mergeInstructions(servers, answers, registry.lock),
    counts,
  }
}

/** The very same of a registry each time: what was worked out for it holds for every list it makes. */
const policyIn = (registry: Registry): Policy => {
  const known = policies.get(registry)
  if (known !== undefined) return known
  const made = policyOf(registry)
  policies.set(registry, made)
  return made
}
const policies = new WeakMap<Registry, Policy>()

interface Merged {
  readonly rows: ReadonlyMap<string, Row | TemplateRow>
  readonly list: MergedList
  /** The same without what only stateless clients understand. */
  readonly stateful: MergedList
  readonly hidden: readonly Hidden[]
}

const mergeList = (
  method: ListMethod,
  servers: readonly Server[],
  answers: ReadonlyMap<string, ServerCatalogue>,
  lock: Lock | undefined,
): Merged => {
  const { kind } = lists[method]
  const rows = new Map<string, Row | TemplateRow>()
  const stateless: Shown[] = []
  const stateful: Shown[] = []
  const hidden: Hidden[] = []
  /** How the names that are shown look, and which they are. */
  const looks = new Map<string, string>()
  for (const server of servers) {
    const answer = answers.get(server.name)
    for (const item of answer?.[kind] ?? []) {
      const exposed = exposedName(kind, server, item.own)
      if (exposed === undefined) continue
      const traits = kind === 'tools' ? traitsOf(item) : undefined
      const seen = traits === undefined ? both : seenBy(traits, answer)
      const why =
        because(suspicion(item), 'suspicious') ??
        because(
          whyHidden(kind, exposed, rows) ??
            (seen.length === 0 ? NEEDS_TASK : undefined) ??
            (answer?.eras.includes('stateless') ? traits?.badParams : undefined),
        ) ??
        because(chosenByName.has(kind) ? looksLike(exposed, looks) : undefined, 'suspicious') ??
        because(kind === 'tools' ? unapproved(lock, server, item) : undefined, 'unapproved')
      if (why !== undefined) {
        hidden.push({ server: server.name, kind, name: exposed, ...why })
        continue
      }
      looks.set(lookOf(exposed), exposed)
      const { hints = '', params = [] } = traits ?? {}
      const [only, other] = seen
      const parts = kind === 'templates' ? templateParts(exposed) : undefined
      const row: Row | TemplateRow = {
        exposed,
        own: item.own,
        server: server.name,
        hints,
        params,
        ...(only !== undefined && other === undefined && { only }),
        ...(parts !== undefined && { parts }),
      }
      rows.set(exposed, row)
      const json =
        exposed === item.own ? item.json : replaceSpans(item.json, [{ span: item.name, with: JSON.stringify(exposed) }])
      // What a tool says of tasks is for the clients that can have one there.
      const plain = traits?.taskSupport === undefined ? json : withoutTaskSupport(json)
      const shown = (era: Era): Buffer => (answer !== undefined && keepsTasks(era, answer) ? json : plain)
      if (seen.includes('stateless')) stateless.push({ row, json: shown('stateless') })
      if (seen.includes('stateful')) {
        const said = shown('stateful')
        stateful.push({ row, json: traits?.onlyStateless === true ? statefulTool(said) : said })
      }
    }
  }
  const list = listOf(stateless)
  const same = stateful.length === stateless.length && stateful.every(({ json }, i) => json === stateless[i]?.json)
  return { rows, list, stateful: same ? list : listOf(stateful), hidden }
}

interface Shown {
  readonly row: Row | TemplateRow
  readonly json: Buffer
}

export const listOf = (shown: readonly Shown[]): MergedList => {
  const items = shown.map(({ json }) => json)
  return { items, rows: shown.map(({ row }) => row), whole: joined(items) }
}

/** Why an item is not shown; nothing when there is no reason. */
const because = (
  reason: string | undefined,
  withheld?: NonNullable<Hidden['withheld']>,
): Pick<Hidden, 'reason' | 'withheld'> | undefined =>
  reason === undefined ? undefined : { reason, ...(withheld !== undefined && { withheld }) }

/** A URI is not: many differ in a letter's case or a digit, as files do. */
const chosenByName: ReadonlySet<ItemKind> = new Set(['tools', 'prompts'])

const looksLike = (exposed: string, looks: ReadonlyMap<string, string>): string | undefined => {
  const twin = looks.get(lookOf(exposed))
  return twin === undefined ? undefined : `its name looks like "${twin}"`
}

const both: readonly Era[] = ['stateful', 'stateless']
const NEEDS_TASK = 'the tool can only be called as a task, which the server does not offer'

/** Whose clients see a tool: one that must be called as a task is nothing to a client that can have no task there. */
const seenBy = ({ taskSupport }: Traits, answer: ServerCatalogue | undefined): readonly Era[] =>
  taskSupport === 'required' && answer !== undefined ? both.filter((era) => keepsTasks(era, answer)) : both

/** Whether clients of this era take a tool's word about tasks: in the stateless era it means nothing, and stays. */
const keepsTasks = (era: Era, answer: ServerCatalogue): boolean =>
  era === 'stateless' ? answer.eras.includes('stateless') : offersTasks('stateful', answer)

/** Names that clients take: printable ASCII, at most 128 characters (MCP's own advice); spaces only in prompts and URIs never. */
const speakable = {
  tools: /^[\x21-\x7e]{1,128}$/,
  prompts: /^[\x20-\x7e]{1,128}$/,
  resources: /^[^\s\p{C}]{1,8192}$/u,
  templates: /^[^\s\p{C}]{1,2048}$/u,
}

const whyHidden = (kind: ItemKind, exposed: string, rows: ReadonlyMap<string, Row>): string | undefined => {
  const first = rows.get(exposed)
  if (first !== undefined) return `the name is taken by server "${first.server}"`
  if (!speakable[kind].test(exposed)) return 'the name has characters or a length that clients refuse'
  if (kind === 'templates' && templateParts(exposed) === undefined) return 'the URI template is malformed'
  return undefined
}

/** Not what only the broker can do: speak another transport, get a caller's own token or lists, count calls. */
const mayGoDirect = (server: Server, gateway: Gateway): boolean =>
  server.kind === 'http' &&
  server.transport === 'streamable' &&
  server.exchange === undefined &&
  !server.perCaller &&
  server.limits?.concurrent === undefined &&
  gateway.limits?.concurrent === undefined

const serverRow = (server: Server, gateway: Gateway, answer: ServerCatalogue | undefined): ServerRow => ({
  name: server.name,
  cluster: mayGoDirect(server, gateway) ? `direct.${server.name}` : undefined,
  path: server.kind === 'http' ? server.endpoint.path : '',
  eras: new Set(answer?.eras),
  client: server.client,
  ...(answer !== undefined && offersTasks('stateless', answer) && { tasks: true }),
  ...(server.kind === 'http' && server.perCaller && { perCaller: true }),
  prefixedResources: server.resources.prefix,
  ...(server.resources.exclude.length > 0 && { hiddenResources: server.resources.exclude }),
  ...(server.kind === 'http' && server.forward.length > 0 && { forward: server.forward }),
  ...(server.limits !== undefined && { limits: server.limits }),
})

const isTemplate = (row: Row | TemplateRow): row is TemplateRow => 'parts' in row

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

/** A server counts where it shows something, or where it said itself how long its word holds. */
const mergeCaching = (
  servers: readonly Server[],
  answers: ReadonlyMap<string, ServerCatalogue>,
  counts: Catalogue['counts'],
): Catalogue['caching'] => {
  const policyOf = (method: CachedMethod): CachePolicy =>
    strictest(
      servers.flatMap((server) => {
        const { name, cache } = server
        const answer = answers.get(name)
        if (answer === undefined) return []
        const said = answer.caching[method]
        const shows = method === 'server/discover' || (counts.get(name)?.[lists[method].kind] ?? 0) > 0
        const kept = said ?? cache ?? UNCACHED
        // What one caller is shown is not for others, whatever the server says.
        const own = server.kind === 'http' && server.perCaller ? { ...kept, scope: 'private' as const } : kept
        return said !== undefined || shows ? [own] : []
      }),
    )
  return { ...each(policyOf), 'server/discover': policyOf('server/discover') }
}

const mergeInstructions = (
  servers: readonly Server[],
  answers: ReadonlyMap<string, ServerCatalogue>,
  lock: Lock | undefined,
): ReadonlyMap<string, string> =>
  new Map(
    servers.flatMap(({ name }) => {
      const vetted = vetInstructions(lock, name, instructionsOf(answers.get(name)))
      return 'withheld' in vetted || vetted.told === '' ? [] : [[name, vetted.told] as const]
    }),
  )

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
