/** News of tasks of a stateless server, for one listen stream: its own stream there, open as long as anybody listens. */
import { members, textOf } from '../mcp/json-text.ts'
import { changeObject } from '../translation/object-edits.ts'
import { listedTask } from '../translation/task-ids.ts'
import { parseServerMessage } from './server-message.ts'
import { subscribe } from './server-subscription.ts'
import { type StatelessWire, wireHeaders, wireRequest } from './stateless-wire.ts'
import type { Outcome, TaskWatching } from './upstream.ts'

export const TASK_NEWS = 'notifications/tasks'

/** Resolves with the ids that the server agreed to. */
export const watchTasks = async (
  wire: StatelessWire,
  timeoutMs: number,
  { caller, ids, as, heard, signal }: TaskWatching,
): Promise<readonly string[]> => {
  let agreed: readonly string[] = []
  const granted = await subscribe({
    wire,
    caller,
    as,
    filter: { taskIds: ids },
    timeoutMs,
    hear(message) {
      if (message.method === TASK_NEWS) heard(message)
    },
    // What changed in between is asked for: a client that listens need not ask itself.
    again() {
      for (const id of agreed) void look(id)
    },
    lost: () => undefined,
    signal,
  })
  const look = async (id: string): Promise<void> => {
    const outcome = await wire.send({
      ...wireRequest(wire.nextId(), 'tasks/get', JSON.stringify({ taskId: id }), as),
      headers: wireHeaders('tasks/get', id),
      as: caller,
      timeoutMs,
      onMessage: () => undefined,
      signal,
    })
    const message = newsIn(outcome)
    if (message?.kind === 'notification' && !signal.aborted) heard(message)
  }
  agreed = ids.filter((id) => granted?.taskIds?.includes(id) === true)
  return agreed
}

/** What the server answered about a task, as it would have told it. */
const newsIn = (outcome: Outcome): ReturnType<typeof parseServerMessage> => {
  if (outcome.kind === 'failed') return undefined
  const result = members(outcome.body).get('result')
  if (result === undefined || listedTask(outcome.body, result) === undefined) return undefined
  const params = changeObject(Buffer.from(textOf(outcome.body, result)), { resultType: undefined, _meta: undefined })
  return parseServerMessage(
    Buffer.from(`{"jsonrpc":"2.0","method":"${TASK_NEWS}","params":${params.toString('utf8')}}`),
  )
}
