/** The MCP servers behind everything that is measured: one process, as little work per request as Node allows. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { VERSIONS } from './caller.ts'
import { ECHO, stateful, stateless } from './server-answers.ts'

// The path says which server it is: /<tools>/<name>/mcp offers that many tools in sessions, /<tools>/<name>/stateless
// without, /silent/mcp never answers.

const sessions = new Set<string>()

/** Requests of the bench and of the gateway begin so; what follows need not be parsed. */
const HEAD = /^\{"jsonrpc":"2\.0"(?:,"id":("[^"]*"|\d+))?,"method":"([^"]+)"/
const CALLS_ECHO = `"name":"${ECHO}"`

const write = (res: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void => {
  const length = Buffer.byteLength(body)
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': length, ...headers })
  res.end(body)
}
const send = (res: ServerResponse, id: string, result: string, headers?: Record<string, string>): void =>
  write(res, 200, `{"jsonrpc":"2.0","id":${id},"result":${result}}`, headers)
const refuse = (res: ServerResponse, status: number, id: string, code: number, data: unknown = {}): void =>
  write(res, status, `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify({ code, message: 'refused', data })}}`)

/** One POST, as far as it was read. */
interface Post {
  readonly id: string | undefined
  readonly method: string
  readonly header: (name: string) => string | undefined
  readonly body: Buffer
  readonly tools: number
}

const answer = (res: ServerResponse, { id, method, header, tools }: Post): void => {
  const session = header('mcp-session-id')
  if (method === 'initialize' && id !== undefined) {
    const opened = randomUUID()
    sessions.add(opened)
    send(res, id, stateful.initialized, { 'mcp-session-id': opened })
  } else if (session === undefined || !sessions.has(session)) res.writeHead(404).end()
  else if (id === undefined) res.writeHead(202).end()
  else if (method === 'tools/call') send(res, id, stateful.called)
  else if (method === 'tools/list') send(res, id, stateful.tools(tools))
  else send(res, id, '{}')
}

/** Headers must say what the body says, so that a call counts only if the gateway changed both. */
const answerStateless = (res: ServerResponse, { id, method, header, body, tools }: Post): void => {
  const version = header('mcp-protocol-version')
  if (id === undefined) res.writeHead(202).end()
  else if (version !== VERSIONS.stateless)
    refuse(res, 400, id, -32022, { supported: [VERSIONS.stateless], requested: version ?? '' })
  else if (header('mcp-method') !== method) refuse(res, 400, id, -32020)
  else if (method === 'tools/call') {
    if (header('mcp-name') === ECHO && body.includes(CALLS_ECHO)) send(res, id, stateless.called)
    else refuse(res, 400, id, -32020)
  } else if (method === 'tools/list') send(res, id, stateless.tools(tools))
  else if (method === 'server/discover') send(res, id, stateless.discovered)
  else refuse(res, 404, id, -32601)
}

const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
  const [, kind = '', , era] = (req.url ?? '').split('/', 4)
  const header = (name: string): string | undefined => {
    const value = req.headers[name]
    return typeof value === 'string' ? value : undefined
  }
  const session = header('mcp-session-id') ?? ''
  if (kind === 'silent') {
    req.resume()
    return
  }
  if (req.method === 'GET') {
    if (era === 'stateless') res.writeHead(405).end()
    else if (!sessions.has(session)) res.writeHead(404).end()
    else res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    return
  }
  if (req.method === 'DELETE') {
    sessions.delete(session)
    res.writeHead(200).end()
    return
  }
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const [first = Buffer.alloc(0)] = chunks
    const body = chunks.length === 1 ? first : Buffer.concat(chunks)
    const [, id, method] = HEAD.exec(body.toString('latin1', 0, 200)) ?? []
    if (method === undefined) res.writeHead(400).end()
    else (era === 'stateless' ? answerStateless : answer)(res, { id, method, header, body, tools: Number(kind) })
  })
}

const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 }, onRequest)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
})
process.once('disconnect', () => process.exit(0))
process.once('SIGTERM', () => process.exit(0))
