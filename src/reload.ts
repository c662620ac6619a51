/** The order in which a changed registry takes effect, so that nothing is half taken and nothing leads astray meanwhile. */
import type { Broker } from './broker/broker.ts'
import { hasRate } from './catalog/buckets.ts'
import { within } from './clock.ts'
import type { GatewayEvent } from './gateway-event.ts'
import { type Loaded, restartNeeded, whatChanged } from './load-registry.ts'
import type { Problem, Registry } from './registry/model.ts'
import type { Snapshot } from './xds/snapshot.ts'

/** A new registry reaches the broker when every Envoy has it, but does not wait longer than this for one that is slow. */
export const APPLY_MS = 3000
/** A server that is removed is told so before Envoy forgets where it is, if it listens. */
const FAREWELL_MS = 250

/** The registry that counts, and how far it has got. */
export interface InForce {
  loaded: Extract<Loaded, { ok: true }>
  registry: Registry
  loadedMs: number
  /** How long the slowest Envoy took; undefined: not all have it. */
  appliedMs: number | undefined
  /** Some Envoy may have filters that decide on what bodies say. */
  filtered: boolean
  /** Of the newest file, taken or refused. */
  problems: readonly Problem[]
}

/** Whether something after ext_proc decides on what bodies say: filters of the operator's own, or how many calls there may be. */
export const isFiltered = ({ gateway, servers }: Registry): boolean =>
  gateway.filters.length > 0 || [gateway, ...servers].some(({ limits }) => hasRate(limits))

interface Parts {
  readonly broker: Pick<Broker, 'retire' | 'apply'>
  /** Gets what the registry needs before it can be translated; never rejects. */
  readonly prepare: (registry: Registry) => Promise<void>
  readonly snapshotOf: (registry: Registry) => Snapshot
  readonly publish: (
    snapshot: Snapshot,
    withinMs: number,
  ) => Promise<{ readonly envoys: number; readonly of: number; readonly ms: number }>
  readonly onEvent: (event: GatewayEvent) => void
  /** It counts from now on. */
  readonly onTaken: (registry: Registry) => void
  readonly onApplied: (ms: number) => void
}

/** Takes what was loaded, or leaves everything as it is and says why. Rejects only for faults of our own. */
export const reload = async (current: InForce, loaded: Loaded, parts: Parts): Promise<void> => {
  const beganMs = performance.now()
  const { broker, onEvent } = parts
  const refused = loaded.ok ? restartNeeded(current.registry, loaded.registry, loaded.source) : []
  if (!loaded.ok || refused.length > 0) {
    current.problems = loaded.ok ? refused : loaded.problems
    onEvent({ kind: 'rejected', problems: current.problems, text: loaded.ok ? loaded.format(refused) : loaded.text })
    return
  }
  await parts.prepare(loaded.registry)
  // First what can fail.
  const next = parts.snapshotOf(loaded.registry)
  const changed = whatChanged(current.registry, loaded.registry)
  current.problems = loaded.warnings
  if (loaded.warnings.length > 0) onEvent({ kind: 'warnings', problems: loaded.warnings, text: loaded.text })
  // Nothing may lead to a server when Envoy is told to forget it, and nothing to a new one before Envoy knows it.
  await within(FAREWELL_MS, broker.retire(loaded.registry))
  current.loaded = loaded
  current.registry = loaded.registry
  parts.onTaken(loaded.registry)
  current.loadedMs = Date.now()
  current.appliedMs = undefined
  const filtered = isFiltered(loaded.registry)
  current.filtered ||= filtered
  const { envoys, of, ms } = await parts.publish(next, APPLY_MS)
  current.filtered = filtered
  void broker.apply(loaded.registry)
  if (of > 0 && envoys === of) current.appliedMs = ms
  const tookMs = performance.now() - beganMs
  onEvent({ kind: 'applied', version: loaded.version, envoys, of, ms: tookMs, changed })
  parts.onApplied(tookMs)
}
