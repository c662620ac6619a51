/** What a stateful client gets for its GET: a stream of its own, or the rest of one that it lost. */
import type { ServerResponse } from 'node:http'
import type { Caller } from '../clients/caller.ts'
import type { Resumption } from '../clients/client-streams.ts'
import type { ClientSession } from '../sessions/session-table.ts'
import type { Broker } from './broker.ts'
import type { Reply } from './reply.ts'
import { resumeAtServer } from './resume-at-server.ts'

export interface Taking {
  readonly broker: Broker
  readonly session: ClientSession
  readonly caller: Caller
  /** As sent. */
  readonly lastEventId: string | undefined
  readonly res: ServerResponse
  readonly reply: Reply
  /** No new stream is opened any more; answers to calls under way can still be fetched. */
  readonly stopping: boolean
}

export const takeStream = (taking: Taking): void => {
  const { broker, session, caller, lastEventId = '', res, reply, stopping } = taking
  const client = broker.client(session)
  const found: Resumption = lastEventId === '' ? { to: 'anew' } : client.streams.find(lastEventId)
  const own = found.to === 'anew' || (found.to === 'stream' && found.kind === 'own')
  if (own && stopping) {
    reply.refuse('stopping', undefined)
    return
  }
  // The rest of a call's answer is not counted: whoever lost a connection could not have it otherwise.
  if (own && !broker.mayOpenStream(caller, client)) {
    reply.refuse('too-many-own-streams', undefined)
    return
  }
  switch (found.to) {
    case 'stream':
      reply.openStream()
      found.stream.attach(res, Date.now(), found.missed)
      break
    case 'anew':
      reply.openStream()
      client.openStream(res, Date.now())
      break
    case 'over':
      // So that it stops coming back (HTML, server-sent events).
      reply.accepted(204)
      break
    case 'unknown':
      reply.refuse('unknown-event', undefined)
      break
    case 'foreign':
      resumeAtServer(broker, client, lastEventId, reply)
      break
    default:
      found satisfies never
  }
  if (own) for (const upstream of broker.upstreams.values()) upstream.listen(client)
}
