/** What is known of the connected Envoys: what each was sent, what it acknowledged, what it refused and why. */
import type { Place } from '../registry/model.ts'
import type { EnvoyNode } from './discovery.ts'
import { refusal } from './quarantine.ts'
import type { Stream } from './stream.ts'
import { EXTENSION, messageName, SECRET, TYPE_URLS } from './type-url.ts'

/** A resource an Envoy does not have in its newest version. */
export interface Nack {
  /** The message's name, such as `envoy.config.cluster.v3.Cluster`. */
  readonly type: string
  readonly name: string
  readonly version: string
  /** Envoy's own words, or the field rule it would break (then it was never sent). */
  readonly message: string
  /** The registry entry it stems from. */
  readonly place?: Place
  readonly path?: string
}

export interface TypeStatus {
  /** In the newest snapshot. */
  readonly resources: number
  /** Of these, held by this Envoy in their newest version. */
  readonly current: number
  readonly pushes: number
  readonly acks: number
  readonly nacks: number
}

export interface EnvoyStatus {
  readonly node: string
  readonly version: string
  readonly connectedSince: Date
  readonly innerSocket?: string
  /** It acknowledged the newest snapshot, every resource of it. */
  readonly applied: boolean
  /** Keyed by the message's name. */
  readonly types: Readonly<Record<string, TypeStatus>>
  readonly nacks: readonly Nack[]
  /** Some slot of its listener has never had a configuration: every request is refused. */
  readonly closed?: true
}

/** Whether an Envoy holds exactly the newest snapshot: by its own acknowledgement, nothing more and nothing less. */
export const hasApplied = ({ snapshot, types }: Stream): boolean =>
  snapshot !== undefined &&
  [...snapshot.types].every(([type, entries]) => {
    const subscription = types.get(type)
    if (subscription === undefined) return entries.size === 0
    return (
      subscription.inFlight === undefined &&
      subscription.doubt.size === 0 &&
      subscription.held.size === entries.size &&
      [...entries].every(([name, { version }]) => subscription.held.get(name) === version)
    )
  })

const nacks = ({ snapshot, verdicts, envoy }: Stream): readonly Nack[] =>
  TYPE_URLS.flatMap((type) =>
    [...(snapshot?.types.get(type) ?? [])].flatMap(([name, { version, fault, place, path }]) => {
      const message = fault ?? refusal(verdicts, envoy, type, name, version)
      if (message === undefined) return []
      const origin = { ...(place === undefined ? {} : { place }), ...(path === undefined ? {} : { path }) }
      return [{ type: messageName(type), name, version, message, ...origin }]
    }),
  )

/** Whether an Envoy has said all it will about the newest snapshot: what it does not hold, it refused. */
export const hasAnswered = (stream: Stream): boolean => {
  const { snapshot, types, verdicts, envoy } = stream
  if (hasApplied(stream)) return true
  if (snapshot === undefined || nacks(stream).length === 0) return false
  const quiet = [...types.values()].every(({ inFlight }) => inFlight === undefined)
  // A secret whose cluster was refused is never asked for.
  const others = [...snapshot.types].filter(([type]) => type !== SECRET)
  return (
    quiet &&
    others.every(([type, entries]) =>
      [...entries].every(
        ([name, { version, fault }]) =>
          types.get(type)?.held.get(name) === version ||
          fault !== undefined ||
          refusal(verdicts, envoy, type, name, version) !== undefined,
      ),
    )
  )
}

const typeStatus = ({ snapshot, types }: Stream, type: string): TypeStatus => {
  const entries = [...(snapshot?.types.get(type) ?? [])]
  const subscription = types.get(type)
  return {
    resources: entries.length,
    current: entries.filter(([name, { version }]) => subscription?.held.get(name) === version).length,
    pushes: subscription?.pushes ?? 0,
    acks: subscription?.acks ?? 0,
    nacks: subscription?.nacks ?? 0,
  }
}

/** A slot keeps its last good configuration, so this is about one that has none. */
const isClosed = ({ types }: Stream): boolean => {
  const slots = types.get(EXTENSION)
  return slots !== undefined && [...slots.names].some((name) => !slots.held.has(name))
}

/** One Envoy's line on the status page. */
export const envoyStatus = (node: EnvoyNode, connectedSince: Date, stream: Stream): EnvoyStatus => ({
  node: node.id,
  version: node.version,
  connectedSince,
  ...(node.innerSocket === undefined ? {} : { innerSocket: node.innerSocket }),
  applied: hasApplied(stream),
  types: Object.fromEntries(TYPE_URLS.map((type) => [messageName(type), typeStatus(stream, type)])),
  nacks: nacks(stream),
  ...(isClosed(stream) ? { closed: true } : {}),
})
