/** The answer to one POST: a JSON body as long as one message is all there is, an event stream once there are more. */
import type { ServerResponse } from 'node:http'
import { LOG_METHOD, LOG_SERVER, LOG_TOOL, SESSION_ID } from '../mcp/headers.ts'
import type { RefusalReason } from '../mcp/refusal.ts'
import { sseEvent } from '../mcp/sse.ts'
import { type BrokerRefusal, type RefusalDetail, refusalBody, refusals } from './refusals.ts'

const JSON_TYPE = 'application/json'
const PING = ': ping\n\n'
/** More than this unread by a client: it is not reading, and its stream is closed. */
const MOST_UNREAD_BYTES = 16 * 1024 * 1024

/** What the access log should say of the request. */
export interface LogLabels {
  method?: string
  server?: string
  tool?: string
}

export class Reply {
  readonly labels: LogLabels = {}
  readonly decision: string
  readonly #res: ServerResponse
  readonly #onRefusal: (refusal: { decision: string; status: number; reason: string }) => void
  #lastWriteMs: number

  constructor(
    res: ServerResponse,
    decision: string,
    nowMs: number,
    onRefusal: (refusal: { decision: string; status: number; reason: string }) => void,
  ) {
    this.#res = res
    this.decision = decision
    this.#lastWriteMs = nowMs
    this.#onRefusal = onRefusal
  }

  get ended(): boolean {
    return this.#res.writableEnded || this.#res.destroyed
  }

  /** Calls `then` when the client goes away before the answer is complete. */
  onClose(then: () => void): void {
    this.#res.once('close', () => {
      if (!this.#res.writableFinished) then()
    })
  }

  #head(status: number, headers: Record<string, string | number>): void {
    const { method, server, tool } = this.labels
    if (method !== undefined) headers[LOG_METHOD] = printable(method)
    if (server !== undefined) headers[LOG_SERVER] = server
    if (tool !== undefined) headers[LOG_TOOL] = printable(tool)
    this.#res.writeHead(status, headers)
  }

  /** A message before the last one: from here on the answer is an event stream. */
  message(bytes: Uint8Array): void {
    if (this.ended) return
    this.openStream()
    this.#res.write(sseEvent(bytes))
    this.#lastWriteMs = Date.now()
    if (this.#res.writableLength > MOST_UNREAD_BYTES) this.#res.destroy()
  }

  openStream(): void {
    if (this.#res.headersSent || this.ended) return
    this.#head(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    this.#res.flushHeaders()
  }

  /** The last message. */
  end(bytes: Uint8Array | string, status = 200, type = JSON_TYPE, sessionId?: string): void {
    if (this.ended) return
    if (this.#res.headersSent) {
      this.#res.end(sseEvent(typeof bytes === 'string' ? Buffer.from(bytes) : bytes))
      return
    }
    const length = typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
    const headers: Record<string, string | number> = { 'content-length': length }
    if (length > 0) headers['content-type'] = type
    if (sessionId !== undefined) headers[SESSION_ID] = sessionId
    this.#head(status, headers)
    this.#res.end(bytes)
  }

  /** A result made of raw JSON parts. */
  result(id: string, ...parts: readonly (Uint8Array | string)[]): void {
    if (this.ended) return
    const bytes = [`{"jsonrpc":"2.0","id":${id},"result":`, ...parts, '}'].map((part) =>
      typeof part === 'string' ? Buffer.from(part) : part,
    )
    this.end(Buffer.concat(bytes))
  }

  /** No body: a notification or response was taken. */
  accepted(status = 202): void {
    this.end('', status)
  }

  refuse(reason: RefusalReason | BrokerRefusal, id: string | undefined, detail?: RefusalDetail): void {
    const { status } = refusals[reason]
    this.#onRefusal({ decision: this.decision, status, reason })
    if (reason === 'wrong-verb' && !this.#res.headersSent) this.#res.setHeader('allow', 'POST, GET, DELETE')
    this.end(refusalBody(reason, id, this.decision, detail), status)
  }

  /** Ends an answer that will never have a last message. */
  abandon(): void {
    if (this.ended) return
    this.openStream()
    this.#res.end()
  }

  /** Called now and then: a long silence gets a comment, so that nobody in between takes the stream for dead. */
  keepAlive(nowMs: number, silenceMs: number): void {
    if (this.ended || nowMs - this.#lastWriteMs < silenceMs) return
    this.openStream()
    this.#res.write(PING)
    this.#lastWriteMs = nowMs
  }
}

/** Header values are visible ASCII; anything else in a name shows as a question mark. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]/gu, '?')
