/** Clients' sessions and the sessions that servers opened for them; what a sealed id leads to. */
import { randomBytes } from 'node:crypto'
import type { Sealer, SessionClaims } from './session-id.ts'

/** A session a server opened for one client's session. `id` undefined: the server has no sessions. */
export interface ServerSession {
  readonly id: string | undefined
  readonly protocolVersion: string
}

/** A live session of a client. */
export interface ClientSession {
  readonly claims: SessionClaims
  /** Server's name → its session. Filled by the broker alone; ext_proc only reads. */
  readonly servers: Map<string, ServerSession>
  /** Raw ids of the latest direct calls → server, so that a cancellation finds its way. Bounded. */
  readonly directCalls: Map<string, string>
  lastUsedMs: number
}

/** Who comes with an id, and where. */
export interface Holder {
  /** The key of the principal. */
  readonly principal: string
  readonly view: string
}

/** What ext_proc needs of the sessions. */
export interface SessionLookup {
  /** The live session of a sealed id; undefined: forged, ended, forgotten, or another's. Marks it as used. */
  find(sealedId: string, holder: Holder): ClientSession | undefined
}

/** How long an id is good for at most. Ids ended earlier are remembered until then. */
const LIFETIME_MS = 7 * 24 * 3600 * 1000

/** Server sessions remembered for one client's session, the newest ones. */
const MOST_OWNED = 256

/** The table, as the broker sees it. */
export interface SessionTable extends SessionLookup {
  /** Makes a session live and returns its sealed id. */
  begin(claims: Omit<SessionClaims, 'key' | 'createdMs'>): { readonly id: string; readonly session: ClientSession }
  /** Ends a session: its id is dead at once. */
  end(session: ClientSession): void
  /** Notes the session a server opened for a client's session, or forgets it (undefined). */
  bind(session: ClientSession, server: string, opened: ServerSession | undefined): void
  /** Whose session a server's session id stands for, or stood for until the server lost it. */
  owner(server: string, serverSessionId: string): ClientSession | undefined
  /** The sessions that were idle for too long; whoever asks ends them. */
  sweep(): readonly ClientSession[]
  live(): Iterable<ClientSession>
  readonly size: number
}

/** An empty table. `now` gives ms since the epoch. */
export const sessionTable = (options: { sealer: Sealer; idleMs: () => number; now: () => number }): SessionTable => {
  const { sealer, idleMs, now } = options
  const startedMs = now()
  const byId = new Map<string, ClientSession>()
  const idOf = new Map<ClientSession, string>()
  const byKey = new Map<string, ClientSession>()
  const owners = new Map<string, ClientSession>()
  /** Keys in `owners`, lost ids included: calls that were under way when a server lost its session still come back by them. */
  const owned = new Map<ClientSession, string[]>()
  /** Keys of ended sessions that an earlier process made: nothing else tells them from ones we never saw. */
  const ended = new Map<string, number>()

  const add = (id: string, claims: SessionClaims): ClientSession => {
    const session: ClientSession = { claims, servers: new Map(), directCalls: new Map(), lastUsedMs: now() }
    byId.set(id, session)
    byKey.set(claims.key, session)
    idOf.set(session, id)
    return session
  }
  /** An id from before this process started: good when its key seals it, it is not too old and was not ended here. */
  const revive = (id: string): ClientSession | undefined => {
    const claims = sealer.open(id)
    if (claims === undefined || claims.createdMs >= startedMs || claims.createdMs + LIFETIME_MS < now())
      return undefined
    if (ended.has(claims.key) || byKey.has(claims.key)) return undefined
    return add(id, claims)
  }
  const table: SessionTable = {
    find(sealedId, { principal, view }) {
      const session = byId.get(sealedId) ?? revive(sealedId)
      if (session === undefined || session.claims.principal !== principal || session.claims.view !== view)
        return undefined
      session.lastUsedMs = now()
      return session
    },
    begin(negotiated) {
      const claims = { ...negotiated, key: randomBytes(16).toString('base64url'), createdMs: now() }
      const id = sealer.seal(claims)
      return { id, session: add(id, claims) }
    },
    end(session) {
      const id = idOf.get(session)
      if (id === undefined) return
      for (const key of owned.get(session) ?? []) owners.delete(key)
      owned.delete(session)
      session.servers.clear()
      idOf.delete(session)
      byId.delete(id)
      byKey.delete(session.claims.key)
      if (session.claims.createdMs < startedMs) ended.set(session.claims.key, session.claims.createdMs + LIFETIME_MS)
    },
    bind(session, server, opened) {
      if (opened === undefined) session.servers.delete(server)
      else session.servers.set(server, opened)
      // One that no id leads to takes no direct calls, so nobody looks for its owner.
      if (opened?.id === undefined || !idOf.has(session)) return
      const keys = owned.get(session) ?? []
      keys.push(`${server} ${opened.id}`)
      owners.set(`${server} ${opened.id}`, session)
      for (const old of keys.splice(0, keys.length - MOST_OWNED)) owners.delete(old)
      owned.set(session, keys)
    },
    owner: (server, serverSessionId) => owners.get(`${server} ${serverSessionId}`),
    sweep() {
      const before = now() - idleMs()
      const idle = [...byId.values()].filter((session) => session.lastUsedMs < before)
      for (const [key, untilMs] of ended) if (untilMs < now()) ended.delete(key)
      return idle
    },
    live: () => byId.values(),
    get size() {
      return byId.size
    },
  }
  return table
}
