/** What the gateway answers a stateful client, method by method. */
import type { ListMethod } from '../catalog/server-catalogue.ts'
import { lists } from '../catalog/server-catalogue.ts'
import { type Visible, visible } from '../catalog/visible.ts'
import type { ClientState } from '../clients/client-session.ts'
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import { isLogLevel, LOG_LEVELS } from '../mcp/log-levels.ts'
import type { Message } from '../mcp/message.ts'
import { type MethodName as AnyMethod, isMethodOf } from '../mcp/methods.ts'
import { sessionName } from '../sessions/session-name.ts'
import { answerQuestion, forwardProgress } from '../upstreams/questions.ts'
import type { Broker } from './broker.ts'
import { refuseTarget, runCall, type Target, targetOf, withOwnName } from './calls.ts'
import { confirmCall } from './confirm-call.ts'
import type { Context } from './context.ts'
import type { Incoming } from './incoming.ts'
import { initializeResult, parseInitialize } from './initialize.ts'
import { pageOf } from './paging.ts'
import { askAboutTask, callAsTask, listTasks } from './tasks.ts'

type MethodName = AnyMethod<'stateful'>

interface IncomingRequest extends Incoming {
  readonly id: string
  readonly method: MethodName
}

export interface Initialize extends Pick<Incoming, 'caller' | 'message' | 'bytes' | 'reply'> {
  readonly broker: Broker
  readonly id: string
}

/** Opens a session; the only request that needs none. */
export const initialize = async ({ broker: context, caller, message, bytes, id, reply }: Initialize): Promise<void> => {
  const declared = parseInitialize(bytes, message.params)
  if (declared === undefined) {
    reply.refuse('bad-params', id, { subject: 'initialize needs protocolVersion and capabilities' })
    return
  }
  await context.settled()
  const { principal, view } = caller
  const session = context.sessions.begin({ ...declared, principal: principal.key, view })
  reply.inSession(session.session)
  const client = context.client(session.session)
  client.caller = caller
  const result = initializeResult(await shown({ context, client, caller }), declared.protocolVersion, context.version)
  reply.end(`{"jsonrpc":"2.0","id":${id},"result":${result}}`, 200, 'application/json', session.id)
}

/** What the client sees now. */
const shown = async ({
  context,
  client,
  caller,
}: Pick<Incoming, 'context' | 'client' | 'caller'>): Promise<Visible> => {
  const offered = await context.catalogueFor(caller)
  client.offered = offered === context.catalogue() ? undefined : offered
  return visible(offered, caller)
}

/** Answers a message within a session. */
export const answer = async (incoming: Incoming): Promise<void> => {
  const { client, message, bytes, reply } = incoming
  const { method, id } = message
  if (message.kind === 'response') {
    if (answerQuestion(client, message, bytes)) reply.accepted()
    else reply.refuse('unexpected-response', undefined)
    return
  }
  if (message.kind === 'notification' || id === undefined) {
    notify(incoming)
    reply.accepted()
    return
  }
  if (method === undefined || !isMethodOf('stateful', method)) {
    reply.refuse('unknown-method', id, method === undefined ? {} : { subject: method })
    return
  }
  await requests[method]({ ...incoming, id, method })
}

type Answer = (request: IncomingRequest) => void | Promise<void>

const list: Answer = async ({ context, client, caller, message, bytes, reply, id, method }) => {
  await context.settled()
  if (!isList(method)) return
  const seen = await shown({ context, client, caller })
  const cursor = message.params === undefined ? undefined : members(bytes, message.params).get('cursor')
  const page = pageOf(seen.list(method), cursor === undefined ? undefined : stringOf(bytes, cursor))
  if (page === undefined) reply.refuse('bad-cursor', id)
  else {
    const next = page.nextCursor === undefined ? '' : `,"nextCursor":${JSON.stringify(page.nextCursor)}`
    reply.result(id, `{"${lists[method].items}":`, page.items, `${next}}`)
  }
}
const isList = (method: string): method is ListMethod => Object.hasOwn(lists, method)

const call: Answer = async (request) => {
  const { context, client, caller, message, bytes, reply, id, method } = request
  await context.settled()
  const { table } = await context.catalogueFor(caller)
  const target = targetOf(table, caller, method, message, bytes)
  if ('refusal' in target) {
    refuseTarget(reply, id, method, target)
    return
  }
  const { row, verdict } = target
  reply.allowedBy(verdict.grounds)
  reply.names(row.server, method, row.own)
  const session = sessionName(client.session)
  // Before a human is asked: what they agree to must not be refused for want of room.
  await context.callLimits.run({ caller, session, table, method, row, bytes, reply, id }, async () => {
    if (!verdict.confirm || (await confirmCall(request, row))) await deliver(request, target)
  })
}

