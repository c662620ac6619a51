/** Stateful clients at a stateful server over HTTP: a session for each that needs one, made lazily, once, and anew when lost. */

import type { ClientState } from '../clients/client-session.ts'
import type { ServerSession, SessionTable } from '../sessions/session-table.ts'
import { deniesStateful } from './era-probe.ts'
import { clientIntroduction, ownRequest } from './handshake.ts'
import {
  type Cursor,
  closeSession,
  cursor,
  type HttpEndpoint,
  isGone,
  listenOnce,
  maybeLost,
  onBehalfOf,
  openSession,
  send,
  takeUp,
} from './http-session.ts'
import type { ExchangeEvents } from './inner-client.ts'
import { pause } from './pause.ts'
import type { ServerMessage } from './server-message.ts'
import { LISTENS_WITHIN_MS } from './stateful-link.ts'
import { type Failure, failed, notShown, type Outcome, type UpstreamCall } from './upstream.ts'

export interface StatefulLeg {
  call(call: UpstreamCall): Promise<Outcome>
  /** A call that the server refused in its session `lostId`, sent again when that session is really gone. */
  replay(call: UpstreamCall, lostId: string, refused: Outcome): Promise<Outcome>
  /** As in `Upstream`. */
  resume(client: ClientState, lastEventId: string, events: ExchangeEvents): (() => void) | undefined
  tell(client: ClientState, body: Buffer): Promise<void>
  setLevel(client: ClientState): Promise<void>
  listen(client: ClientState): void
  leave(client: ClientState): Promise<void>
}

interface Options {
  readonly endpoint: HttpEndpoint
  readonly table: SessionTable
  /** The server did not take part as it should: it may be down. */
  readonly failing: () => void
  /** A message for one client outside any call. */
  readonly message: (client: ClientState, message: Exclude<ServerMessage, { kind: 'response' }>) => void
}

interface Call extends UpstreamCall {
  readonly by: HttpEndpoint
}

/** Why a session could not be opened, for all that wait for it. */
class NotOpened extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.detail)
    this.failure = failure
  }
}

