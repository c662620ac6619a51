/** A small MCP server over Streamable HTTP without sessions: two tools, JSON answers. */
import { createServer } from 'node:http'

const tools = {
  now: {
    description: 'The time in a time zone such as Europe/Berlin; UTC when none is given.',
    inputSchema: { type: 'object', properties: { zone: { type: 'string' } } },
    annotations: { readOnlyHint: true },
    run: ({ zone = 'UTC' }) =>
      new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long', timeZone: zone }).format(),
  },
  zones: {
    description: 'Every time zone whose name contains a text.',
    inputSchema: { type: 'object', properties: { containing: { type: 'string' } }, required: ['containing'] },
    annotations: { readOnlyHint: true },
    run: ({ containing }) =>
      Intl.supportedValuesOf('timeZone')
        .filter((zone) => zone.toLowerCase().includes(String(containing).toLowerCase()))
        .join('\n'),
  },
}

const call = ({ name, arguments: args = {} }) => {
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined
  if (tool === undefined) return { error: { code: -32602, message: `Unknown tool: ${name}` } }
  try {
    return { result: { content: [{ type: 'text', text: tool.run(args) }] } }
  } catch (error) {
    return { result: { isError: true, content: [{ type: 'text', text: error.message }] } }
  }
}

const answers = {
  initialize: () => ({
    result: {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'clock', version: '1.0.0' },
    },
  }),
  ping: () => ({ result: {} }),
  'tools/list': () => ({
    result: { tools: Object.entries(tools).map(([name, { run: _run, ...tool }]) => ({ name, ...tool })) },
  }),
  'tools/call': call,
}

const handle = async (request, response) => {
  if (request.method !== 'POST') return response.writeHead(405, { allow: 'POST' }).end()
  let body = ''
  for await (const chunk of request) body += chunk
  let message
  try {
    message = JSON.parse(body)
  } catch {
    return response.writeHead(400).end('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}')
  }
  if (message.id === undefined) return response.writeHead(202).end()
  const answer = Object.hasOwn(answers, message.method)
    ? answers[message.method](message.params ?? {})
    : { error: { code: -32601, message: 'Method not found' } }
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...answer }))
}

const server = createServer((request, response) => {
  handle(request, response).catch(() => response.destroy())
})
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${server.address().port}/mcp`),
)
