/** A real MCP server on the published SDK, of both eras, that offers all the published conformance suite asks for. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node'
import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'
import {
  createMcpHandler,
  isLegacyRequest,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import type { Era } from '../../src/mcp/versions.ts'
import type { Shared } from './fixture.ts'
import { fixture } from './fixture.ts'
import { waitingRoom } from './waiting-room.ts'

export interface Fixture extends AsyncDisposable {
  readonly url: string
  /** The names that `test_wait` was called with whose calls were cancelled. */
  readonly cancelled: readonly string[]
  /** Resolves when the call of that name has been cancelled. */
  abandoned(name: string): Promise<void>
}

export interface FixtureOptions {
  readonly port?: number
  /** `both` (default): every request is answered in its own era. */
  readonly eras?: Era | 'both'
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

/** An event stream with a comment in front: without a first byte its headers would not be sent. */
const begun = (response: Response): Response => {
  if (response.body === null || response.headers.get('content-type') !== 'text/event-stream') return response
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
    start: (controller) => controller.enqueue(Buffer.from(': open\n\n')),
  })
  // It ends with the client's connection, which is nobody's fault.
  response.body.pipeTo(writable).catch(() => undefined)
  return new Response(readable, response)
}

/** Serves the fixture at `/mcp` on 127.0.0.1. In the stateful era every client has a session. */
export const serveFixture = async ({ port = 0, eras = 'both' }: FixtureOptions = {}): Promise<Fixture> => {
  const sessions = new Map<
    string,
    ReturnType<typeof fixture> & { transport: WebStandardStreamableHTTPServerTransport }
  >()
  const cancelled: string[] = []
  const { until, wake } = waitingRoom()
  const all = () => [...sessions.values()]
  const shared: Shared = {
    longer: { tools: false, prompts: false },
    change: async (list) => {
      shared.longer[list] = !shared.longer[list]
      const told = all().map(({ mcp: { server } }) =>
        list === 'tools' ? server.sendToolListChanged() : server.sendPromptListChanged(),
      )
      if (list === 'tools') stateless.notify.toolsChanged()
      else stateless.notify.promptsChanged()
      await Promise.all(told)
    },
    touch: async (uri) => {
      stateless.notify.resourceUpdated(uri)
      const interested = all().filter(({ subscribed }) => subscribed.has(uri))
      await Promise.all(interested.map(({ mcp: { server } }) => server.sendResourceUpdated({ uri })))
    },
    abandon: (name) => {
      cancelled.push(name)
      wake()
    },
  }
  const stateless = createMcpHandler(() => fixture('stateless', shared).mcp, { legacy: 'reject' })

  const stateful = async (request: Request): Promise<Response> => {
    const id = request.headers.get('mcp-session-id')
    const known = id === null ? undefined : sessions.get(id)
    if (known !== undefined) return begun(await known.transport.handleRequest(request))
    if (id !== null) {
      const error = { code: -32001, message: 'Session not found' }
      return Response.json({ jsonrpc: '2.0', id: null, error }, { status: 404 })
    }
    const instance = fixture('stateful', shared)
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (sid) => void sessions.set(sid, { ...instance, transport }),
      onsessionclosed: (sid) => void sessions.delete(sid),
      eventStore: eventStore(),
      retryInterval: 200,
    })
    await instance.mcp.connect(transport)
    const response = await transport.handleRequest(request)
    // Whatever was not an initialize has been refused; nobody will come back to it.
    if (transport.sessionId === undefined) await instance.mcp.close()
    return response
  }

  const spoken = async (request: Request): Promise<Era> => {
    if (eras !== 'both') return eras
    return (await isLegacyRequest(request)) ? 'stateful' : 'stateless'
  }
  const answer = toNodeHandler({
    fetch: async (request) => ((await spoken(request)) === 'stateful' ? stateful(request) : stateless.fetch(request)),
  })
  const validHost = localhostHostValidation()
  const validOrigin = localhostOriginValidation()
  const http = createServer((req, res) => {
    if (!validHost(req, res) || !validOrigin(req, res)) return
    if (req.url !== '/mcp') return void res.writeHead(404).end()
    const { method = '', url = '' } = req
    answer(Object.assign(req, { method, url }), res).catch((cause: unknown) =>
      res.destroy(new Error('the fixture failed', { cause })),
    )
  })
  await new Promise<void>((resolve, reject) => http.once('error', reject).listen(port, '127.0.0.1', resolve))
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    cancelled,
    abandoned: async (name) => void (await until(() => cancelled.find((one) => one === name))),
    [Symbol.asyncDispose]: async () => {
      for (const { mcp } of all()) await mcp.close()
      await stateless.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, eras: { type: 'string', default: 'both' } },
  })
  const eras = (['both', 'stateful', 'stateless'] as const).find((one) => one === values.eras)
  if (eras === undefined) throw new Error('--eras both|stateful|stateless')
  const { url } = await serveFixture({ port: Number(values.port), eras })
  console.log(url)
}