export const statefulLeg = ({ endpoint, table, failing, message }: Options): StatefulLeg => {
  const { name } = endpoint.server
  const by = (client: ClientState): HttpEndpoint => onBehalfOf(endpoint, () => client.caller)

  /** The session for a client, opened when there is none; concurrent callers share one opening. */
  const sessionFor = (client: ClientState): Promise<ServerSession> => {
    const known = client.session.servers.get(name)
    if (known !== undefined) return Promise.resolve(known)
    const opening = client.opening.get(name)
    if (opening !== undefined) return opening
    const made = open(client).finally(() => client.opening.delete(name))
    client.opening.set(name, made)
    return made
  }
  const open = async (client: ClientState): Promise<ServerSession> => {
    const as = clientIntroduction(client.session.claims, endpoint.server.client)
    const made = await openSession(by(client), as, AbortSignal.timeout(endpoint.server.timeoutMs))
    if ('kind' in made) throw new NotOpened(made)
    const { session, initialized } = made
    if (client.left) {
      void closeSession(by(client), session)
      throw new NotOpened(failed('server-down', 'the session has ended'))
    }
    table.bind(client.session, name, session)
    if (client.logLevel !== undefined && initialized.capabilities.has('logging')) await setLevel(client)
    // A server may ask on its stream for what it needs during a call, so that stream is open before the first call.
    if (mayAsk(client))
      await Promise.race([listening(client), pause(LISTENS_WITHIN_MS, AbortSignal.timeout(LISTENS_WITHIN_MS))])
    else void listening(client)
    return session
  }
  const opened = async (client: ClientState): Promise<ServerSession | Failure> => {
    try {
      return await sessionFor(client)
    } catch (error) {
      if (!(error instanceof NotOpened)) throw error
      if (!notShown(error.failure)) failing()
      return error.failure
    }
  }
  /** Forgets a session, unless another call has replaced it meanwhile. */
  const drop = (client: ClientState, lost: ServerSession): void => {
    if (client.session.servers.get(name) !== lost) return
    table.bind(client.session, name, undefined)
    client.serverStreams.get(name)?.()
  }

  /** A call is made for whoever asked for it, whoever asks for something else meanwhile. */
  const ofCaller = (call: UpstreamCall): Call => {
    const { caller } = call.client
    return { ...call, by: onBehalfOf(endpoint, () => caller) }
  }
  const ask = async (call: Call, session: ServerSession): Promise<Outcome> => {
    const { outcome } = await send(call.by, session, call.body, call.id, call)
    const isServers = outcome.kind === 'failed' && outcome.reason !== 'server-silent' && !notShown(outcome)
    if (isServers && !call.signal.aborted) failing()
    return deniesStateful(outcome) ? { ...outcome, otherEra: true } : outcome
  }
  /** Asks again in a new session when the one it was asked in is really gone. */
  const askAgain = async (call: Call, lost: ServerSession, refused: Outcome): Promise<Outcome> => {
    if (lost.id === undefined) return refused
    const replaced = call.client.session.servers.get(name) !== lost && call.client.session.servers.has(name)
    if (!replaced) {
      if (!(await isGone(call.by, lost))) return refused
      drop(call.client, lost)
    }
    const again = await opened(call.client)
    return 'kind' in again ? again : ask(call, again)
  }

  const setLevel = async (client: ClientState): Promise<void> => {
    const session = client.session.servers.get(name)
    if (session === undefined || client.logLevel === undefined) return
    const id = endpoint.nextId()
    const body = ownRequest(id, 'logging/setLevel', client.logLevel)
    await send(by(client), session, body, id, { signal: AbortSignal.timeout(5000) })
  }

  /** Whether this server could ask this client for something. */
  const mayAsk = (client: ClientState): boolean =>
    endpoint.server.client.some((feature) => client.session.claims.features.includes(feature))

  /** Listens to what the server says outside calls, if anybody would hear it; resolves once it does, or cannot. */
  const listening = (client: ClientState): Promise<void> =>
    new Promise((resolve) => {
      const session = client.session.servers.get(name)
      const wanted = client.hasStream || mayAsk(client)
      if (!wanted || session?.id === undefined || client.serverStreams.has(name)) {
        resolve()
        return
      }
      const ending = new AbortController()
      client.serverStreams.set(name, () => ending.abort())
      void keepListening(client, session, resolve, ending.signal).finally(() => {
        client.serverStreams.delete(name)
        resolve()
      })
    })
  const keepListening = async (
    client: ClientState,
    session: ServerSession,
    heard: () => void,
    signal: AbortSignal,
  ): Promise<void> => {
    let at: Cursor = cursor
    while (!signal.aborted && (client.hasStream || mayAsk(client))) {
      const { how, next } = await listenOnce(by(client), session, at, (one) => message(client, one), heard, signal)
      // A lost session is found out by the next call; until then there is nothing to hear.
      if (how === 'unsupported' || how === 'lost' || how === 'not-shown') return
      at = next
      await pause(at.retryMs, signal)
    }
  }

  return {
    async call(given) {
      const call = ofCaller(given)
      const session = await opened(call.client)
      if ('kind' in session) return session
      const outcome = await ask(call, session)
      const lost = outcome.kind === 'answered' && maybeLost(outcome.status, outcome.body)
      return lost ? askAgain(call, session, outcome) : outcome
    },
    replay(given, lostId, refused) {
      const call = ofCaller(given)
      const current = call.client.session.servers.get(name)
      const lost =
        current?.id === lostId ? current : { id: lostId, protocolVersion: call.client.session.claims.protocolVersion }
      return askAgain(call, lost, refused)
    },
    resume(client, lastEventId, events) {
      const session = client.session.servers.get(name)
      return session?.id === undefined
        ? undefined
        : endpoint.client.start(takeUp(by(client), session, lastEventId), events)
    },
    async tell(client, body) {
      const session = client.session.servers.get(name)
      if (session !== undefined)
        await send(by(client), session, body, undefined, {
          signal: AbortSignal.timeout(endpoint.server.timeoutMs),
        })
    },
    setLevel,
    listen: (client) => void listening(client),
    async leave(client) {
      client.serverStreams.get(name)?.()
      const session = client.session.servers.get(name)
      if (session !== undefined) await closeSession(by(client), session)
    },
  }
}
