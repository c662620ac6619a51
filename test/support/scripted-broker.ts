/** The broker alone, reached over TCP, in front of servers that are plain values: what it asks of them and what it answers. */
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Broker, broker as makeBroker } from '../../src/broker/broker.ts'
import type { Identification } from '../../src/broker/identify.ts'
import type { PooledRequest } from '../../src/broker/pooled-request.ts'
import { serveBroker } from '../../src/broker/server.ts'
import type { Item, ServerCatalogue } from '../../src/catalog/server-catalogue.ts'
import { type CachedMethod, type ListMethod, lists, parsePage } from '../../src/catalog/server-catalogue.ts'
import type { Era } from '../../src/mcp/versions.ts'
import type { CachePolicy, HttpServer, Registry } from '../../src/registry/model.ts'
import { confirmations } from '../../src/sessions/confirmation.ts'
import { sealer } from '../../src/sessions/session-id.ts'
import { sessionTable } from '../../src/sessions/session-table.ts'
import type { Outcome, StatelessCall, Upstream } from '../../src/upstreams/upstream.ts'
import type { JsonObject } from './raw-json.ts'
import { httpServer, registryOf } from './registry-value.ts'
import { waitingRoom } from './waiting-room.ts'

/** What a server offers and does; everything may be changed while it runs. */
export interface Offer {
  eras: readonly Era[]
  capabilities?: readonly string[]
  tools?: readonly JsonObject[]
  prompts?: readonly JsonObject[]
  resources?: readonly JsonObject[]
  templates?: readonly JsonObject[]
  instructions?: string
  caching?: Partial<Record<CachedMethod, CachePolicy>>
  /** How it answers stateless requests; a string is the body of a 200. Default: an empty complete result. */
  answer?: (call: StatelessCall) => string | Outcome | Promise<string | Outcome>
  /** Which of the resources it agrees to tell of. Default: all. */
  agree?: (uris: readonly string[]) => readonly string[] | Promise<readonly string[]>
  /** Has it never answered? */
  silent?: boolean
}

/** Somebody who hears of resources. */
export interface Watching {
  readonly uris: readonly string[]
  readonly signal: AbortSignal
  changed(uri: string): void
}

export interface ScriptedServer {
  offer: Offer
  readonly passed: StatelessCall[]
  /** Those still listening. */
  readonly watching: Watching[]
  refreshed: number
  /** It has another offer now, and says so. */
  change(offer: Partial<Offer>): void
}

export interface ScriptedBroker extends AsyncDisposable {
  readonly url: string
  readonly broker: Broker
  readonly servers: ReadonlyMap<string, ScriptedServer>
  /** What came to the pool; each is answered with an empty complete result. */
  readonly pooled: PooledRequest[]
  /** Servers whose pooled sessions were ended. */
  readonly dropped: string[]
  readonly refusals: { readonly reason: string; readonly status: number }[]
  apply(entries: Readonly<Record<string, Partial<HttpServer>>>): Promise<void>
  drain(): Promise<void>
  /** Waits until something has happened so that there is an answer. */
  until<T>(look: () => T | undefined): Promise<T>
}

export const entry = (name: string, changes: Partial<HttpServer>): HttpServer =>
  httpServer(name, `http://127.0.0.1:9/${name}`, changes)

