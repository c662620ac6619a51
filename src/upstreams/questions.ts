/** Requests that servers make of clients: allowed or not, given an id of ours, labelled, and the answers brought back. */

import type { ClientState } from '../clients/client-session.ts'
import { members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import { scan } from '../mcp/scan.ts'
import type { ClientFeature } from '../registry/model.ts'
import { objectEdits } from '../translation/object-edits.ts'
import type { ServerRequest } from './server-message.ts'
import { answerForServer, editsForClient, forServer } from './task-names.ts'
import type { Upstream } from './upstream.ts'

/** What a server's request needs of the client. Anything else is not passed on. */
const needs: Readonly<Record<string, ClientFeature>> = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
}
export const clientFeatures: readonly ClientFeature[] = Object.values(needs)
export const featureFor = (method: string): ClientFeature | undefined =>
  Object.hasOwn(needs, method) ? needs[method] : undefined

/** Hands a server's request to a client through `deliver`; what may not pass is answered to the server at once. */
export const ask = (
  upstream: Upstream,
  client: ClientState,
  request: ServerRequest,
  deliver: (bytes: Buffer) => boolean,
  settled: () => void = () => undefined,
): void => {
  const answer = (bytes: Buffer): void => void upstream.tell(client, bytes)
  const refuse = (code: number, message: string): void =>
    answer(Buffer.from(`{"jsonrpc":"2.0","id":${request.id},"error":${JSON.stringify({ code, message })}}`))
  if (request.method === 'ping') {
    answer(Buffer.from(`{"jsonrpc":"2.0","id":${request.id},"result":{}}`))
    settled()
    return
  }
  const feature = featureFor(request.method)
  if (feature === undefined) refuse(-32601, `the client has no method ${request.method}`)
  else if (!upstream.server.client.includes(feature))
    refuse(-32601, `the gateway does not let this server use ${feature}`)
  else if (!client.session.claims.features.includes(feature)) refuse(-32601, `the client does not offer ${feature}`)
  else {
    const { server } = upstream
    const token = request.metaProgressToken
    const id = client.ask({
      server: server.name,
      id: request.id,
      progressToken: token === undefined ? undefined : request.bytes.toString('utf8', token.start, token.end),
      answer(bytes) {
        answer(answerForServer(upstream, bytes))
        settled()
      },
      withdraw: settled,
    })
    if (id === undefined) refuse(-32603, 'the client has too many requests to answer')
    else if (deliver(addressed(upstream, request, id))) return
    else {
      client.questions.delete(id)
      refuse(-32603, 'the client does not listen at the moment')
    }
  }
  settled()
}

/**
 * The request as the client gets it: our id, our progress token, our name of the task it belongs to, and for a human the
 * server's name in front of the message. No task comes of it at the client: the server was not told that it has any.
 */
const addressed = (upstream: Upstream, request: ServerRequest, id: string): Buffer => {
  const { bytes, params } = request
  const idSpan = members(bytes).get('id')
  const said = params === undefined ? new Map<string, Span>() : members(bytes, params)
  const message = request.method === 'elicitation/create' ? said.get('message') : undefined
  return replaceSpans(bytes, [
    ...(idSpan === undefined ? [] : [{ span: idSpan, with: id }]),
    ...(request.metaProgressToken === undefined ? [] : [{ span: request.metaProgressToken, with: id }]),
    ...(message === undefined || bytes[message.start] !== 0x22
      ? []
      : [{ span: message, with: JSON.stringify(`[${upstream.server.name}] ${stringOf(bytes, message)}`) }]),
    ...editsForClient(upstream, request),
    ...(params !== undefined && said.has('task') ? objectEdits(bytes, params, { task: undefined }) : []),
  ])
}

/** Brings a client's response to the server that asked; false: nobody asked. An id is good for one answer. */
export const answerQuestion = (client: ClientState, message: Message, bytes: Buffer): boolean => {
  const question = message.id === undefined ? undefined : client.questions.get(message.id)
  if (message.id === undefined || question === undefined) return false
  client.questions.delete(message.id)
  const span = members(bytes).get('id')
  question.answer(span === undefined ? bytes : replaceSpans(bytes, [{ span, with: question.id }]))
  return true
}

/** A client's progress on a server's request: the token was ours, so it leads to the server and becomes its own again. */
export const forwardProgress = (
  client: ClientState,
  message: Message,
  bytes: Buffer,
  upstreams: ReadonlyMap<string, Upstream>,
): void => {
  const { progressToken } = message
  if (progressToken === undefined) return
  const question = client.questions.get(bytes.toString('utf8', progressToken.start, progressToken.end))
  const upstream = question === undefined ? undefined : upstreams.get(question.server)
  if (question?.progressToken === undefined || upstream === undefined) return
  const progress = replaceSpans(bytes, [{ span: progressToken, with: question.progressToken }])
  void upstream.tell(client, forServer(upstream, 'notifications/progress', progress))
}

/** A server that gives up a request of its own: the client is told under the id it knows. */
export const withdrawn = (client: ClientState, server: string, notification: Buffer): Buffer | undefined => {
  const scanned = scan(notification)
  const span = scanned.ok ? scanned.message.requestId : undefined
  if (span === undefined) return undefined
  const id = notification.toString('utf8', span.start, span.end)
  for (const [ours, question] of client.questions) {
    if (question.server !== server || question.id !== id) continue
    client.questions.delete(ours)
    question.withdraw()
    return replaceSpans(notification, [{ span, with: ours }])
  }
  return undefined
}
