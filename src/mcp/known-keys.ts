/** The keys whose meaning we act on, level by level: found exactly, and their look-alikes in another case refused. */
import { META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION } from './meta-keys.ts'

/** Which object a key stands in. */
export const OTHER = 0
export const ENVELOPE = 1
export const PARAMS = 2
export const META = 3
export const REF = 4
export const CAPABILITIES = 5

/** What a key's value is to us; 0 is nothing. Also the index of its span while scanning. */
export const SLOT = {
  none: 0,
  jsonrpc: 1,
  id: 2,
  method: 3,
  params: 4,
  result: 5,
  error: 6,
  name: 7,
  uri: 8,
  cursor: 9,
  requestId: 10,
  progressToken: 11,
  meta: 12,
  metaProgressToken: 13,
  ref: 14,
  refName: 15,
  refUri: 16,
  arguments: 17,
  requestState: 18,
  inputResponses: 19,
  metaProtocolVersion: 20,
  metaClientCapabilities: 21,
  metaClientInfo: 22,
  metaLogLevel: 23,
  task: 24,
  taskId: 25,
} as const
export const SLOTS = 26

/** A case variant of a known key. */
export const VARIANT = -1

const envelope: readonly [string, number][] = [
  ['jsonrpc', SLOT.jsonrpc],
  ['id', SLOT.id],
  ['method', SLOT.method],
  ['params', SLOT.params],
  ['result', SLOT.result],
  ['error', SLOT.error],
]
const params: readonly [string, number][] = [
  ['name', SLOT.name],
  ['uri', SLOT.uri],
  ['cursor', SLOT.cursor],
  ['requestId', SLOT.requestId],
  ['progressToken', SLOT.progressToken],
  ['_meta', SLOT.meta],
  ['ref', SLOT.ref],
  ['arguments', SLOT.arguments],
  ['requestState', SLOT.requestState],
  ['inputResponses', SLOT.inputResponses],
  ['task', SLOT.task],
  ['taskId', SLOT.taskId],
  ...['argument', 'context', 'level', 'protocolVersion', 'capabilities', 'clientInfo'].map((key): [string, number] => [
    key,
    SLOT.none,
  ]),
]
const meta: readonly [string, number][] = [
  ['progressToken', SLOT.metaProgressToken],
  [META_PROTOCOL_VERSION, SLOT.metaProtocolVersion],
  [META_CLIENT_CAPABILITIES, SLOT.metaClientCapabilities],
  [META_CLIENT_INFO, SLOT.metaClientInfo],
  [META_LOG_LEVEL, SLOT.metaLogLevel],
]
const ref: readonly [string, number][] = [
  ['type', SLOT.none],
  ['name', SLOT.refName],
  ['uri', SLOT.refUri],
]
/** What a server may ask of its client depends on these: no server may read them where we did not. */
const capabilities: readonly [string, number][] = ['elicitation', 'sampling', 'roots'].map((key) => [key, SLOT.none])

interface Known {
  readonly text: string
  readonly bytes: Uint8Array
  readonly slot: number
}

/** A key as the loosest parsers see it: in lower case, where U+017F is an s and U+212A a k, and ended by a NUL. */
const fold = (text: string): string => (text.split('\0', 1)[0] ?? '').toUpperCase().toLowerCase()

const level = (keys: readonly [string, number][]) => {
  const longest = keys.reduce((most, [text]) => Math.max(most, text.length), 0)
  const byLength: Known[][] = Array.from({ length: longest + 1 }, () => [])
  for (const [text, slot] of keys) byLength[text.length]?.push({ text, slot, bytes: Buffer.from(text) })
  // In another alphabet a letter takes up to three bytes (the Kelvin sign).
  return { byLength, longestVariant: longest * 3, folded: new Set(keys.map(([text]) => fold(text))) }
}
const nothing: readonly Known[] = []
const other = level([])
const levels = [other, level(envelope), level(params), level(meta), level(ref), level(capabilities)]

/** The slot of a key without escapes, `VARIANT`, or 0. */
export const slotOfBytes = (role: number, bytes: Buffer, start: number, end: number): number => {
  const { byLength, longestVariant } = levels[role] ?? other
  next: for (const { bytes: text, slot } of byLength[end - start] ?? nothing) {
    for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text[i]) continue next
    return slot
  }
  if (end - start > longestVariant) return SLOT.none // not worth decoding
  return variant(role, bytes.toString('utf8', start, end))
}

/** The same for a key that had to be decoded. */
export const slotOfText = (role: number, text: string): number =>
  levels[role]?.byLength[text.length]?.find((known) => known.text === text)?.slot ?? variant(role, text)

const variant = (role: number, text: string): number =>
  (levels[role] ?? other).folded.has(fold(text)) ? VARIANT : SLOT.none
