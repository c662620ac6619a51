/** What a tool returned, as the stateful era takes it: structured content is an object there, or nothing. */
import { elements, isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { type Changes } from './object-edits.ts'

/**
 * Takes structured content out that is no object. Servers should say the same as text as well (2026-07-28 tools, structured
 * content); where one did not, it is put there, so that nothing is lost.
 */
export const structuredChanges = (bytes: Buffer, result: Span): Changes => {
  const found = members(bytes, result)
  const structured = found.get('structuredContent')
  if (structured === undefined || isObject(bytes, structured)) return {}
  const content = found.get('content')
  const blocks = content === undefined ? [] : elements(bytes, content)
  if (blocks.some((block) => blockType(bytes, block) === 'text')) return { structuredContent: undefined }
  const text = `{"type":"text","text":${JSON.stringify(textOf(bytes, structured))}}`
  return {
    structuredContent: undefined,
    content: `[${[...blocks.map((block) => textOf(bytes, block)), text].join(',')}]`,
  }
}

/** The type of a block of content; empty when it says none. */
export const blockType = (bytes: Buffer, block: Span): string => {
  const type = members(bytes, block).get('type')
  return type === undefined ? '' : stringOf(bytes, type)
}
