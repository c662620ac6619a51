/** A server that offers each caller something else: an upstream of its own for each, and nothing that two of them share. */
import type { ServerCatalogue } from '../catalog/server-catalogue.ts'
import type { Caller } from '../clients/caller.ts'
import { callerKey } from '../clients/caller-key.ts'
import type { ClientState } from '../clients/client-session.ts'
import { within } from '../clock.ts'
import type { HttpServer, Server } from '../registry/model.ts'
import { failed, type Upstream, type UpstreamEvents, type UpstreamStatus } from './upstream.ts'

interface Options {
  readonly server: HttpServer
  /** The upstream of one caller, who is the latest that came: tokens change. */
  readonly make: (server: HttpServer, as: () => Caller, events: UpstreamEvents) => Upstream
  readonly events: UpstreamEvents
  /** Callers kept at most; those who came longest ago go first. Default: 256. */
  readonly most?: number
  /** A caller who has not come for so long is forgotten. Default: 15 minutes. */
  readonly idleMs?: number
  /** Ms since the epoch. Default: the system's. */
  readonly now?: () => number
}

/** What is kept of one caller. */
interface Kept {
  readonly key: string
  readonly upstream: Upstream
  /** As the caller came last. */
  readonly who: { caller: Caller }
  usedMs: number
  /** Clients with a session in it. */
  readonly clients: Set<ClientState>
  /** When it was last tried anew. */
  triedMs: number
  /** Told when its catalogue or its state is another. */
  readonly waiting: Set<() => void>
}

/** Who comes back to a server that gave nothing has it asked again, if that was so long ago. */
const TRIED_AGAIN_MS = 10_000

export const callerUpstreams = (options: Options): Upstream => {
  const { make, events, most = 256, idleMs = 15 * 60_000, now = Date.now } = options
  let server = options.server
  const beganMs = now()
  /** In the order in which they came. */
  const callers = new Map<string, Kept>()
  const homes = new WeakMap<ClientState, Kept>()
  /** The latest that was found out; who asks makes no difference to it. */
  let latest: { readonly catalogue: ServerCatalogue; readonly era: ReturnType<Upstream['era']> } | undefined
  let told = ''

  const forget = (kept: Kept): void => {
    if (callers.get(kept.key) === kept) callers.delete(kept.key)
    void kept.upstream.close()
  }
  const makeRoom = (): void => {
    if (callers.size < most) return
    const all = [...callers.values()]
    const [first] = all
    const free = all.find(({ clients }) => clients.size === 0) ?? first
    if (free !== undefined) forget(free)
  }
  const sweep = (): void => {
    const before = now() - idleMs
    for (const kept of callers.values()) if (kept.usedMs < before) forget(kept)
  }
  const sweeping = setInterval(sweep, idleMs / 4).unref()

  const begin = (key: string, caller: Caller): Kept => {
    const upstreamEvents: UpstreamEvents = {
      changed(upstream) {
        const catalogue = upstream.catalogue()
        if (catalogue !== undefined) latest = { catalogue: withoutLists(catalogue), era: upstream.era() }
        for (const wake of waiting) wake()
        announce()
        events.changedFor?.(self, (other) => callerKey(server, other) === key)
      },
      capped: (_, list) => events.capped(self, list),
      shared: (_, message) => events.shared(self, message),
      message: (_, client, message) => events.message(self, client, message),
    }
    // Its first request is made at once.
    const who = { caller }
    const waiting = new Set<() => void>()
    const kept: Kept = {
      key,
      upstream: make(server, () => who.caller, upstreamEvents),
      who,
      usedMs: now(),
      clients: new Set(),
      triedMs: now(),
      waiting,
    }
    return kept
  }
  /** What all callers may know of it has changed. */
  const announce = (): void => {
    const { state, lastError } = self.status()
    const known = JSON.stringify([state, lastError, latest?.era?.eras, [...(latest?.catalogue.capabilities ?? [])]])
    if (known === told) return
    told = known
    events.changed(self)
  }

  const keptFor = (caller: Caller): Kept => {
    const key = callerKey(server, caller)
    sweep()
    const known = callers.get(key)
    callers.delete(key)
    if (known === undefined) makeRoom()
    const kept = known ?? begin(key, caller)
    kept.usedMs = now()
    callers.set(key, kept)
    return kept
  }
  /** Where a client's sessions are: with the caller it first was, as long as that is kept. */
  const homeOf = (client: ClientState): Kept => {
    const known = homes.get(client)
    if (known !== undefined && callers.get(known.key) === known) {
      known.usedMs = now()
      return known
    }
    const kept = keptFor(client.caller)
    homes.set(client, kept)
    kept.clients.add(client)
    return kept
  }

  const self: Upstream = {
    get server() {
      return server
    },
    shared: false,
    update(next: Server) {
      if (next.kind !== 'http') return
      server = next
      for (const { upstream } of callers.values()) upstream.update(next)
    },
    status: () =>
      statusOf(
        [...callers.values()].map(({ upstream }) => upstream.status()),
        beganMs,
      ),
    catalogue: () => latest?.catalogue,
    async catalogueFor(caller) {
      const kept = keptFor(caller)
      const { upstream } = kept
      const isNew = kept.who.caller.token !== caller.token
      kept.who.caller = caller
      await upstream.settled
      if (upstream.status().state === 'down' && (isNew || kept.triedMs < now() - TRIED_AGAIN_MS)) {
        kept.triedMs = now()
        const answered = nextChange(kept)
        upstream.refresh()
        // With the token from before nothing was to be had; this one may do.
        if (isNew) await within(server.listTimeoutMs, answered)
      }
      const catalogue = upstream.catalogue()
      return catalogue === undefined ? undefined : withoutTasks(catalogue)
    },
    // Nobody can be asked before there is somebody to ask for.
    settled: Promise.resolve(),
    era: () => latest?.era,
    call: (call) => homeOf(call.client).upstream.call(call),
    pass: (call) => keptFor(call.caller).upstream.pass(call),
    watch: async (uris, changed, signal, caller) =>
      caller === undefined ? [] : keptFor(caller).upstream.watch(uris, changed, signal, caller),
    watchTasks: async () => [],
    replay: async (call, lostId, refused) =>
      (await homeOf(call.client).upstream.replay?.(call, lostId, refused)) ??
      failed('server-down', 'its session cannot be opened anew'),
    resume: (client, lastEventId, rest) => homeOf(client).upstream.resume?.(client, lastEventId, rest),
    tell: (client, body) => homeOf(client).upstream.tell(client, body),
    setLevel: (client) => homeOf(client).upstream.setLevel(client),
    listen: (client) => homeOf(client).upstream.listen(client),
    async leave(client) {
      const home = homes.get(client)
      homes.delete(client)
      home?.clients.delete(client)
      // Of those that are not kept any more the sessions are still known.
      await home?.upstream.leave(client)
    },
    refresh() {
      for (const { upstream } of callers.values()) upstream.refresh()
    },
    async close() {
      clearInterval(sweeping)
      const all = [...callers.values()]
      callers.clear()
      await Promise.all(all.map(({ upstream }) => upstream.close()))
    },
  }
  return self
}

