/** Walks JSON text that is already known to be valid, and changes stretches of it without touching any other byte. */
import { blankEnd, scalarEnd, stringEnd } from './json-token.ts'
import type { Span } from './message.ts'

/** A stretch to replace, and the JSON text to put there. */
export interface Edit {
  readonly span: Span
  readonly with: Uint8Array | string
}

/** One member of an object: its key (decoded), where the key's literal begins, and where its value lies. */
export interface Entry {
  readonly key: string
  readonly start: number
  readonly value: Span
}

/** All members of an object in the order of the text, duplicates among them. No object: none. */
export const entries = (bytes: Uint8Array, span: Span = whole(bytes)): Entry[] => {
  const found: Entry[] = []
  let at = blankEnd(bytes, span.start)
  if (bytes[at] !== OPEN_OBJECT) return found
  at = blankEnd(bytes, at + 1)
  while (at < span.end && bytes[at] === QUOTE) {
    const keyEnd = valueEnd(bytes, at)
    const start = blankEnd(bytes, blankEnd(bytes, keyEnd) + 1)
    const end = valueEnd(bytes, start)
    found.push({ key: stringOf(bytes, { start: at, end: keyEnd }), start: at, value: { start, end } })
    at = blankEnd(bytes, blankEnd(bytes, end) + 1)
  }
  return found
}

/** Key (decoded) → where its value lies, in the order of the text; the last of duplicates counts. No object: empty. */
export const members = (bytes: Uint8Array, span: Span = whole(bytes)): Map<string, Span> =>
  new Map(entries(bytes, span).map(({ key, value }) => [key, value]))

/** Where the elements of an array lie, in order. No array: none. */
export const elements = (bytes: Uint8Array, span: Span = whole(bytes)): Span[] => {
  const found: Span[] = []
  let at = blankEnd(bytes, span.start)
  if (bytes[at] !== OPEN_ARRAY) return found
  at = blankEnd(bytes, at + 1)
  while (at < span.end && bytes[at] !== CLOSE_ARRAY) {
    const end = valueEnd(bytes, at)
    found.push({ start: at, end })
    at = blankEnd(bytes, blankEnd(bytes, end) + 1)
  }
  return found
}

/** The raw text. */
export const textOf = (bytes: Uint8Array, span: Span): string => view(bytes).toString('utf8', span.start, span.end)

/** The decoded string of a literal; empty when it is none. */
export const stringOf = (bytes: Uint8Array, span: Span): string => {
  if (bytes[span.start] !== QUOTE) return ''
  const raw = view(bytes).toString('utf8', span.start + 1, span.end - 1)
  return raw.includes('\\') ? String(JSON.parse(`"${raw}"`)) : raw
}

/** Whether the value there is an object; `span` is that of the value. */
export const isObject = (bytes: Uint8Array, span: Span | undefined): span is Span =>
  span !== undefined && bytes[span.start] === OPEN_OBJECT

/** The same text with some stretches replaced; every byte outside them is the same. They may come in any order, not overlap. */
export const replaceSpans = (bytes: Uint8Array, edits: readonly Edit[]): Buffer => {
  const pieces: Uint8Array[] = []
  let at = 0
  for (const { span, with: text } of [...edits].sort((a, b) => a.span.start - b.span.start)) {
    if (span.start < at) throw new RangeError('edits overlap')
    pieces.push(bytes.subarray(at, span.start), typeof text === 'string' ? Buffer.from(text) : text)
    at = span.end
  }
  pieces.push(bytes.subarray(at))
  return Buffer.concat(pieces)
}

const QUOTE = 0x22
const OPEN_OBJECT = 0x7b
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

const whole = (bytes: Uint8Array): Span => ({ start: 0, end: bytes.length })

const view = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The end of the value that starts at `from`; never beyond the text, and always beyond `from`. */
const valueEnd = (bytes: Uint8Array, from: number): number => {
  let depth = 0
  let at = from
  do {
    const byte = bytes[at]
    if (byte === QUOTE) {
      const found = stringEnd(bytes, at + 1)
      if (found < 0) return bytes.length
      at = (found >> 1) + 1
    } else {
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++
      else if (byte === 0x7d || byte === CLOSE_ARRAY) depth--
      else if (depth === 0) return Math.max(scalarEnd(bytes, at), from + 1)
      at++
    }
  } while (depth > 0 && at < bytes.length)
  return at
}
