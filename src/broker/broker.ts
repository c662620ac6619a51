/** The broker: one MCP server to the clients, many servers behind it; holds the upstreams, the catalogue and the clients. */
import { randomBytes } from 'node:crypto'
import { type Catalogue, emptyCatalogue, mergeCatalogue } from '../catalog/catalogue.ts'
import type { ServerCatalogue } from '../catalog/server-catalogue.ts'
import { visible } from '../catalog/visible.ts'
import type { Caller } from '../clients/caller.ts'
import { ClientState, type HearingRights } from '../clients/client-session.ts'
import type { Held } from '../clients/event-store.ts'
import { members, stringOf } from '../mcp/json-text.ts'
import { isFor } from '../policy/audience.ts'
import { judge } from '../policy/judge.ts'
import type { Registry } from '../registry/model.ts'
import type { Confirmations } from '../sessions/confirmation.ts'
import type { ClientSession, SessionTable } from '../sessions/session-table.ts'
import { ask } from '../upstreams/questions.ts'
import type { MakeUpstream, Upstream, UpstreamEvents } from '../upstreams/upstream.ts'
import { announcer } from './announcer.ts'
import { callLimits } from './call-limits.ts'
import { callerCatalogues } from './caller-catalogues.ts'
import { hear } from './calls.ts'
import type { Context } from './context.ts'
import { listeners as makeListeners } from './listen.ts'
import { conversation, showing } from './server-entry.ts'
import type { SessionPool } from './session-pool.ts'
import { taskIds } from './task-ids.ts'

const MOST_STREAMS = 1024
const NONE: ReadonlyMap<string, ServerCatalogue> = new Map()

interface Options {
  readonly version: string
  readonly sessions: SessionTable
  readonly pool: SessionPool
  readonly confirmations: Confirmations
  /** A secret that tasks' names are made with; absent: a new one. */
  readonly key?: Uint8Array
  /** Listen streams of all clients together; default: 1024. */
  readonly mostStreams?: number
  readonly makeUpstream: MakeUpstream
  /** The catalogue, and with it the routing table, is another one. */
  readonly onCatalogue: (catalogue: Catalogue) => void
  /** A list of a server is longer than we follow. */
  readonly onCapped: (upstream: Upstream, list: string) => void
  /** A server's state changed. */
  readonly onState: (upstream: Upstream) => void
}

export interface Broker extends Context {
  /**
   * Takes a new registry, at once: servers that are the same go on, the others are closed or opened. Resolves when those
   * that go have been told, or do not listen.
   */
  apply(registry: Registry): Promise<void>
  /**
   * Prepares for a registry that Envoy does not have yet: ends the sessions of servers that go, or whose name will lead
   * to another address, so that no id of one ever reaches the other. Calls of the latter wait until `apply`.
   */
  retire(next: Registry): Promise<void>
  client(session: ClientSession): ClientState
  /** The same; this caller's request is one of the session. */
  clientFor(session: ClientSession, caller: Caller): ClientState
  /** The states of clients that have one, for keep-alive and counting. */
  clients(): Iterable<ClientState>
  /** Whether some server has a tool of this name of its own. */
  knowsTool(own: string): boolean
  /** Ends the streams of those whose token is no longer good. */
  expire(nowMs: number): void
  /** Ends a client's session here and at every server. */
  leave(session: ClientSession): Promise<void>
  close(): Promise<void>
}

