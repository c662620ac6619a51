/** How text travels in an MCP header: as it is, or in base64 between markers (2026-07-28 streamable-http, value encoding). */
import { isUtf8 } from 'node:buffer'

const OPEN = '=?base64?'
const CLOSE = '?='

/** Visible ASCII, spaces only inside: what no hop changes. */
const PLAIN = /^[!-~](?:[ -~]*[!-~])?$/
/** What a field value may hold at all (RFC 9110 5.5, without obs-text). */
const FIELD_VALUE = /^[\t -~]*$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Text that looks encoded is encoded too, so that decoding gives back every text. */
export const encodeHeaderValue = (text: string): string =>
  PLAIN.test(text) && !looksEncoded(text) ? text : `${OPEN}${Buffer.from(text).toString('base64')}${CLOSE}`

/** The text of a header; undefined when it holds what no header may, broken base64, or base64 of no UTF-8. */
export const decodeHeaderValue = (raw: string): string | undefined => {
  if (!FIELD_VALUE.test(raw)) return undefined
  const text = raw.trim() // only spaces and tabs can be left to trim
  if (!looksEncoded(text)) return text
  const base64 = text.slice(OPEN.length, -CLOSE.length)
  if (!BASE64.test(base64)) return undefined
  const bytes = Buffer.from(base64, 'base64')
  return isUtf8(bytes) ? bytes.toString() : undefined
}

/** The markers may not share a character. */
const looksEncoded = (text: string): boolean =>
  text.length >= OPEN.length + CLOSE.length && text.startsWith(OPEN) && text.endsWith(CLOSE)
