/** A small MCP server on standard input and output, without any SDK; its tools show what it sees and hold answers back. `ERA` says how it speaks. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const era = process.env.ERA ?? 'stateful'
const stateless = era === 'stateless'
const PREFIX = 'io.modelcontextprotocol/'

const held = []
const seen = []
const asked = new Map()
const cancellable = new Map()
/** Raw ids of the requests that were cancelled. */
const cancelled = []
/** Raw id of a `subscriptions/listen` → what it wants to hear. */
const listening = new Map()
let questions = 0
let more = 0

const write = (text) => process.stdout.write(`${text}\n`)
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] })
const typed = (result) => (stateless ? { resultType: 'complete', ...result } : result)
const answer = (id, result) =>
  write(`{"jsonrpc":"2.0","id":${id},"result":${typeof result === 'string' ? result : JSON.stringify(typed(result))}}`)
const refuse = (id, error) => write(`{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify(error)}}`)
const notify = (method, params = {}) => write(JSON.stringify({ jsonrpc: '2.0', method, params }))
/** News: to all there are in the old era, to those that want it in the new one. */
const tell = (method, params, wants) => {
  if (!stateless) notify(method, params)
  for (const [id, wanted] of listening)
    if (wants(wanted)) notify(method, { ...params, _meta: { [`${PREFIX}subscriptionId`]: JSON.parse(id) } })
}

const tools = {
  echo: (call) => text(call.args.text),
  raw: (call) => text(call.line),
  odd: () =>
    `{"content":[],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x":[ 1 ]${stateless ? ',"resultType":"complete"' : ''}}`,
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
  cancelled: () => text(cancelled.length),
  seen: () => text(JSON.stringify(seen)),
  elicit: (call) => {
    const params = { message: 'who?', requestedSchema: { type: 'object', properties: {} } }
    if (stateless) {
      const { inputResponses, requestState } = call.params
      if (inputResponses?.who !== undefined) return text(`${JSON.stringify(inputResponses.who)} ${requestState}`)
      const who = { method: 'elicitation/create', params: { mode: 'form', ...params } }
      return { resultType: 'input_required', inputRequests: { who }, requestState: 'kept' }
    }
    const id = `q${++questions}`
    asked.set(id, (message) => answer(call.id, text(JSON.stringify(message.result ?? message.error))))
    write(JSON.stringify({ jsonrpc: '2.0', id, method: 'elicitation/create', params }))
  },
  log: (call) => {
    notify('notifications/message', { level: 'warning', data: call.args.text })
    return text('logged')
  },
  touch: () => {
    tell('notifications/resources/updated', { uri: 'x:1' }, ({ resourceSubscriptions = [] }) =>
      resourceSubscriptions.includes('x:1'),
    )
    return text('touched')
  },
  /** One more tool. */
  grow: () => {
    const name = `more${++more}`
    tools[name] = () => text(name)
    tell('notifications/tools/list_changed', {}, ({ toolsListChanged }) => toolsListChanged === true)
    return text(name)
  },
  crash: () => {
    process.stderr.write('oh no\n')
    process.exit(3)
  },
}

const capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} }
const kept = stateless ? { ttlMs: 1000, cacheScope: 'private' } : {}

const methods = {
  'tools/list': () => ({
    tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })),
    ...kept,
  }),
  'resources/list': () => ({ resources: [{ uri: 'x:1', name: 'x' }], ...kept }),
  'resources/templates/list': () => ({ resourceTemplates: [], ...kept }),
  ...(stateless
    ? {
        'server/discover': () => ({ supportedVersions: ['2026-07-28'], capabilities, ...kept }),
        'subscriptions/listen': ({ params }, id) => {
          listening.set(id, params.notifications)
          const _meta = { [`${PREFIX}subscriptionId`]: JSON.parse(id) }
          notify('notifications/subscriptions/acknowledged', { _meta, notifications: params.notifications })
        },
      }
    : {
        initialize: ({ params }) => ({
          protocolVersion: params.protocolVersion,
          capabilities,
          serverInfo: { name: 'stdio', version: '1.0.0' },
        }),
        ping: () => ({}),
        'logging/setLevel': () => ({}),
        'resources/subscribe': () => ({}),
        'resources/unsubscribe': () => ({}),
      }),
}

/** What servers of the old era do when they are asked something they do not know: nothing, an end, an answer of some kind. */
const unknown = {
  mute: () => undefined,
  shy: () => process.exit(4),
  vague: (id) => answer(id, {}),
  older: (id) => refuse(id, { code: -32022, message: 'no', data: { supported: ['2025-11-25'], requested: 'x' } }),
  newer: (id) => refuse(id, { code: -32022, message: 'no', data: { supported: ['2099-01-01'], requested: 'x' } }),
}

const cancel = ({ requestId }) => {
  const id = JSON.stringify(requestId)
  cancelled.push(id)
  listening.delete(id)
  // In the new era nothing more may be said about it.
  if (cancellable.delete(id) && !stateless) answer(id, text('stopped'))
}

const receive = (line) => {
  const message = JSON.parse(line)
  seen.push(message)
  const { method, params = {} } = message
  const id = JSON.stringify(message.id)
  if (method === undefined) {
    asked.get(message.id)?.(message)
  } else if (method === 'notifications/cancelled') {
    cancel(params)
  } else if (message.id === undefined) {
    return
  } else if (stateless && params._meta?.[`${PREFIX}protocolVersion`] !== '2026-07-28') {
    refuse(id, { code: -32602, message: 'no revision in _meta' })
  } else if (method === 'tools/call') {
    const { name, arguments: args = {}, _meta } = params
    // Own properties only: a client may name anything.
    const result = Object.hasOwn(tools, name)
      ? tools[name]({ id, line, params, args, token: _meta?.progressToken })
      : undefined
    if (result !== undefined) answer(id, result)
  } else if (Object.hasOwn(methods, method)) {
    const result = methods[method](message, id)
    if (result !== undefined) answer(id, result)
  } else if (Object.hasOwn(unknown, era)) {
    unknown[era](id)
  } else {
    refuse(id, { code: -32601, message: 'Method not found' })
  }
}

if (process.argv[2] === 'broken') {
  process.stderr.write('cannot start\n')
  process.exit(1)
}
process.stderr.write('started\n')
process.stdout.write('this is no JSON\n')
createInterface({ input: process.stdin }).on('line', receive)