export const scriptedBroker = async (
  offers: Readonly<Record<string, Offer>>,
  entries: Readonly<Record<string, Partial<HttpServer>>> = Object.fromEntries(
    Object.keys(offers).map((name) => [name, {}]),
  ),
  means: { readonly mostStreams?: number } & Partial<Identification> = {},
): Promise<ScriptedBroker> => {
  const { until, wake } = waitingRoom()
  const pooled: PooledRequest[] = []
  const dropped: string[] = []
  const refusals: { readonly reason: string; readonly status: number }[] = []
  const changes = new Map<string, () => void>()
  const servers = new Map(
    Object.entries(offers).map(([name, offer]): [string, ScriptedServer] => {
      const server: ScriptedServer = {
        offer,
        passed: [],
        watching: [],
        refreshed: 0,
        change(more) {
          server.offer = { ...server.offer, ...more }
          changes.get(name)?.()
        },
      }
      return [name, server]
    }),
  )
  const broker = makeBroker({
    ...means,
    version: '1.2.3',
    sessions: sessionTable({ sealer: sealer(new Uint8Array(32)), idleMs: () => 60_000, now: Date.now }),
    confirmations: confirmations({
      key: new Uint8Array(32),
      limitMs: () => 60_000,
      inputMs: () => 60_000,
      now: Date.now,
    }),
    pool: {
      run: async (request) => {
        pooled.push(request)
        request.reply.result(request.id, '{"resultType":"complete","pooled":true}')
      },
      drop: async (server) => void dropped.push(server),
      sweep: () => undefined,
      size: 0,
      waiting: 0,
      close: async () => undefined,
    },
    makeUpstream(entry, events) {
      const server = servers.get(entry.name)
      if (server === undefined) throw new Error(`no offer of ${entry.name}`)
      const upstream = upstreamOf(entry, server, wake)
      changes.set(entry.name, () => events.changed(upstream))
      return upstream
    },
    onCatalogue: () => undefined,
    onCapped: () => undefined,
    onState: () => undefined,
  })
  const dir = await mkdtemp(path.join(tmpdir(), 'broker-'))
  const socketPath = path.join(dir, 'broker.sock')
  const served = await serveBroker({
    ...means,
    socketPath,
    broker,
    edge: () => ({ path: '/mcp', views: new Set(), hosts: new Set(), origins: new Set(), maxBody: 1024 * 1024 }),
    onRefusal: (refusal) => refusals.push(refusal),
    onError: (error) => {
      throw error
    },
  })
  const door = createServer((socket) => {
    const inside = connect(socketPath)
    socket.pipe(inside).pipe(socket)
    socket.on('error', () => inside.destroy()).on('close', () => inside.destroy())
    inside.on('error', () => socket.destroy()).on('close', () => socket.destroy())
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  const address = door.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const registry = (of: Readonly<Record<string, Partial<HttpServer>>>): Registry =>
    registryOf(
      port,
      Object.entries(of).map(([name, change]) => entry(name, change)),
    )
  await broker.apply(registry(entries))
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    broker,
    servers,
    pooled,
    dropped,
    refusals,
    until,
    apply: (of) => broker.apply(registry(of)),
    drain: () => served.drain(5000),
    async [Symbol.asyncDispose]() {
      await served.close()
      door.close()
      await rm(dir, { recursive: true })
    },
  }
}

const upstreamOf = (entry: Upstream['server'], server: ScriptedServer, wake: () => void): Upstream => {
  let current = entry
  const none = async (): Promise<void> => undefined
  const known = (): boolean => server.offer.silent !== true
  const closing = new AbortController()
  return {
    get server() {
      return current
    },
    shared: false,
    update(next) {
      current = next
    },
    status: () => ({ state: 'up', sinceMs: 0, lastError: undefined, fetchedAtMs: 0, stale: false }),
    catalogue: () => (known() ? catalogueOf(server.offer) : undefined),
    settled: known() ? Promise.resolve() : new Promise(() => undefined),
    era: () => (known() ? { eras: server.offer.eras, how: 'probed', atMs: 0 } : undefined),
    call: async () => ({ kind: 'failed', reason: 'server-down', detail: 'it has no sessions' }),
    async pass(call) {
      server.passed.push(call)
      wake()
      call.signal.addEventListener('abort', wake)
      const said =
        (await server.offer.answer?.(call)) ?? `{"jsonrpc":"2.0","id":${call.id},"result":{"resultType":"complete"}}`
      return typeof said === 'string'
        ? { kind: 'answered', status: 200, type: 'application/json', body: Buffer.from(said) }
        : said
    },
    async watch(uris, changed, signal) {
      const watching: Watching = { uris, changed, signal }
      server.watching.push(watching)
      signal.addEventListener('abort', () => {
        server.watching.splice(server.watching.indexOf(watching), 1)
        wake()
      })
      wake()
      return (await server.offer.agree?.(uris)) ?? uris
    },
    tell: none,
    setLevel: none,
    listen: () => undefined,
    leave: none,
    refresh: () => {
      server.refreshed++
      wake()
    },
    close: async () => closing.abort(),
  }
}

const catalogueOf = (offer: Offer): ServerCatalogue => ({
  protocolVersion: offer.eras.includes('stateless') ? '2026-07-28' : '2025-11-25',
  eras: offer.eras,
  caching: offer.caching ?? {},
  capabilities: new Set(offer.capabilities ?? ['tools', 'prompts', 'resources', 'resources.subscribe', 'completions']),
  instructions: offer.instructions,
  tools: itemsOf('tools/list', offer.tools),
  prompts: itemsOf('prompts/list', offer.prompts),
  resources: itemsOf('resources/list', offer.resources),
  templates: itemsOf('resources/templates/list', offer.templates),
})

const itemsOf = (method: ListMethod, items: readonly JsonObject[] = []): readonly Item[] => {
  const bytes = Buffer.from(JSON.stringify({ [lists[method].items]: items }))
  return parsePage(method, bytes, { start: 0, end: bytes.length })?.items ?? []
}
