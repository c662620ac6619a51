/** Whole numbers that bound something. */
import { bad, type Form, good } from './form.ts'

/** Of sessions in a pool, of calls under way, of streams: what one machine can hold, and no word typed wrong. */
const MOST = 4096

export const readCount = (text: string): Form<number> => {
  if (!/^\d+$/.test(text)) return bad('must be a whole number', `write a number from 1 to ${MOST}`)
  const count = Number(text)
  if (count < 1 || count > MOST) return bad(`must be from 1 to ${MOST}`)
  return good(count)
}
