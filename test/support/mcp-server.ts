/** A small real MCP server without any SDK, of either era: it does what its script says, also what no server should, and remembers all. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { TLSSocket } from 'node:tls'
import type { Answering } from './mcp-answering.ts'
import { answering, rpc, uncredited } from './mcp-answering.ts'
import { callOf, notification } from './mcp-call.ts'
import { capabilitiesOf, dispatch } from './mcp-dispatch.ts'
import { listens } from './mcp-listen.ts'
import type { Listening, Received, Script, Session } from './mcp-script.ts'
import { HttpAnswer, InputRequired, never, RpcError, scriptOf } from './mcp-script.ts'
import { eraOf, fault, stateless, statusOf } from './mcp-stateless.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject, message, rawMember } from './raw-json.ts'
import { waitingRoom } from './waiting-room.ts'

export interface McpServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Change it at any time. */
  readonly script: Script
  /** Everything that arrived, in order; `forget` empties it. */
  readonly received: Received[]
  readonly sessions: Map<string, Session>
  /** How often each tool was executed. */
  readonly executions: Map<string, number>
  /** The ids of requests that clients cancelled, as written: by a notification, or in the stateless era by closing the stream. */
  readonly cancelled: string[]
  /** How many GET streams are open. */
  readonly streams: number
  /** The `subscriptions/listen` streams that are open, oldest first. */
  readonly listening: readonly Listening[]
  /** How many messages of a method arrived (or HTTP requests of a kind: `GET`, `DELETE`). */
  count(method: string): number
  /** The first that arrived, or will, and fits. */
  next(fits: (received: Received) => boolean): Promise<Received>
  /** The first of a JSON-RPC method. */
  nextOf(method: string): Promise<Received>
  /** Looks again whenever something has happened here, until there is something other than undefined. */
  until<T>(look: () => T | undefined): Promise<T>
  /**
   * Sends a notification to every session's GET stream, or to one's, and to whoever listens for it in the stateless era;
   * returns to how many.
   */
  notify(method: string, params?: JsonObject, session?: string): number
  /** A change of the tools, and the notification. */
  setTools(tools: Script['tools']): void
  /** As a restart does: no session is known any more and no stream is open. */
  forgetSessions(): void
  forget(): void
  /** No longer listens, all connections are cut; `revive` listens at the same port again. */
  die(): Promise<void>
  revive(): Promise<void>
}

export interface Hosting {
  readonly port?: number
  /** Served over TLS. With `requestCert` and `ca` it insists on a client certificate. */
  readonly tls?: TlsOptions
}

