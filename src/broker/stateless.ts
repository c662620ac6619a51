/** What the gateway answers a stateless client, method by method. */
import { type ListMethod, lists } from '../catalog/server-catalogue.ts'
import { visible } from '../catalog/visible.ts'
import { clientIn } from '../mcp/client-name.ts'
import { members, stringOf } from '../mcp/json-text.ts'
import { type MethodName as AnyMethod, isMethodOf } from '../mcp/methods.ts'
import { statelessFault } from '../mcp/stateless-request.ts'
import { STATELESS_VERSIONS } from '../mcp/versions.ts'
import { discoverResult } from './discover.ts'
import { resultMeta } from './gateway-info.ts'
import type { StatelessIncoming } from './incoming.ts'
import { pageOf } from './paging.ts'
import { call } from './stateless-call.ts'
import { askAboutTask } from './stateless-tasks.ts'

type MethodName = AnyMethod<'stateless'>

interface IncomingRequest extends StatelessIncoming {
  readonly id: string
  readonly method: MethodName
}

type Answer = (request: IncomingRequest) => void | Promise<void>

/** In the order the specification wants: header against body, `_meta`, revision, standard headers, then the method. */
export const answerStateless = async (incoming: StatelessIncoming): Promise<void> => {
  const { head, message, bytes, reply } = incoming
  const { id, method } = message
  reply.labels.client = clientIn(bytes, message)
  const fault = statelessFault(head, message, bytes)
  if (fault !== undefined) {
    const { requested } = fault
    reply.refuse(fault.reason, message.kind === 'request' ? id : undefined, {
      subject: fault.detail,
      ...(requested !== undefined && { extra: { supported: STATELESS_VERSIONS, requested } }),
    })
  } else if (message.kind !== 'request' || id === undefined) {
    // Over HTTP a closed stream is the only cancellation; nothing else is said without wanting an answer.
    reply.accepted()
  } else if (method === undefined || !isMethodOf('stateless', method)) {
    reply.refuse('unknown-method', id, method === undefined ? {} : { subject: method })
  } else await requests[method]({ ...incoming, id, method })
}

const discover: Answer = ({ context, caller, id, reply }) =>
  reply.result(id, discoverResult(visible(context.catalogue(), caller), context.version, context.isSettled))

const list = (method: ListMethod): Answer => {
  const capability = method.slice(0, method.indexOf('/'))
  return async ({ context, caller, message, bytes, reply, id }) => {
    await context.settled()
    const shown = visible(await context.catalogueFor(caller), caller)
    // What server/discover does not declare is not there.
    if (!Object.hasOwn(shown.capabilities, capability)) {
      reply.refuse('unknown-method', id, { subject: `no server has ${capability}` })
      return
    }
    const cursor = message.params === undefined ? undefined : members(bytes, message.params).get('cursor')
    const page = pageOf(shown.list(method), cursor === undefined ? undefined : stringOf(bytes, cursor))
    if (page === undefined) {
      reply.refuse('bad-cursor', id)
      return
    }
    const { ttlMs, scope } = shown.caching(method)
    const next = page.nextCursor === undefined ? '' : `,"nextCursor":${JSON.stringify(page.nextCursor)}`
    reply.result(
      id,
      `{"resultType":"complete","${lists[method].items}":`,
      page.items,
      `${next},"ttlMs":${ttlMs},"cacheScope":"${scope}","_meta":${resultMeta(context.version)}}`,
    )
  }
}

const listen: Answer = async ({ context, caller, message, bytes, reply, id }) => {
  await context.settled()
  const offered = await context.catalogueFor(caller)
  // Nothing is waited for between the question and the stream: two at once are not both the last.
  if (!context.mayOpenStream(caller)) {
    reply.refuse('too-many-own-streams', id)
    return
  }
  await context.listeners.open({ id, caller, offered, message, bytes, reply })
}

const requests: Readonly<Record<MethodName, Answer>> = {
  'server/discover': discover,
  'tools/list': list('tools/list'),
  'prompts/list': list('prompts/list'),
  'resources/list': list('resources/list'),
  'resources/templates/list': list('resources/templates/list'),
  'tools/call': (request) => call({ ...request, method: 'tools/call' }),
  'prompts/get': (request) => call({ ...request, method: 'prompts/get' }),
  'resources/read': (request) => call({ ...request, method: 'resources/read' }),
  'completion/complete': (request) => call({ ...request, method: 'completion/complete' }),
  'subscriptions/listen': listen,
  'tasks/get': askAboutTask,
  'tasks/update': askAboutTask,
  'tasks/cancel': askAboutTask,
  // A notification sent as a request is a method nobody has.
  'notifications/cancelled': ({ reply, id, method }) => reply.refuse('unknown-method', id, { subject: method }),
}
