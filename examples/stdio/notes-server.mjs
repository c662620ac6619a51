/** A small MCP server over standard input and output: it remembers notes for as long as it runs. */
import { createInterface } from 'node:readline'

const notes = []
const tools = {
  add: { properties: { text: { type: 'string' } }, run: ({ text }) => `note ${notes.push(text)}` },
  list: { properties: {}, run: () => [process.env.NOTES_TITLE, ...notes].join('\n') },
  variable: { properties: { name: { type: 'string' } }, run: ({ name }) => process.env[name] ?? 'not set' },
}

const call = ({ name, arguments: args = {} }) =>
  Object.hasOwn(tools, name)
    ? { result: { content: [{ type: 'text', text: tools[name].run(args) }] } }
    : { error: { code: -32602, message: `Unknown tool: ${name}` } }

const answers = {
  initialize: () => ({
    result: {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'notes', version: '1.0.0' },
    },
  }),
  ping: () => ({ result: {} }),
  'tools/list': () => ({
    result: {
      tools: Object.entries(tools).map(([name, { properties }]) => ({
        name,
        inputSchema: { type: 'object', properties },
      })),
    },
  }),
  'tools/call': call,
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params = {} } = JSON.parse(line)
  if (id === undefined || method === undefined) continue
  const answer = Object.hasOwn(answers, method)
    ? answers[method](params)
    : { error: { code: -32601, message: 'Method not found' } }
  console.log(JSON.stringify({ jsonrpc: '2.0', id, ...answer }))
}
