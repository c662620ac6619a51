/** How often something may happen, as people write it: `10/s`, `600/m`. */
import { bad, type Form, good } from './form.ts'

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

const MOST = 1_000_000

export interface WrittenRate {
  readonly calls: number
  readonly perMs: number
}

export const readRate = (text: string): Form<WrittenRate> => {
  const [, digits, unit] = /^(\d+)\/(ms|s|m|h)$/.exec(text) ?? []
  if (digits === undefined)
    return bad('must be a rate', 'write a number, a slash and a unit (ms, s, m, h), such as 10/s')
  const calls = Number(digits)
  if (calls < 1 || calls > MOST) return bad('must allow from 1 to 1000000')
  return good({ calls, perMs: unitMs[unit === 'ms' || unit === 's' || unit === 'm' ? unit : 'h'] })
}
