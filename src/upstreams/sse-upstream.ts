/** A server over the HTTP+SSE transport (2024-11-05): one connection for every client's session that needs one, and one of our own. */

import type { ClientState } from '../clients/client-session.ts'
import { members } from '../mcp/json-text.ts'
import type { ServerSession, SessionTable } from '../sessions/session-table.ts'
import { discover, type Link } from './discovery.ts'
import {
  clientIntroduction,
  type Initialized,
  type Introduction,
  initializeBody,
  initializedBody,
  ownIntroduction,
  ownRequest,
  parseInitialized,
} from './handshake.ts'
import { CALLERS_REFRESH_MS, type HttpEndpoint, onBehalfOf } from './http-session.ts'
import { resourceWatch } from './resource-watch.ts'
import { isListChanged, updatedUri } from './server-message.ts'
import { NotShown } from './shown-client.ts'
import { type Heard, openChannel, type SseChannel } from './sse-channel.ts'
import {
  answerOf,
  type EraFinding,
  type Failure,
  failed,
  notShown,
  type Upstream,
  type UpstreamEvents,
} from './upstream.ts'

interface Session {
  readonly channel: SseChannel
  readonly initialized: Initialized
}

export const sseUpstream = (
  endpoint: HttpEndpoint,
  table: SessionTable,
  version: string,
  events: UpstreamEvents,
): Upstream => {
  const { name } = endpoint.server
  const finding: EraFinding = { eras: ['stateful'], how: 'pinned', atMs: Date.now() }
  const sessions = new Map<ClientState, Promise<Session | Failure>>()
  let own: SseChannel | undefined
  const ending = new AbortController()

  /** Sends a request of ours. */
  const ask = (channel: SseChannel, method: string, params: string, signal: AbortSignal) => {
    const id = endpoint.nextId()
    const body = ownRequest(id, method, params)
    return channel.request({ id, body, signal })
  }
  /** Connects and introduces itself; `signal` ends that, not what comes after. */
  const connect = async (
    to: HttpEndpoint,
    as: Introduction,
    hear: (message: Heard, channel: SseChannel) => void,
    signal: AbortSignal,
  ): Promise<Session | Failure> => {
    const early: Heard[] = []
    const opened: { by?: SseChannel } = {}
    const channel = await openChannel(
      to,
      (message) => (opened.by === undefined ? early.push(message) : hear(message, opened.by)),
      signal,
    )
    if ('kind' in channel) return channel
    opened.by = channel
    for (const message of early) hear(message, channel)
    const id = endpoint.nextId()
    const outcome = await channel.request({ id, body: initializeBody(id, as), signal })
    const initialized = outcome.kind === 'answered' ? parseInitialized(outcome.body) : outcome
    if (typeof initialized !== 'string' && !('kind' in initialized)) {
      await channel.tell(initializedBody)
      return { channel, initialized }
    }
    channel.close()
    return typeof initialized === 'string' ? failed('server-invalid', initialized) : initialized
  }

  /** What is watched is subscribed to in our own session. */
  const subscribe = async (channel: SseChannel, uris: readonly string[]): Promise<readonly string[]> => {
    const agreed = uris.map(async (uri) => {
      const signal = AbortSignal.timeout(endpoint.server.timeoutMs)
      const outcome = await ask(channel, 'resources/subscribe', JSON.stringify({ uri }), signal)
      return outcome.kind === 'answered' && members(outcome.body).has('result') ? [uri] : []
    })
    return (await Promise.all(agreed)).flat()
  }
  const watched = resourceWatch({
    begin: (uris) => (own === undefined ? Promise.resolve([]) : subscribe(own, uris)),
    end(uris) {
      const channel = own
      if (channel === undefined) return
      for (const uri of uris)
        void ask(channel, 'resources/unsubscribe', JSON.stringify({ uri }), AbortSignal.timeout(5000))
    },
  })

  const openLink = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    const hear = (message: Heard, channel: SseChannel): void => {
      if (message.kind === 'request') void channel.tell(withoutClient(message))
      else if (isListChanged(message.method)) changed()
      else if (message.method === 'notifications/resources/updated') {
        const uri = updatedUri(message)
        if (uri !== undefined) watched.changed(uri)
      }
    }
    const session = await connect(endpoint, ownIntroduction(version, endpoint.server.client), hear, signal)
    if ('kind' in session) throw notShown(session) ? new NotShown(session) : new Error(session.detail)
    const { channel, initialized } = session
    own = channel
    const over = channel.over.then(({ detail }) => {
      if (own === channel) own = undefined
      return detail
    })
    // What changed in between nobody will ever tell.
    void subscribe(channel, watched.uris).then((uris) => uris.forEach((uri) => watched.changed(uri)))
    return {
      initialized,
      eras: finding.eras,
      announces: true,
      over,
      async request(method, params, requestSignal) {
        return answerOf(await ask(channel, method, params, AbortSignal.any([signal, requestSignal])))
      },
      close: () => channel.close(),
    }
  }
  const discovery = discover({
    server: () => endpoint.server,
    open: openLink,
    onChange: () => events.changed(upstream),
    onCapped: (list) => events.capped(upstream, list),
    refreshMs: endpoint.as === undefined ? undefined : CALLERS_REFRESH_MS,
  })

  /** The client's session here, opened when there is none; concurrent callers share one opening. */
  const sessionFor = (client: ClientState): Promise<Session | Failure> => {
    const known = sessions.get(client)
    if (known !== undefined) return known
    const opening = open(client, () => {
      if (sessions.get(client) === opening) sessions.delete(client)
    })
    sessions.set(client, opening)
    return opening
  }
  const open = async (client: ClientState, forget: () => void): Promise<Session | Failure> => {
    const as = clientIntroduction(client.session.claims, endpoint.server.client)
    const by = onBehalfOf(endpoint, () => client.caller)
    const session = await connect(by, as, (message) => events.message(upstream, client, message), ending.signal)
    if ('kind' in session) {
      forget()
      if (!notShown(session)) discovery.refresh()
      return session
    }
    const { channel, initialized } = session
    const bound: ServerSession = { id: undefined, protocolVersion: initialized.protocolVersion }
    void channel.over.then(() => {
      forget()
      if (client.session.servers.get(name) === bound) table.bind(client.session, name, undefined)
    })
    if (client.left) {
      channel.close()
      return failed('server-down', 'the session has ended')
    }
    table.bind(client.session, name, bound)
    if (initialized.capabilities.has('logging')) await level(client, channel)
    return session
  }
  const level = async ({ logLevel }: ClientState, channel: SseChannel): Promise<void> => {
    if (logLevel !== undefined) await ask(channel, 'logging/setLevel', logLevel, AbortSignal.timeout(5000))
  }
  /** The connection a client has; never opens one. */
  const channelOf = async (client: ClientState): Promise<SseChannel | undefined> => {
    const session = await sessions.get(client)
    return session === undefined || 'kind' in session ? undefined : session.channel
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
    era: () => finding,
    async call(call) {
      const session = await sessionFor(call.client)
      if ('kind' in session) return session
      const { id, body, signal, progressToken: token } = call
      const outcome = await session.channel.request({
        id,
        body,
        signal,
        progressToken: token === undefined ? undefined : body.toString('utf8', token.start, token.end),
        waiting: () => call.waiting(),
        onMessage: (message) => call.onMessage(message),
      })
      const isServers = outcome.kind === 'failed' && outcome.reason !== 'server-silent' && !notShown(outcome)
      if (isServers && !signal.aborted) discovery.refresh()
      return outcome
    },
    pass: () => Promise.resolve(failed('server-invalid', 'it does not speak the stateless era')),
    watch: (uris, changed, signal) => watched.watch(uris, changed, signal),
    async tell(client, body) {
      await (await channelOf(client))?.tell(body)
    },
    async setLevel(client) {
      const channel = await channelOf(client)
      if (channel !== undefined) await level(client, channel)
    },
    // Its stream is open for as long as its session.
    listen: () => undefined,
    async leave(client) {
      const channel = await channelOf(client)
      sessions.delete(client)
      channel?.close()
    },
    async close() {
      ending.abort()
      await discovery.close()
      for (const client of sessions.keys()) (await channelOf(client))?.close()
    },
  }
  return upstream
}

/** What the gateway's own session answers a server that asks it something. */
const withoutClient = ({ id, method }: Extract<Heard, { kind: 'request' }>): Buffer =>
  Buffer.from(
    method === 'ping'
      ? `{"jsonrpc":"2.0","id":${id},"result":{}}`
      : `{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"no client is behind this session"}}`,
  )
