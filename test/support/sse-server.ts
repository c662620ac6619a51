/** A small server of the HTTP+SSE transport on the v1 SDK, on a Unix socket or a port: its tools ask, hold answers back and count. */
import http from 'node:http'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import {
  CallToolRequestSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { waitingRoom } from './waiting-room.ts'

export interface SseServer extends AsyncDisposable {
  readonly port: number
  /** One for each connection, in the order they came. */
  readonly connections: Connection[]
  /** Names of the tools; whoever listens is told when they change. */
  setTools(names: readonly string[]): Promise<void>
  /** How often each tool was executed. */
  readonly executions: Map<string, number>
  /** Lets the calls of `hold` be answered. */
  release(): void
  /** Resolves with the first thing `look` finds, now or later. */
  readonly until: <T>(look: () => T | undefined) => Promise<T>
}

export interface Connection {
  readonly server: Server
  readonly clientName: string | undefined
  readonly open: boolean
  readonly level: string | undefined
  readonly subscribed: ReadonlySet<string>
  /** Calls that were given up. */
  readonly cancelled: number
  /** Cuts the stream. */
  cut(): void
}

const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: String(value) }] })

/** `at` is a path of a Unix socket; without it, a free port of 127.0.0.1. */
export const serveSse = async (at?: string): Promise<SseServer> => {
  const connections: (Connection & { readonly transport: SSEServerTransport })[] = []
  const executions = new Map<string, number>()
  const held = new Set<() => void>()
  const { until, wake } = waitingRoom()
  let tools: readonly string[] = ['echo', 'hold', 'elicit', 'logs', 'steps']

  const connect = async (res: http.ServerResponse): Promise<void> => {
    const transport = new SSEServerTransport('/messages', res)
    const capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} }
    const server = new Server({ name: 'old', version: '1.0.0' }, { capabilities })
    const state = { open: true, level: undefined as string | undefined, cancelled: 0 }
    const subscribed = new Set<string>()
    const woken = <T>(value: T): T => {
      wake()
      return value
    }
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: tools.map((name) => ({ name, inputSchema: { type: 'object' as const } })),
    }))
    server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: [{ uri: 'x:1', name: 'x' }] }))
    server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
      subscribed.add(params.uri)
      return woken({})
    })
    server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
      subscribed.delete(params.uri)
      return woken({})
    })
    server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
      state.level = params.level
      return woken({})
    })
    server.setRequestHandler(
      CallToolRequestSchema,
      async ({ params }, { signal, _meta, sendNotification, requestId }) => {
        executions.set(params.name, (executions.get(params.name) ?? 0) + 1)
        wake()
        switch (params.name) {
          case 'hold':
            await new Promise<void>((resolve) => {
              held.add(resolve)
              wake()
              signal.addEventListener('abort', () => {
                state.cancelled++
                resolve()
                wake()
              })
            })
            return text(params.arguments?.['text'])
          case 'elicit':
            return text(
              JSON.stringify(
                await server.elicitInput({ message: 'who?', requestedSchema: { type: 'object', properties: {} } }),
              ),
            )
          case 'logs':
            await sendNotification({ method: 'notifications/message', params: { level: 'error', data: 'oh' } })
            return text('logged')
          case 'steps':
            if (_meta?.progressToken !== undefined)
              await sendNotification({
                method: 'notifications/progress',
                params: { progressToken: _meta.progressToken, progress: 1 },
              })
            return text('stepped')
          default:
            return text(params.arguments?.['text'] ?? requestId)
        }
      },
    )
    connections.push({
      server,
      transport,
      subscribed,
      get clientName() {
        return server.getClientVersion()?.name
      },
      get open() {
        return state.open
      },
      get level() {
        return state.level
      },
      get cancelled() {
        return state.cancelled
      },
      cut: () => res.destroy(),
    })
    res.once('close', () => {
      state.open = false
      wake()
    })
    await server.connect(transport)
    wake()
  }

  const listener = http.createServer((req, res) => {
    if (req.method === 'GET') {
      void connect(res)
      return
    }
    const id = new URL(req.url ?? '', 'http://host').searchParams.get('sessionId')
    const connection = connections.find(({ transport, open }) => open && transport.sessionId === id)
    if (connection === undefined) res.writeHead(404).end('no such session')
    else void connection.transport.handlePostMessage(req, res)
  })
  await new Promise<void>((resolve) => {
    if (at === undefined) listener.listen(0, '127.0.0.1', resolve)
    else listener.listen(at, resolve)
  })
  const address = listener.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    connections,
    executions,
    until,
    async setTools(names) {
      tools = names
      await Promise.all(connections.filter(({ open }) => open).map(({ server }) => server.sendToolListChanged()))
    },
    release() {
      for (const resolve of held) resolve()
      held.clear()
    },
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
