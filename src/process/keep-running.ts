/** Starts something again whenever it ends, later each time, until told to stop. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface BackOff {
  /** The wait after the first failure; each further one doubles it. */
  readonly firstMs: number
  readonly longestMs: number
  /** Once it has run this long, the next failure counts as the first. */
  readonly steadyMs: number
}

/** Half of the wait is chance, so that many that fell together do not rise together. */
export const backOffMs = ({ firstMs, longestMs }: BackOff, failures: number, random: number): number =>
  Math.round(Math.min(longestMs, firstMs * 2 ** failures) * (0.5 + random / 2))

export interface KeepRunning {
  /** One life, from start to end. Must not reject. */
  readonly run: () => Promise<void>
  /** It ended; the next start is in so many milliseconds. */
  readonly waiting: (ms: number) => void
  readonly backOff: BackOff
  readonly signal: AbortSignal
  readonly random?: () => number
  readonly now?: () => number
}

/** Resolves after the signal, once the running life has ended. */
export const keepRunning = async ({
  run,
  waiting,
  backOff,
  signal,
  random = Math.random,
  now = () => performance.now(),
}: KeepRunning): Promise<void> => {
  for (let failures = 0; !signal.aborted; failures++) {
    const started = now()
    await run()
    if (signal.aborted) return
    if (now() - started >= backOff.steadyMs) failures = 0
    const ms = backOffMs(backOff, failures, random())
    waiting(ms)
    await sleep(ms, undefined, { signal }).catch(() => {})
  }
}
