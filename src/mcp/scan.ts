/** The one strict reading of a client's body: full JSON grammar, no duplicate key at any depth, one JSON-RPC message. */
import { isUtf8 } from 'node:buffer'
import { blankEnd, literalEnd, numberEnd, stringEnd } from './json-token.ts'
import {
  CAPABILITIES,
  ENVELOPE,
  META,
  OTHER,
  PARAMS,
  REF,
  SLOT,
  SLOTS,
  slotOfBytes,
  slotOfText,
  VARIANT,
} from './known-keys.ts'
import type { Message, Scan, Span } from './message.ts'
import type { BodyRefusal } from './refusal.ts'
import { decodeKey, forgetKeys, MAX_DEPTH, openObject, seenBefore } from './seen-keys.ts'

export type { Message, Scan, Span } from './message.ts'

const STRING = 1
const NUMBER = 2
const NULL = 3
const BOOLEAN = 4
const OBJECT = 5
const ARRAY = 6

/** The object that the value of a slot opens. */
const ROLE = new Uint8Array(SLOTS)
ROLE[SLOT.params] = PARAMS
ROLE[SLOT.meta] = META
ROLE[SLOT.ref] = REF
ROLE[SLOT.metaClientCapabilities] = CAPABILITIES

// One scratch for all scans: a scan never yields, so two never overlap.
/** Per depth: what is open there, where it began, which level of the message it is, and what its current key means. */
const open = new Uint8Array(MAX_DEPTH + 1)
const began = new Int32Array(MAX_DEPTH + 1)
const role = new Uint8Array(MAX_DEPTH + 1)
const slot = new Uint8Array(MAX_DEPTH + 1)
/** Per slot: the type of its value (0: absent) and where it lies. */
const types = new Uint8Array(SLOTS)
const starts = new Int32Array(SLOTS)
const ends = new Int32Array(SLOTS)

/**
 * Reads a body in one pass, without recursion and without decoding what nobody asks for. Refuses what two readers could
 * understand differently: invalid UTF-8, a byte order mark, bytes after the value, a key twice (as decoded), a known key
 * in another case. JSON of any other shape passes as JSON.parse would take it, 64 levels deep at most.
 */
export const scan = (input: Uint8Array): Scan => {
  const bytes = Buffer.isBuffer(input) ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  if (!isUtf8(bytes)) return { ok: false, reason: 'not-utf8' }
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return { ok: false, reason: 'byte-order-mark' }
  types.fill(0)
  const reason = walk(bytes)
  forgetKeys()
  if (reason !== undefined) return refuse(bytes, reason)
  const message = classify(bytes)
  return message === undefined ? refuse(bytes, 'not-jsonrpc') : { ok: true, message }
}

/** Goes through all bytes and leaves what it found in the scratch; answers what is wrong with them. */
const walk = (bytes: Buffer): BodyRefusal | undefined => {
  const length = bytes.length
  let at = blankEnd(bytes, 0)
  if (at === length) return 'empty'
  if (bytes[at] === 0x5b) return 'batch'
  // A fault that leaves the grammar intact: reading goes on, because the id may still follow.
  let fault: BodyRefusal | undefined
  let depth = 0
  let inObject = false
  slot[0] = SLOT.none
  for (;;) {
    if (inObject) {
      if (bytes[at] !== 0x22) return 'unparsable'
      const key = at + 1
      const found = stringEnd(bytes, key)
      if (found < 0) return 'unparsable'
      const keyEnd = found >> 1
      const escaped = (found & 1) === 1
      let meaning = 0
      const level = role[depth] ?? OTHER
      if (level !== OTHER) {
        meaning = escaped ? slotOfText(level, decodeKey(bytes, key, keyEnd)) : slotOfBytes(level, bytes, key, keyEnd)
        if (meaning === VARIANT) {
          fault ??= 'case-variant'
          meaning = 0
        }
      }
      if (seenBefore(bytes, depth, key, keyEnd, escaped)) {
        fault ??= 'duplicate-key'
        types[meaning] = 0 // an id that stands there twice is no id
        meaning = 0
      }
      slot[depth] = meaning
      at = blankEnd(bytes, keyEnd + 1)
      if (bytes[at] !== 0x3a) return 'unparsable'
      at = blankEnd(bytes, at + 1)
    }

    let start = at
    let type: number
    const byte = bytes[at]
    if (byte === 0x22) {
      const found = stringEnd(bytes, at + 1)
      if (found < 0) return 'unparsable'
      at = (found >> 1) + 1
      type = STRING
    } else if (byte === 0x7b || byte === 0x5b) {
      if (depth === MAX_DEPTH) return 'too-deep'
      const opens = depth === 0 ? ENVELOPE : (ROLE[slot[depth] ?? 0] ?? OTHER)
      depth++
      began[depth] = at
      slot[depth] = SLOT.none
      at = blankEnd(bytes, at + 1)
      if (byte === 0x7b) {
        open[depth] = OBJECT
        role[depth] = opens
        openObject(depth)
        inObject = true
        if (bytes[at] !== 0x7d) continue
        type = OBJECT
      } else {
        open[depth] = ARRAY
        inObject = false
        if (bytes[at] !== 0x5d) continue
        type = ARRAY
      }
      at++
      depth--
    } else if (byte === 0x74 || byte === 0x66 || byte === 0x6e) {
      at = literalEnd(bytes, at)
      if (at < 0) return 'unparsable'
      type = byte === 0x6e ? NULL : BOOLEAN
    } else {
      at = numberEnd(bytes, at)
      if (at < 0) return 'unparsable'
      type = NUMBER
    }

    // A value ends at `at`; so may the containers around it.
    for (;;) {
      const meaning = slot[depth] ?? 0
      if (meaning !== 0) {
        types[meaning] = type
        starts[meaning] = start
        ends[meaning] = at
      }
      at = blankEnd(bytes, at)
      if (depth === 0) return at === length ? fault : 'trailing'
      const next = bytes[at++]
      inObject = open[depth] === OBJECT
      if (next === 0x2c) {
        at = blankEnd(bytes, at)
        break
      }
      if (next !== (inObject ? 0x7d : 0x5d)) {
        types[meaning] = 0 // an id that nothing ends may have been cut short
        return 'unparsable'
      }
      type = inObject ? OBJECT : ARRAY
      start = began[depth] ?? 0
      depth--
    }
  }
}

