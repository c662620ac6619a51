/** A scripted MCP server whose tool `work` makes tasks, in the way of either era; they end when the test says so. */
import type { Era } from '../../src/mcp/versions.ts'
import type { Call, Script } from './mcp-script.ts'
import { RpcError, says } from './mcp-script.ts'
import type { McpServer } from './mcp-server.ts'
import { serveMcp } from './mcp-server.ts'
import { meta } from './mcp-stateless.ts'
import type { JsonObject } from './raw-json.ts'
import { waitingRoom } from './waiting-room.ts'

export interface Task {
  readonly id: string
  status: string
  /** What it says beside; spread into what is told of it. */
  more: JsonObject
}

export interface TaskServer extends AsyncDisposable {
  readonly mcp: McpServer
  /** In the order they were made. */
  readonly tasks: readonly Task[]
  /** Changes a task; whoever waits for its result hears of it. */
  change(task: Task, status: string, more?: JsonObject): void
  /** Asks the client on account of a task, on the stream that waits for its result; resolves with the answer's text. */
  ask(task: Task, method: string, params: JsonObject): Promise<string>
}

export const related = (id: string): JsonObject => ({ [meta('related-task')]: { taskId: id } })
export const EXTENSION = meta('tasks')

const TIMES = { createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z' }
const CAPABILITIES: Readonly<Record<Era, JsonObject>> = {
  stateful: { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
  stateless: { tools: {}, extensions: { [EXTENSION]: {} } },
}

export const serveTasks = async (era: Era, given: Partial<Script> = {}): Promise<TaskServer> => {
  const tasks: Task[] = []
  const { until, wake } = waitingRoom()
  /** Task → the call that waits for its result. */
  const waiting = new Map<Task, Call>()

  const make = (): Task => {
    // The separator of exposed ids may stand in a server's own, and so may what JSON writes in its own way.
    const task: Task = { id: `t~${tasks.length}/"é`, status: 'working', more: {} }
    tasks.push(task)
    return task
  }
  const found = ({ received }: Call): Task => {
    const task = tasks.find(({ id }) => id === received.message?.params?.['taskId'])
    if (task === undefined) throw new RpcError(-32602, 'Task not found')
    return task
  }
  const told = ({ id, status, more }: Task): JsonObject =>
    era === 'stateful'
      ? { taskId: id, status, ...TIMES, ttl: 60_000, ...more }
      : { taskId: id, status, ...TIMES, ttlMs: 60_000, ...more }
  /** What clients do not know stays as it is. */
  const odd = (json: JsonObject): string => `{"n":9007199254740993,"f":1.0,${JSON.stringify(json).slice(1)}`
  const cancel = (call: Call): JsonObject => {
    const task = found(call)
    self.change(task, 'cancelled')
    return era === 'stateful' ? told(task) : {}
  }

  const ways: Readonly<Record<Era, Script['methods']>> = {
    stateful: {
      'tasks/get': (call) => odd(told(found(call))),
      'tasks/cancel': cancel,
      'tasks/list': ({ received }) => {
        const at = Number(received.message?.params?.['cursor'] ?? 0)
        const next = at + 1 < tasks.length ? { nextCursor: String(at + 1) } : {}
        return { tasks: tasks.slice(at, at + 1).map(told), ...next }
      },
      'tasks/result': async (call) => {
        const task = found(call)
        waiting.set(task, call)
        wake()
        await until(() => (['completed', 'cancelled'].includes(task.status) ? true : undefined))
        return odd({ ...says(`${task.status} ${task.id}`), _meta: { ...related(task.id), k: 1 } })
      },
    },
    stateless: {
      'tasks/get': (call) => odd({ resultType: 'complete', ...told(found(call)) }),
      'tasks/update': (call) => {
        const task = found(call)
        self.change(task, 'working', { answered: call.received.message?.params?.['inputResponses'] })
        return { resultType: 'complete' }
      },
      'tasks/cancel': cancel,
    },
  }
  const work = (call: Call): JsonObject | string => {
    if (era === 'stateful')
      return call.received.message?.params?.['task'] === undefined
        ? says('done at once')
        : odd({ task: told(make()), _meta: { k: 1 } })
    const capabilities = call.meta[meta('clientCapabilities')]
    const isTask = JSON.stringify(capabilities).includes(EXTENSION) || call.arguments['rude'] === true
    return isTask ? odd({ resultType: 'task', ...told(make()) }) : says('done at once')
  }
  const mcp = await serveMcp({
    name: 'tasks',
    era,
    capabilities: CAPABILITIES[era],
    methods: ways[era],
    tools: [
      tool('work', 'optional', work),
      tool('must', 'required', work),
      tool('plain', undefined, ({ received }) => says(received.text)),
    ],
    ...given,
  })

  const self: TaskServer = {
    mcp,
    tasks,
    change(task, status, more = {}) {
      task.status = status
      task.more = more
      wake()
    },
    async ask(task, method, params) {
      const call = await until(() => waiting.get(task))
      return (await call.ask(method, { ...params, _meta: related(task.id) })).raw
    },
    [Symbol.asyncDispose]: () => mcp[Symbol.asyncDispose](),
  }
  return self
}

/** `support`: what the tool says of tasks. */
export const tool = (name: string, support: string | undefined, run: (call: Call) => JsonObject | string) => ({
  name,
  definition: {
    name,
    inputSchema: { type: 'object' },
    ...(support !== undefined && { execution: { taskSupport: support } }),
  },
  run,
})
