/** Numbers of bytes as people write them: `512B`, `64KiB`, `1MiB`. */
import { bad, type Form, good } from './form.ts'

const unitBytes = { B: 1, KiB: 1024, MiB: 1024 ** 2 } as const

const readSize = (text: string): Form<number> => {
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,6})?)(B|KiB|MiB)$/.exec(text) ?? []
  if (amount === undefined) return bad('must be a size', 'write a number and a unit (B, KiB, MiB), such as 4MiB')
  return good(Math.round(Number(amount) * unitBytes[unit === 'KiB' || unit === 'MiB' ? unit : 'B']))
}

/** The largest request body the gateway may be set to take; smaller than 1KiB not even `initialize` fits. */
export const readBodySize = (text: string): Form<number> => {
  const size = readSize(text)
  if (!size.ok) return size
  if (size.value < unitBytes.KiB) return bad('must be at least 1KiB')
  if (size.value > 64 * unitBytes.MiB) return bad('must be at most 64MiB')
  return size
}
