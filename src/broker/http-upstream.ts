/** A server over Streamable HTTP: a session for every client's session that needs one, made lazily, once, and anew when lost. */
import type { ServerSession, SessionTable } from '../sessions/session-table.ts'
import type { ClientState } from './client-session.ts'
import { discover, type Link, pause } from './discovery.ts'
import { clientIntroduction, ownIntroduction } from './handshake.ts'
import { closeSession, type HttpEndpoint, isGone, listenOnce, maybeLost, openSession, send } from './http-session.ts'
import type { ServerMessage } from './server-message.ts'
import type { Outcome, Upstream, UpstreamCall, UpstreamEvents } from './upstream.ts'

/** A server that ends its stream is asked again, not sooner than this. */
const RELISTEN_MS = 1000
/** A server may hold back the head of its stream until it has something to say. */
const LISTENS_WITHIN_MS = 250

export const httpUpstream = (
  endpoint: HttpEndpoint,
  table: SessionTable,
  version: string,
  events: UpstreamEvents,
): Upstream => {
  const { name } = endpoint.server

  const openLink = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    const { session, initialized } = await openSession(
      endpoint,
      ownIntroduction(version, endpoint.server.client),
      signal,
    )
    const ending = new AbortController()
    const both = AbortSignal.any([signal, ending.signal])
    let announces = false
    let end: (reason: string) => void = () => undefined
    const over = new Promise<string>((resolve) => {
      end = resolve
    })
    const hear = (message: Exclude<ServerMessage, { kind: 'response' }>): void => {
      if (message.kind === 'request') void refuse(session, message.id)
      else if (isListChanged(message.method)) changed()
    }
    const opened = new Promise<void>((resolve) => {
      const listen = async (): Promise<void> => {
        for (;;) {
          const how = await listenOnce(
            endpoint,
            session,
            hear,
            () => {
              announces = true
              resolve()
            },
            both,
          )
          resolve()
          if (both.aborted || how === 'unsupported') return
          if (how !== 'ended') {
            end(how === 'lost' ? 'the server ended the session' : 'the connection to the server was lost')
            return
          }
          await pause(RELISTEN_MS, both)
        }
      }
      void listen()
    })
    await Promise.race([opened, pause(LISTENS_WITHIN_MS, both)])
    return {
      initialized,
      get announces() {
        return announces
      },
      over,
      async request(method, params, requestSignal) {
        const id = endpoint.nextId()
        const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}`)
        const { outcome } = await send(endpoint, session, body, id, { signal: AbortSignal.any([both, requestSignal]) })
        if (outcome.kind === 'failed') {
          if (!requestSignal.aborted) end(outcome.detail)
          throw new Error(outcome.detail)
        }
        if (outcome.status !== 200) {
          if (maybeLost(outcome.status, outcome.body)) end('the server ended the session')
          throw new Error(`HTTP ${outcome.status}`)
        }
        return outcome.body
      },
      close() {
        if (ending.signal.aborted) return
        ending.abort()
        void closeSession(endpoint, session)
      },
    }
  }

  const discovery = discover({
    server: () => endpoint.server,
    open: openLink,
    onChange: () => events.changed(upstream),
    onCapped: (list) => events.capped(upstream, list),
  })

  const refuse = (session: ServerSession, id: string): Promise<unknown> =>
    send(
      endpoint,
      session,
      Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"no client is behind this session"}}`),
      undefined,
      { signal: AbortSignal.timeout(5000) },
    )

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
    const { session, initialized } = await openSession(endpoint, as, AbortSignal.timeout(endpoint.server.timeoutMs))
    if (client.left) {
      void closeSession(endpoint, session)
      throw new Error('the session has ended')
    }
    table.bind(client.session, name, session)
    if (client.logLevel !== undefined && initialized.capabilities.has('logging')) await upstream.setLevel(client)
    // A server may ask on its stream for what it needs during a call, so that stream is open before the first call.
    if (mayAsk(client))
      await Promise.race([listening(client), pause(LISTENS_WITHIN_MS, AbortSignal.timeout(LISTENS_WITHIN_MS))])
    else upstream.listen(client)
    return session
  }
  /** Forgets a session, unless another call has replaced it meanwhile. */
  const drop = (client: ClientState, lost: ServerSession): void => {
    if (client.session.servers.get(name) !== lost) return
    table.bind(client.session, name, undefined)
    client.serverStreams.get(name)?.()
  }

  const ask = async (call: UpstreamCall, session: ServerSession): Promise<Outcome> => {
    const { outcome } = await send(endpoint, session, call.body, call.id, call)
    if (outcome.kind === 'failed' && outcome.reason !== 'server-silent' && !call.signal.aborted) discovery.refresh()
    return outcome
  }
  /** Asks again in a new session when the one it was asked in is really gone. */
  const askAgain = async (call: UpstreamCall, lost: ServerSession, refused: Outcome): Promise<Outcome> => {
    if (lost.id === undefined) return refused
    const replaced = call.client.session.servers.get(name) !== lost && call.client.session.servers.has(name)
    if (!replaced) {
      if (!(await isGone(endpoint, lost))) return refused
      drop(call.client, lost)
    }
    const again = await opened(call.client)
    return 'kind' in again ? again : ask(call, again)
  }
  const opened = async (client: ClientState): Promise<ServerSession | Extract<Outcome, { kind: 'failed' }>> => {
    try {
      return await sessionFor(client)
    } catch (error) {
      discovery.refresh()
      const detail = error instanceof Error ? error.message : String(error)
      return { kind: 'failed', reason: detail.startsWith('no byte for') ? 'server-silent' : 'server-down', detail }
    }
  }

  const upstream: Upstream = {
    get server() {
      return endpoint.server
    },
    shared: false,
    update(next) {
      if (next.kind === 'http') endpoint.server = next
    },
    status: () => discovery.status(),
    catalogue: () => discovery.catalogue(),
    settled: discovery.settled,
    refresh: () => discovery.refresh(),
    async call(call) {
      const session = await opened(call.client)
      if ('kind' in session) return session
      const outcome = await ask(call, session)
      return outcome.kind === 'answered' && maybeLost(outcome.status, outcome.body)
        ? askAgain(call, session, outcome)
        : outcome
    },
    replay(call, lostId, refused) {
      const current = call.client.session.servers.get(name)
      const lost =
        current?.id === lostId ? current : { id: lostId, protocolVersion: call.client.session.claims.protocolVersion }
      return askAgain(call, lost, refused)
    },
    async tell(client, body) {
      const session = client.session.servers.get(name)
      if (session !== undefined)
        await send(endpoint, session, body, undefined, { signal: AbortSignal.timeout(endpoint.server.timeoutMs) })
    },
    async setLevel(client) {
      const session = client.session.servers.get(name)
      if (session === undefined || client.logLevel === undefined) return
      const id = endpoint.nextId()
      const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"logging/setLevel","params":${client.logLevel}}`)
      await send(endpoint, session, body, id, { signal: AbortSignal.timeout(5000) })
    },
    listen: (client) => void listening(client),
    async leave(client) {
      client.serverStreams.get(name)?.()
      const session = client.session.servers.get(name)
      if (session !== undefined) await closeSession(endpoint, session)
    },
    close: () => discovery.close(),
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
    opened: () => void,
    signal: AbortSignal,
  ): Promise<void> => {
    while (!signal.aborted && (client.hasStream || mayAsk(client))) {
      const how = await listenOnce(
        endpoint,
        session,
        (message) => events.message(upstream, client, message),
        opened,
        signal,
      )
      // A lost session is found out by the next call; until then there is nothing to hear.
      if (how === 'unsupported' || how === 'lost') return
      await pause(RELISTEN_MS, signal)
    }
  }
  return upstream
}

/** Whether a notification says that a list changed. */
export const isListChanged = (method: string): boolean =>
  /^notifications\/(tools|prompts|resources)\/list_changed$/.test(method)
