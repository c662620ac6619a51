/** The management server: incremental ADS and the access log service on one Unix socket. */
import type { AccessLogEntry } from './access-log-entry.ts'
import { deltaResponse, type EnvoyNode } from './discovery.ts'
import { type AccessLogCall, type AdsCall, type Incoming, listen } from './grpc-services.ts'
import { learn, noVerdicts, pruned, type Verdicts } from './quarantine.ts'
import { refusalText } from './refusal-text.ts'
import { fitted, type Snapshot } from './snapshot.ts'
import { type EnvoyStatus, envoyStatus, hasAnswered, hasApplied, type Nack } from './status.ts'
import type { Effect, Event, Stream } from './stream.ts'
import { newStream, step, unanswered } from './subscription.ts'
import { messageName } from './type-url.ts'

/** How far the newest snapshot has come. */
export interface Applied {
  readonly version: string
  /** Envoys that acknowledged all of it … */
  readonly envoys: number
  /** … of so many that are connected. */
  readonly of: number
  /** Since it was published. */
  readonly ms: number
}

interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface XdsOptions {
  /** Nothing may lie there yet. */
  readonly socketPath: string
  readonly log: Log
}

export interface XdsServer extends AsyncDisposable {
  /**
   * Offers a snapshot to every Envoy, now and later. Resolves with how far it came: once every connected Envoy, one at
   * least, has acknowledged or refused all of it, or after `waitMs`. A newer one takes its place.
   */
  publish(snapshot: Snapshot, waitMs?: number): Promise<Applied>
  applied(): Applied
  status(): readonly EnvoyStatus[]
  /** The inner listeners of the connected Envoys. */
  innerSockets(): readonly string[]
  /** An Envoy came, went or acknowledged; one may have all of the newest snapshot now. */
  onApplied(listener: (applied: Applied) => void): void
  /** An Envoy refused a resource; reported once per version and Envoy. */
  onNack(listener: (nack: Nack & { readonly node: string }) => void): void
  /** A response was sent or answered. `type` is short, such as `Cluster`. */
  onAds(listener: (event: 'push' | 'ack' | 'nack', type: string) => void): void
  onAccessLog(listener: (entries: readonly AccessLogEntry[]) => void): void
}

interface Connection {
  readonly since: Date
  node: EnvoyNode
  stream: Stream
}

/** Listeners of one kind of event. */
const channel = <Args extends readonly unknown[]>() => {
  const listeners = new Set<(...args: Args) => void>()
  return {
    on: (listener: (...args: Args) => void) => void listeners.add(listener),
    off: (listener: (...args: Args) => void) => void listeners.delete(listener),
    tell: (...args: Args) => {
      for (const listener of listeners) listener(...args)
    },
  }
}

const shortName = (type: string): string => type.slice(type.lastIndexOf('.') + 1)

/** Serves until disposed of. Rejects when the socket cannot be had. */
export const serveXds = async ({ socketPath, log }: XdsOptions): Promise<XdsServer> => {
  const connections = new Map<Connection, (snapshot: Snapshot) => void>()
  const progress = channel<[Applied]>()
  const nacked = channel<[Nack & { readonly node: string }]>()
  const traffic = channel<['push' | 'ack' | 'nack', string]>()
  const logged = channel<[readonly AccessLogEntry[]]>()
  let verdicts: Verdicts = noVerdicts
  let newest: { readonly snapshot: Snapshot; readonly at: number } | undefined

  const applied = (): Applied => ({
    version: newest?.snapshot.version ?? '',
    envoys: [...connections.keys()].filter(({ stream }) => hasApplied(stream)).length,
    of: connections.size,
    ms: newest === undefined ? 0 : performance.now() - newest.at,
  })

  const refused = (node: string, { type, name, message, entry }: Extract<Effect, { kind: 'refused' }>) => {
    const { version = '', place, path } = entry ?? {}
    log.warn(`Envoy refused ${shortName(type)} ${name}: ${refusalText(message)}`, { node, path, line: place?.line })
    const origin = { ...(place === undefined ? {} : { place }), ...(path === undefined ? {} : { path }) }
    nacked.tell({ node, type: messageName(type), name, version, message, ...origin })
  }

  const handleAds = (call: AdsCall) => {
    const connection: Connection = {
      since: new Date(),
      node: { id: '', version: '', filterTypes: [] },
      stream: newStream,
    }
    const send = (event: Event) => {
      const [stream, effects] = step(connection.stream, event)
      connection.stream = stream
      for (const effect of effects) {
        if (effect.kind === 'send') {
          traffic.tell('push', shortName(effect.type))
          // One response per type is under way at most, so what a slow Envoy leaves unread stays bounded.
          call.write(deltaResponse(effect, newest?.snapshot.version ?? ''))
          continue
        }
        verdicts = learn(verdicts, stream.envoy, effect)
        if (effect.kind === 'refused') refused(connection.node.id, effect)
      }
      progress.tell(applied())
    }
    /** Until an Envoy says in its first request what it knows, it asks for nothing either. */
    const offer = (snapshot: Snapshot) =>
      send({
        kind: 'publish',
        snapshot: fitted(snapshot, connection.node.filterTypes, connection.node.version),
        verdicts,
      })
    connections.set(connection, offer)
    if (newest !== undefined) offer(newest.snapshot)
    const gone = () => {
      if (!connections.delete(connection)) return
      const { stream } = connection
      for (const lesson of unanswered(stream)) verdicts = learn(verdicts, stream.envoy, lesson)
      log.info('Envoy disconnected', { node: connection.node.id })
      progress.tell(applied())
    }
    call.on('data', ({ request, node }: Incoming) => {
      const first = node !== undefined && connection.node.id === ''
      if (first) {
        connection.node = node
        if (newest !== undefined) offer(newest.snapshot)
      }
      if (request.nonce !== '') traffic.tell(request.error === undefined ? 'ack' : 'nack', shortName(request.type))
      send({ kind: 'request', request })
      if (!first) return
      log.info('Envoy connected', { node: node.id, version: node.version })
    })
    call.on('end', () => {
      gone()
      call.end()
    })
    call.on('error', gone)
    call.on('cancelled', gone)
  }

  const handleAccessLogs = (call: AccessLogCall) => {
    call.on('data', logged.tell)
    call.on('error', () => {}) // it went away, and opens another stream when it is back
  }

  const server = await listen(socketPath, { ads: handleAds, accessLogs: handleAccessLogs })

  return {
    publish(snapshot, waitMs = 0) {
      verdicts = pruned(verdicts, snapshot)
      newest = { snapshot, at: performance.now() }
      for (const offer of connections.values()) offer(snapshot)
      return new Promise((resolve) => {
        const finish = () => {
          clearTimeout(timer)
          progress.off(check)
          resolve(applied())
        }
        const check = () => {
          if (connections.size > 0 && [...connections.keys()].every(({ stream }) => hasAnswered(stream))) finish()
        }
        const timer = setTimeout(finish, waitMs)
        progress.on(check)
        check()
      })
    },
    applied,
    status: () => [...connections.keys()].map(({ node, since, stream }) => envoyStatus(node, since, stream)),
    innerSockets: () => [...connections.keys()].flatMap(({ node }) => node.innerSocket ?? []),
    onApplied: progress.on,
    onNack: nacked.on,
    onAds: traffic.on,
    onAccessLog: logged.on,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}