const absent = (of: number): boolean => types[of] === 0

/** The message in the scratch; undefined when it is JSON but not JSON-RPC 2.0. */
const classify = (bytes: Buffer): Message | undefined => {
  if (types[SLOT.jsonrpc] !== STRING || textOf(bytes, SLOT.jsonrpc) !== '2.0') return undefined
  if (!absent(SLOT.params) && types[SLOT.params] !== OBJECT) return undefined
  const id = readableId(bytes)
  if (absent(SLOT.method)) {
    if (absent(SLOT.result) === absent(SLOT.error)) return undefined
    const unaddressed = !absent(SLOT.error) && (absent(SLOT.id) || types[SLOT.id] === NULL)
    return id === undefined && !unaddressed ? undefined : message('response', id, undefined)
  }
  if (types[SLOT.method] !== STRING || !absent(SLOT.result) || !absent(SLOT.error)) return undefined
  const method = textOf(bytes, SLOT.method)
  if (absent(SLOT.id)) return message('notification', undefined, method)
  return id === undefined ? undefined : message('request', id, method)
}

const message = (kind: Message['kind'], id: string | undefined, method: string | undefined): Message => ({
  kind,
  id,
  method,
  params: span(SLOT.params),
  name: stringSpan(SLOT.name),
  uri: stringSpan(SLOT.uri),
  cursor: stringSpan(SLOT.cursor),
  requestId: idSpan(SLOT.requestId),
  progressToken: idSpan(SLOT.progressToken),
  meta: span(SLOT.meta),
  metaProgressToken: idSpan(SLOT.metaProgressToken),
  refName: stringSpan(SLOT.refName),
  refUri: stringSpan(SLOT.refUri),
  arguments: span(SLOT.arguments),
  requestState: stringSpan(SLOT.requestState),
  inputResponses: span(SLOT.inputResponses),
  task: span(SLOT.task),
  taskId: stringSpan(SLOT.taskId),
  metaProtocolVersion: span(SLOT.metaProtocolVersion),
  metaClientCapabilities: span(SLOT.metaClientCapabilities),
  metaClientInfo: span(SLOT.metaClientInfo),
  metaLogLevel: span(SLOT.metaLogLevel),
  result: span(SLOT.result),
  error: span(SLOT.error),
})

const span = (of: number): Span | undefined =>
  types[of] === 0 ? undefined : { start: starts[of] ?? 0, end: ends[of] ?? 0 }
const stringSpan = (of: number): Span | undefined => (types[of] === STRING ? span(of) : undefined)
const idSpan = (of: number): Span | undefined => (types[of] === NUMBER ? span(of) : stringSpan(of))

const readableId = (bytes: Buffer): string | undefined =>
  types[SLOT.id] === STRING || types[SLOT.id] === NUMBER
    ? bytes.toString('utf8', starts[SLOT.id], ends[SLOT.id])
    : undefined

/** The text of a string in the scratch, decoded. */
const textOf = (bytes: Buffer, of: number): string => {
  const start = starts[of] ?? 0
  const end = ends[of] ?? 0
  const raw = bytes.toString('utf8', start + 1, end - 1)
  return raw.includes('\\') ? String(JSON.parse(`"${raw}"`)) : raw
}

const refuse = (bytes: Buffer, reason: BodyRefusal): Scan => {
  const id = readableId(bytes)
  return id === undefined ? { ok: false, reason } : { ok: false, reason, id }
}
