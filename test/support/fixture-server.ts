/** A real MCP server on the published SDK that offers all the published conformance suite asks for. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
} from '@modelcontextprotocol/node'
import { Server } from '@modelcontextprotocol/server'
import type { EventStore, JSONRPCMessage, Tool } from '@modelcontextprotocol/server'
import { known, prompts, read, resources, says, template, text, tools } from './fixture-content.ts'

const anything: Tool['inputSchema'] = { type: 'object' }

/** One server instance. A session has one to itself; a request of the stateless era will have one, too. */
const fixture = (): Server => {
  const server = new Server(
    { name: 'conformance-fixture', version: '1.0.0' },
    {
      capabilities: { tools: {}, prompts: {}, resources: { subscribe: true }, logging: {}, completions: {} },
      instructions: 'Made for tests.',
    },
  )
  server.setRequestHandler('tools/list', () => ({
    tools: Object.entries(tools).map(([name, { description, inputSchema = anything }]) => ({
      name,
      description,
      inputSchema,
    })),
  }))
  server.setRequestHandler('tools/call', async ({ params }, ctx) => {
    const { run } = known(tools, params.name, 'tool')
    try {
      return await run(params.arguments ?? {}, ctx)
    } catch (cause) {
      return { isError: true, ...says(text(String(cause))) }
    }
  })
  server.setRequestHandler('prompts/list', () => ({
    prompts: Object.entries(prompts).map(([name, { description, arguments: args = [] }]) => ({
      name,
      description,
      arguments: [...args],
    })),
  }))
  server.setRequestHandler('prompts/get', ({ params }) =>
    known(prompts, params.name, 'prompt').get(params.arguments ?? {}),
  )
  server.setRequestHandler('resources/list', () => ({
    resources: Object.entries(resources).map(([uri, { name, description, mimeType }]) => ({
      uri,
      name,
      description,
      mimeType,
    })),
  }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [template] }))
  server.setRequestHandler('resources/read', ({ params }) => read(params.uri))
  server.setRequestHandler('resources/subscribe', () => ({}))
  server.setRequestHandler('resources/unsubscribe', () => ({}))
  server.setRequestHandler('completion/complete', ({ params }) => {
    const values = ['paris', 'park', 'party'].filter((word) => word.startsWith(params.argument.value))
    return { completion: { values, total: values.length, hasMore: false } }
  })
  return server
}

/** Remembers what was sent on each stream, so that a client can come back for the rest. */
const eventStore = (): EventStore => {
  const events: { readonly id: string; readonly stream: string; readonly message: JSONRPCMessage }[] = []
  return {
    storeEvent: async (stream, message) => {
      const id = `${stream}_${events.length}`
      events.push({ id, stream, message })
      return id
    },
    replayEventsAfter: async (last, { send }) => {
      const at = events.findIndex(({ id }) => id === last)
      const stream = events[at]?.stream ?? ''
      for (const event of events.slice(at + 1)) {
        // A priming event is stored as an empty message; there is nothing in it to see again.
        if (event.stream === stream && 'jsonrpc' in event.message) await send(event.id, event.message)
      }
      return stream
    },
  }
}

/** Serves the fixture at `/mcp` on 127.0.0.1; stateful, a session for every client. */
export const serveFixture = async ({ port = 0 }: { readonly port?: number } = {}) => {
  const sessions = new Map<string, { transport: NodeStreamableHTTPServerTransport; server: Server }>()
  const validHost = localhostHostValidation()
  const validOrigin = localhostOriginValidation()

  const stateful = async (req: IncomingMessage, res: ServerResponse) => {
    const id = req.headers['mcp-session-id']
    const known = typeof id === 'string' ? sessions.get(id) : undefined
    if (known !== undefined) return known.transport.handleRequest(req, res)
    if (id !== undefined) {
      res.writeHead(404, { 'content-type': 'application/json' })
      res.end('{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}')
      return
    }
    const server = fixture()
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (sid) => void sessions.set(sid, { transport, server }),
      onsessionclosed: (sid) => void sessions.delete(sid),
      eventStore: eventStore(),
      retryInterval: 200,
    })
    await server.connect(transport)
    await transport.handleRequest(req, res)
    // Whatever was not an initialize has been refused; nobody will come back to it.
    if (transport.sessionId === undefined) await server.close()
  }

  const http = createServer((req, res) => {
    if (!validHost(req, res) || !validOrigin(req, res)) return
    if (req.url !== '/mcp') return void res.writeHead(404).end()
    stateful(req, res).catch((cause: unknown) => res.destroy(new Error('the fixture failed', { cause })))
  })
  await new Promise<void>((resolve, reject) => http.once('error', reject).listen(port, '127.0.0.1', resolve))
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    [Symbol.asyncDispose]: async () => {
      for (const { server } of sessions.values()) await server.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } })
  const { url } = await serveFixture({ port: Number(values.port) })
  console.log(url)
}
