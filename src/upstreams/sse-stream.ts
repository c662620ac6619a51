/** The event stream of the HTTP+SSE transport (2024-11-05), and the address it names for messages. */
import { SseDecoder } from '../mcp/sse.ts'
import type { HttpServer } from '../registry/model.ts'
import { refused } from './http-exchange.ts'
import { type HttpEndpoint, MOST_ANSWER_BYTES } from './http-session.ts'
import { localReply } from './local-reply.ts'
import { NotShown } from './shown-client.ts'
import { type Failure, failed } from './upstream.ts'

export interface SseStream {
  /** Where messages are posted to, as a `:path` on the server's own origin. */
  readonly address: string
  /** Why it is over; undefined: it is not. */
  readonly lost: Failure | undefined
  readonly over: Promise<Failure>
  /** Aborted when it is over. */
  readonly signal: AbortSignal
  /** Ends it, for this reason. */
  lose(failure: Failure): void
}

/** Opens it and waits for the address. `received` gets each message; `signal` ends the opening only. Never rejects. */
export const openStream = (
  endpoint: HttpEndpoint,
  received: (data: Buffer) => void,
  signal: AbortSignal,
): Promise<SseStream | Failure> =>
  new Promise((resolve) => {
    const { name, timeoutMs } = endpoint.server
    const decoder = new SseDecoder(MOST_ANSWER_BYTES)
    const closing = new AbortController()
    const exchange: { stop?: () => void } = {}
    let lost: Failure | undefined
    let end: (failure: Failure) => void = () => undefined
    const over = new Promise<Failure>((settle) => {
      end = settle
    })
    const lose = (failure: Failure): void => {
      if (lost !== undefined) return
      lost = failure
      opened()
      exchange.stop?.()
      closing.abort()
      end(failure)
      resolve(failure)
    }
    const onAbort = (): void => lose(failed('server-down', 'the server was given up'))
    const timer = setTimeout(() => lose(failed('server-silent', `no endpoint event for ${timeoutMs} ms`)), timeoutMs)
    const opened = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort)

    let address: string | undefined
    const addressed = (reference: string): void => {
      if (address !== undefined) return
      address = addressOf(endpoint.server, reference)
      if (address === undefined) {
        lose(failed('server-invalid', 'its endpoint event leads away from its own origin'))
        return
      }
      opened()
      resolve({
        address,
        get lost() {
          return lost
        },
        over,
        signal: closing.signal,
        lose,
      })
    }
    exchange.stop = endpoint.client.start(
      {
        server: name,
        path: endpoint.server.endpoint.path,
        method: 'GET',
        headers: { accept: 'text/event-stream' },
        as: endpoint.as?.(),
      },
      {
        head(status, headers) {
          const envoys = localReply(headers)
          if (envoys !== undefined) lose(failed('server-down', envoys))
          else if (refused(status)) lose(failed('server-refused', `HTTP ${status}`))
          else if (status !== 200) lose(failed('server-down', `HTTP ${status}`))
          else if (headers['content-type']?.toLowerCase().startsWith('text/event-stream') !== true)
            lose(failed('server-invalid', 'its URL gives no event stream'))
        },
        data(chunk) {
          try {
            for (const { event, data } of decoder.push(chunk)) {
              if (lost !== undefined) return
              if (event === 'endpoint') addressed(data.toString())
              else if (event === 'message' && data.length > 0) received(data)
            }
          } catch (error) {
            lose(failed('server-invalid', error instanceof Error ? error.message : String(error)))
          }
        },
        end: () => lose(failed('server-down', 'the server ended the stream')),
        error: (error) => lose(error instanceof NotShown ? error.failure : failed('server-down', error.message)),
      },
    )
    if (closing.signal.aborted) exchange.stop()
  })

/** The path of an endpoint event's reference; undefined when it leads to another origin than the server's. */
export const addressOf = ({ endpoint }: Pick<HttpServer, 'endpoint'>, reference: string): string | undefined => {
  const { tls, host, port, path } = endpoint
  const own = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  if (!URL.canParse(reference, `${own}${path}`)) return undefined
  const { origin, username, password, pathname, search } = new URL(reference, `${own}${path}`)
  const same = origin === new URL(own).origin && username === '' && password === ''
  return same ? `${pathname}${search}` : undefined
}
