/** Whole numbers that bound something. */
import { bad, type Form, good } from './form.ts'

/** How many sessions a pool may be set to hold. */
const MOST = 4096

export const readCount = (text: string): Form<number> => {
  if (!/^\d+$/.test(text)) return bad('must be a whole number', `write a number from 1 to ${MOST}`)
  const count = Number(text)
  if (count < 1 || count > MOST) return bad(`must be from 1 to ${MOST}`)
  return good(count)
}
