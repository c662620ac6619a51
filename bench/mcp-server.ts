/** The MCP servers behind everything that is measured: one process, as little work per request as Node allows. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

// The path says which server it is: /<tools>/<name>/mcp offers that many tools, /silent/mcp never answers.
// The first tool is `echo`.

const sessions = new Set<string>()

/** A tool as servers really describe one, about 600 bytes. */
const definition = (index: number): unknown => ({
  name: index === 0 ? 'echo' : `lookup_record_${index}`,
  title: `Look up record ${index}`,
  description:
    'Finds the record with the given key in the archive and returns its text. Use it when the user names a record ' +
    'or refers to one that was mentioned before.',
  inputSchema: {
    type: 'object',
    properties: {
      key: { type: 'string', description: 'The key of the record, such as a-1024' },
      pad: { type: 'string', description: 'Anything; it is not used' },
      limit: { type: 'integer', minimum: 1, maximum: 100, description: 'At most so many lines' },
    },
    required: ['key'],
  },
  annotations: { readOnlyHint: true, openWorldHint: false },
})

const lists = new Map<number, string>()
const toolList = (count: number): string => {
  const known = lists.get(count) ?? JSON.stringify({ tools: Array.from({ length: count }, (_, i) => definition(i)) })
  lists.set(count, known)
  return known
}

const initialized = JSON.stringify({
  protocolVersion: '2025-11-25',
  capabilities: { tools: { listChanged: true } },
  serverInfo: { name: 'bench', version: '1.0.0' },
})
const called = '{"content":[{"type":"text","text":"done"}]}'

/** Requests of the bench and of the gateway begin so; what follows need not be parsed. */
const HEAD = /^\{"jsonrpc":"2\.0"(?:,"id":("[^"]*"|\d+))?,"method":"([^"]+)"/

const send = (res: ServerResponse, id: string, result: string, headers: Record<string, string> = {}): void => {
  const body = `{"jsonrpc":"2.0","id":${id},"result":${result}}`
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers })
  res.end(body)
}

const answer = (res: ServerResponse, body: Buffer, session: string | undefined, tools: number): void => {
  const found = HEAD.exec(body.toString('latin1', 0, 200))
  const [, id, method] = found ?? []
  if (found === null) res.writeHead(400).end()
  else if (method === 'initialize' && id !== undefined) {
    const opened = randomUUID()
    sessions.add(opened)
    send(res, id, initialized, { 'mcp-session-id': opened })
  } else if (session === undefined || !sessions.has(session)) res.writeHead(404).end()
  else if (id === undefined) res.writeHead(202).end()
  else if (method === 'tools/call') send(res, id, called)
  else if (method === 'tools/list') send(res, id, toolList(tools))
  else send(res, id, '{}')
}

const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
  const [, kind = ''] = (req.url ?? '').split('/', 2)
  const header = req.headers['mcp-session-id']
  const session = typeof header === 'string' ? header : undefined
  if (kind === 'silent') {
    req.resume()
    return
  }
  if (req.method === 'GET') {
    if (session === undefined || !sessions.has(session)) res.writeHead(404).end()
    else res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    return
  }
  if (req.method === 'DELETE') {
    if (session !== undefined) sessions.delete(session)
    res.writeHead(200).end()
    return
  }
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const [first = Buffer.alloc(0)] = chunks
    answer(res, chunks.length === 1 ? first : Buffer.concat(chunks), session, Number(kind))
  })
}

const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 }, onRequest)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
})
process.once('disconnect', () => process.exit(0))
process.once('SIGTERM', () => process.exit(0))
