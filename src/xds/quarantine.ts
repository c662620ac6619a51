/** What all Envoys' answers taught us: who refused which version, and the last versions that were accepted. */
import type { Entry, Snapshot } from './snapshot.ts'

/** Immutable; shared by all streams. `envoy` is a node's id and build: an upgraded Envoy is asked anew. */
export interface Verdicts {
  /** `type name version` → envoy → its message. */
  readonly refusals: ReadonlyMap<string, ReadonlyMap<string, string>>
  /** `type name` → accepted entries, the latest first. */
  readonly accepted: ReadonlyMap<string, readonly Entry[]>
  /** `envoy type` → names not accepted since a refused or lost response: what an Envoy reports about these is not true. */
  readonly doubts: ReadonlyMap<string, ReadonlyMap<string, Doubt>>
}

/** `refused`: some of these names are bad. `unanswered`: the stream ended before the answer came. */
export type Doubt = 'refused' | 'unanswered'

export const noVerdicts: Verdicts = { refusals: new Map(), accepted: new Map(), doubts: new Map() }

/** What a stream reports. */
export type Lesson =
  | { readonly kind: 'accepted'; readonly type: string; readonly names: ReadonlyMap<string, Entry | undefined> }
  | { readonly kind: 'doubted'; readonly type: string; readonly names: ReadonlySet<string>; readonly why: Doubt }
  | {
      readonly kind: 'refused'
      readonly type: string
      readonly name: string
      /** Absent: a removal was refused. */
      readonly entry?: Entry
      readonly message: string
    }

const KEPT_REFUSALS = 1000

const withDoubts = (verdicts: Verdicts, key: string, names: ReadonlyMap<string, Doubt>): Verdicts['doubts'] => {
  const doubts = new Map(verdicts.doubts)
  if (names.size === 0) doubts.delete(key)
  else doubts.set(key, names)
  return doubts
}

/** The verdicts after one more answer. */
export const learn = (verdicts: Verdicts, envoy: string, lesson: Lesson): Verdicts => {
  const doubtKey = `${envoy} ${lesson.type}`
  const doubted: ReadonlyMap<string, Doubt> = verdicts.doubts.get(doubtKey) ?? new Map<string, Doubt>()
  switch (lesson.kind) {
    case 'accepted': {
      const accepted = new Map(verdicts.accepted)
      for (const [name, entry] of lesson.names) {
        if (entry === undefined) continue
        const key = `${lesson.type} ${name}`
        const earlier = (accepted.get(key) ?? []).filter(({ version }) => version !== entry.version)
        // Two: the latest may turn out to be refused by another Envoy.
        accepted.set(key, [entry, ...earlier].slice(0, 2))
      }
      const left = new Map([...doubted].filter(([name]) => !lesson.names.has(name)))
      const doubts = left.size === doubted.size ? verdicts.doubts : withDoubts(verdicts, doubtKey, left)
      return { ...verdicts, accepted, doubts }
    }
    case 'doubted': {
      const { names, why } = lesson
      const more = [...names]
        .filter((name) => why === 'refused' || !doubted.has(name))
        .map((name) => [name, why] as const)
      return { ...verdicts, doubts: withDoubts(verdicts, doubtKey, new Map([...doubted, ...more])) }
    }
    case 'refused': {
      const doubts = withDoubts(verdicts, doubtKey, new Map(doubted).set(lesson.name, 'refused'))
      if (lesson.entry === undefined) return { ...verdicts, doubts }
      const key = `${lesson.type} ${lesson.name} ${lesson.entry.version}`
      const refusals = new Map(verdicts.refusals)
      refusals.set(key, new Map(refusals.get(key)).set(envoy, lesson.message))
      for (const oldest of [...refusals.keys()].slice(0, -KEPT_REFUSALS)) refusals.delete(oldest)
      return { ...verdicts, refusals, doubts }
    }
    default:
      return lesson satisfies never
  }
}

/** Without what a new snapshot makes pointless: accepted versions of names that no longer exist. */
export const pruned = (verdicts: Verdicts, snapshot: Snapshot): Verdicts => {
  const names = new Set(
    [...snapshot.types].flatMap(([type, named]) => [...named.keys()].map((name) => `${type} ${name}`)),
  )
  return { ...verdicts, accepted: new Map([...verdicts.accepted].filter(([key]) => names.has(key))) }
}

/** Why one Envoy refused a version; undefined: it did not. */
export const refusal = (verdicts: Verdicts, envoy: string, type: string, name: string, version: string) =>
  verdicts.refusals.get(`${type} ${name} ${version}`)?.get(envoy)

/**
 * What to offer an Envoy instead of an entry, or the entry itself; undefined: nothing, it keeps what it has.
 * A version it refused is never offered again. A version only others refused is offered when nothing better is known.
 */
export const offer = (
  verdicts: Verdicts,
  envoy: string,
  type: string,
  name: string,
  entry: Entry,
  held: string | undefined,
): Entry | undefined => {
  if (verdicts.refusals.size === 0 && entry.fault === undefined) return entry
  const refusedByIt = ({ version }: Entry) => refusal(verdicts, envoy, type, name, version) !== undefined
  const refusedBySome = ({ version }: Entry) => verdicts.refusals.has(`${type} ${name} ${version}`)
  const out = entry.fault !== undefined || refusedByIt(entry)
  if (!out && (held === entry.version || !refusedBySome(entry))) return entry
  const accepted = (verdicts.accepted.get(`${type} ${name}`) ?? []).filter((good) => !refusedByIt(good))
  return accepted.find((good) => !refusedBySome(good)) ?? (out ? accepted[0] : entry)
}
