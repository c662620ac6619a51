/** Whose lists are other ones after a change of the catalogue. */

import type { Kind } from '../mcp/methods.ts'
import type { Era } from '../mcp/versions.ts'
import type { Asker } from '../policy/asker.ts'
import type { Catalogue, MergedList } from './catalogue.ts'
import { type ListMethod, listMethods } from './server-catalogue.ts'
import { isShown } from './thing.ts'
import { kindOf, visible } from './visible.ts'

const eras = ['stateful', 'stateless'] as const

/** Of one list, what came and went; `all`: nobody can tell without looking at all of it. */
type Difference = 'none' | 'all' | readonly MergedList['rows'][number][]

/** Whether somebody's differ is worked out from what came and went, as long as the same rules hold before and after. */
export const changedLists = (before: Catalogue, after: Catalogue): ((asker: Asker) => readonly Kind[]) => {
  const sameRules = before.table.policy === after.table.policy
  const differences = (era: Era): readonly (readonly [ListMethod, Difference])[] =>
    listMethods.map((method) => [
      method,
      sameRules ? difference(before.lists[era][method], after.lists[era][method]) : 'all',
    ])
  const found = { stateful: differences('stateful'), stateless: differences('stateless') }
  if (eras.every((era) => found[era].every(([, changed]) => changed === 'none'))) return () => []
  return (asker) => {
    const kinds = new Set<Kind>()
    for (const [method, changed] of found[asker.era]) {
      if (changed === 'none' || kinds.has(kindOf[method])) continue
      const differs =
        changed === 'all'
          ? !isSame(visible(before, asker).list(method), visible(after, asker).list(method))
          : changed.some((row) => isShown(after.table.policy, asker, kindOf[method], row))
      if (differs) kinds.add(kindOf[method])
    }
    return [...kinds]
  }
}

/** What one asker sees. */
export interface Seen {
  readonly catalogue: Catalogue
  readonly asker: Asker
}

/** Which lists are not the same to both. */
export const differentLists = (one: Seen, other: Seen): readonly Kind[] => {
  const listOf = ({ catalogue, asker }: Seen, method: ListMethod): MergedList => visible(catalogue, asker).list(method)
  const differing = listMethods.filter((method) => !isSame(listOf(one, method), listOf(other, method)))
  return [...new Set(differing.map((method) => kindOf[method]))]
}

const isSame = (one: MergedList, other: MergedList): boolean => one === other || one.whole.equals(other.whole)

const difference = (before: MergedList, after: MergedList): Difference => {
  if (before === after || isCopy(before, after)) return 'none'
  const gone = entries(before)
  const come = entries(after)
  const stay = [...gone.keys()].filter((key) => come.has(key))
  const stayed = new Set(stay)
  // What somebody sees in another order is another list as well.
  if ([...come.keys()].filter((key) => stayed.has(key)).some((key, at) => key !== stay[at])) return 'all'
  for (const key of stay) {
    gone.delete(key)
    come.delete(key)
  }
  return gone.size + come.size === 0 ? 'none' : [...gone.values(), ...come.values()]
}

/** Most often a server that is asked again offers what it did. */
const isCopy = (before: MergedList, after: MergedList): boolean =>
  before.whole.equals(after.whole) &&
  before.rows.every(({ server, own }, at) => after.rows[at]?.server === server && after.rows[at]?.own === own)

/** Whose it is counts as well: rules may be about that. */
const entries = ({ items, rows }: MergedList): Map<string, MergedList['rows'][number]> =>
  new Map(rows.map((row, at) => [`${row.server} ${row.own} ${items[at]?.toString('latin1')}`, row]))
