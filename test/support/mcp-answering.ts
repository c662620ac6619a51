/** One HTTP answer of the scripted MCP server: as JSON, or as an event stream once something else has to be said first. */
import type { ServerResponse } from 'node:http'
import { sseEvent } from './event-stream.ts'
import type { Answer, Received, Script } from './mcp-script.ts'
import { HttpAnswer, RpcError } from './mcp-script.ts'

export interface Answering {
  header(name: string, value: string): void
  /** Starts an event stream and leaves it open. */
  open(): void
  event(message: string): void
  /** `id` is JSON text. */
  result(id: string, result: Answer): void
  /** `status`: of an error that is the whole answer; default 200, in the way results are sent. */
  error(id: string, error: RpcError, status?: number): void
  http(answer: HttpAnswer): void
  end(): void
}

export const answering = (res: ServerResponse, sse: Script['sse']): Answering => {
  const style = typeof sse === 'object' ? sse : {}
  let events = 0
  const write = (text: string): void => {
    const size = style.chunk ?? text.length
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += size) res.write(bytes.subarray(at, at + size))
  }
  const id = (): string | undefined => (style.ids === true || style.priming === true ? `e${++events}` : undefined)
  const open = (): void => {
    if (res.headersSent) return
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    // Without a first byte nobody on the way forwards the headers.
    write(style.priming === true ? sseEvent('', style, id()) : ': open\n\n')
  }
  const event = (message: string): void => {
    open()
    write(sseEvent(message, style, id()))
  }
  const finish = (message: string): void => {
    if (res.headersSent || sse !== false) {
      event(message)
      res.end()
      return
    }
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(message)
  }
  const http: Answering['http'] = ({ status, headers, body }) => {
    if (res.headersSent) return void res.end()
    res.writeHead(status, { ...headers })
    res.end(body)
  }
  return {
    header: (name, value) => void res.setHeader(name, value),
    open,
    event,
    result: (id, result) =>
      finish(`{"jsonrpc":"2.0","id":${id},"result":${typeof result === 'string' ? result : JSON.stringify(result)}}`),
    error: (id, error, status = 200) => {
      if (status === 200 || res.headersSent) finish(errorText(id, error))
      else http(refusal(status, id, error))
    },
    http,
    end: () => void res.end(),
  }
}

const errorText = (id: string, { code, message, data }: RpcError): string =>
  `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify({ code, message, data })}}`

/** A JSON-RPC error with an HTTP status of its own. `id` is JSON text. */
export const refusal = (status: number, id: string, error: RpcError): HttpAnswer =>
  new HttpAnswer(status, { 'content-type': 'application/json' }, errorText(id, error))

/** A JSON-RPC error as a server gives it before it has looked at the message. */
export const rpc = (status: number, code: number, text: string): HttpAnswer =>
  refusal(status, 'null', new RpcError(code, text))

/** 401 for a request without the credential that the script insists on. */
export const uncredited = ({ headers }: Received, { credential }: Script): HttpAnswer | undefined =>
  credential === undefined || headers[credential.header] === credential.value
    ? undefined
    : new HttpAnswer(401, { 'www-authenticate': 'Bearer realm="fixture"' }, 'unauthorized')
