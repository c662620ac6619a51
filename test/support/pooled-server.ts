/** A stateful server as a plain value behind the session pool, and the pool behind a tiny HTTP server: what each side says is written by the test. */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { hear } from '../../src/broker/calls.ts'
import type { PooledRequest } from '../../src/broker/pooled-request.ts'
import { Reply } from '../../src/broker/reply.ts'
import { type SessionPool, sessionPool } from '../../src/broker/session-pool.ts'
import type { Row } from '../../src/catalog/routing-table.ts'
import { type Caller, nobody } from '../../src/clients/caller.ts'
import type { ClientState } from '../../src/clients/client-session.ts'
import { scan } from '../../src/mcp/scan.ts'
import { ANYBODY } from '../../src/policy/principal.ts'
import type { HttpServer, PoolOptions } from '../../src/registry/model.ts'
import { requestStates } from '../../src/sessions/request-state.ts'
import { ask } from '../../src/upstreams/questions.ts'
import { parseServerMessage } from '../../src/upstreams/server-message.ts'
import { failed, type Outcome, type Upstream, type UpstreamCall } from '../../src/upstreams/upstream.ts'
import { sseReader } from './event-stream.ts'
import { asObject, type JsonObject } from './raw-json.ts'
import { httpServer } from './registry-value.ts'
import { waitingRoom } from './waiting-room.ts'

const parseObject = (text: Buffer | string): JsonObject => asObject(JSON.parse(text.toString()))

const callerOf = (key: string, view: string): Caller => ({
  ...nobody,
  era: 'stateless',
  principal: { ...ANYBODY, key },
  view,
})

/** A call as it arrived at the server. */
export interface ArrivedCall {
  readonly client: ClientState
  readonly body: JsonObject
  readonly call: UpstreamCall
  answer(result: JsonObject): void
  error(error: JsonObject): void
  end(outcome: Outcome): void
  /** On the call's own stream. */
  say(message: JsonObject): void
  /** On the session's stream. */
  sayAside(message: JsonObject): void
}

export interface PooledServer {
  readonly upstream: Upstream
  readonly calls: readonly ArrivedCall[]
  /** Notifications and responses, in the order they came. */
  readonly told: readonly JsonObject[]
  readonly levels: readonly string[]
  /** Clients whose session was ended. */
  readonly left: readonly ClientState[]
  /** The call with this number, from 0 on. */
  call(number: number): Promise<ArrivedCall>
  /** What it was told, once there are so many messages. */
  toldAll(count: number): Promise<readonly JsonObject[]>
  leaving(count: number): Promise<void>
}

export const pooledServer = (changes: Partial<HttpServer> = {}): PooledServer => {
  const server = httpServer('weather', 'http://127.0.0.1:1/mcp', changes)
  const { wake, until } = waitingRoom()
  const calls: ArrivedCall[] = []
  const told: JsonObject[] = []
  const levels: string[] = []
  const left: ClientState[] = []
  const unused = (): never => {
    throw new Error('nobody asks for this here')
  }
  const upstream: Upstream = {
    server,
    shared: false,
    settled: Promise.resolve(),
    catalogue: () => ({
      protocolVersion: '2025-11-25',
      eras: ['stateful'],
      caching: {},
      capabilities: new Set(['tools', 'logging']),
      instructions: undefined,
      tools: [],
      prompts: [],
      resources: [],
      templates: [],
    }),
    call: (call) =>
      new Promise((resolve) => {
        const { client } = call
        // As real ones do: the session is opened with the first call, which passes on the level.
        if (!client.session.servers.has(server.name)) {
          client.session.servers.set(server.name, { id: `s${calls.length}`, protocolVersion: '2025-11-25' })
          if (client.logLevel !== undefined) levels.push(client.logLevel)
        }
        const body = parseObject(call.body)
        const respond = (rest: JsonObject): void =>
          resolve({
            kind: 'answered',
            status: 200,
            type: 'application/json',
            body: Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: body['id'], ...rest })),
          })
        call.signal.addEventListener('abort', () => resolve(failed('server-down', 'the call was ended')))
        calls.push({
          client,
          body,
          call,
          answer: (result) => respond({ result }),
          error: (error) => respond({ error }),
          end: resolve,
          say(message) {
            const parsed = parseServerMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })))
            if (parsed !== undefined && parsed.kind !== 'response') call.onMessage(parsed)
          },
          sayAside(message) {
            const parsed = parseServerMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })))
            const deliver = (bytes: Buffer): boolean => client.sendFrom(server.name, bytes)
            if (parsed?.kind === 'request') ask(upstream, client, parsed, deliver)
            else if (parsed?.kind === 'notification') hear(upstream, client, parsed, deliver)
          },
        })
        wake()
      }),
    async tell(_client, body) {
      told.push(parseObject(body))
      wake()
    },
    async setLevel(client) {
      levels.push(client.logLevel ?? '')
    },
    async leave(client) {
      left.push(client)
      wake()
    },
    refresh: () => undefined,
    update: unused,
    status: unused,
    era: unused,
    pass: unused,
    watch: unused,
    listen: unused,
    close: unused,
  }
  return {
    upstream,
    calls,
    told,
    levels,
    left,
    call: (number) => until(() => calls[number]),
    toldAll: (count) => until(() => (told.length >= count ? [...told] : undefined)),
    leaving: async (count) => void (await until(() => (left.length >= count ? true : undefined))),
  }
}

