/** The streams of one client's session: their event ids, and how long a client may come back to them. */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { EventStore, type Held } from './event-store.ts'
import { EventStream } from './event-stream.ts'

/** How long a stream can be resumed after its end, and a client may be away from one that waits for it. */
export const RESUMABLE_MS = 120_000
/** How long a client should wait before it comes back, unless a server has said otherwise. */
const RETRY_MS = 1000
/** Streams remembered after their end. */
const MOST_ENDED = 256
/** Clients of older revisions take events without data for broken messages. */
const PRIMED_SINCE = '2025-11-25'

/** `own`: what the client opened by GET, for what is said outside calls. `call`: the answer to a POST. */
export type StreamKind = 'own' | 'call'

/**
 * What an event id leads to. `anew`: a stream of the client's own that is not known (any more) but can begin again.
 * `over`: the stream has ended and the client has seen all of it, or it has taken another in its place. `unknown`: a call's
 * stream that is not known, or of which something is not kept any more. `foreign`: no id of ours at all.
 */
export type Resumption =
  | {
      readonly to: 'stream'
      readonly kind: StreamKind
      readonly stream: EventStream
      readonly missed: readonly Buffer[]
    }
  | { readonly to: 'anew' | 'over' | 'unknown' | 'foreign' }

/** gw-<this session's mark>-<g: GET, p: POST><the stream's number>.<the event's number> */
const EVENT_ID = /^(gw-([0-9a-f]{8})-([gp])(\d{1,15}))\.(\d{1,15})$/

export class ClientStreams {
  readonly #store: EventStore
  /** Whether its client takes events without data. */
  readonly primes: boolean
  /** Ids of another session, or of this one before a restart, must not be taken for ours. */
  readonly #mark = randomBytes(4).toString('hex')
  readonly #streams = new Map<string, EventStream>()
  #count = 0
  /** The number of the latest stream of the client's own. */
  #own = 0

  constructor(protocolVersion: string, held: Held) {
    this.#store = new EventStore(held)
    this.primes = protocolVersion >= PRIMED_SINCE
  }

  /** A new stream, on a connection whose head is written. `forsaken`: the client is gone and cannot come back. */
  begin(
    kind: StreamKind,
    res: ServerResponse,
    nowMs: number,
    { retryMs = RETRY_MS, forsaken = () => undefined }: { retryMs?: number | undefined; forsaken?: () => void } = {},
  ): EventStream {
    const number = ++this.#count
    if (kind === 'own') this.#own = number
    const name = `gw-${this.#mark}-${kind === 'own' ? 'g' : 'p'}${number}`
    const stream = new EventStream(name, this.#store, this.primes, retryMs, forsaken)
    this.#streams.set(name, stream)
    if (this.#streams.size > MOST_ENDED) this.#forgetOne()
    stream.attach(res, nowMs)
    return stream
  }

  find(lastEventId: string): Resumption {
    const [, name = '', mark, letter, number, event] = EVENT_ID.exec(lastEventId) ?? []
    if (mark === undefined) return { to: 'foreign' }
    const kind = letter === 'g' ? 'own' : 'call'
    const lost: Resumption = { to: kind === 'own' ? 'anew' : 'unknown' }
    if (mark !== this.#mark) return lost
    if (kind === 'own' && Number(number) < this.#own) return { to: 'over' }
    const stream = this.#streams.get(name)
    if (stream === undefined || Number(event) > stream.latest) return lost
    const missed = this.#store.after(name, Number(event))
    if (missed === undefined) return lost
    return stream.ended && missed.length === 0 ? { to: 'over' } : { to: 'stream', kind, stream, missed }
  }

  /** Called now and then. */
  expire(nowMs: number): void {
    const old = [...this.#streams.values()].filter((stream) => stream.over && stream.awayMs(nowMs) > RESUMABLE_MS)
    if (old.length > 0) this.forget(...old)
  }

  forget(...streams: readonly EventStream[]): void {
    const names = new Set(streams.map(({ name }) => name))
    for (const name of names) this.#streams.delete(name)
    this.#store.forget(names)
  }

  /** The session is over: nobody can come back. */
  close(): void {
    for (const stream of this.#streams.values()) stream.finalize()
    this.#streams.clear()
    this.#store.close()
  }

  #forgetOne(): void {
    for (const stream of this.#streams.values()) if (stream.over) return this.forget(stream)
  }
}
