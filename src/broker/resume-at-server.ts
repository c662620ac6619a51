/** The rest of a stream that came straight from a server: its event ids are the server's own, so the server is asked for it. */

import type { ClientState } from '../clients/client-session.ts'
import { refused } from '../upstreams/http-exchange.ts'
import { localReply } from '../upstreams/local-reply.ts'
import type { Broker } from './broker.ts'
import type { Reply } from './reply.ts'

/** Of a refusal in the server's own words. */
const MOST_REFUSAL_BYTES = 256 * 1024

/**
 * The id does not say which server made it, and nobody saw it pass: the server of the session's latest direct call is
 * asked. What it sends goes to the client as it is, and so does its refusal.
 */
export const resumeAtServer = (broker: Broker, client: ClientState, lastEventId: string, reply: Reply): void => {
  const name = [...client.session.directCalls.values()].at(-1)
  const upstream = name === undefined ? undefined : broker.upstreams.get(name)
  const refuse = (reason: 'server-down' | 'server-refused' | 'server-invalid', detail: string): void =>
    reply.refuse(reason, undefined, { server: name ?? '', subject: `${name}: ${detail}` })
  let status = 0
  let type = 'application/json'
  const refusal: Buffer[] = []
  let size = 0
  let streaming = false
  const stop = upstream?.resume?.(client, lastEventId, {
    head(code, headers) {
      status = code
      type = headers['content-type'] ?? type
      streaming = code === 200 && type.toLowerCase().startsWith('text/event-stream')
      const envoys = localReply(headers)
      if (envoys !== undefined) refuse('server-down', envoys)
      // To a client it would mean that its session here is gone.
      else if (code === 404) reply.refuse('unknown-event', undefined)
      else if (refused(code)) refuse('server-refused', `HTTP ${code}`)
      else if (streaming) reply.openStream()
    },
    data(chunk) {
      if (reply.ended) return
      if (streaming) {
        reply.raw(chunk)
        return
      }
      size += chunk.length
      if (size <= MOST_REFUSAL_BYTES) refusal.push(Buffer.from(chunk))
      else refuse('server-invalid', `HTTP ${status} with a body too large to hand on`)
    },
    end() {
      if (streaming) reply.abandon()
      else reply.end(Buffer.concat(refusal), status, type)
    },
    error(error) {
      if (streaming) reply.cut()
      else refuse('server-down', error.message)
    },
  })
  if (stop === undefined) {
    reply.refuse('unknown-event', undefined)
    return
  }
  if (name !== undefined) reply.labels.server = name
  reply.onClose(stop)
}
