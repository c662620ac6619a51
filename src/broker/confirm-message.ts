/** What a human is shown before a call is made: where it goes, what it names and every argument; nothing hidden, nothing left out. */

import type { Row } from '../catalog/routing-table.ts'
import { elements, entries, isObject, stringOf, textOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'

/** What nobody reads to its end is not confirmed by anybody. */
const MOST_CHARACTERS = 4000
/** Arguments that are written in more than this are not even looked at. */
const MOST_BYTES = 64 * 1024

/** Undefined: it is too long to be shown. */
export const confirmMessage = (method: string, row: Row, message: Message, bytes: Buffer): string | undefined => {
  const args = message.arguments
  if (args !== undefined && args.end - args.start > MOST_BYTES) return undefined
  const text = [
    '[mcp-gateway] Please confirm: this is done only if you accept.',
    `Server: ${row.server}`,
    `${kindOf(method)}: ${/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(row.exposed) ? row.exposed : quoted(row.exposed)}`,
    ...(method === 'resources/read' ? [] : argumentLines(bytes, args)),
  ].join('\n')
  return text.length > MOST_CHARACTERS ? undefined : text
}

const kindOf = (method: string): string =>
  method === 'tools/call' ? 'Tool' : method === 'prompts/get' ? 'Prompt' : 'Resource'

/** One argument a line, so that none can look like another. */
const argumentLines = (bytes: Buffer, args: Span | undefined): readonly string[] => {
  if (args === undefined) return ['Arguments: none']
  if (!isObject(bytes, args)) return [`Arguments: ${shown(bytes, args)}`]
  const found = entries(bytes, args)
  return found.length === 0
    ? ['Arguments: none']
    : ['Arguments:', ...found.map(({ key, value }) => `  ${plain(key) ? key : quoted(key)}: ${shown(bytes, value)}`)]
}

/** JSON as it is meant, however it was spelt: escapes that hide plain letters are undone, numbers stay as they were written. */
const shown = (bytes: Buffer, span: Span): string => {
  switch (bytes[span.start]) {
    case QUOTE:
      return quoted(stringOf(bytes, span))
    case OPEN_OBJECT: {
      const found = entries(bytes, span).map(({ key, value }) => `${quoted(key)}: ${shown(bytes, value)}`)
      return `{${found.join(', ')}}`
    }
    case OPEN_ARRAY:
      return `[${elements(bytes, span)
        .map((each) => shown(bytes, each))
        .join(', ')}]`
    default:
      return textOf(bytes, span)
  }
}

const plain = (key: string): boolean => /^[\w.-]+$/.test(key)

/** As a JSON string, in which what cannot be seen, or changes what is seen, stands as its number. No string looks like another. */
const quoted = (text: string): string => JSON.stringify(text).replaceAll(HIDDEN, numbered)
const numbered = (character: string): string => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`

/** Controls, formats, spaces other than the one, and what is drawn as nothing. */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800]|(?! )\p{Zs}/gu
const QUOTE = 0x22
const OPEN_OBJECT = 0x7b
const OPEN_ARRAY = 0x5b
