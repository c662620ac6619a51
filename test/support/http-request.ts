/** One HTTP request, sent exactly as given, and its answer exactly as it came. */

import type { IncomingHttpHeaders } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import type { SseEvent } from './event-stream.ts'
import { sseReader } from './event-stream.ts'
import type { Message } from './raw-json.ts'
import { message } from './raw-json.ts'

/** Connections are kept and used again, unless a request brings an agent of its own. */
const keeping = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) }

export interface RequestOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Uint8Array
  /** Ends the request, and its answer when that has begun. */
  readonly signal?: AbortSignal
  /** A connection of its own, closed afterwards. */
  readonly fresh?: boolean
  readonly tls?: ConnectionOptions
  /** Each message as soon as it is complete. */
  readonly onMessage?: (message: Message) => void
  readonly onEvent?: (event: SseEvent) => void
  /** Text of the comments in an event stream. */
  readonly onComment?: (text: string) => void
  readonly onHeaders?: (status: number, headers: IncomingHttpHeaders) => void
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly text: string
  /** The JSON-RPC messages in it, whether it was JSON or an event stream. Other content: none. */
  readonly messages: readonly Message[]
}

export const request = (url: string, options: RequestOptions = {}): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const { body, method = body === undefined ? 'GET' : 'POST', headers = {}, fresh = false, tls } = options
    const target = new URL(url)
    const secure = target.protocol === 'https:'
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const init: https.RequestOptions = {
      method,
      headers: { ...length, ...(headers as http.OutgoingHttpHeaders) },
      agent: fresh || tls !== undefined ? false : secure ? keeping.https : keeping.http,
      ...tls,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }
    const received = (res: http.IncomingMessage): void => {
      const status = res.statusCode ?? 0
      options.onHeaders?.(status, res.headers)
      const messages: Message[] = []
      const seen = (text: string): void => {
        try {
          const one = message(text)
          messages.push(one)
          options.onMessage?.(one)
        } catch (error) {
          sent.destroy()
          reject(error)
        }
      }
      const streamed = /^text\/event-stream\b/.test(res.headers['content-type'] ?? '')
      const read = sseReader((event) => {
        options.onEvent?.(event)
        if (event.data !== '') seen(event.data)
      }, options.onComment)
      const decoder = new TextDecoder()
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        if (streamed) read(decoder.decode(chunk, { stream: true }))
      })
      res.once('error', reject)
      res.once('end', () => {
        const whole = Buffer.concat(chunks)
        const text = whole.toString()
        if (!streamed && /^\s*\{.*"jsonrpc"/s.test(text)) seen(text)
        resolve({ status, headers: res.headers, rawHeaders: res.rawHeaders, body: whole, text, messages })
      })
    }
    const sent = secure ? https.request(target, init, received) : http.request(target, init, received)
    sent.once('error', reject)
    sent.end(body)
  })
