/** A listed tool as stateful clients may see it. */
import { entries, isObject, members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { type Change, changeObject, objectEdits } from './object-edits.ts'

/**
 * Without an output schema that is not of an object, and with object schemas for its properties where the server wrote
 * `true` or `false`: clients of that era fail the whole list over one of these. Otherwise the very same buffer.
 */
export const statefulTool = (item: Buffer): Buffer => {
  const edits = toolEdits(item, { start: 0, end: item.length })
  return edits.length === 0 ? item : replaceSpans(item, edits)
}

/** The same for a tool that stands in a larger text. */
export const toolEdits = (bytes: Buffer, tool: Span): ReturnType<typeof objectEdits> => {
  const found = members(bytes, tool)
  const input = found.get('inputSchema')
  const output = found.get('outputSchema')
  return objectEdits(bytes, tool, {
    ...(input === undefined ? {} : { inputSchema: plainProperties(bytes, input) }),
    ...(output === undefined
      ? {}
      : { outputSchema: isOfObject(bytes, output) ? plainProperties(bytes, output) : undefined }),
  })
}

/** Without saying that it may be called as a task. */
export const withoutTaskSupport = (item: Buffer): Buffer =>
  changeObject(item, { execution: { within: { taskSupport: undefined } } })

const isOfObject = (bytes: Buffer, schema: Span): boolean => {
  const type = members(bytes, schema).get('type')
  return type !== undefined && stringOf(bytes, type) === 'object'
}

/** The schemas that mean the same as `true` and `false`. */
const plainProperties = (bytes: Buffer, schema: Span): Change => {
  const properties = members(bytes, schema).get('properties')
  const within = isObject(bytes, properties)
    ? entries(bytes, properties).flatMap(({ key, value }) =>
        bytes[value.start] === 0x74 ? [[key, '{}']] : bytes[value.start] === 0x66 ? [[key, '{"not":{}}']] : [],
      )
    : []
  return { within: { properties: { within: Object.fromEntries(within) } } }
}
