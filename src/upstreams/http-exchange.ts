/** One POST to a server and everything that comes back: a JSON body, or a stream of messages that ends with the response. */
import type { IncomingHttpHeaders } from 'node:http'
import { SESSION_ID } from '../mcp/headers.ts'
import { SseDecoder, type SseEvent } from '../mcp/sse.ts'
import type { ExchangeEvents, InnerClient, InnerRequest } from './inner-client.ts'
import { localReply } from './local-reply.ts'
import { parseServerMessage, type ServerMessage } from './server-message.ts'
import { NotShown } from './shown-client.ts'
import { type Failure, failed, type Outcome } from './upstream.ts'

/** A server that ends a stream and names no time is asked for the rest after so long. */
export const RETRY_MS = 1000
const LEAST_RETRY_MS = 100
const MOST_RETRY_MS = 24 * 3600 * 1000
/** How often in a row a server may fail to give the rest of an answer. */
const MOST_TRIES = 4

/** A server's time to come back, as far as we keep to it. */
export const retryWithin = (ms: number): number => Math.min(Math.max(ms, LEAST_RETRY_MS), MOST_RETRY_MS)

export interface Post {
  readonly request: InnerRequest
  /** Raw id whose response ends the exchange; undefined for notifications and responses. */
  readonly id: string | undefined
  /** Longest silence; undefined: any. */
  readonly timeoutMs: number | undefined
  readonly mostBytes: number
  waiting(): boolean
  onMessage(message: Exclude<ServerMessage, { kind: 'response' }>): void
  /** How to ask for the rest of an answer after the event of this id; without it a stream that ends early has failed. */
  readonly resume?: (lastEventId: string) => InnerRequest
  /** The answer is a stream that can be resumed; after so long, if its connection breaks. */
  readonly onResumable?: (retryMs: number) => void
  /** The server has ended the connection and is asked for the rest after so long. */
  readonly onPolled?: (retryMs: number) => void
  readonly signal: AbortSignal
}

export interface Posted {
  readonly outcome: Outcome
  /** What `Mcp-Session-Id` the server answered with. */
  readonly sessionId: string | undefined
}

/** Sends it and waits for the end; never rejects. */
export const post = (client: InnerClient, options: Post): Promise<Posted> =>
  new Promise((resolve) => {
    const { id, timeoutMs, signal } = options
    let status = 0
    let headers: IncomingHttpHeaders = {}
    const chunks: Buffer[] = []
    let size = 0
    let decoder: SseDecoder | undefined
    const exchange: { stop?: () => void } = {}
    const rest: { lastEventId: string | undefined; retryMs: number; tries: number; timer?: NodeJS.Timeout } = {
      lastEventId: undefined,
      retryMs: RETRY_MS,
      tries: 0,
    }
    let settled = false
    const finish = (outcome: Outcome, early: boolean): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      clearTimeout(rest.timer)
      signal.removeEventListener('abort', onAbort)
      if (early) exchange.stop?.()
      const sessionId = headers[SESSION_ID]
      resolve({ outcome, sessionId: typeof sessionId === 'string' ? sessionId : undefined })
    }
    const fail = (reason: Failure['reason'], detail: string): void => finish(failed(reason, detail), true)
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            if (options.waiting()) timer?.refresh()
            else fail('server-silent', `no byte for ${timeoutMs} ms`)
          }, timeoutMs)
    const onAbort = (): void => fail('server-down', 'the call was ended')
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort)
    const start = (request: InnerRequest, events: ExchangeEvents): void => {
      exchange.stop = client.start(request, events)
      if (settled) exchange.stop()
    }

    /** One piece of the stream; false: it brought only news of the stream itself. */
    const read = (stream: SseDecoder, chunk: Buffer): boolean => {
      let events: readonly SseEvent[]
      try {
        events = stream.push(chunk)
      } catch (error) {
        fail('server-invalid', error instanceof Error ? error.message : String(error))
        return false
      }
      const first = rest.lastEventId === undefined && stream.lastEventId !== undefined
      rest.lastEventId = stream.lastEventId ?? rest.lastEventId
      rest.retryMs = retryWithin(stream.retryMs ?? rest.retryMs)
      for (const event of events) {
        if (event.data.length === 0) continue
        const message = parseServerMessage(event.data)
        if (message === undefined) {
          fail('server-invalid', 'an event is not a JSON-RPC message')
          return true
        }
        if (message.kind !== 'response') options.onMessage(message)
        else if (message.id === id) {
          finish({ kind: 'answered', status: 200, type: 'application/json', body: message.bytes }, true)
          return true
        }
      }
      if (first && rest.lastEventId !== '' && options.resume !== undefined) options.onResumable?.(rest.retryMs)
      return events.length === 0 || events.some(({ data }) => data.length > 0)
    }
    /** The connection is gone before the response. What the server ran it will not be asked to run again. */
    const broken = (why: string): void => {
      const { resume } = options
      const { lastEventId = '' } = rest
      if (resume === undefined || lastEventId === '' || id === undefined || ++rest.tries > MOST_TRIES) {
        fail('server-down', why)
        return
      }
      rest.timer = setTimeout(() => start(resume(lastEventId), resumed), rest.retryMs)
    }
    const failing = (error: Error): void => {
      if (error instanceof NotShown) finish(error.failure, false)
      else if (!settled) broken(error.message)
    }
    const ended = (): void => {
      broken('the stream ended before the response')
      if (!settled) options.onPolled?.(rest.retryMs)
    }

    /** The rest of the answer. That a server takes up the stream is no sign of life of the call. */
    const resumed: ExchangeEvents = {
      head(code, received) {
        if (settled) return
        const later = localReply(received) !== undefined || code >= 500 || code === 409 || code === 429
        if (code === 200 && isEventStream(received)) {
          decoder = new SseDecoder(options.mostBytes)
          rest.tries = 0
        } else {
          exchange.stop?.()
          if (later) broken(`the rest of the answer: HTTP ${code}`)
          else fail('server-down', `the rest of the answer: HTTP ${code}`)
        }
      },
      data(chunk) {
        if (!settled && decoder !== undefined && read(decoder, chunk)) timer?.refresh()
      },
      end: () => {
        if (!settled) ended()
      },
      error: failing,
    }
    start(options.request, {
      head(code, received) {
        timer?.refresh()
        status = code
        headers = received
        const envoys = localReply(received)
        if (envoys !== undefined) fail('server-down', envoys)
        else if (refused(code)) fail('server-refused', `HTTP ${code}`)
        else if (isEventStream(received)) decoder = new SseDecoder(options.mostBytes)
      },
      data(chunk) {
        if (settled) return
        timer?.refresh()
        if (decoder !== undefined) {
          read(decoder, chunk)
          return
        }
        size += chunk.length
        if (size > options.mostBytes) fail('server-invalid', `the answer is larger than ${options.mostBytes} bytes`)
        chunks.push(Buffer.from(chunk))
      },
      end() {
        if (settled) return
        if (decoder !== undefined && id !== undefined) ended()
        else finish({ kind: 'answered', status, type: contentType(headers), body: Buffer.concat(chunks) }, false)
      },
      error: failing,
    })
  })

/** Answers that are the gateway's problem with the server, never the client's. */
export const refused = (status: number): boolean =>
  (status >= 300 && status < 400) || status === 401 || status === 403 || status === 407

const contentType = (headers: IncomingHttpHeaders): string => headers['content-type'] ?? 'application/json'
const isEventStream = (headers: IncomingHttpHeaders): boolean =>
  contentType(headers).toLowerCase().startsWith('text/event-stream')
