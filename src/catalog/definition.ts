/** What a tool says of itself that counts when it is pinned, in a canonical form, and the hash of it. */

import { createHash } from 'node:crypto'
import { isObject } from '../registry/json-object.ts'
import type { Definition, ToolPin } from '../registry/model.ts'
import type { Item } from './server-catalogue.ts'

/** In the order in which people read them. */
export const FIELDS = ['title', 'description', 'inputSchema', 'outputSchema', 'annotations'] as const

/** The members of a JSON object; of anything else none. */
export const membersOf = (value: unknown): readonly (readonly [string, unknown])[] =>
  isObject(value) ? Object.entries(value) : []

/** The same value with the keys of every object in order. */
export const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    membersOf(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  )
}

/** Equal values give equal texts, whatever the order of their keys; nothing at all gives the empty text. */
export const canonical = (value: unknown): string => (value === undefined ? '' : JSON.stringify(sorted(value)))

/** `own`: the server's name for the tool. */
export const pinned = (own: string, definition: Definition): ToolPin => ({
  definition,
  sha256: createHash('sha256')
    .update(canonical({ name: own, ...definition }))
    .digest('hex'),
})

/** Of an item that every parser reads the same. Made once, since every change of any list merges them all again. */
export const pinOf = (item: Item): ToolPin => {
  const known = pins.get(item)
  if (known !== undefined) return known
  const said = new Map(membersOf(JSON.parse(item.json.toString())))
  const made = pinned(
    item.own,
    Object.fromEntries(FIELDS.filter((field) => said.has(field)).map((field) => [field, sorted(said.get(field))])),
  )
  pins.set(item, made)
  return made
}
const pins = new WeakMap<Item, ToolPin>()
