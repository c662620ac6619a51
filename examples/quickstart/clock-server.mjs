/** A small MCP server over Streamable HTTP, on the published SDK: two tools, for clients of both eras. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  isLegacyRequest,
  McpServer,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { z } from 'zod'

const says = (text) => ({ content: [{ type: 'text', text }] })

const clock = () => {
  const server = new McpServer({ name: 'clock', version: '1.0.0' })
  server.registerTool(
    'now',
    {
      description: 'The time in a time zone such as Europe/Berlin; UTC when none is given.',
      inputSchema: z.object({ zone: z.string().optional() }),
      annotations: { readOnlyHint: true },
    },
    ({ zone = 'UTC' }) =>
      says(new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long', timeZone: zone }).format()),
  )
  server.registerTool(
    'zones',
    {
      description: 'Every time zone whose name contains a text.',
      inputSchema: z.object({ containing: z.string() }),
      annotations: { readOnlyHint: true },
    },
    ({ containing }) =>
      says(
        Intl.supportedValuesOf('timeZone')
          .filter((zone) => zone.toLowerCase().includes(containing.toLowerCase()))
          .join('\n'),
      ),
  )
  return server
}

/** Every request stands for itself. */
const stateless = createMcpHandler(clock, { legacy: 'reject' })

/** Every client has a session. */
const sessions = new Map()
const stateful = async (request) => {
  // It has nothing to tell that nobody asked.
  if (request.method === 'GET') return new Response(null, { status: 405, headers: { allow: 'POST, DELETE' } })
  const id = request.headers.get('mcp-session-id')
  if (sessions.has(id)) return sessions.get(id).handleRequest(request)
  if (id !== null) return new Response(null, { status: 404 })
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (opened) => void sessions.set(opened, transport),
    onsessionclosed: (closed) => void sessions.delete(closed),
  })
  await clock().connect(transport)
  return transport.handleRequest(request)
}

const answer = toNodeHandler({
  fetch: async (request) => ((await isLegacyRequest(request)) ? stateful(request) : stateless.fetch(request)),
})
// A web page must not reach it by a name that leads to 127.0.0.1.
const validHost = localhostHostValidation()
const validOrigin = localhostOriginValidation()
const server = createServer((request, response) => {
  if (!validHost(request, response) || !validOrigin(request, response)) return
  answer(request, response).catch(() => response.destroy())
})
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${server.address().port}/mcp`),
)
