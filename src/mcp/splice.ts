/** Gives a request another name or URI: the one string literal changes, every other byte stays. */
import { replaceSpans } from './json-text.ts'
import type { Span } from './message.ts'

/** `span` is the literal with its quotes, as `scan` found it. */
export const rename = (bytes: Uint8Array, span: Span, to: string): Buffer =>
  replaceSpans(bytes, [{ span, with: JSON.stringify(to) }])