const nextChange = ({ waiting }: Kept): Promise<void> =>
  new Promise((resolve) => {
    const wake = (): void => {
      waiting.delete(wake)
      resolve()
    }
    waiting.add(wake)
  })

const isAboutTasks = (capability: string): boolean => /^(tasks|extensions)(\.|$)/.test(capability)

/** Tasks belong to what all clients see of a server, so here they are not offered. The same value for the same. */
const withoutTasks = (catalogue: ServerCatalogue): ServerCatalogue => {
  const known = shown.get(catalogue)
  if (known !== undefined) return known
  const capabilities = new Set([...catalogue.capabilities].filter((name) => !isAboutTasks(name)))
  const made = { ...catalogue, capabilities }
  shown.set(catalogue, made)
  return made
}
const shown = new WeakMap<ServerCatalogue, ServerCatalogue>()

const withoutLists = (catalogue: ServerCatalogue): ServerCatalogue => ({
  ...withoutTasks(catalogue),
  instructions: undefined,
  caching: {},
  tools: [],
  prompts: [],
  resources: [],
  templates: [],
})

/** Up for one is up. Nothing is known against it before anybody came, nor from those who had nothing to show. */
const statusOf = (all: readonly UpstreamStatus[], beganMs: number): UpstreamStatus => {
  const best = (['up', 'degraded', 'starting', 'down'] as const)
    .map((state) => all.filter((status) => status.state === state && status.notShown !== true).at(-1))
    .find((status) => status !== undefined)
  if (best === undefined || best.state === 'starting')
    return { state: 'up', sinceMs: beganMs, lastError: undefined, fetchedAtMs: undefined, stale: false }
  return best
}
