/** What one server offers, in its own words: raw JSON of every tool, prompt, resource and template. */
import { elements, isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { MethodAnsweredBy } from '../mcp/methods.ts'
import type { Era } from '../mcp/versions.ts'
import type { CachePolicy } from '../registry/model.ts'
import { cachingOf } from './caching.ts'

/** The four lists, each with the member of its result that holds the items and the member that names one. */
export const lists = {
  'tools/list': { kind: 'tools', items: 'tools', key: 'name' },
  'prompts/list': { kind: 'prompts', items: 'prompts', key: 'name' },
  'resources/list': { kind: 'resources', items: 'resources', key: 'uri' },
  'resources/templates/list': { kind: 'templates', items: 'resourceTemplates', key: 'uriTemplate' },
} as const satisfies Record<MethodAnsweredBy<'all'>, unknown>

export type ListMethod = keyof typeof lists
export const listMethods = [
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
] as const satisfies readonly ListMethod[]
export type ItemKind = (typeof lists)[ListMethod]['kind']

/** What the gateway answers itself with a hint of how long it may be kept. */
export type CachedMethod = ListMethod | 'server/discover'

/** One listed item: its own name (or URI) and the bytes the server sent. */
export interface Item {
  readonly own: string
  readonly json: Buffer
  /** Where the literal of the name stands in `json`. */
  readonly name: Span
}

/** What a server said when it was asked, once and whole; replaced, never edited. */
export interface ServerCatalogue {
  readonly protocolVersion: string
  /** The eras it is spoken to in. */
  readonly eras: readonly Era[]
  /** What it said about keeping its lists and its description; of a list the strictest of all pages. */
  readonly caching: Readonly<Partial<Record<CachedMethod, CachePolicy>>>
  /** Names of the capabilities it declared, such as `tools`, `resources.subscribe`. */
  readonly capabilities: ReadonlySet<string>
  readonly instructions: string | undefined
  readonly tools: readonly Item[]
  readonly prompts: readonly Item[]
  readonly resources: readonly Item[]
  readonly templates: readonly Item[]
}

/** One page of a list. Items without a usable name are left out. */
export interface Page {
  readonly items: readonly Item[]
  /** The raw JSON literal. */
  readonly nextCursor: string | undefined
  /** What the server says about keeping it; undefined when it says nothing usable. */
  readonly caching: CachePolicy | undefined
}

/** Undefined: the result is no page of this list. */
export const parsePage = (method: ListMethod, message: Buffer, result: Span): Page | undefined => {
  const { items: itemsKey, key } = lists[method]
  const found = members(message, result)
  const array = found.get(itemsKey)
  if (array === undefined || message[array.start] !== 0x5b) return undefined
  const items: Item[] = []
  for (const span of elements(message, array)) {
    if (!isObject(message, span)) continue
    // Copied out, so that one item does not keep a whole page in memory.
    const json = Buffer.from(message.subarray(span.start, span.end))
    const name = members(json).get(key)
    if (name === undefined || json[name.start] !== 0x22) continue
    items.push({ own: stringOf(json, name), json, name })
  }
  const cursor = found.get('nextCursor')
  const nextCursor = cursor !== undefined && message[cursor.start] === 0x22 ? textOf(message, cursor) : undefined
  return { items, nextCursor, caching: cachingOf(message, found) }
}

/**
 * Capability names, one level deep: `{"resources":{"subscribe":true}}` → resources, resources.subscribe. Tasks and extensions
 * are declared by objects, at any depth: `{"tasks":{"requests":{"tools":{"call":{}}}}}` → …, tasks.requests.tools.call.
 */
export const capabilityNames = (capabilities: unknown): ReadonlySet<string> => {
  const names = new Set<string>()
  if (!isRecord(capabilities)) return names
  for (const [name, value] of Object.entries(capabilities)) {
    names.add(name)
    if (name === 'tasks' || name === 'extensions') addNested(names, name, value)
    else if (isRecord(value))
      for (const [part, on] of Object.entries(value)) if (on === true) names.add(`${name}.${part}`)
  }
  return names
}

const addNested = (names: Set<string>, within: string, value: unknown): void => {
  if (!isRecord(value)) return
  for (const [part, inner] of Object.entries(value)) {
    if (!isRecord(inner)) continue
    names.add(`${within}.${part}`)
    addNested(names, `${within}.${part}`, inner)
  }
}
const isRecord = (value: unknown): value is object => typeof value === 'object' && value !== null
