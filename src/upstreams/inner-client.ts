/** HTTP to the servers through any connected Envoy's inner listener, so that TLS, credentials and logs exist once. */
import type { IncomingHttpHeaders } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import type { Caller } from '../clients/caller.ts'
import { CLUSTER } from '../mcp/headers.ts'

/** What an exchange tells as it goes; exactly one of `end` and `error` comes last. */
export interface ExchangeEvents {
  head(status: number, headers: IncomingHttpHeaders): void
  data(chunk: Buffer): void
  end(): void
  error(error: Error): void
}

export interface InnerRequest {
  readonly server: string
  readonly path: string
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** On whose behalf; undefined: the gateway's own. */
  readonly as?: Caller | undefined
}

export interface InnerClient {
  /** Starts an exchange; what it returns ends it early (then no further event comes). */
  start(request: InnerRequest, events: ExchangeEvents): () => void
  close(): Promise<void>
}

/** A client over the sockets that `sockets` names at the time, the first that can be connected to. */
export const innerClient = (sockets: () => readonly string[]): InnerClient => {
  const pools = new Map<string, Pool>()
  const pool = (socketPath: string): Pool => {
    const known = pools.get(socketPath)
    if (known !== undefined) return known
    // Silence is the broker's to judge: a human may be thinking about an elicitation meanwhile.
    const made = new Pool('http://inner', {
      socketPath,
      connections: 4096,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    pools.set(socketPath, made)
    return made
  }
  const attempt = (
    paths: readonly string[],
    request: InnerRequest,
    events: ExchangeEvents,
    stop: { now?: () => void; done: boolean },
  ): void => {
    const [path, ...others] = paths
    if (path === undefined) {
      stop.done = true
      events.error(new Error('no Envoy is connected'))
      return
    }
    let answered = false
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        stop.now = () => controller.abort(new Error('ended'))
        if (stop.done) stop.now()
      },
      onResponseStart(_controller, status, headers) {
        if (status < 200 || stop.done) return
        answered = true
        events.head(status, headers)
      },
      onResponseData(_controller, chunk) {
        if (!stop.done) events.data(chunk)
      },
      onResponseEnd() {
        if (stop.done) return
        stop.done = true
        events.end()
      },
      onResponseError(_controller, error) {
        if (stop.done) return
        // Nothing was sent yet when the socket could not be connected to: another Envoy may take it.
        if (!answered && unreachable(error) && others.length > 0) {
          attempt(others, request, events, stop)
          return
        }
        stop.done = true
        events.error(error)
      },
    }
    pool(path).dispatch(
      {
        path: request.path,
        method: request.method,
        headers: { ...request.headers, [CLUSTER]: `mcp.${request.server}` },
        body: request.body ?? null,
      },
      handler,
    )
  }
  return {
    start(request, events) {
      const stop: { now?: () => void; done: boolean } = { done: false }
      attempt(sockets(), request, events, stop)
      return () => {
        if (stop.done) return
        stop.done = true
        stop.now?.()
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((each) => each.destroy()))
    },
  }
}

const unreachable = (error: Error & { code?: string }): boolean =>
  error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
