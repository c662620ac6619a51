/** Where one JSON string, number or literal ends: the strict lexical grammar of RFC 8259 over bytes. */

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** 1 for every byte that may stand in a string as it is. */
const PLAIN = new Uint8Array(256).map((_, byte) => (byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0))
/** 1 for every byte that may follow a backslash, `u` excepted. */
const ESCAPABLE = new Uint8Array(256).map((_, byte) => ('"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0))
const HEX = new Uint8Array(256).map((_, byte) => (/[0-9a-fA-F]/.test(String.fromCharCode(byte)) ? 1 : 0))

/**
 * The string whose opening quote stands just before `from`. Answers twice the offset of its closing quote, plus one when
 * it holds an escape; -1 when it is no string. (One number, because this runs for every string of every request.)
 */
export const stringEnd = (bytes: Uint8Array, from: number): number => {
  let at = from
  let escaped = 0
  for (;;) {
    while (PLAIN[bytes[at] ?? 0] === 1) at++
    const byte = bytes[at]
    if (byte === QUOTE) return at * 2 + escaped
    if (byte !== BACKSLASH) return -1
    escaped = 1
    const next = bytes[at + 1] ?? 0
    if (ESCAPABLE[next] === 1) {
      at += 2
      continue
    }
    if (next !== 0x75) return -1
    for (let digit = at + 2; digit < at + 6; digit++) if (HEX[bytes[digit] ?? 0] !== 1) return -1
    at += 6
  }
}

const digitsEnd = (bytes: Uint8Array, from: number): number => {
  let at = from
  for (;;) {
    const byte = bytes[at] ?? 0
    if (byte < 0x30 || byte > 0x39) return at
    at++
  }
}

/** The end of the number that starts at `from`; -1 when none does. */
export const numberEnd = (bytes: Uint8Array, from: number): number => {
  let at = bytes[from] === 0x2d ? from + 1 : from
  const whole = at
  at = digitsEnd(bytes, whole)
  if (at === whole || (bytes[whole] === 0x30 && at > whole + 1)) return -1
  if (bytes[at] === 0x2e) {
    const fraction = at + 1
    at = digitsEnd(bytes, fraction)
    if (at === fraction) return -1
  }
  const e = bytes[at]
  if (e === 0x65 || e === 0x45) {
    const sign = bytes[at + 1]
    const exponent = sign === 0x2b || sign === 0x2d ? at + 2 : at + 1
    at = digitsEnd(bytes, exponent)
    if (at === exponent) return -1
  }
  return at
}

/** The end of `true`, `false` or `null` at `from`; -1 when none is there. */
export const literalEnd = (bytes: Uint8Array, from: number): number => {
  const word = bytes[from] === 0x74 ? TRUE : bytes[from] === 0x66 ? FALSE : NULL
  for (let i = 0; i < word.length; i++) if (bytes[from + i] !== word[i]) return -1
  return from + word.length
}
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')

/** The first offset from `from` on that holds no white space; the length when there is none. */
export const blankEnd = (bytes: Uint8Array, from: number): number => {
  let at = from
  for (;;) {
    const byte = bytes[at]
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) at++
    else return at
  }
}

/** The first offset from `from` on that ends a number or a literal; for text already known to be valid. */
export const scalarEnd = (bytes: Uint8Array, from: number): number => {
  let at = from
  while (at < bytes.length && !ENDS_SCALAR.has(bytes[at] ?? 0)) at++
  return at
}
const ENDS_SCALAR: ReadonlySet<number> = new Set(Buffer.from(',]} \n\r\t'))
