/** A direct call that its server refused: the router sent it here with the server's answer, and this decides what it means. */
import type { IncomingHttpHeaders } from 'node:http'
import { REPLAY_BODY, REPLAY_SERVER, REPLAY_STATUS, REPLAY_TYPE, SESSION_ID } from '../mcp/headers.ts'
import type { Message } from '../mcp/message.ts'
import type { Broker } from './broker.ts'
import { runCall } from './calls.ts'
import { refused } from './http-exchange.ts'
import type { Reply } from './reply.ts'
import type { Outcome } from './upstream.ts'

/**
 * The body has the server's own names already. A session that is really gone is made anew and the call sent again; a
 * session that is alive means the answer was genuine, and the client gets it as the server sent it.
 */
export const replay = async (
  broker: Broker,
  headers: IncomingHttpHeaders,
  message: Message,
  bytes: Buffer,
  reply: Reply,
): Promise<void> => {
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
  const session = lostId === undefined ? undefined : broker.sessions.owner(server, lostId)
  if (session === undefined || lostId === undefined || upstream.replay === undefined) {
    reply.end(genuine.body, genuine.status, genuine.type)
    return
  }
  const { replay: again } = upstream
  await runCall(upstream, broker.client(session), id, bytes, undefined, reply, (call) => again(call, lostId, genuine))
}

const text = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value)
