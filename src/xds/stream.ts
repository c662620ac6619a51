/** What is known of one Envoy's ADS stream, what can happen on it, and what is to be done about that. */
import type { Lesson, Verdicts } from './quarantine.ts'
import type { Entry, Snapshot } from './snapshot.ts'

/** A DeltaDiscoveryRequest, read. */
export interface DeltaRequest {
  readonly type: string
  /** The node's id and build; only on a stream's first request. */
  readonly envoy?: string
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** What an Envoy claims to have, on the first request of a type on a new stream. */
  readonly initialVersions: ReadonlyMap<string, string>
  readonly nonce: string
  /** Present: a NACK. */
  readonly error?: string
}

export type Event =
  | { readonly kind: 'request'; readonly request: DeltaRequest }
  | { readonly kind: 'publish'; readonly snapshot: Snapshot; readonly verdicts: Verdicts }

/** A DeltaDiscoveryResponse to send. It either adds or removes. */
export interface Send {
  readonly kind: 'send'
  readonly type: string
  readonly nonce: string
  readonly resources: ReadonlyMap<string, Entry>
  readonly removed: readonly string[]
}

export type Effect = Send | Lesson

/** What one stream knows of one type. */
export interface Subscription {
  readonly wildcard: boolean
  readonly names: ReadonlySet<string>
  /** Name → version that this Envoy acknowledged, or claimed when it connected. */
  readonly held: ReadonlyMap<string, string>
  /** Names whose state in Envoy is unknown since a NACK: sent one at a time, removed explicitly. */
  readonly doubt: ReadonlySet<string>
  /** Names to answer even if nothing changed: newly subscribed, or subscribed again. */
  readonly owed: ReadonlySet<string>
  /** Removals this Envoy refused; not repeated. */
  readonly stuck: ReadonlySet<string>
  /** A wildcard subscriber waits for a first response, even an empty one. */
  readonly ungreeted: boolean
  readonly inFlight?: { readonly nonce: string; readonly sent: ReadonlyMap<string, Entry | undefined> }
  readonly pushes: number
  readonly acks: number
  readonly nacks: number
}

export interface Stream {
  /** Empty until the first request. */
  readonly envoy: string
  readonly snapshot?: Snapshot
  readonly verdicts: Verdicts
  readonly types: ReadonlyMap<string, Subscription>
  readonly responses: number
}
