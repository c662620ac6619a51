/** What an Envoy still lacks, and which part of it may be sent now: clusters first, removals last, doubts alone. */
import { offer } from './quarantine.ts'
import type { Entry } from './snapshot.ts'
import type { Effect, Send, Stream, Subscription } from './stream.ts'
import { CLUSTER, EXTENSION, LISTENER, ROUTES, SECRET, TYPE_URLS } from './type-url.ts'

/** Envoy takes a response of any size, but applies it in one go; smaller ones keep its main thread free. */
const CHUNK_BYTES = 2 * 1024 * 1024

const none: ReadonlyMap<string, Entry> = new Map()

export const without = <T>(set: ReadonlySet<T>, gone: Iterable<T>): ReadonlySet<T> => {
  const rest = new Set(set)
  for (const item of gone) rest.delete(item)
  return rest
}

/** What a type still lacks. */
interface Due {
  readonly add: ReadonlyMap<string, Entry>
  readonly remove: ReadonlySet<string>
  /** Some name is held back at an older version, or not given at all. */
  readonly quarantined: boolean
}

const due = ({ snapshot, verdicts, envoy }: Stream, type: string, subscription: Subscription): Due => {
  const entries = snapshot?.types.get(type) ?? none
  const { wildcard, names, held, doubt, owed, stuck } = subscription
  const add = new Map<string, Entry>()
  const remove = new Set<string>()
  let quarantined = false
  for (const name of wildcard ? entries.keys() : names) {
    const entry = entries.get(name)
    if (entry === undefined) continue
    const offered = offer(verdicts, envoy, type, name, entry, held.get(name))
    if (offered !== entry) quarantined = true
    if (offered !== undefined) {
      if (owed.has(name) || doubt.has(name) || held.get(name) !== offered.version) add.set(name, offered)
    } else if (owed.has(name) && !held.has(name)) remove.add(name) // an answer, so that nobody waits for it
  }
  for (const name of [...held.keys(), ...doubt, ...owed]) if (!entries.has(name) && !stuck.has(name)) remove.add(name)
  return { add, remove, quarantined }
}

/** What all types lack, computed once per event and type. */
const overview = (stream: Stream) => {
  const known = new Map<string, Due>()
  const of = (type: string, subscription: Subscription): Due => {
    const found = known.get(type) ?? due(stream, type, subscription)
    known.set(type, found)
    return found
  }
  /** No addition is under way or waiting. */
  const settled = (types: Stream['types'], type: string): boolean => {
    const subscription = types.get(type)
    return subscription === undefined || (subscription.inFlight === undefined && of(type, subscription).add.size === 0)
  }
  /** Nothing is under way, waiting or held back. */
  const final = (types: Stream['types'], type: string): boolean => {
    const subscription = types.get(type)
    // After a reconnect clusters are asked for first; the routes that still name them follow.
    if (subscription === undefined) return type !== ROUTES || (stream.snapshot?.types.get(type)?.size ?? 0) === 0
    const { remove, quarantined } = of(type, subscription)
    return settled(types, type) && remove.size === 0 && !quarantined
  }
  return {
    of,
    /** Make before break: clusters and their secrets exist before anything names them … */
    mayAdd: (types: Stream['types'], type: string): boolean =>
      type === CLUSTER || type === SECRET || (settled(types, CLUSTER) && settled(types, SECRET)),
    /** … and go once nothing names them any more. */
    mayRemove: (types: Stream['types'], type: string): boolean =>
      type === CLUSTER
        ? [LISTENER, ROUTES, EXTENSION].every((other) => final(types, other))
        : type !== SECRET || final(types, CLUSTER),
  }
}

/** Names in doubt travel alone, after all others. */
const sureFirst = (names: Iterable<string>, doubt: ReadonlySet<string>): readonly string[] => {
  const all = [...names]
  const sure = all.filter((name) => !doubt.has(name))
  return sure.length > 0 ? sure : all.slice(0, 1)
}

/**
 * As many as fit into one response. Only clusters travel together: a secret that was refused among others is acknowledged,
 * unused, when it comes again (Envoy 1.40 compares it with what it last saw, good or bad), so nobody would learn which it was.
 */
const chunk = (
  type: string,
  add: ReadonlyMap<string, Entry>,
  doubt: ReadonlySet<string>,
): ReadonlyMap<string, Entry> => {
  const taken = new Map<string, Entry>()
  let bytes = 0
  for (const name of sureFirst(add.keys(), doubt)) {
    const entry = add.get(name)
    if (entry === undefined) continue
    bytes += entry.bytes.length
    if (taken.size > 0 && (type !== CLUSTER || bytes > CHUNK_BYTES)) break
    taken.set(name, entry)
  }
  return taken
}

type Response = Omit<Send, 'nonce'>

/** The next response of a type, if one is due and allowed; one at a time, so a slow Envoy is never flooded. */
const next = (view: ReturnType<typeof overview>, types: Stream['types'], type: string): Response | undefined => {
  const subscription = types.get(type)
  if (subscription === undefined || subscription.inFlight !== undefined) return undefined
  const { add, remove } = view.of(type, subscription)
  const { doubt, owed, wildcard, ungreeted } = subscription
  if (add.size > 0 && view.mayAdd(types, type))
    return { kind: 'send', type, resources: chunk(type, add, doubt), removed: [] }
  const removable =
    add.size === 0 && view.mayRemove(types, type) ? [...remove] : [...remove].filter((name) => owed.has(name))
  if (removable.length > 0) return { kind: 'send', type, resources: none, removed: sureFirst(removable, doubt) }
  if (wildcard && ungreeted && add.size === 0) return { kind: 'send', type, resources: none, removed: [] }
  return undefined
}

/** Everything that can be sent at this moment. */
export const flush = (stream: Stream): readonly [Stream, readonly Effect[]] => {
  if (stream.snapshot === undefined) return [stream, []]
  const order = new Set<string>([...TYPE_URLS, ...stream.types.keys()])
  const view = overview(stream)
  let state = stream
  const effects: Effect[] = []
  for (const type of order) {
    const subscription = state.types.get(type)
    const response = next(view, state.types, type)
    if (subscription === undefined || response === undefined) continue
    const nonce = String(state.responses + 1)
    const sent = new Map<string, Entry | undefined>(response.resources)
    for (const name of response.removed) sent.set(name, undefined)
    const updated: Subscription = {
      ...subscription,
      inFlight: { nonce, sent },
      owed: without(subscription.owed, sent.keys()),
      ungreeted: false,
      pushes: subscription.pushes + 1,
    }
    state = { ...state, responses: state.responses + 1, types: new Map(state.types).set(type, updated) }
    effects.push({ ...response, nonce })
  }
  return [state, effects]
}
