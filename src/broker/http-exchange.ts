/** One POST to a server and everything that comes back: a JSON body, or a stream of messages that ends with the response. */
import type { IncomingHttpHeaders } from 'node:http'
import { INNER_REPLY, SESSION_ID } from '../mcp/headers.ts'
import { SseDecoder, type SseEvent } from '../mcp/sse.ts'
import { type InnerClient, type InnerRequest, isLocalReply } from './inner-client.ts'
import { parseServerMessage, type ServerMessage } from './server-message.ts'
import type { Outcome } from './upstream.ts'

export interface Post {
  readonly request: InnerRequest
  /** Raw id whose response ends the exchange; undefined for notifications and responses. */
  readonly id: string | undefined
  readonly timeoutMs: number
  readonly mostBytes: number
  waiting(): boolean
  onMessage(message: Exclude<ServerMessage, { kind: 'response' }>): void
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
    let settled = false
    const finish = (outcome: Outcome, early: boolean): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      if (early) exchange.stop?.()
      const sessionId = headers[SESSION_ID]
      resolve({ outcome, sessionId: typeof sessionId === 'string' ? sessionId : undefined })
    }
    const fail = (
      reason: 'server-down' | 'server-silent' | 'server-refused' | 'server-invalid',
      detail: string,
    ): void => finish({ kind: 'failed', reason, detail }, true)
    const timer = setTimeout(() => {
      if (options.waiting()) timer.refresh()
      else fail('server-silent', `no byte for ${timeoutMs} ms`)
    }, timeoutMs)
    const onAbort = (): void => fail('server-down', 'the call was ended')
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort)
    exchange.stop = client.start(options.request, {
      head(code, received) {
        timer.refresh()
        status = code
        headers = received
        if (isLocalReply(received)) fail('server-down', `Envoy: ${String(received[INNER_REPLY])}`)
        else if (refused(code)) fail('server-refused', `HTTP ${code}`)
        else if (isEventStream(received)) decoder = new SseDecoder(options.mostBytes)
      },
      data(chunk) {
        if (settled) return
        timer.refresh()
        if (decoder === undefined) {
          size += chunk.length
          if (size > options.mostBytes) fail('server-invalid', `the answer is larger than ${options.mostBytes} bytes`)
          chunks.push(Buffer.from(chunk))
          return
        }
        let events: readonly SseEvent[]
        try {
          events = decoder.push(chunk)
        } catch (error) {
          fail('server-invalid', error instanceof Error ? error.message : String(error))
          return
        }
        for (const event of events) {
          if (event.data.length === 0) continue
          const message = parseServerMessage(event.data)
          if (message === undefined) {
            fail('server-invalid', 'an event is not a JSON-RPC message')
            return
          }
          if (message.kind !== 'response') options.onMessage(message)
          else if (message.id === id) {
            finish({ kind: 'answered', status: 200, type: 'application/json', body: message.bytes }, true)
            return
          }
        }
      },
      end() {
        if (settled) return
        if (decoder !== undefined && id !== undefined) {
          fail('server-down', 'the stream ended before the response')
          return
        }
        finish({ kind: 'answered', status, type: contentType(headers), body: Buffer.concat(chunks) }, false)
      },
      error(error) {
        fail('server-down', error.message)
      },
    })
    if (settled) exchange.stop()
  })

/** Answers that are the gateway's problem with the server, never the client's. */
export const refused = (status: number): boolean =>
  (status >= 300 && status < 400) || status === 401 || status === 403 || status === 407

const contentType = (headers: IncomingHttpHeaders): string => headers['content-type'] ?? 'application/json'
const isEventStream = (headers: IncomingHttpHeaders): boolean =>
  contentType(headers).toLowerCase().startsWith('text/event-stream')
