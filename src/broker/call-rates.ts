/** How often something is called, for the calls that Envoy cannot count: those of what only the broker knows to be there. */
import { dropOldest } from '../bounded.ts'
import type { Rate } from '../registry/model.ts'

export interface Share {
  /** No two shares have the same. */
  readonly key: string
  readonly rate: Rate
}

export interface CallRates {
  /** Counts a call against all of them, or, when one is used up, against none: ms until it is worth another try. */
  take(shares: readonly Share[]): number | undefined
}

/** Shares that are remembered; beyond it the one unused for longest is forgotten, and so full again. As many as Envoy remembers. */
const MOST_SHARES = 10_000

/** Buckets that begin full and fill as time passes, like Envoy's. `now`: ms. */
export const callRates = (now: () => number): CallRates => {
  /** In the order of their last use. */
  const used = new Map<string, { readonly left: number; readonly atMs: number }>()
  return {
    take(shares) {
      const nowMs = now()
      const found = shares.map(({ key, rate: { calls, perMs } }) => {
        const { left, atMs } = used.get(key) ?? { left: calls, atMs: nowMs }
        const perCallMs = perMs / calls
        return { key, left: Math.min(calls, left + (nowMs - atMs) / perCallMs), perCallMs }
      })
      const waitMs = Math.max(0, ...found.map(({ left, perCallMs }) => (1 - left) * perCallMs))
      if (waitMs > 0) return Math.ceil(waitMs)
      for (const { key, left } of found) {
        used.delete(key)
        used.set(key, { left: left - 1, atMs: nowMs })
        dropOldest(used, MOST_SHARES)
      }
      return undefined
    },
  }
}
