/** What was sent on a session's streams, kept by reference, the newest and within bounds, for clients that lost a connection. */

/** Kept for one session at most. */
const MOST_EVENTS = 1024
const MOST_BYTES = 4 * 1024 * 1024
/** Kept for all sessions together. */
const MOST_BYTES_OF_ALL = 128 * 1024 * 1024

/** What all stores hold together. */
export interface Held {
  bytes: number
}

interface Kept {
  readonly stream: string
  readonly number: number
  readonly event: Buffer
}

export class EventStore {
  readonly #held: Held
  #closed = false
  /** Oldest first. */
  #kept: Kept[] = []
  #bytes = 0
  /** Stream → the latest of its events that is no longer here. */
  readonly #dropped = new Map<string, number>()

  constructor(held: Held) {
    this.#held = held
  }

  /** Numbers of one stream grow. */
  keep(stream: string, number: number, event: Buffer): void {
    if (this.#closed) return
    if (event.length > MOST_BYTES) {
      this.#dropped.set(stream, number)
      return
    }
    this.#kept.push({ stream, number, event })
    this.#count(event.length)
    while (this.#kept.length > MOST_EVENTS || this.#bytes > MOST_BYTES || this.#held.bytes > MOST_BYTES_OF_ALL) {
      const oldest = this.#kept.shift()
      if (oldest === undefined) return // the others hold it all
      this.#count(-oldest.event.length)
      this.#dropped.set(oldest.stream, oldest.number)
    }
  }

  /** What was sent on a stream after this event; undefined: not all of it is here any more. */
  after(stream: string, number: number): readonly Buffer[] | undefined {
    if (number < (this.#dropped.get(stream) ?? 0)) return undefined
    return this.#kept.filter((one) => one.stream === stream && one.number > number).map(({ event }) => event)
  }

  forget(streams: ReadonlySet<string>): void {
    for (const stream of streams) this.#dropped.delete(stream)
    this.#kept = this.#kept.filter(({ stream, event }) => {
      if (streams.has(stream)) this.#count(-event.length)
      return !streams.has(stream)
    })
  }

  /** Nothing is kept from here on. */
  close(): void {
    this.#closed = true
    this.#count(-this.#bytes)
    this.#kept = []
    this.#dropped.clear()
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#held.bytes += bytes
  }
}
