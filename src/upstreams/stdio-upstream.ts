/** A server over standard input and output, of either era: one process that all clients share, started again when it ends. */
import type { StdioServer } from '../registry/model.ts'
import { discover, type Link } from './discovery.ts'
import { ownId, ownIntroduction } from './handshake.ts'
import { statelessCalls } from './stateless-calls.ts'
import { statelessLink } from './stateless-link.ts'
import { introduce } from './stdio-era.ts'
import { ask, type Heard, openPipe, type Pipe } from './stdio-pipe.ts'
import type { StdioProcess } from './stdio-process.ts'
import { statefulPipe } from './stdio-stateful.ts'
import { stdioWire } from './stdio-wire.ts'
import { ownerOf } from './task-owners.ts'
import { answerOf, type EraFinding, type Failure, failed, type Upstream, type UpstreamEvents } from './upstream.ts'

/** Starts the process of an entry, for the first time or again; rejects with the reason when it cannot be. */
export type StartChild = (server: StdioServer, heard: (line: Buffer) => void, again: boolean) => Promise<StdioProcess>

/** A cold `npx` fetches and unpacks before it says a word. */
const FIRST_ANSWER_MS = 120_000

export const stdioUpstream = (
  initial: StdioServer,
  start: StartChild,
  version: string,
  events: UpstreamEvents,
): Upstream => {
  let server = initial
  let finding: EraFinding | undefined
  /** The process of the moment, once it is known what it speaks. */
  let current: Pipe | undefined
  let count = 0
  let starts = 0
  /** The last process ended at the first word in the new era: the next one hears the old one first. */
  let shy = false
  /** Processes on their way out; closing waits for them. */
  const closing = new Set<Promise<void>>()
  const nextId = (): string => ownId('gateway', ++count)
  const down = (): string => discovery.status().lastError ?? 'the process is not running'
  const speaks = (era: EraFinding['eras'][number]): boolean => finding?.eras.includes(era) === true

  const stateful = statefulPipe({
    server: () => server,
    pipe: () => (speaks('stateful') ? current : undefined),
    down,
    listsChanged: () => discovery.refresh(),
    updated: (message) => events.shared(upstream, message),
    ownerOf: (task) => ownerOf(upstream, task),
    message: (client, message) => events.message(upstream, client, message),
  })
  const wire = stdioWire(() => current, nextId, down)
  const stateless = statelessCalls({
    server: () => server,
    wire,
    version,
    capabilities: () => discovery.catalogue()?.capabilities ?? new Set(),
    updated: (client, message) => events.message(upstream, client, message),
  })

  const openLink = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    const opened: { by?: Pipe } = {}
    const hear = (message: Heard): void => {
      // Until it is known what it speaks, nothing it says of itself is about anything.
      if (opened.by === undefined || opened.by !== current) return
      if (speaks('stateful')) stateful.hear(message)
      else wire.hear(message)
    }
    const again = starts++ > 0
    const pipe = await openPipe((line) => start(server, line, again), hear, nextId)
    opened.by = pipe
    let ended = false
    const over = pipe.over.then((reason) => {
      ended = true
      if (current === pipe) current = undefined
      return reason
    })
    const close = (): void => {
      if (current === pipe) current = undefined
      const gone = pipe.close().finally(() => closing.delete(gone))
      closing.add(gone)
    }
    try {
      const as = ownIntroduction(version, server.client)
      const first = AbortSignal.any([signal, AbortSignal.timeout(FIRST_ANSWER_MS)])
      const wanted = server.era ?? (shy ? 'stateful' : undefined)
      shy = false
      const { era, initialized } = await introduce(pipe, as, wanted, first).catch((error: unknown) => {
        shy = ended && wanted === undefined
        throw error
      })
      shy = wanted === 'stateful' && server.era === undefined
      finding = { eras: [era], how: server.era === undefined ? 'probed' : 'pinned', atMs: Date.now() }
      current = pipe
      if (era === 'stateful') {
        stateful.renew()
        return {
          initialized,
          eras: finding.eras,
          announces: true,
          over,
          async request(method, params, requestSignal) {
            return answerOf(await ask(pipe, method, params, AbortSignal.any([signal, requestSignal])))
          },
          close,
        }
      }
      const { timeoutMs } = server
      const eras = finding.eras
      const link = await statelessLink({ wire, as, initialized, eras, timeoutMs, changed, signal })
      return {
        get initialized() {
          return link.initialized
        },
        eras,
        get announces() {
          return link.announces
        },
        over: Promise.race([over, link.over]),
        request: (method, params, requestSignal) => link.request(method, params, requestSignal),
        renew: async (requestSignal) => await link.renew?.(requestSignal),
        close() {
          link.close()
          close()
        },
      }
    } catch (error) {
      close()
      throw error
    }
  }

  const discovery = discover({
    server: () => server,
    open: openLink,
    onChange: () => events.changed(upstream),
    onCapped: (list) => events.capped(upstream, list),
  })
  const unreachable = (): Failure => {
    discovery.refresh()
    return failed('server-down', down())
  }

  const upstream: Upstream = {
    get server() {
      return server
    },
    shared: true,
    update(next) {
      if (next.kind !== 'stdio') return
      server = next
      // A process is spoken to in one era for as long as it lives.
      if (next.era !== undefined && !speaks(next.era)) void current?.close()
      else if (finding !== undefined) finding = { ...finding, how: next.era === undefined ? 'probed' : 'pinned' }
    },
    status: () => discovery.status(),
    catalogue: () => discovery.catalogue(),
    settled: discovery.settled,
    refresh: () => discovery.refresh(),
    era: () => finding,
    async call(call) {
      if (current === undefined) return unreachable()
      return speaks('stateful') ? stateful.call(call) : stateless.call(call)
    },
    async pass(call) {
      if (current === undefined) return unreachable()
      if (speaks('stateless')) return stateless.pass(call)
      return failed('server-invalid', 'it does not speak the stateless era')
    },
    watch: (uris, changed, signal) =>
      speaks('stateless') ? stateless.watch(uris, changed, signal) : stateful.watch(uris, changed, signal),
    watchTasks: async (watching) => (speaks('stateless') ? stateless.watchTasks(watching) : []),
    async tell(client, body) {
      if (speaks('stateful')) stateful.tell(client, body)
      else stateless.tell(client, body)
    },
    async setLevel(client) {
      // In the new era the level rides on each request.
      if (speaks('stateful')) await stateful.setLevel(client)
    },
    listen: () => undefined,
    async leave(client) {
      stateful.leave(client)
      stateless.leave(client)
    },
    async close() {
      stateless.close()
      await discovery.close()
      await Promise.all(closing)
    },
  }
  return upstream
}
