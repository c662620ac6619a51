/** What a retry brings: the client's entries in `inputResponses`, each looked at before any of them goes to the server. */
import { elements, isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'

/** Raw id of the question → raw JSON of its result. */
export type Answers = ReadonlyMap<string, string>

/**
 * The answers to these questions (raw id → method). Missing ones are left out, for they are asked again; what nobody asked
 * for is ignored. A string says what is not as MCP has it (2026-07-28 mrtr, error handling).
 */
export const readAnswers = (
  bytes: Buffer,
  { inputResponses }: Message,
  questions: ReadonlyMap<string, string>,
): Answers | string => {
  const answers = new Map<string, string>()
  if (inputResponses === undefined) return answers
  for (const [key, span] of members(bytes, inputResponses)) {
    const id = JSON.stringify(key)
    const method = questions.get(id)
    if (method === undefined) continue
    const wrong = fault(method, bytes, span)
    if (wrong !== undefined) return `inputResponses[${id}] ${wrong}`
    answers.set(id, textOf(bytes, span))
  }
  return answers
}

/** What keeps a value from being a result of this method. */
const fault = (method: string, bytes: Buffer, span: Span): string | undefined => {
  if (!isObject(bytes, span)) return 'must be an object'
  const found = members(bytes, span)
  const starts = (key: string): number | undefined => bytes[found.get(key)?.start ?? -1]
  switch (method) {
    case 'elicitation/create':
      return ACTIONS.has(actionOf(bytes, span)) ? undefined : 'needs an action: accept, decline or cancel'
    case 'sampling/createMessage': {
      if (starts('role') !== QUOTE) return 'needs a role'
      return isObject(bytes, found.get('content')) || starts('content') === OPEN_ARRAY ? undefined : 'needs content'
    }
    default: {
      const roots = found.get('roots')
      const list = starts('roots') === OPEN_ARRAY && roots !== undefined ? elements(bytes, roots) : undefined
      return list?.every((root) => isObject(bytes, root)) === true ? undefined : 'needs a list of roots'
    }
  }
}

/** Whether some answer among them turns down what was asked. */
export const declines = (bytes: Buffer, { inputResponses }: Message): boolean =>
  inputResponses !== undefined &&
  [...members(bytes, inputResponses).values()].some((span) => ['decline', 'cancel'].includes(actionOf(bytes, span)))

const actionOf = (bytes: Buffer, span: Span): string => {
  const action = members(bytes, span).get('action')
  return action === undefined ? '' : stringOf(bytes, action)
}

const ACTIONS: ReadonlySet<string> = new Set(['accept', 'decline', 'cancel'])
const QUOTE = 0x22
const OPEN_ARRAY = 0x5b
