/** One stream of messages to a client of a session; it outlives the connections it is sent on. */
import type { ServerResponse } from 'node:http'
import { sseEvent } from '../mcp/sse.ts'
import type { EventStore } from './event-store.ts'

/** More than this unread by a client: it is not reading, and its connection is closed. */
const MOST_UNREAD_BYTES = 16 * 1024 * 1024
const PING = ': ping\n\n'

export class EventStream {
  /** Event ids begin with it. */
  readonly name: string
  readonly #store: EventStore
  /** Whether the client takes events without data, and with them the news that this stream can be resumed. */
  readonly primes: boolean
  #connection: ServerResponse | undefined
  /** The number of the latest event. */
  #latest = 0
  /** How long the client should wait before it comes back. */
  #retryMs: number
  #lastWriteMs = 0
  /** Since when nobody is connected, or since the end. */
  #awaySinceMs: number | undefined
  #ended = false
  #final = false
  readonly #forsaken: () => void

  constructor(name: string, store: EventStore, primes: boolean, retryMs: number, forsaken: () => void) {
    this.name = name
    this.#store = store
    this.primes = primes
    this.#retryMs = retryMs
    this.#forsaken = forsaken
  }

  get latest(): number {
    return this.#latest
  }

  get attached(): boolean {
    return this.#connection !== undefined
  }

  /** Nothing more comes, or nobody can ever hear it: the client is gone and has no event, or no session, to come back with. */
  get over(): boolean {
    return this.#ended || (this.#connection === undefined && (this.#latest === 0 || this.#final))
  }

  get ended(): boolean {
    return this.#ended
  }

  /** How long nobody has been connected; after the end, not longer than since then. */
  awayMs(nowMs: number): number {
    return this.#awaySinceMs === undefined ? 0 : nowMs - this.#awaySinceMs
  }

  /** Goes on with `res`, whose head is written, beginning with what the client has missed. The connection before ends. */
  attach(res: ServerResponse, nowMs: number, missed: readonly Buffer[] = []): void {
    this.#connection?.end()
    this.#connection = res
    this.#awaySinceMs = undefined
    res.once('close', () => {
      if (this.#connection === res) this.#detach()
    })
    for (const event of missed) res.write(event)
    if (this.#ended) this.#close()
    // On every connection: a client that comes back may keep only what this one has told it.
    else if (this.primes) this.#prime()
    else res.flushHeaders()
    this.#lastWriteMs = nowMs
  }

  send(message: Uint8Array): void {
    if (this.#ended) return
    const number = ++this.#latest
    const event = sseEvent(message, `${this.name}.${number}`)
    this.#store.keep(this.name, number, event)
    this.#write(event)
  }

  end(last?: Uint8Array): void {
    // One piece on the wire.
    this.#connection?.cork()
    if (last !== undefined) this.send(last)
    this.#ended = true
    this.#close()
    this.#awaySinceMs = Date.now()
  }

  /** The session is over: whoever is away, or goes, will not come back. */
  finalize(): void {
    this.#final = true
    this.#check()
  }

  /** Ends the connection but not the stream, as a server does that will be asked again: the client comes back after so long. */
  release(retryMs: number): void {
    // One that was not told so would take it for the end.
    if (!this.primes || this.#connection === undefined) return
    if (retryMs !== this.#retryMs) {
      this.#retryMs = retryMs
      this.#prime()
    }
    this.#close()
  }

  keepAlive(nowMs: number, silenceMs: number): void {
    if (this.#connection === undefined || nowMs - this.#lastWriteMs < silenceMs) return
    this.#connection.write(PING)
    this.#lastWriteMs = nowMs
  }

  /** An event without data, whose id the client can come back with. There is nothing in it to see again. */
  #prime(): void {
    this.#write(Buffer.from(`id: ${this.name}.${++this.#latest}\nretry: ${this.#retryMs}\ndata: \n\n`))
  }

  #write(event: Buffer): void {
    const connection = this.#connection
    if (connection === undefined) return
    connection.write(event)
    this.#lastWriteMs = Date.now()
    if (connection.writableLength > MOST_UNREAD_BYTES) connection.destroy()
  }

  #close(): void {
    const connection = this.#connection
    this.#detach()
    connection?.end()
  }

  #detach(): void {
    this.#connection = undefined
    this.#awaySinceMs ??= Date.now()
    this.#check()
  }

  #check(): void {
    if (this.#ended || !this.over) return
    this.#ended = true
    this.#forsaken()
  }
}
