/** Tasks of stateful clients: calls that become tasks, and what is asked about them, in the session that made them alone. */
import { randomBytes } from 'node:crypto'
import type { RoutingTable, Row } from '../catalog/routing-table.ts'
import { listsTasks, offersTasks } from '../catalog/tasks.ts'
import { elements, members, replaceSpans, stringOf, textOf } from '../mcp/json-text.ts'
import type { MethodName } from '../mcp/methods.ts'
import { scan } from '../mcp/scan.ts'
import { exposedTaskId, parseTaskId } from '../mcp/task-id.ts'
import { createdTask, listedTask, messageEdits, renameInResponse, withoutTask } from '../translation/task-ids.ts'
import { ownId, ownRequest } from '../upstreams/handshake.ts'
import { ask } from '../upstreams/questions.ts'
import { toClient, toServer } from '../upstreams/task-names.ts'
import { rememberTask, tasksOf } from '../upstreams/task-owners.ts'
import type { Outcome, Upstream, UpstreamCall } from '../upstreams/upstream.ts'
import { hear, runCall } from './calls.ts'
import type { Incoming } from './incoming.ts'
import { hasTasks } from './initialize.ts'
import type { Reply } from './reply.ts'
import { mayHaveTask } from './task-rights.ts'

/** Beyond that a server is looping. */
const MOST_PAGES = 100

/** Our requests in a client's session have ids that none of its own has. */
const SALT = `tasks-${randomBytes(6).toString('base64url')}`
let count = 0

interface TaskRequest extends Incoming {
  readonly id: string
  readonly method: MethodName<'stateful'>
}

/** A call that its client wants as a task. Where there are none, it is an ordinary call (2025-11-25 tasks, support and handling). */
export const callAsTask = async (
  upstream: Upstream,
  request: Pick<UpstreamCall, 'client' | 'method' | 'id' | 'body'> & { readonly row: Row },
  reply: Reply,
): Promise<void> => {
  const { client, method, row } = request
  const catalogue = upstream.catalogue()
  const possible =
    catalogue !== undefined && offersTasks('stateful', catalogue) && hasTasks(client.session.claims.protocolVersion)
  const body = possible ? request.body : withoutTask(request.body)
  const scanned = scan(body)
  const progressToken = scanned.ok ? scanned.message.metaProgressToken : undefined
  await runCall(upstream, { ...request, body, progressToken }, reply, async (call) => {
    const outcome = await upstream.call(call)
    if (!possible) return outcome
    const own = outcome.kind === 'answered' ? createdTask(outcome.body) : undefined
    if (own !== undefined) rememberTask(upstream, client, own, row.own)
    return exposed(upstream, method, outcome)
  })
}

/** tasks/get, tasks/result and tasks/cancel: the server answers that has the task. */
export const askAboutTask = async ({
  context,
  client,
  caller,
  message,
  bytes,
  reply,
  id,
  method,
}: TaskRequest): Promise<void> => {
  await context.settled()
  if (context.catalogue().tasks.stateful === undefined || !hasTasks(client.session.claims.protocolVersion)) {
    reply.refuse('unknown-method', id, { subject: method })
    return
  }
  if (message.taskId === undefined) {
    reply.refuse('bad-params', id, { subject: 'taskId must be a string' })
    return
  }
  const name = stringOf(bytes, message.taskId)
  const task = parseTaskId(name)
  await context.moved(task?.server ?? '')
  const upstream = task === undefined ? undefined : context.upstreams.get(task.server)
  const tool = upstream === undefined || task === undefined ? undefined : tasksOf(upstream, client).get(task.own)
  if (task === undefined || upstream === undefined || tool === undefined) {
    reply.refuse('unknown-task', id, { subject: name })
    return
  }
  reply.labels.server = task.server
  const { table } = await context.catalogueFor(caller)
  if (!mayHaveTask(table, caller, { server: task.server, tool }, reply)) {
    reply.refuse('unknown-task', id, { subject: name, recorded: 'denied' })
    return
  }
  const body = replaceSpans(bytes, messageEdits(method, bytes, message.params, toServer(task.server)))
  const scanned = scan(body)
  const progressToken = scanned.ok ? scanned.message.metaProgressToken : undefined
  const request = { client, method, row: undefined, id, body, progressToken }
  await runCall(upstream, request, reply, async (call) => {
    // A result is waited for as long as the task takes (2025-11-25 tasks, result retrieval).
    const patient = method === 'tasks/result' ? { ...call, waiting: () => true } : call
    return exposed(upstream, method, await upstream.call(patient))
  })
}

