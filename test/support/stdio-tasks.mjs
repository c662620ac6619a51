/** An MCP server on standard input and output whose calls become tasks; `nudge` makes it speak about the first of them. */
import { createInterface } from 'node:readline'

const RELATED = 'io.modelcontextprotocol/related-task'
const write = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
const text = (value) => ({ content: [{ type: 'text', text: value }] })
const tasks = []
let asked

const tools = {
  job: ({ task, _meta }) => {
    if (task === undefined) return text('at once')
    const taskId = `job-${tasks.length}`
    tasks.push({ taskId, token: _meta?.progressToken })
    return { task: { taskId, status: 'working' } }
  },
  /** About the task to whoever made it, while another client is calling. */
  nudge: (_params, id) => {
    const [{ taskId, token }] = tasks
    const _meta = { [RELATED]: { taskId } }
    write({ method: 'notifications/progress', params: { progressToken: token, progress: 1, _meta } })
    write({ method: 'notifications/tasks/status', params: { taskId, status: 'input_required' } })
    write({ id: 'q', method: 'elicitation/create', params: { message: 'which?', requestedSchema: {}, _meta } })
    asked = (answer) => write({ id, result: text(JSON.stringify(answer.result ?? answer.error)) })
  },
}

const methods = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {}, tasks: { requests: { tools: { call: {} } } } },
    serverInfo: { name: 'stdio-tasks', version: '1.0.0' },
  }),
  'tools/list': () => ({
    tools: Object.keys(tools).map((name) => ({
      name,
      inputSchema: { type: 'object' },
      execution: { taskSupport: 'optional' },
    })),
  }),
  'tools/call': (params, id) => tools[params.name](params, id),
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params = {}, ...answer } = JSON.parse(line)
  if (method === undefined) asked(answer)
  else if (id !== undefined && Object.hasOwn(methods, method)) {
    const result = methods[method](params, id)
    if (result !== undefined) write({ id, result })
  } else if (id !== undefined) write({ id, error: { code: -32601, message: 'Method not found' } })
})
