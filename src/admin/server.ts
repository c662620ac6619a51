/** Serves the admin address: the status page, `/status`, `/definitions`, `/ready` and `/metrics`; read-only, for this machine's operator. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Address } from '../registry/model.ts'
import { hostAllowed } from './host.ts'
import { CONTENT_SECURITY_POLICY, page } from './page.ts'
import type { Readiness, Status } from './status.ts'

export interface AdminOptions {
  readonly address: Address
  readonly status: () => Status
  readonly ready: () => Readiness
  /** What every server says of its tools, as JSON. */
  readonly definitions: () => unknown
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
}

export interface Admin {
  /** With the port the system gave, when 0 was asked for. */
  readonly address: Address
  readonly url: string
  [Symbol.asyncDispose](): Promise<void>
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

const TEXT = 'text/plain; charset=utf-8'
const JSON_TYPE = 'application/json; charset=utf-8'

const text = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  type: TEXT,
  body: `${body}\n`,
  headers,
})

const readiness = ({ ready, reasons }: Readiness): Answer =>
  text(ready ? 200 : 503, ready ? 'ready' : ['not ready', ...reasons].join('\n'))

const answer = async (request: IncomingMessage, listening: string, options: AdminOptions): Promise<Answer> => {
  if (!hostAllowed(request.headers.host, listening)) return text(403, 'this host name is not served here')
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return text(405, 'GET or HEAD only', { allow: 'GET, HEAD' })
  const [path] = (request.url ?? '/').split('?', 1)
  switch (path) {
    case '/':
      return {
        status: 200,
        type: 'text/html; charset=utf-8',
        body: page(options.status()),
        headers: { 'content-security-policy': CONTENT_SECURITY_POLICY },
      }
    case '/status':
      return { status: 200, type: JSON_TYPE, body: `${JSON.stringify(options.status(), undefined, 2)}\n` }
    case '/definitions':
      return { status: 200, type: JSON_TYPE, body: `${JSON.stringify(options.definitions(), undefined, 2)}\n` }
    case '/ready':
      return readiness(options.ready())
    case '/metrics':
      return { status: 200, type: options.metrics.contentType, body: await options.metrics.text() }
    default:
      return text(404, 'there is /, /status, /definitions, /ready and /metrics')
  }
}

const send = (response: ServerResponse, { status, type, body, headers }: Answer): void => {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    ...headers,
  })
  response.end(body)
}

/** Rejects with the system's error when the address cannot be had. */
export const serveAdmin = async (options: AdminOptions): Promise<Admin> => {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    answer(request, options.address.host, options).then(
      (made) => send(response, made),
      (error: unknown) => send(response, text(500, error instanceof Error ? error.message : 'failed')),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.address.port, options.address.host, resolve)
  })
  // Such as no more file descriptors for a moment: the next scrape may be luckier, the gateway must not end for it.
  server.on('error', () => {})
  const { port } = bound(server.address())
  const { host } = options.address
  return {
    address: { host, port },
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const bound = (address: AddressInfo | string | null): AddressInfo => {
  if (address === null || typeof address === 'string') throw new Error('the admin server has no port')
  return address
}
