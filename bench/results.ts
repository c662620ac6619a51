/** What a run of the bench leaves behind: everything that was measured, round by round, and how and where. */
import type { LoadResult } from './load.ts'
import type { Subject } from './subjects.ts'

export interface CallSample extends LoadResult {
  readonly round: number
  readonly concurrency: number
  /** Of the request's body, without what only a stateless client puts into its `_meta`. */
  readonly bytes: number
  readonly subject: Subject
}

export interface ListSample extends LoadResult {
  readonly round: number
  readonly servers: number
  readonly tools: number
  /** One more server is among them, which never answers. */
  readonly silent: boolean
}

/** Connect, initialize and initialized, or server/discover; tools/list and the first call; one after the other. */
export interface ColdSample {
  readonly round: number
  readonly subject: Subject
  readonly sessions: number
  readonly p50Ms: number
  readonly cpuMs: { readonly node: number; readonly envoy: number }
}

/** Calls on the direct path by clients with or without a token, judged by so many rules. */
export interface RuleSample extends LoadResult {
  readonly round: number
  readonly authenticated: boolean
  readonly rules: number
}

export interface SaveSample {
  /** From the rename of the file until a call of the new server's tool is answered. */
  readonly servingMs: number
  /** From offering the resources until the last acknowledgement. */
  readonly envoyMs: number
}

export interface MemorySample {
  readonly when: 'idle' | 'sessions' | 'sessions with a server session'
  readonly sessions: number
  readonly nodeMb: number
  readonly envoyMb: number
}

export interface SoakSample {
  readonly requests: number
  readonly failed: number
  readonly failure?: string
  readonly ms: number
  readonly nodeMb: number
  readonly envoyMb: number
}

export type Paths = Readonly<Record<string, number>>

export interface Results {
  readonly measuredAt: string
  readonly command: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGb: number
    readonly kernel: string
    readonly pinned: boolean
    /** Of the minute before: what else the machine was doing. */
    readonly loadBefore: number
  }
  readonly versions: { readonly gateway: string; readonly envoy: string; readonly node: string }
  readonly calls?: readonly CallSample[]
  /** Calls by the path they took to the stateful server, as its gateway counted them: the subjects are what they are called. */
  readonly paths?: Paths
  /** The same to the stateless server. */
  readonly statelessPaths?: Paths
  readonly lists?: readonly ListSample[]
  readonly rules?: readonly RuleSample[]
  readonly cold?: readonly ColdSample[]
  readonly saves?: readonly SaveSample[]
  readonly memory?: readonly MemorySample[]
  readonly readyMs?: readonly number[]
  readonly soak?: SoakSample
}

/** The middle one; NaN of none. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low = NaN, high = NaN] = [sorted[middle - 1], sorted[middle]]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}

export const quantile = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN
}

export const perSecond = ({ requests, ms }: { readonly requests: number; readonly ms: number }): number =>
  (requests / ms) * 1000

/** Of all its processes, per request. */
export const cpuPerRequest = ({ requests, cpuMs }: Pick<LoadResult, 'requests' | 'cpuMs'>): number =>
  (cpuMs.node + cpuMs.envoy) / requests
