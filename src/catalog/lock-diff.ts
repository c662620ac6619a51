/** What differs between a lock and what servers offer, field by field; and a lock that takes some of it over. */
import { isObject } from '../registry/json-object.ts'
import type { Definition, Lock, ServerPin, ToolPin } from '../registry/model.ts'
import { type Path, pathText } from '../registry/place.ts'
import { canonical, FIELDS, membersOf, pinned } from './definition.ts'
import type { OfferedServer } from './definitions.ts'

/** A value that another one has taken the place of; absent where there was, or is, none. */
export interface FieldChange {
  /** Such as `inputSchema.properties.city.description`. */
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

/** Something approved that is gone, or something offered that was not approved. */
export interface Change {
  readonly what: 'added' | 'removed' | 'changed'
  readonly of: 'tool' | 'instructions'
  readonly server: string
  /** The server's own name of the tool; empty for instructions. */
  readonly own: string
  /** What people call it: a tool's exposed name. */
  readonly name: string
  readonly fields: readonly FieldChange[]
  /** It is not approved and shown all the same, because the server's entry says so. */
  readonly admitted?: true
  /** Why it is withheld whether it is approved or not. */
  readonly suspicious?: string
}

/** In the servers' order, then by name. Of a server that has not answered nothing is known, so nothing differs. */
export const differences = (lock: Lock, servers: readonly OfferedServer[]): readonly Change[] => {
  const gone = [...lock].filter(([name]) => !servers.some((server) => server.name === name))
  return [
    ...servers.flatMap((server) => (server.answered ? ofServer(server, lock.get(server.name)) : [])),
    ...gone.flatMap(([name, pin]) =>
      ofServer({ name, prefix: `${name}/`, answered: true, instructions: '', tools: [] }, pin),
    ),
  ]
}

/** What the registry leaves out is not looked at. */
type Compared = Omit<OfferedServer, 'others'>

const ofServer = (server: Compared, pin: ServerPin | undefined): readonly Change[] => {
  const base = { server: server.name }
  const tools = server.tools.map(({ own, name, definition, suspicious }): Change | undefined => {
    const before = pin?.tools.get(own)
    const about = { ...base, of: 'tool' as const, own, name }
    const what = before === undefined ? 'added' : 'changed'
    if (definition === undefined) return { ...about, what, fields: [], suspicious: suspicious ?? 'it cannot be read' }
    const fields = FIELDS.flatMap((field) => changes([field], before?.definition[field], definition[field]))
    if (before !== undefined) return fields.length === 0 ? undefined : { ...about, what, fields }
    return { ...about, what, fields, ...(server.auto === 'additive' && { admitted: true as const }) }
  })
  const offered = new Set(server.tools.map(({ own }) => own))
  const removed = [...(pin?.tools ?? [])]
    .filter(([own]) => !offered.has(own))
    .map(([own, { definition }]): Change => {
      const fields = FIELDS.flatMap((field) => changes([field], definition[field], undefined))
      return { ...base, of: 'tool', what: 'removed', own, name: server.prefix + own, fields }
    })
  return [
    ...instructions(server, pin),
    ...[...tools, ...removed]
      .filter((change) => change !== undefined)
      .toSorted((a, b) => (a.name === b.name ? 0 : a.name < b.name ? -1 : 1)),
  ]
}

const instructions = (server: Compared, pin: ServerPin | undefined): readonly Change[] => {
  const before = pin?.instructions
  const after = server.instructions === '' ? undefined : server.instructions
  const about = { of: 'instructions' as const, server: server.name, own: '', name: server.name }
  const what = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed'
  if (server.suspicious !== undefined) return [{ ...about, what, fields: [], suspicious: server.suspicious }]
  return before === after ? [] : [{ ...about, what, fields: changes(['instructions'], before, after) }]
}

/** The least that differs: objects are compared key by key, lists of equal length item by item when they hold objects. */
const changes = (path: Path, before: unknown, after: unknown): readonly FieldChange[] => {
  if (canonical(before) === canonical(after)) return []
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length && before.some(isObject))
    return before.flatMap((each: unknown, index) => changes([...path, index], each, after[index]))
  if (isObject(before) && isObject(after)) {
    const old = new Map(membersOf(before))
    const now = new Map(membersOf(after))
    const keys = [...new Set([...old.keys(), ...now.keys()])].toSorted()
    return keys.flatMap((key) => changes([...path, key], old.get(key), now.get(key)))
  }
  return [{ path: pathText(path), ...(before !== undefined && { before }), ...(after !== undefined && { after }) }]
}

/** The lock with these differences in it. What is suspicious stays as it was. */
export const approve = (lock: Lock, servers: readonly OfferedServer[], taken: readonly Change[]): Lock => {
  const offered = new Map(servers.map((server) => [server.name, server]))
  const next = new Map<string, { instructions: string | undefined; readonly tools: Map<string, ToolPin> }>(
    [...lock].map(([name, { instructions, tools }]) => [name, { instructions, tools: new Map(tools) }]),
  )
  for (const { server, of, own, suspicious } of taken) {
    if (suspicious !== undefined) continue
    const now = offered.get(server)
    const pin = next.get(server) ?? { instructions: undefined, tools: new Map<string, ToolPin>() }
    next.set(server, pin)
    if (of === 'instructions') {
      pin.instructions = now === undefined || now.instructions === '' ? undefined : now.instructions
      continue
    }
    const definition: Definition | undefined = now?.tools.find((tool) => tool.own === own)?.definition
    if (definition === undefined) pin.tools.delete(own)
    else pin.tools.set(own, pinned(own, definition))
  }
  return new Map(
    [...next]
      .filter(([, { instructions, tools }]) => instructions !== undefined || tools.size > 0)
      .map(([name, { instructions, tools }]) => [name, { ...(instructions !== undefined && { instructions }), tools }]),
  )
}
