/** JSON numbers as the numbers they are, however large and however spelt; nothing is rounded. */

/** Whether two texts are JSON numbers of the same value: `42`, `42.0` and `4.2e1` are, `2^53` and `2^53 + 1` are not. */
export const sameNumber = (a: string, b: string): boolean => {
  const left = read(a)
  const right = read(b)
  return (
    left !== undefined &&
    right !== undefined &&
    left.sign === right.sign &&
    left.digits === right.digits &&
    left.exponent === right.exponent
  )
}

/** The number without exponent and without zeros that say nothing; as it is when that would be too long for a header. */
export const decimalText = (number: string): string => {
  const value = read(number)
  if (value === undefined || Math.abs(value.exponent) > LONGEST || value.digits.length > LONGEST) return number
  const { sign, digits, exponent } = value
  if (exponent >= 0) return `${sign}${digits}${'0'.repeat(exponent)}`
  const padded = digits.padStart(1 - exponent, '0')
  return `${sign}${padded.slice(0, exponent)}.${padded.slice(exponent)}`
}
const LONGEST = 400

/** `digits` times ten to the `exponent`; the digits begin and end with none but significant ones. Zero is `0`. */
interface Decimal {
  readonly sign: '' | '-'
  readonly digits: string
  readonly exponent: number
}

const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,9}))?$/

const read = (text: string): Decimal | undefined => {
  const found = NUMBER.exec(text)
  if (found === null) return undefined
  const [, sign, whole = '', fraction = '', exponent = '0'] = found
  const all = whole + fraction
  let start = 0
  while (all[start] === '0') start++
  if (start === all.length) return { sign: '', digits: '0', exponent: 0 }
  let end = all.length
  while (all[end - 1] === '0') end--
  return {
    sign: sign === '-' ? '-' : '',
    digits: all.slice(start, end),
    exponent: Number(exponent) - fraction.length + (all.length - end),
  }
}
