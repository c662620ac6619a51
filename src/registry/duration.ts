/** Lengths of time as people write them: `250ms`, `30s`, `1.5m`, `2h`; in milliseconds. */
import { bad, type Form, good } from './form.ts'

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/** Timers of Node and of Envoy both hold this much. */
const longestMs = 24 * unitMs.h

export const readDuration = (text: string): Form<number> => {
  const [, amount, unit] = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text) ?? []
  if (amount === undefined) return bad('must be a duration', 'write a number and a unit (ms, s, m, h), such as 30s')
  const ms = Math.round(Number(amount) * unitMs[unit === 'ms' || unit === 's' || unit === 'm' ? unit : 'h'])
  if (ms < 1) return bad('must be more than 0')
  if (ms > longestMs) return bad('must be at most 24h')
  return good(ms)
}
