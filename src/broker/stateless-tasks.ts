/** The tasks extension for stateless clients: what is asked about a task goes to the server in its name. */
import { stringOf } from '../mcp/json-text.ts'
import { declaresTasks } from '../mcp/stateless-request.ts'
import { TASKS_EXTENSION } from '../mcp/task-id.ts'
import type { Reply } from './reply.ts'
import { offersTasksTo, type PassedRequest, pass } from './stateless-pass.ts'
import { mayHaveTask } from './task-rights.ts'

/** tasks/get, tasks/update and tasks/cancel: for whom the task was made, as long as they may call its tool. */
export const askAboutTask = async (request: PassedRequest): Promise<void> => {
  const { context, caller, message, bytes, reply, id } = request
  await context.settled()
  if (!context.catalogue().tasks.stateless) {
    reply.refuse('unknown-method', id, { subject: 'no server has tasks' })
    return
  }
  if (!declaresTasks(bytes, message)) {
    refuseUndeclared(reply, id)
    return
  }
  if (message.taskId === undefined) {
    reply.refuse('bad-params', id, { subject: 'taskId must be a string' })
    return
  }
  const name = stringOf(bytes, message.taskId)
  const task = context.taskIds.open(caller, name)
  if (task !== undefined) await context.moved(task.server)
  const upstream = task === undefined ? undefined : context.upstreams.get(task.server)
  if (task === undefined || upstream === undefined || !offersTasksTo(upstream)) {
    reply.refuse('unknown-task', id, { subject: name })
    return
  }
  const { table } = await context.catalogueFor(caller)
  const { server, tool, own } = task
  reply.labels.server = server
  if (!mayHaveTask(table, caller, task, reply)) {
    reply.refuse('unknown-task', id, { subject: name, recorded: 'denied' })
    return
  }
  const named = { literal: message.taskId, own, inHeader: true, tool }
  if (!(await pass(upstream, request, named)))
    reply.refuse('server-down', id, { server: task.server, subject: `${task.server} speaks the other era now` })
}

/** A client that did not say that it takes tasks (SEP-2663, protocol errors). */
export const refuseUndeclared = (reply: Reply, id: string): void =>
  reply.refuse('missing-capability', id, {
    subject: TASKS_EXTENSION,
    extra: { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } },
  })
