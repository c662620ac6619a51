/** The ids of tasks in a message, renamed wherever they stand: servers know their own, clients know whose they are. */
import { type Edit, members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { META_RELATED_TASK } from '../mcp/meta-keys.ts'
import { changeObject } from './object-edits.ts'

/** The other name of a task; undefined: it stays as it is. */
export type Rename = (id: string) => string | undefined

/** A response to this method. */
export const renameInResponse = (method: string, response: Buffer, rename: Rename): Buffer =>
  replaceSpans(response, responseEdits(method, response, rename))

const responseEdits = (method: string, response: Buffer, rename: Rename): readonly Edit[] => {
  const result = members(response).get('result')
  if (result === undefined) return []
  const found = members(response, result)
  return edits(response, [...subjects(method, response, result), ...related(response, found)], rename)
}

/** The task that a call was answered with, by the server's own id; undefined: it was answered with something else. */
export const createdTask = (response: Buffer): string | undefined => {
  const result = members(response).get('result')
  const [id] = result === undefined ? [] : subjects('tools/call', response, result)
  return id === undefined ? undefined : stringOf(response, id)
}

/** The id of a task as it stands in a list of them. */
export const listedTask = (bytes: Buffer, task: Span): Span | undefined =>
  string(bytes, members(bytes, task).get('taskId'))

/** The literals that say which task a result is. */
const subjects = (method: string, bytes: Buffer, result: Span): readonly Span[] => {
  const found = members(bytes, result)
  const at = (object: Span | undefined): readonly Span[] => {
    const id = object === undefined ? undefined : listedTask(bytes, object)
    return id === undefined ? [] : [id]
  }
  switch (method) {
    case 'tools/call': {
      const type = found.get('resultType')
      // Of the stateful era the task is a member of the result, of the stateless era it is the result.
      return type !== undefined && stringOf(bytes, type) === 'task' ? at(result) : at(found.get('task'))
    }
    case 'tasks/get':
    case 'tasks/cancel':
    case 'tasks/update':
      return at(result)
    default:
      return []
  }
}

/** A notification or a request of the one side to the other, by its `params`. */
export const messageEdits = (
  method: string,
  bytes: Buffer,
  params: Span | undefined,
  rename: Rename,
): readonly Edit[] => {
  if (params === undefined) return []
  const found = members(bytes, params)
  const subject = ABOUT_A_TASK.has(method) ? string(bytes, found.get('taskId')) : undefined
  return edits(bytes, [...(subject === undefined ? [] : [subject]), ...related(bytes, found)], rename)
}
const ABOUT_A_TASK: ReadonlySet<string> = new Set([
  'notifications/tasks/status',
  'notifications/tasks',
  'tasks/get',
  'tasks/result',
  'tasks/cancel',
  'tasks/update',
])

/** The task that a message of a server is about, or belongs to, by the server's own id. */
export const taskOf = (method: string, bytes: Buffer, params: Span | undefined): string | undefined => {
  let found: string | undefined
  messageEdits(method, bytes, params, (id) => {
    found ??= id
    return undefined
  })
  return found
}

/** A call without the wish that it be a task. */
export const withoutTask = (request: Buffer): Buffer =>
  changeObject(request, { params: { within: { task: undefined } } })

const related = (bytes: Buffer, found: ReadonlyMap<string, Span>): readonly Span[] => {
  const meta = found.get('_meta')
  const task = meta === undefined ? undefined : members(bytes, meta).get(META_RELATED_TASK)
  const id = task === undefined ? undefined : string(bytes, members(bytes, task).get('taskId'))
  return id === undefined ? [] : [id]
}

const edits = (bytes: Buffer, spans: readonly Span[], rename: Rename): readonly Edit[] =>
  spans.flatMap((span) => {
    const name = rename(stringOf(bytes, span))
    return name === undefined ? [] : [{ span, with: JSON.stringify(name) }]
  })

const string = (bytes: Buffer, span: Span | undefined): Span | undefined =>
  span !== undefined && bytes[span.start] === 0x22 ? span : undefined