export const broker = (options: Options): Broker => {
  const { sessions, pool } = options
  const clients = new Map<ClientSession, ClientState>()
  /** What is kept of what was sent to them, for those that lose a connection. */
  const held: Held = { bytes: 0 }
  const upstreams = new Map<string, Upstream>()
  const limits = callLimits()
  const tasks = taskIds(options.key ?? randomBytes(32), () => catalogue.table.policy)
  const listeners = makeListeners({
    upstreams,
    table: () => catalogue.table,
    taskIds: tasks,
    mostStreams: options.mostStreams ?? MOST_STREAMS,
  })
  /** What a server offered at its old address, until it has answered at the new one. */
  const inherited = new Map<string, ServerCatalogue>()
  let registry: Registry | undefined
  /** Resolves when the servers of the first registry have answered, failed or used up their time. */
  let begin: (servers: Promise<unknown>) => void = () => undefined
  let isSettled = false
  const first = new Promise<unknown>((resolve) => {
    begin = resolve
  }).then(() => {
    isSettled = true
  })
  let catalogue: Catalogue = emptyCatalogue
  let ownTools: { readonly of: Catalogue; readonly names: ReadonlySet<string> } = {
    of: emptyCatalogue,
    names: new Set(),
  }

  const clientOf = (session: ClientSession): ClientState => {
    const known = clients.get(session)
    if (known !== undefined) return known
    const made = new ClientState(session, held, rights)
    clients.set(session, made)
    return made
  }

  const rights: HearingRights = {
    of({ caller }, resource) {
      const verdict = judge(catalogue.table.policy, caller, 'resources/subscribe', 'resources', resource)
      return verdict.allowed && !verdict.confirm
    },
    from: ({ caller, offered = catalogue }, server) => visible(offered, caller).shows(server),
  }

  const mergeWith = (current: Registry, own: ReadonlyMap<string, ServerCatalogue>): Catalogue => {
    const answers = new Map<string, ServerCatalogue>()
    for (const { name } of current.servers) {
      const known = own.get(name) ?? upstreams.get(name)?.catalogue() ?? inherited.get(name)
      if (known !== undefined) answers.set(name, known)
    }
    return mergeCatalogue(current, answers)
  }
  const catalogues = callerCatalogues({
    upstreams,
    shared: () => catalogue,
    merge: (own) => (registry === undefined ? catalogue : mergeWith(registry, own)),
  })
  const announce = announcer({ clients: () => clients.values(), listeners, catalogues, shared: () => catalogue })

  const merge = (): void => {
    if (registry === undefined) return
    const before = catalogue
    catalogue = mergeWith(registry, NONE)
    options.onCatalogue(catalogue)
    announce.changed(before, catalogue)
  }

  const events: UpstreamEvents = {
    changed(upstream) {
      if (upstreams.get(upstream.server.name) !== upstream) return
      options.onState(upstream)
      merge()
    },
    changedFor(upstream, isMeant) {
      if (upstreams.get(upstream.server.name) === upstream) announce.changedFor(isMeant)
    },
    capped: options.onCapped,
    shared(upstream, message) {
      const { name } = upstream.server
      for (const client of clients.values())
        hear(upstream, client, message, (bytes) => {
          if (client.subscriptions.get(uriOf(bytes)) === name) client.send(bytes)
        })
    },
    message(upstream, client, message) {
      const { name } = upstream.server
      const deliver = (bytes: Buffer): boolean => client.sendFrom(name, bytes)
      if (message.kind === 'request')
        ask(upstream, client, message, (bytes) => client.mayHearFrom(name) && deliver(bytes))
      else hear(upstream, client, message, deliver)
    },
  }

  const endStreams = (isOver: (caller: Caller) => boolean): void => {
    for (const client of clients.values()) if (client.hasStream && isOver(client.caller)) client.closeStream()
    listeners.end(isOver)
  }

  /** Resolves when the server has been told that its sessions are over. */
  const drop = async (upstream: Upstream): Promise<void> => {
    const { name } = upstream.server
    const told = [pool.drop(name)]
    for (const session of sessions.live()) {
      if (!session.servers.has(name)) continue
      const client = clientOf(session)
      told.push(upstream.leave(client))
      sessions.bind(session, name, undefined)
      for (const [id, question] of client.questions) {
        if (question.server !== name) continue
        client.questions.delete(id)
        question.withdraw()
      }
    }
    void upstream.close()
    await Promise.allSettled(told)
  }

  /** Servers whose entry leads elsewhere soon: nothing is asked of them until it does. */
  const moving = new Map<string, { readonly done: Promise<void>; readonly end: () => void }>()
  const hold = (name: string): void => {
    let end: () => void = () => undefined
    const done = new Promise<void>((resolve) => {
      end = resolve
    })
    moving.set(name, { done, end })
  }

  const self: Broker = {
    version: options.version,
    sessions,
    pool,
    confirmations: options.confirmations,
    listeners,
    upstreams,
    catalogue: () => catalogue,
    catalogueFor: (caller) => catalogues.of(caller),
    taskIds: tasks,
    callLimits: limits,
    mayOpenStream({ principal }, instead) {
      const most = registry?.gateway.limits?.streams
      if (most === undefined) return true
      const theirs = [...clients.values()].filter(
        (client) => client !== instead && client.hasStream && client.session.claims.principal === principal.key,
      )
      return theirs.length + listeners.countOf(principal.key) < most
    },
    settled: async () => {
      // A server added later never holds up the lists of the others: its tools are announced when they are known.
      await first
    },
    get isSettled() {
      return isSettled
    },
    moved: (name) => moving.get(name)?.done,
    async retire(next) {
      if (registry === undefined) return
      const wanted = new Map(next.servers.filter(({ enabled }) => enabled).map((server) => [server.name, server]))
      const kept = registry.servers.filter(({ name }) => wanted.has(name))
      const gone = kept.length < registry.servers.length ? self.apply({ ...registry, servers: kept }) : undefined
      const changed = [...upstreams.values()].filter(({ server }) => {
        const other = wanted.get(server.name)
        return other !== undefined && conversation(server) !== conversation(other)
      })
      for (const { server } of changed) hold(server.name)
      await Promise.all([gone, ...changed.map(drop)])
    },
    async apply(next) {
      const enabled = new Map(next.servers.filter((server) => server.enabled).map((server) => [server.name, server]))
      const gone: Upstream[] = []
      for (const [name, upstream] of upstreams) {
        const server = enabled.get(name)
        if (server !== undefined && conversation(upstream.server) === conversation(server)) {
          const renewed = showing(upstream.server) !== showing(server)
          upstream.update(server)
          if (renewed) upstream.refresh()
        } else {
          upstreams.delete(name)
          gone.push(upstream)
        }
      }
      registry = next
      for (const name of inherited.keys()) if (!enabled.has(name)) inherited.delete(name)
      for (const upstream of gone) {
        const offered = upstream.catalogue()
        if (offered !== undefined && enabled.has(upstream.server.name)) inherited.set(upstream.server.name, offered)
      }
      for (const server of enabled.values()) {
        if (upstreams.has(server.name)) continue
        const upstream = options.makeUpstream(server, events)
        upstreams.set(server.name, upstream)
        void upstream.settled.then(() => {
          if (upstreams.get(server.name) === upstream && inherited.delete(server.name)) merge()
        })
      }
      const told = gone.map(drop)
      for (const { end } of moving.values()) end()
      moving.clear()
      begin(Promise.all([...upstreams.values()].map(({ settled }) => settled)))
      merge()
      listeners.rewatch()
      endStreams((caller) => !isLetIn(caller, next))
      await Promise.all(told)
    },
    knowsTool: (own) => {
      if (ownTools.of !== catalogue)
        ownTools = { of: catalogue, names: new Set([...catalogue.table.tools.values()].map((row) => row.own)) }
      return ownTools.names.has(own)
    },
    client: clientOf,
    clientFor(session, caller) {
      const client = clientOf(session)
      const before = client.caller
      client.caller = caller
      announce.moved(client, before)
      return client
    },
    expire(nowMs) {
      const skewMs = registry?.gateway.auth?.skewMs ?? 0
      const isOver = ({ principal: { claims } }: Caller): boolean =>
        typeof claims['exp'] === 'number' && claims['exp'] * 1000 + skewMs < nowMs
      endStreams(isOver)
    },
    clients: () => clients.values(),
    async leave(session) {
      const client = clientOf(session)
      client.leave()
      // The servers' sessions are still known while they are told. Some keep more of a client than a session.
      const told = Promise.allSettled([...upstreams.values()].map((upstream) => upstream.leave(client)))
      clients.delete(session)
      sessions.end(session)
      await told
    },
    async close() {
      for (const client of clients.values()) client.closeStream()
      listeners.close()
      // The sessions' servers are told first, as in `drop`.
      await Promise.allSettled([pool.close(), ...[...upstreams.values()].map((upstream) => upstream.close())])
      upstreams.clear()
    },
  }
  return self
}

/** Whether who came so, and there, would be let in now. */
const isLetIn = ({ principal: { claims }, view }: Caller, { gateway: { auth }, views }: Registry): boolean =>
  (view === '' || views.some(({ name }) => name === view)) &&
  claims['iss'] === auth?.issuer &&
  (auth === undefined || isFor(claims['aud'], auth.audience, view))

/** `params.uri` of a notification. */
const uriOf = (bytes: Buffer): string => {
  const params = members(bytes).get('params')
  const uri = params === undefined ? undefined : members(bytes, params).get('uri')
  return uri === undefined ? '' : stringOf(bytes, uri)
}
