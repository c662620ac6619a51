/** What of a catalogue one asker sees: in their era and view, and only what they may use. */

import { dropOldest } from '../bounded.ts'
import type { Kind } from '../mcp/methods.ts'
import type { Asker } from '../policy/asker.ts'
import type { Policy } from '../policy/policy.ts'
import { ANYBODY, type Principal } from '../policy/principal.ts'
import type { Access, CachePolicy } from '../registry/model.ts'
import { canBePublic } from './caching.ts'
import { type Catalogue, listOf, type MergedList } from './catalogue.ts'
import { type CachedMethod, type ListMethod, listMethods } from './server-catalogue.ts'
import type { Tasks } from './tasks.ts'
import { isShown } from './thing.ts'

/** Worked out as it is asked for, and kept. */
export interface Visible extends Pick<Catalogue, 'capabilities'> {
  readonly tasks: Tasks
  /** The catalogue's own list where nothing is left out, and the same object for all who see the same. */
  list(method: ListMethod): MergedList
  /** Whether anything of a server is listed. */
  shows(server: string): boolean
  /** The view's own, then those of servers that show something; undefined: there are none. */
  instructions(): string | undefined
  caching(method: CachedMethod): CachePolicy
}

/** What a list is of to those who decide, and what its changes are announced as: templates go with resources. */
export const kindOf = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resources',
} as const satisfies Record<ListMethod, Kind>

/** Of one principal: views, eras and, where rules look at them, addresses. */
const MOST_KEPT = 32
/** Of one list: different selections from it. */
const MOST_SELECTIONS = 64

const kept = new WeakMap<Catalogue, WeakMap<Principal, Map<string, Visible>>>()

export const visible = (catalogue: Catalogue, asker: Asker): Visible => {
  const scope = scopeOf(catalogue.table.policy, asker.view)
  // Where no rule looks at who asks, all are one.
  const who = scope.rules ? asker.principal : ANYBODY
  const key = `${asker.view} ${asker.era} ${scope.address ? asker.address : ''}`
  const principals = kept.get(catalogue) ?? new WeakMap<Principal, Map<string, Visible>>()
  const known = principals.get(who) ?? new Map<string, Visible>()
  const found = known.get(key)
  if (found !== undefined) return found
  const made = visibleTo(catalogue, { ...asker, principal: who }, scope)
  known.set(key, made)
  dropOldest(known, MOST_KEPT)
  principals.set(who, known)
  kept.set(catalogue, principals)
  return made
}

const visibleTo = (catalogue: Catalogue, asker: Asker, scope: Scope): Visible => {
  const { table, capabilities, tasks } = catalogue
  const whole = catalogue.lists[asker.era]
  const made = new Map<ListMethod, MergedList>()
  const list = (method: ListMethod): MergedList => {
    const known = made.get(method)
    if (known !== undefined) return known
    const selected = scope.all
      ? whole[method]
      : selectionOf(whole[method], (row) => isShown(table.policy, asker, kindOf[method], row))
    made.set(method, selected)
    return selected
  }
  let shown: ReadonlySet<string> | undefined
  const shows = (name: string): boolean => {
    if (scope.all) return true
    shown ??= new Set(listMethods.flatMap((method) => list(method).rows.map(({ server }) => server)))
    return shown.has(name)
  }
  return {
    capabilities,
    tasks,
    list,
    shows,
    instructions() {
      const servers = [...catalogue.instructions].filter(([name]) => shows(name))
      const own = table.policy.views.get(asker.view)?.instructions
      const told = [...(own === undefined ? [] : [own]), ...servers.map(([name, text]) => `[${name}]\n${text}`)]
      return told.length === 0 ? undefined : told.join('\n\n')
    },
    caching(method) {
      const policy = catalogue.caching[method]
      return canBePublic(table.policy, asker.view, scope.rules) ? policy : { ...policy, scope: 'private' }
    },
  }
}

const selections = new WeakMap<MergedList, Map<string, MergedList>>()

const selectionOf = (list: MergedList, isMeant: (row: MergedList['rows'][number]) => boolean): MergedList => {
  const chosen = list.rows.map(isMeant)
  if (!chosen.includes(false)) return list
  const key = bits(chosen)
  const known = selections.get(list) ?? new Map<string, MergedList>()
  const found = known.get(key)
  if (found !== undefined) return found
  const made = listOf(
    list.rows.flatMap((row, at) => {
      const json = list.items[at]
      return chosen[at] === true && json !== undefined ? [{ row, json }] : []
    }),
  )
  known.set(key, made)
  dropOldest(known, MOST_SELECTIONS)
  selections.set(list, known)
  return made
}

/** One for each that is chosen, packed. */
const bits = (chosen: readonly boolean[]): string => {
  const bytes = Buffer.alloc(Math.ceil(chosen.length / 8))
  for (const [at, is] of chosen.entries()) if (is) bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (1 << (at & 7))
  return bytes.toString('latin1')
}

/** What a view's lists may depend on. */
interface Scope {
  /** Everything is there for everybody. */
  readonly all: boolean
  /** Rules look at who asks. */
  readonly rules: boolean
  /** Some look at where from. */
  readonly address: boolean
}

const scopes = new WeakMap<Policy, Map<string, Scope>>()

const scopeOf = (policy: Policy, view: string): Scope => {
  const known = scopes.get(policy) ?? new Map<string, Scope>()
  const found = known.get(view)
  if (found !== undefined) return found
  const own = policy.views.get(view)
  const accesses = [policy.gateway, own?.access, ...[...policy.servers.values()].map(({ access }) => access)].filter(
    (access) => access !== undefined,
  )
  const made = {
    all: view === '' && accesses.length === 0,
    rules: accesses.length > 0,
    address: accesses.some(looksAtAddress),
  }
  // A view that is not there is nobody's, and is not kept.
  if (view === '' || own !== undefined) known.set(view, made)
  scopes.set(policy, known)
  return made
}

/** Whether everybody may do everything there. */
export const isUnruled = (policy: Policy, view: string): boolean => scopeOf(policy, view).all

const looksAtAddress = (access: Access): boolean =>
  access.kind === 'rules' && access.rules.some(({ when }) => when?.looksAt.has('address') === true)
