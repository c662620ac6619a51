/** A direct call that its server refused: the router sent it here with the server's answer, and this decides what it means. */
import type { IncomingHttpHeaders } from 'node:http'
import { type RoutingTable, type Row, toolOf } from '../catalog/routing-table.ts'
import { REPLAY_BODY, REPLAY_SERVER, REPLAY_STATUS, REPLAY_TYPE, SESSION_ID } from '../mcp/headers.ts'
import { stringOf } from '../mcp/json-text.ts'
import { isDirect } from '../mcp/methods.ts'
import type { Policy } from '../policy/policy.ts'
import { refused } from '../upstreams/http-exchange.ts'
import type { Outcome } from '../upstreams/upstream.ts'
import type { Broker } from './broker.ts'
import { runCall } from './calls.ts'
import type { StatelessIncoming } from './incoming.ts'
import { knowsEra } from './stateless-answer.ts'
import { deliver } from './stateless-call.ts'

/**
 * The body has the server's own names already. A session that is really gone is made anew and the call sent again; a
 * session that is alive means the answer was genuine, and the client gets it as the server sent it.
 */
export const replay = async (
  broker: Broker,
  headers: IncomingHttpHeaders,
  incoming: StatelessIncoming,
): Promise<void> => {
  const { message, bytes, reply } = incoming
  const server = text(headers[REPLAY_SERVER]) ?? ''
  const lostId = text(headers[SESSION_ID])
  const status = Number(text(headers[REPLAY_STATUS]) ?? 0)
  await broker.moved(server)
  const upstream = broker.upstreams.get(server)
  const id = message.id ?? 'null'
  reply.labels.server = server
  if (upstream === undefined) {
    reply.refuse('server-down', id, { server, subject: server })
    return
  }
  if (status === 0) {
    upstream.refresh()
    reply.refuse('server-down', id, { server, subject: `${server}: connection failed` })
    return
  }
  if (refused(status)) {
    upstream.refresh()
    reply.refuse('server-refused', id, { server, subject: `${server}: HTTP ${status}` })
    return
  }
  const body = text(headers[REPLAY_BODY])
  if (body === undefined) {
    reply.refuse('server-invalid', id, {
      server,
      subject: `${server}: HTTP ${status} with a body too large to hand on`,
    })
    return
  }
  const genuine: Extract<Outcome, { kind: 'answered' }> = {
    kind: 'answered',
    status,
    type: text(headers[REPLAY_TYPE]) ?? 'application/json',
    body: Buffer.from(body, 'base64'),
  }
  if (reply.era === 'stateless') {
    await replayStateless(incoming, server, genuine)
    return
  }
  const session = lostId === undefined ? undefined : broker.sessions.owner(server, lostId)
  if (session === undefined || lostId === undefined || upstream.replay === undefined) {
    reply.end(genuine.body, genuine.status, genuine.type)
    return
  }
  reply.inSession(session)
  const { replay: again } = upstream
  const client = broker.client(session)
  // The request is the session's; its headers may be others than those of the one before.
  client.caller = { ...client.caller, header: incoming.caller.header }
  const method = message.method !== undefined && isDirect(message.method) ? message.method : 'tools/call'
  const request = { client, method, row: undefined, id, body: bytes, progressToken: undefined }
  await runCall(upstream, request, reply, (call) => again(call, lostId, genuine))
}

/** There is no session to lose. But a server that answers as the other era does has changed, and has run nothing. */
const replayStateless = async (
  incoming: StatelessIncoming,
  server: string,
  genuine: Extract<Outcome, { kind: 'answered' }>,
): Promise<void> => {
  const { context, message, bytes, reply } = incoming
  const { id, method } = message
  const literal = method === 'resources/read' ? message.uri : message.name
  if (knowsEra(genuine.body) || id === undefined || method === undefined || !isDirect(method) || literal === undefined)
    reply.end(genuine.body, genuine.status, genuine.type)
  else if (mayBeAnothers(context.catalogue().table.policy)) {
    // Whose it was, and in which view, nobody knows here any more. It has run nothing, and may be sent again.
    context.upstreams.get(server)?.refresh()
    reply.refuse('server-down', id, { server, subject: `${server} speaks another era now` })
  } else {
    const row = rowOf(context.catalogue().table, server, stringOf(bytes, literal))
    await deliver({ ...incoming, id, method }, { row, literal })
  }
}

/** Whether a request may be more than anybody's: of a principal, or in a view. */
const mayBeAnothers = ({ authenticated, views }: Policy): boolean => authenticated || views.size > 0

/** The row behind a server's own name. */
const rowOf = (table: RoutingTable, server: string, own: string): Row => {
  const tool = toolOf(table, server, own)
  if (tool !== undefined) return tool
  for (const row of table.prompts.values()) if (row.server === server && row.own === own) return row
  return { exposed: own, own, server, hints: '', params: [] }
}

const text = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value)