/** Has the server answer. */
const deliver = async (
  { context, client, message, bytes, reply, id, method }: IncomingRequest,
  target: Pick<Target, 'row' | 'literal'>,
): Promise<void> => {
  await context.moved(target.row.server)
  const upstream = context.upstreams.get(target.row.server)
  if (upstream === undefined) {
    reply.refuse('server-down', id, { server: target.row.server, subject: target.row.server })
    return
  }
  const body = withOwnName(bytes, target)
  if (method === 'tools/call' && message.task !== undefined) {
    await callAsTask(upstream, { client, method, row: target.row, id, body }, reply)
    return
  }
  // Behind the name's literal everything has moved by the difference in length.
  const moved =
    message.metaProgressToken !== undefined && message.metaProgressToken.start > target.literal.start
      ? body.length - bytes.length
      : 0
  const token = message.metaProgressToken
  const span = token === undefined ? undefined : { start: token.start + moved, end: token.end + moved }
  const running = { client, method, row: target.row, id, body, progressToken: span }
  const outcome = await runCall(upstream, running, reply, (run) => upstream.call(run))
  const ok = outcome.kind === 'answered' && outcome.status === 200
  if (ok && method === 'resources/subscribe') client.subscriptions.set(target.row.exposed, target.row.server)
  if (ok && method === 'resources/unsubscribe') client.subscriptions.delete(target.row.exposed)
}

const setLevel: Answer = async ({ context, client, message, bytes, reply, id }) => {
  const level = message.params === undefined ? undefined : members(bytes, message.params).get('level')
  if (message.params === undefined || level === undefined || !isLogLevel(stringOf(bytes, level))) {
    reply.refuse('bad-params', id, { subject: `level must be one of ${LOG_LEVELS.join(', ')}` })
    return
  }
  client.logLevel = textOf(bytes, message.params)
  const open = [...context.upstreams.values()].filter(
    ({ server: { name }, shared }) => (shared || client.session.servers.has(name)) && client.mayHearFrom(name),
  )
  // Each server takes it in its own time; one that is slow does not hold the client up.
  for (const upstream of open)
    if (upstream.catalogue()?.capabilities.has('logging') === true) void upstream.setLevel(client)
  reply.result(id, '{}')
}

const requests: Readonly<Record<MethodName, Answer>> = {
  initialize: ({ reply, id }) => reply.refuse('bad-params', id, { subject: 'this session is initialized already' }),
  ping: ({ reply, id }) => reply.result(id, '{}'),
  'tools/list': list,
  'prompts/list': list,
  'resources/list': list,
  'resources/templates/list': list,
  'tools/call': call,
  'prompts/get': call,
  'resources/read': call,
  'resources/subscribe': call,
  'resources/unsubscribe': call,
  'completion/complete': call,
  'logging/setLevel': setLevel,
  'tasks/get': askAboutTask,
  'tasks/result': askAboutTask,
  'tasks/cancel': askAboutTask,
  'tasks/list': listTasks,
  ...notRequests(),
}

/** Notifications sent as requests get the answer of an unknown method. */
function notRequests() {
  const refuse: Answer = ({ reply, id, method }) => reply.refuse('unknown-method', id, { subject: method })
  return {
    'notifications/initialized': refuse,
    'notifications/cancelled': refuse,
    'notifications/progress': refuse,
    'notifications/roots/list_changed': refuse,
  } as const
}

const notify = ({ context, client, message, bytes }: Incoming): void => {
  switch (message.method) {
    case 'notifications/cancelled':
      cancel(context, client, message, bytes)
      return
    case 'notifications/progress':
      forwardProgress(client, message, bytes, context.upstreams)
      return
    case 'notifications/roots/list_changed':
      for (const upstream of context.upstreams.values())
        if (upstream.server.client.includes('roots') && client.session.servers.has(upstream.server.name))
          void upstream.tell(client, bytes)
      return
    default:
      // `initialized` is told to each server when its session opens; others mean nothing to us.
      return
  }
}

/** A cancellation goes to the one server that runs the request, whichever path it took. */
const cancel = (context: Context, client: ClientState, message: Message, bytes: Buffer): void => {
  if (message.requestId === undefined) return
  const id = bytes.toString('utf8', message.requestId.start, message.requestId.end)
  const running = client.calls.get(id)
  if (running !== undefined) {
    running.cancel(bytes)
    return
  }
  const server = client.session.directCalls.get(id)
  const upstream = server === undefined ? undefined : context.upstreams.get(server)
  if (upstream !== undefined) void upstream.tell(client, bytes)
}
