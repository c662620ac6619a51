/** Reads stretches of JSON text as they stand there: big integers, key order and spelling included. */
import { z } from 'zod'

export type JsonObject = { readonly [key: string]: unknown }

/** A copy of an object; of anything else, an empty one. */
export const asObject = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null ? { ...value } : {}

/** A JSON-RPC message: its text and what it says. `id` as parsed; the exact one is `rawMember(raw, 'id')`. */
export interface Message {
  readonly raw: string
  readonly id?: string | number | null | undefined
  readonly method?: string | undefined
  readonly params?: JsonObject | undefined
  readonly result?: JsonObject | undefined
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown } | undefined
}

const object = z.record(z.string(), z.unknown())
const envelope = z.object({
  id: z.union([z.string(), z.number(), z.null()]).optional(),
  method: z.string().optional(),
  params: object.optional(),
  result: object.optional(),
  error: z.object({ code: z.number(), message: z.string(), data: z.unknown().optional() }).optional(),
})

/** Throws when the text is no JSON-RPC message. */
export const message = (raw: string): Message => ({ raw, ...envelope.parse(JSON.parse(raw)) })

/** The exact text of a member, such as `rawMember(text, 'params', 'arguments', 'n')`. The text must be valid JSON. */
export const rawMember = (json: string, ...path: readonly (string | number)[]): string | undefined => {
  let value: string | undefined = json.trim()
  for (const key of path) value = value === undefined ? undefined : children(value).get(String(key))
  return value
}

/** The members of an object or the elements of an array, in order, as they stand in the text. */
const children = (text: string): Map<string, string> => {
  const found = new Map<string, string>()
  const isObject = text.startsWith('{')
  if (!isObject && !text.startsWith('[')) return found
  for (let at = blankEnd(text, 1); !/[\]}]/.test(text[at] ?? ']'); ) {
    let key = String(found.size)
    if (isObject) {
      const end = valueEnd(text, at)
      key = String(JSON.parse(text.slice(at, end)))
      at = blankEnd(text, blankEnd(text, end) + 1)
    }
    const end = valueEnd(text, at)
    found.set(key, text.slice(at, end))
    at = blankEnd(text, end)
    if (text[at] === ',') at = blankEnd(text, at + 1)
  }
  return found
}

const end = (pattern: RegExp, text: string, from: number): number => {
  pattern.lastIndex = from
  return pattern.test(text) ? pattern.lastIndex : text.length
}
const blankEnd = (text: string, from: number): number => end(/[ \t\r\n]*/y, text, from)

const valueEnd = (text: string, from: number): number => {
  let depth = 0
  let at = from
  do {
    const character = text[at] ?? ''
    if (character === '"') at = end(/"[^"\\]*(?:\\.[^"\\]*)*"/sy, text, at)
    else if (/[{[]/.test(character)) [depth, at] = [depth + 1, at + 1]
    else if (/[}\]]/.test(character)) [depth, at] = [depth - 1, at + 1]
    else if (depth > 0 && /[,:\s]/.test(character)) at += 1
    else at = end(/[^\s,:\]}]+/y, text, at)
  } while (depth > 0 && at < text.length)
  return at
}