/** What a client got. */
export interface Got {
  readonly status: number
  readonly retryAfter: string | null
  /** The notifications before the answer. */
  readonly notifications: readonly JsonObject[]
  /** `result` or `error`, and `id`. */
  readonly answer: JsonObject
}

export interface PoolClient extends AsyncDisposable {
  readonly pool: SessionPool
  /** Time as the pool knows it; may be moved on. */
  nowMs: number
  /** Sends a request; `edit` gets the request last, for what no client should send. */
  send(request: Sent): Promise<Got>
}

export interface Sent {
  readonly id?: number | string
  readonly principal?: string
  readonly view?: string
  readonly method?: PooledRequest['method']
  /** Beside `_meta`. */
  readonly params?: JsonObject
  readonly capabilities?: JsonObject
  readonly meta?: JsonObject
  readonly clientInfo?: JsonObject
  readonly signal?: AbortSignal
  /** Sent to another server than the client's own. */
  readonly to?: PooledServer
}

/** A pool whose clients talk to `server`, over real HTTP. */
export const poolClient = async (server: PooledServer, limits: Partial<PoolOptions> = {}): Promise<PoolClient> => {
  const options = { size: 4, idleMs: 60_000, inputMs: 60_000, ...limits }
  const self: { nowMs: number } = { nowMs: 1_000_000 }
  const pool = sessionPool({
    version: '1.2.3',
    options: () => options,
    states: requestStates(randomBytes(32)),
    now: () => self.nowMs,
  })
  const sent = new Map<string, Sent>()
  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(Buffer.from(chunk))
    const bytes = Buffer.concat(chunks)
    const scanned = scan(bytes)
    const { principal = '', view = '', method = 'tools/call', to = server } = sent.get(req.url ?? '') ?? {}
    if (!scanned.ok || scanned.message.id === undefined) throw new Error('not a request')
    const { message } = scanned
    const literal = message.uri ?? message.refName ?? message.name
    if (literal === undefined) throw new Error('it names nothing')
    const row: Row = { exposed: 'weather_ask', own: 'ask', server: 'weather', hints: '', params: [] }
    const reply = new Reply(res, 'decision', Date.now(), () => undefined)
    reply.era = 'stateless'
    const { upstream } = to
    await pool.run({
      caller: callerOf(principal, view),
      upstream,
      method,
      row,
      literal,
      message,
      bytes,
      reply,
      id: scanned.message.id,
    })
    if (!reply.ended) throw new Error('the reply was not complete')
  }
  const failures: unknown[] = []
  const http = createServer((req, res) => void handle(req, res).catch((error: unknown) => failures.push(error)))
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const address = http.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  let count = 0
  return {
    pool,
    get nowMs() {
      return self.nowMs
    },
    set nowMs(to) {
      self.nowMs = to
    },
    async send(request) {
      const { id = 1, method = 'tools/call', params = { name: 'weather_ask', arguments: { city: 'Bern' } } } = request
      const {
        capabilities = { elicitation: {} },
        clientInfo = { name: 'client', version: '1' },
        meta,
        signal,
      } = request
      const path = `/${++count}`
      sent.set(path, request)
      const _meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': capabilities,
        'io.modelcontextprotocol/clientInfo': clientInfo,
        ...meta,
      }
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: 'POST',
        body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { _meta, ...params } }),
        ...(signal !== undefined && { signal }),
      })
      const text = await response.text()
      const messages: JsonObject[] = []
      if (response.headers.get('content-type') === 'text/event-stream')
        sseReader(({ data }) => messages.push(parseObject(data)))(text)
      else messages.push(parseObject(text))
      const answer = messages.pop() ?? {}
      return {
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        notifications: messages,
        answer,
      }
    },
    async [Symbol.asyncDispose]() {
      await pool.close()
      http.closeAllConnections()
      await new Promise<void>((resolve) => http.close(() => resolve()))
      if (failures.length > 0) throw new AggregateError(failures, 'requests failed')
    },
  }
}
