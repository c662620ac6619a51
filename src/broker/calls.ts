/** Requests that one server answers: found in the routing table, given the server's own names, run, and the answer handed on. */
import type { Row, RoutingTable } from '../catalog/routing-table.ts'
import { resourceRow } from '../catalog/routing-table.ts'
import { members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import type { Era } from '../mcp/versions.ts'
import type { ClientState } from './client-session.ts'
import { ask, withdrawn } from './questions.ts'
import type { BrokerRefusal } from './refusals.ts'
import type { Reply } from './reply.ts'
import { isListChanged, type Notification } from './server-message.ts'
import { forClient, forServer } from './task-names.ts'
import type { Outcome, Upstream, UpstreamCall } from './upstream.ts'

/** How long a cancelled call may still say something. */
const AFTER_CANCEL_MS = 1000

/** Where a request goes, and the literal in it that has to change. */
export interface Target {
  readonly row: Row
  readonly literal: Span
}

/** The row a request of a client of this era names; otherwise why there is none. */
export const targetOf = (
  table: RoutingTable,
  era: Era,
  method: string,
  message: Message,
  bytes: Buffer,
): Target | { readonly refusal: BrokerRefusal; readonly subject?: string } => {
  const find = (
    literal: Span | undefined,
    look: (name: string) => Row | undefined,
    refusal: BrokerRefusal,
  ): ReturnType<typeof targetOf> => {
    if (literal === undefined) return { refusal: 'bad-params' }
    const name = stringOf(bytes, literal)
    const row = look(name)
    return row === undefined || (row.only ?? era) !== era ? { refusal, subject: name } : { row, literal }
  }
  switch (method) {
    case 'tools/call':
      return find(message.name, (name) => table.tools.get(name), 'unknown-tool')
    case 'prompts/get':
      return find(message.name, (name) => table.prompts.get(name), 'unknown-prompt')
    case 'completion/complete':
      return message.refUri === undefined
        ? find(message.refName, (name) => table.prompts.get(name), 'unknown-prompt')
        : find(
            message.refUri,
            (uri) => table.templates.find(({ exposed }) => exposed === uri) ?? resourceRow(table, uri),
            'unknown-resource',
          )
    default:
      return find(message.uri, (uri) => resourceRow(table, uri), 'unknown-resource')
  }
}

/** The request with the server's own name in it. */
export const withOwnName = (bytes: Buffer, { row, literal }: Target): Buffer =>
  row.own === stringOf(bytes, literal) ? bytes : replaceSpans(bytes, [{ span: literal, with: JSON.stringify(row.own) }])

/** Runs a call at an upstream and answers the client with what comes of it. */
export const runCall = async (
  upstream: Upstream,
  request: Pick<UpstreamCall, 'client' | 'method' | 'row' | 'id' | 'body' | 'progressToken'>,
  reply: Reply,
  run: (call: UpstreamCall) => Promise<Outcome>,
): Promise<Outcome> => {
  const { client, id } = request
  const ending = new AbortController()
  let questions = 0
  let cancelled = false
  const { name } = upstream.server
  const running = {
    server: name,
    send: (bytes: Buffer): boolean => {
      reply.message(bytes)
      return !reply.ended
    },
    cancel(notification: Buffer) {
      cancelled = true
      void upstream.tell(client, forServer(upstream, 'notifications/cancelled', notification))
      setTimeout(() => ending.abort(), AFTER_CANCEL_MS).unref()
    },
  }
  client.calls.set(id, running)
  reply.resumableBy(client)
  reply.onClose(() => ending.abort())
  const outcome = await run({
    ...request,
    signal: ending.signal,
    // For ever only while there is somebody who could answer.
    waiting: () => questions > 0 && !reply.forsaken,
    onResumable: (retryMs) => reply.prime(retryMs),
    onPolled: (retryMs) => reply.release(retryMs),
    onMessage(message) {
      if (message.kind === 'request') {
        questions++
        ask(upstream, client, message, running.send, () => questions--)
      } else hear(upstream, client, message, (bytes) => reply.message(bytes))
    },
  })
  if (client.calls.get(id) === running) client.calls.delete(id)
  if (outcome.kind === 'answered') {
    // Whatever the server's status, an answer goes on as it is; only its kind of body is bounded.
    reply.end(outcome.body, outcome.status, outcome.type)
  } else if (cancelled || ending.signal.aborted) reply.abandon()
  else reply.refuse(outcome.reason, id, { server: name, subject: `${name}: ${outcome.detail}` })
  return outcome
}

/** A notification of a server for one client. Changed lists are the gateway's to announce, once they are read. */
export const hear = (
  upstream: Upstream,
  client: ClientState,
  message: Notification,
  deliver: (bytes: Buffer) => void,
): void => {
  if (isListChanged(message.method)) upstream.refresh()
  else if (message.method === 'notifications/cancelled') {
    const bytes = withdrawn(client, upstream.server.name, message.bytes)
    if (bytes !== undefined) deliver(bytes)
  } else if (message.method === 'notifications/resources/updated' && upstream.server.resources.prefix)
    deliver(prefixedUri(upstream.server.name, message))
  else deliver(forClient(upstream, message))
}

const prefixedUri = (server: string, { bytes, params }: Notification): Buffer => {
  const uri = params === undefined ? undefined : members(bytes, params).get('uri')
  return uri === undefined
    ? bytes
    : replaceSpans(bytes, [{ span: uri, with: JSON.stringify(`${server}+${stringOf(bytes, uri)}`) }])
}
