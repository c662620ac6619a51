/** Server-sent events by the WHATWG rules, over bytes: an incremental decoder and an encoder. */

/** One dispatched event. `data` may be empty: servers open streams with such events. */
export interface SseEvent {
  /** `message` when the stream named none. */
  readonly event: string
  readonly data: Buffer
  /** The last event id of the stream so far. */
  readonly id?: string
  /** The reconnection time in ms, when this event set it. */
  readonly retry?: number
}

/** An event grew beyond the limit; the stream is of no further use. */
export class SseEventTooLarge extends Error {
  constructor(limit: number) {
    super(`a server-sent event is larger than ${limit} bytes`)
  }
}

const LF = 0x0a
const CR = 0x0d
const NEWLINE = Buffer.from('\n')
const MARK = Buffer.from([0xef, 0xbb, 0xbf])

/** Decodes one stream; the events do not depend on how its bytes were cut into chunks. */
export class SseDecoder {
  readonly #limit: number
  /** The line that has no end yet. */
  #pieces: Buffer[] = []
  #pending = 0
  /** The last byte was a CR: an LF right after it belongs to it. */
  #afterCr = false
  #first = true
  #data: Buffer[] = []
  #dataSize = 0
  #event = ''
  #id: string | undefined
  #retry: number | undefined
  #lastEventId: string | undefined
  #retryMs: number | undefined

  /** `limit` in bytes bounds one line and the data of one event. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * The id to go on with after the latest event that is complete, also of one without data; empty: from nowhere; undefined:
   * there was none.
   */
  get lastEventId(): string | undefined {
    return this.#lastEventId
  }

  /** The reconnection time in ms that the stream asked for last. */
  get retryMs(): number | undefined {
    return this.#retryMs
  }

  /** The events that this chunk completed. Throws `SseEventTooLarge`. */
  push(input: Uint8Array): readonly SseEvent[] {
    const chunk = Buffer.isBuffer(input) ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength)
    const events: SseEvent[] = []
    let from = 0
    if (this.#afterCr && chunk.length > 0) {
      if (chunk[0] === LF) from = 1
      this.#afterCr = false
    }
    let lf = next(chunk, LF, from)
    let cr = next(chunk, CR, from)
    for (;;) {
      const end = Math.min(lf, cr)
      if (end === Infinity) break
      this.#line(this.#completed(chunk.subarray(from, end)), events)
      from = end + 1
      if (end === cr) {
        if (from === chunk.length) this.#afterCr = true
        else if (chunk[from] === LF) from++
        cr = next(chunk, CR, from)
      }
      if (lf < from) lf = next(chunk, LF, from)
    }
    if (from < chunk.length) {
      // A copy: the chunk's memory may be the socket's.
      this.#pieces.push(Buffer.from(chunk.subarray(from)))
      this.#pending += chunk.length - from
      if (this.#pending > this.#limit) throw new SseEventTooLarge(this.#limit)
    }
    return events
  }

  #completed(rest: Buffer): Buffer {
    let line = rest
    if (this.#pieces.length > 0) {
      line = Buffer.concat([...this.#pieces, rest])
      this.#pieces = []
      this.#pending = 0
    }
    if (this.#first) {
      this.#first = false
      if (line.subarray(0, 3).equals(MARK)) return line.subarray(3)
    }
    return line
  }

  #line(line: Buffer, events: SseEvent[]): void {
    if (line.length === 0) return this.#dispatch(events)
    const colon = line.indexOf(0x3a)
    if (colon === 0) return
    const field = line.toString('utf8', 0, colon < 0 ? line.length : colon)
    const value =
      colon < 0 ? line.subarray(line.length) : line.subarray(line[colon + 1] === 0x20 ? colon + 2 : colon + 1)
    if (field === 'data') {
      this.#data.push(value)
      this.#dataSize += value.length + 1
      if (this.#dataSize > this.#limit) throw new SseEventTooLarge(this.#limit)
    } else if (field === 'event') this.#event = value.toString()
    else if (field === 'id' && !value.includes(0)) this.#id = value.toString()
    else if (field === 'retry' && /^[0-9]+$/.test(value.toString())) this.#retry = Number(value.toString())
  }

  #dispatch(events: SseEvent[]): void {
    this.#lastEventId = this.#id
    this.#retryMs = this.#retry ?? this.#retryMs
    if (this.#data.length > 0) {
      events.push({
        event: this.#event === '' ? 'message' : this.#event,
        data: joined(this.#data),
        ...(this.#id === undefined ? {} : { id: this.#id }),
        ...(this.#retry === undefined ? {} : { retry: this.#retry }),
      })
      this.#retry = undefined
    }
    this.#data = []
    this.#dataSize = 0
    this.#event = ''
  }
}

const next = (chunk: Buffer, byte: number, from: number): number => {
  const found = chunk.indexOf(byte, from)
  return found < 0 ? Infinity : found
}

/** Always a copy of its own. */
const joined = (lines: readonly Buffer[]): Buffer =>
  Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [NEWLINE, line])))

const DATA = Buffer.from('data: ')
const END = Buffer.from('\n\n')

const pooled = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts)
/** In memory of its own: an event with an id may be kept for long, and would keep what it shares memory with. */
const alone = (...parts: readonly Buffer[]): Buffer => {
  const whole = Buffer.allocUnsafeSlow(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) at += part.copy(whole, at)
  return whole
}

/** One `message` event, with an id where one is given. Line ends inside the data (a server's pretty-printed JSON) become lines of their own. */
export const sseEvent = (data: Uint8Array, id?: string): Buffer => {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const head = id === undefined ? DATA : Buffer.from(`id: ${id}\ndata: `)
  const join = id === undefined ? pooled : alone
  if (!bytes.includes(LF) && !bytes.includes(CR)) return join(head, bytes, END)
  const lines = bytes.toString('latin1').split(/\r\n|\n|\r/)
  return join(head, Buffer.from(lines.join('\ndata: '), 'latin1'), END)
}
