/** The question whether something may be done, as both eras put it to a human, and what a human can say to it. */
import type { Row } from '../catalog/routing-table.ts'
import { isObject, members, stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import { confirmMessage } from './confirm-message.ts'
import type { RefusalDetail } from './refusals.ts'

/** A human says yes or no; there is nothing to fill in. */
const SCHEMA = { type: 'object', properties: {} }

/** The params of the `elicitation/create`, as JSON text; undefined: there is more than can be shown. */
export const confirmForm = (method: string, row: Row, message: Message, bytes: Buffer): string | undefined => {
  const text = confirmMessage(method, row, message, bytes)
  return text === undefined ? undefined : JSON.stringify({ message: text, requestedSchema: SCHEMA })
}

/** What became of a question. */
export type HumanAnswer = 'accepted' | NotConfirmed
type NotConfirmed = 'declined' | 'cancelled' | 'timeout' | 'changed'

/** What is said of the actions of an `ElicitResult`; undefined: it is none. */
export const answerIn = (
  bytes: Buffer,
  result: Span | undefined,
): Exclude<HumanAnswer, 'timeout' | 'changed'> | undefined => {
  const action = isObject(bytes, result) ? members(bytes, result).get('action') : undefined
  switch (action === undefined ? '' : stringOf(bytes, action)) {
    case 'accept':
      return 'accepted'
    case 'decline':
      return 'declined'
    case 'cancel':
      return 'cancelled'
    default:
      return undefined
  }
}

const WORDS: Readonly<Record<NotConfirmed, string>> = {
  declined: 'it was declined',
  cancelled: 'the question was dismissed without an answer',
  timeout: 'nobody answered in time',
  changed: 'what it names has changed while a human was asked',
}

/** How a refusal tells that a human did not agree. */
export const notConfirmed = ({ server }: Row, answer: NotConfirmed): RefusalDetail => ({
  server,
  subject: WORDS[answer],
  recorded: `not-confirmed-${answer}`,
  extra: { answer },
})

/** Whether a client that declares its elicitation so shows forms: nothing in it means forms, too. */
export const showsForms = (bytes: Buffer, elicitation: Span | undefined): boolean => {
  if (!isObject(bytes, elicitation)) return false
  const modes = members(bytes, elicitation)
  return isObject(bytes, modes.get('form')) || !modes.has('url')
}