const exposed = (upstream: Upstream, method: string, outcome: Outcome): Outcome =>
  outcome.kind === 'answered'
    ? { ...outcome, body: renameInResponse(method, outcome.body, toClient(upstream.server.name)) }
    : outcome

/** tasks/list: the client's own tasks at all servers, on one page. A server that does not answer is left out, as in other lists. */
export const listTasks = async (request: TaskRequest): Promise<void> => {
  const { context, client, caller, message, reply, id, method } = request
  await context.settled()
  if (context.catalogue().tasks.stateful?.list !== true || !hasTasks(client.session.claims.protocolVersion)) {
    reply.refuse('unknown-method', id, { subject: method })
    return
  }
  if (message.cursor !== undefined) {
    reply.refuse('bad-cursor', id)
    return
  }
  const { table } = await context.catalogueFor(caller)
  const gone = new AbortController()
  reply.onClose(() => gone.abort())
  const asked = [...context.upstreams.values()].flatMap((upstream) => {
    const catalogue = upstream.catalogue()
    const lists = catalogue !== undefined && listsTasks(catalogue) && tasksOf(upstream, client).size > 0
    return lists ? [tasksAt(upstream, request, table, gone.signal)] : []
  })
  const tasks = (await Promise.all(asked)).flat()
  reply.result(id, `{"tasks":[${tasks.join(',')}]}`)
}

/** The client's tasks at one server, as it is to see them; as far as the server says in its time. */
const tasksAt = async (
  upstream: Upstream,
  { client, caller, reply }: TaskRequest,
  table: RoutingTable,
  ending: AbortSignal,
): Promise<readonly string[]> => {
  const { name, listTimeoutMs } = upstream.server
  const own = tasksOf(upstream, client)
  const signal = AbortSignal.any([ending, AbortSignal.timeout(listTimeoutMs)])
  const deliver = (bytes: Buffer): boolean => {
    reply.message(bytes)
    return !reply.ended
  }
  const found: string[] = []
  const cursors = new Set<string>()
  let cursor: string | undefined
  for (let page = 0; page < MOST_PAGES; page++) {
    const id = ownId(SALT, ++count)
    const params = cursor === undefined ? '{}' : `{"cursor":${cursor}}`
    const outcome = await upstream.call({
      client,
      method: 'tasks/list',
      row: undefined,
      id,
      body: ownRequest(id, 'tasks/list', params),
      progressToken: undefined,
      signal,
      waiting: () => false,
      onMessage(message) {
        if (message.kind === 'request') ask(upstream, client, message, deliver)
        else hear(upstream, client, message, deliver)
      },
    })
    const result = outcome.kind === 'answered' ? members(outcome.body).get('result') : undefined
    if (outcome.kind !== 'answered' || result === undefined) return found
    const { body } = outcome
    const said = members(body, result)
    const list = said.get('tasks')
    for (const task of list === undefined ? [] : elements(body, list)) {
      const at = listedTask(body, task)
      const taskId = at === undefined ? undefined : stringOf(body, at)
      const tool = taskId === undefined ? undefined : own.get(taskId)
      if (at === undefined || taskId === undefined || tool === undefined) continue
      if (!mayHaveTask(table, caller, { server: name, tool })) continue
      found.push(
        textOf(body, { start: task.start, end: at.start }) +
          JSON.stringify(exposedTaskId(name, taskId)) +
          textOf(body, { start: at.end, end: task.end }),
      )
    }
    const next = said.get('nextCursor')
    cursor = next === undefined || body[next.start] !== QUOTE ? undefined : textOf(body, next)
    if (cursor === undefined || cursors.has(cursor)) return found
    cursors.add(cursor)
  }
  return found
}
const QUOTE = 0x22
