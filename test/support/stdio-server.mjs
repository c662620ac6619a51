/** A small MCP server on standard input and output, without any SDK; its tools show what it sees and hold answers back. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const held = []
const seen = []
const asked = new Map()
const cancellable = new Map()
let questions = 0

const write = (text) => process.stdout.write(`${text}\n`)
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] })
const answer = (id, result) =>
  write(`{"jsonrpc":"2.0","id":${id},"result":${typeof result === 'string' ? result : JSON.stringify(result)}}`)
const notify = (method, params) => write(JSON.stringify({ jsonrpc: '2.0', method, params }))

const tools = {
  echo: (call) => text(call.args.text),
  raw: (call) => text(call.line),
  odd: () => '{"content":[],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x":[ 1 ]}',
  env: () => text(JSON.stringify(process.env)),
  about: () => text(JSON.stringify({ cwd: process.cwd(), args: process.argv.slice(2), pid: process.pid })),
  /** Starts a process of its own, in the server's process group. */
  child: () => text(spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' }).pid),
  /** Answers when `release` is called, the last first. */
  hold: (call) => void held.push(call),
  held: () => text(held.length),
  release: () => {
    for (const { id, args, token } of held.splice(0).reverse()) {
      if (token !== undefined) notify('notifications/progress', { progressToken: token, progress: args.text })
      answer(id, text(args.text))
    }
    return text('released')
  },
  wait: (call) => void cancellable.set(call.id, call),
  waiting: () => text(cancellable.size),
  seen: () => text(JSON.stringify(seen)),
  elicit: (call) => {
    const id = `q${++questions}`
    asked.set(id, (message) => answer(call.id, text(JSON.stringify(message.result ?? message.error))))
    const params = { message: 'who?', requestedSchema: {} }
    write(JSON.stringify({ jsonrpc: '2.0', id, method: 'elicitation/create', params }))
  },
  touch: () => {
    notify('notifications/resources/updated', { uri: 'x:1' })
    return text('touched')
  },
  crash: () => {
    process.stderr.write('oh no\n')
    process.exit(3)
  },
}

const methods = {
  initialize: ({ params }) => ({
    protocolVersion: params.protocolVersion,
    capabilities: { tools: {}, resources: { subscribe: true } },
    serverInfo: { name: 'stdio', version: '1.0.0' },
  }),
  ping: () => ({}),
  'tools/list': () => ({ tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })) }),
  'resources/list': () => ({ resources: [{ uri: 'x:1', name: 'x' }] }),
  'resources/templates/list': () => ({ resourceTemplates: [] }),
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
}

if (process.argv[2] === 'broken') {
  process.stderr.write('cannot start\n')
  process.exit(1)
}
process.stderr.write('started\n')
process.stdout.write('this is no JSON\n')
createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line)
  seen.push(message)
  const { method, params = {} } = message
  const id = JSON.stringify(message.id)
  if (method === undefined) {
    asked.get(message.id)?.(message)
  } else if (method === 'notifications/cancelled') {
    const target = JSON.stringify(params.requestId)
    if (cancellable.delete(target)) answer(target, text('stopped'))
  } else if (method === 'tools/call') {
    // Own properties only: a client may name anything.
    const result = tools[params.name]?.({ id, line, args: params.arguments ?? {}, token: params._meta?.progressToken })
    if (result !== undefined) answer(id, result)
  } else if (message.id !== undefined) {
    answer(id, methods[method]?.(message) ?? {})
  }
})
