/** Time as parts that have to be tested without waiting are given it, and a wait that is never longer than it may be. */

export interface Clock {
  /** Ms since the epoch. */
  readonly now: () => number
  /** Calls it after so many ms; what it returns takes that back. */
  readonly after: (ms: number, then: () => void) => () => void
  /** From 0 to 1. */
  readonly random: () => number
}

export const realClock: Clock = {
  now: Date.now,
  after: (ms, then) => {
    const timer = setTimeout(then, ms)
    return () => clearTimeout(timer)
  },
  random: Math.random,
}

/** What the work comes to; undefined once the time is up. */
export const within = async <T>(
  limitMs: number,
  work: Promise<T>,
  { after }: Pick<Clock, 'after'> = realClock,
): Promise<T | undefined> => {
  let cancel: () => void = () => undefined
  const late = new Promise<undefined>((resolve) => {
    cancel = after(limitMs, () => resolve(undefined))
  })
  const first = await Promise.race([work, late])
  cancel()
  return first
}