/** Listens on 127.0.0.1 until it is disposed of. */
export const serveMcp = async (given: Partial<Script> = {}, { port = 0, tls }: Hosting = {}): Promise<McpServer> => {
  const self = {
    script: scriptOf(given),
    received: [] as Received[],
    sessions: new Map<string, Session>(),
    executions: new Map<string, number>(),
    cancelled: [] as string[],
  }
  const counts = new Map<string, number>()
  const connections = new WeakMap<Socket, number>()
  let connected = 0
  const streams = new Set<{ readonly session: string; readonly answer: Answering }>()
  const { until, wake } = waitingRoom()
  const streamOf = (session: string) => [...streams].find((stream) => stream.session === session)?.answer
  /** Requests to clients that are not answered yet, by session and id; and those being executed. */
  const asked = new Map<string, (answer: Message) => void>()
  const running = new Map<string, AbortController>()
  const key = (session: Session | undefined, id: string): string => `${session?.id ?? ''} ${id}`
  const listening = listens(self.script, () => setImmediate(wake))

  const receive = async (req: IncomingMessage): Promise<Received> => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(Buffer.from(chunk))
    const body = Buffer.concat(chunks)
    const text = body.toString()
    const message = parsed(text)
    const peer = req.socket instanceof TLSSocket ? req.socket.getPeerCertificate().subject?.CN : undefined
    return {
      http: req.method ?? '',
      path: req.url ?? '',
      headers: req.headers,
      body,
      text,
      message,
      era: eraOf(req.headers, message),
      clientName: Array.isArray(peer) ? peer[0] : peer,
      connection: connections.get(req.socket) ?? 0,
    }
  }

  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const received = await receive(req)
    self.received.push(received)
    for (const what of [received.http, received.message?.method]) {
      if (what !== undefined) counts.set(what, (counts.get(what) ?? 0) + 1)
    }
    setImmediate(wake)
    await self.script.before?.(received)
    if (res.destroyed) return
    const answer = answering(res, self.script.sse)
    const { era } = self.script
    const spoken = era === 'both' ? received.era : era
    try {
      const refusal = self.script.refuse?.(received) ?? uncredited(received, self.script)
      if (refusal !== undefined) throw refusal
      if (received.http === 'POST' && received.message === undefined) throw rpc(400, -32700, 'Parse error')
      await (spoken === 'stateful' ? serveStateful : serveStateless)(received, res, answer)
    } catch (error) {
      const id = received.message === undefined ? 'null' : (rawMember(received.text, 'id') ?? 'null')
      const known = error instanceof RpcError ? error : new RpcError(-32603, String(error))
      if (error instanceof HttpAnswer) answer.http(error)
      else answer.error(id, known, spoken === 'stateless' ? statusOf(known) : 200)
    }
  }

  const serveStateful = async (received: Received, res: ServerResponse, answer: Answering): Promise<void> => {
    if (received.message?.method === 'initialize') return initialize(received, answer)
    const session = sessionOf(received)
    if (received.http === 'GET') return openStream(session, res, answer)
    if (received.http === 'DELETE') {
      if (session === undefined) throw new HttpAnswer(405)
      self.sessions.delete(session.id)
      for (const stream of streams) if (stream.session === session.id) stream.answer.end()
      return answer.http(new HttpAnswer(200))
    }
    if (received.http !== 'POST') throw new HttpAnswer(405, { allow: 'GET, POST, DELETE' })
    const id = rawMember(received.text, 'id')
    if (id === undefined || received.message?.method === undefined) {
      hear(received, session, id)
      return answer.http(new HttpAnswer(202))
    }
    const abort = new AbortController()
    running.set(key(session, id), abort)
    const stream = () => streamOf(session?.id ?? '')
    try {
      const call = callOf({
        era: 'stateful',
        received,
        id,
        session,
        answer,
        res,
        cancelled: abort.signal,
        stream,
        streamOnce: () => until(stream),
        expect: (question, answered) => void asked.set(key(session, question), answered),
      })
      answer.result(id, await dispatch(self, call))
    } finally {
      running.delete(key(session, id))
    }
  }

  const serveStateless = async (received: Received, res: ServerResponse, answer: Answering): Promise<void> => {
    if (received.http !== 'POST') throw new HttpAnswer(405, { allow: 'POST' })
    const refusal = fault(received, self.script)
    if (refusal !== undefined) throw refusal
    const id = rawMember(received.text, 'id')
    const method = received.message?.method ?? ''
    if (id === undefined) return answer.http(new HttpAnswer(202))
    if (method === 'subscriptions/listen' && self.script.stream) return listening.accept(id, received, res, answer)
    const abort = new AbortController()
    res.once('close', () => {
      if (res.writableEnded) return
      self.cancelled.push(id)
      abort.abort()
      wake()
    })
    const call = callOf({
      era: 'stateless',
      received,
      id,
      session: undefined,
      answer,
      res,
      cancelled: abort.signal,
      stream: () => undefined,
      streamOnce: never,
      expect: () => undefined,
    })
    try {
      answer.result(id, stateless(await dispatch(self, call), method, self.script))
    } catch (error) {
      if (!(error instanceof InputRequired)) throw error
      answer.result(id, stateless(error.answer, method, self.script))
    }
  }

  /** A notification, or an answer to something we asked. */
  const hear = ({ text, message }: Received, session: Session | undefined, id: string | undefined): void => {
    if (id !== undefined && message !== undefined) {
      asked.get(key(session, id))?.(message)
      asked.delete(key(session, id))
    } else if (message?.method === 'notifications/cancelled') {
      const target = rawMember(text, 'params', 'requestId') ?? ''
      self.cancelled.push(target)
      running.get(key(session, target))?.abort()
    }
  }

  const initialize = ({ text, message }: Received, answer: Answering): void => {
    const { protocolVersions, sessions, name, instructions } = self.script
    const { protocolVersion: wanted, capabilities, clientInfo } = message?.params ?? {}
    const protocolVersion = protocolVersions.find((version) => version === wanted) ?? protocolVersions[0] ?? ''
    const id = randomUUID()
    if (sessions) {
      const told = { capabilities: asObject(capabilities), clientInfo: asObject(clientInfo) }
      self.sessions.set(id, { id, protocolVersion, ...told, subscriptions: new Set(), level: undefined })
      answer.header('mcp-session-id', id)
    }
    answer.result(rawMember(text, 'id') ?? 'null', {
      protocolVersion,
      capabilities: self.script.capabilities ?? capabilitiesOf(self.script),
      serverInfo: { name, version: '1.0.0' },
      ...(instructions === undefined ? {} : { instructions }),
    })
  }

  const sessionOf = ({ headers }: Received): Session | undefined => {
    const version = headers['mcp-protocol-version']
    if (version !== undefined && !self.script.protocolVersions.includes(String(version)))
      throw rpc(400, -32000, `Bad Request: Unsupported protocol version: ${String(version)}`)
    if (!self.script.sessions) return undefined
    const id = headers['mcp-session-id']
    if (id === undefined) throw rpc(400, -32000, 'Bad Request: Mcp-Session-Id header is required')
    const session = self.sessions.get(String(id))
    const { status, code, text } = self.script.dead
    if (session === undefined) throw rpc(status, code, text)
    return session
  }

  const openStream = (session: Session | undefined, res: ServerResponse, answer: Answering): void => {
    if (!self.script.stream) throw new HttpAnswer(405, { allow: 'POST, DELETE' })
    answer.open()
    const stream = { session: session?.id ?? '', answer }
    streams.add(stream)
    res.once('close', () => streams.delete(stream))
    wake()
  }

  const listener = (req: IncomingMessage, res: ServerResponse): void => {
    handle(req, res).catch(() => res.destroy())
  }
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)
  server.keepAliveTimeout = 300_000
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
    connections.set(socket, ++connected),
  )
  const listen = (on: number): Promise<void> =>
    new Promise((resolve, reject) => server.once('error', reject).listen(on, '127.0.0.1', resolve))
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  await listen(port)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const notify: McpServer['notify'] = (method, params, only) => {
    const told = new Set([...streams].map(({ session }) => session).filter((id) => only === undefined || id === only))
    // One stream of a session, never all of them: a message belongs on one stream.
    for (const id of told) streamOf(id)?.event(notification(method, params))
    return told.size + (only === undefined ? listening.notify(method, params) : 0)
  }
  const next: McpServer['next'] = (fits) => until(() => self.received.find(fits))

  return {
    ...self,
    port: address.port,
    url: `http${tls === undefined ? '' : 's'}://127.0.0.1:${address.port}/mcp`,
    get streams() {
      return streams.size
    },
    count: (method) => counts.get(method) ?? 0,
    get listening() {
      return listening.open
    },
    until,
    next,
    nextOf: (method) => next(({ message }) => message?.method === method),
    notify,
    setTools(tools) {
      self.script.tools = tools
      notify('notifications/tools/list_changed')
    },
    forgetSessions() {
      self.sessions.clear()
      for (const { answer } of streams) answer.end()
    },
    forget() {
      self.received.length = 0
      self.cancelled.length = 0
      self.executions.clear()
      counts.clear()
    },
    die: close,
    revive: () => listen(address.port),
    [Symbol.asyncDispose]: close,
  }
}

const parsed = (text: string): Message | undefined => {
  try {
    return message(text)
  } catch {
    return undefined
  }
}
