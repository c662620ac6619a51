/** The broker's HTTP server on its Unix socket: reads one request, checks it as strictly as ext_proc does, has it answered. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Caller, nobody } from '../clients/caller.ts'
import * as header from '../mcp/headers.ts'
import type { Message } from '../mcp/message.ts'
import type { RefusalReason } from '../mcp/refusal.ts'
import { type Edge, examine, type RequestHead } from '../mcp/request-head.ts'
import { scan } from '../mcp/scan.ts'
import { eraOf } from '../mcp/stateless-request.ts'
import { type Era, isStateful, isStateless } from '../mcp/versions.ts'
import type { ClientSession } from '../sessions/session-table.ts'
import type { Broker } from './broker.ts'
import { callerOf, everybody, type Identification, type Identified } from './identify.ts'
import { replay } from './replay.ts'
import { type LogLabels, Reply } from './reply.ts'
import { one, paramsOf, pathOf, readBody, traceOf } from './request-parts.ts'
import { answer, initialize } from './stateful.ts'
import { answerStateless } from './stateless.ts'
import { takeStream } from './take-stream.ts'

/** A comment goes out on a stream that was silent this long: below every usual idle limit in between. */
const KEEP_ALIVE_MS = 25_000
/** How often silence is looked for. */
const TICK_MS = 5000
const SWEEP_MS = 60_000
/** A refused call comes back with the server's answer in a header. */
const MOST_HEADER_BYTES = 256 * 1024

/** Without `identify` everybody is one. */
export interface BrokerServerOptions extends Partial<Identification> {
  readonly socketPath: string
  readonly broker: Broker
  /** What the entrypoint accepts, as it is now. */
  readonly edge: () => Edge
  readonly onRefusal: (refusal: { decision: string; status: number; reason: string }) => void
  readonly onError: (error: unknown) => void
  /** A request begins. What is known of it grows until its answer ends. */
  readonly onRequest?: (decision: string, labels: Readonly<LogLabels>) => void
}

export interface BrokerServer {
  /** Client streams open now. */
  readonly streams: number
  /** Requests answered since the start. */
  readonly requests: number
  /** Begins nothing more and ends every client's stream; resolves when what is under way is done, after `limitMs` at most. */
  drain(limitMs: number): Promise<void>
  close(): Promise<void>
}

export const serveBroker = async (options: BrokerServerOptions): Promise<BrokerServer> => {
  const { broker } = options
  const { identify, metadata, challenge }: Identification = { ...everybody, ...options }
  const replies = new Set<Reply>()
  let requests = 0
  let stopping = false
  let idle: () => void = () => undefined

  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    requests++
    const decision = one(req, header.REQUEST_ID) ?? ''
    const reply = new Reply(res, decision, Date.now(), options.onRefusal)
    options.onRequest?.(decision, reply.labels)
    const path = one(req, header.REPLAY_SERVER) === undefined ? req.url : '/mcp'
    const head: RequestHead = {
      method: req.method,
      path,
      host: one(req, header.REPLAY_SERVER) === undefined ? req.headers.host : 'localhost',
      origin: one(req, 'origin'),
      contentType: one(req, 'content-type'),
      contentEncoding: one(req, 'content-encoding'),
      accept: one(req, 'accept'),
      contentLength: one(req, 'content-length'),
      sessionId: one(req, header.SESSION_ID),
      protocolVersion: one(req, header.PROTOCOL_VERSION),
      mcpMethod: one(req, header.MCP_METHOD),
      mcpName: one(req, header.MCP_NAME),
      mcpParams: paramsOf(req),
    }
    if (isStateless(head.protocolVersion ?? '')) reply.era = 'stateless'
    const document = req.method === 'GET' ? metadata(pathOf(req)) : undefined
    if (document !== undefined) {
      reply.end(document)
      return
    }
    const edge = options.edge()
    const examined = examine(head, edge)
    const { view } = examined
    reply.asked(view, (said) => challenge(view, said))
    if (!examined.ok) {
      // What was not read keeps the connection from being used again.
      req.resume()
      reply.refuse(examined.reason, undefined)
      return
    }
    const isReplay = one(req, header.REPLAY_SERVER) !== undefined
    // One that ext_proc let through, without its token; nothing but Envoy speaks to this socket.
    const identified = isReplay ? ITS_OWN : await identify(one(req, 'authorization'), view)
    if (!identified.ok) {
      req.resume()
      reply.refuse(identified.reason, undefined, identified.reason === 'no-keys' ? {} : { subject: identified.detail })
      return
    }
    if (identified.principal.subject !== '') reply.labels.subject = identified.principal.subject
    const callerIn = (era: Era): Caller => callerOf({ headers: req.headers, identified, view, era })
    if (examined.verb !== 'post') {
      const caller = callerIn('stateful')
      const session = sessionOf(head, caller)
      if (session !== undefined) reply.inSession(session)
      if (session === undefined) reply.refuse('unknown-session', undefined)
      else if (examined.verb === 'get') {
        broker.clientFor(session, caller)
        takeStream({ broker, session, caller, lastEventId: one(req, header.LAST_EVENT_ID), res, reply, stopping })
      } else {
        // The id is dead at once; the servers may take their time.
        void broker.leave(session)
        reply.accepted(200)
      }
      return
    }
    const bytes = await readBody(req, edge.maxBody)
    if (bytes === undefined) {
      reply.refuse('too-large', undefined)
      return
    }
    const scanned = scan(bytes)
    if (!scanned.ok) {
      reply.refuse(scanned.reason, scanned.id)
      return
    }
    replies.add(reply)
    try {
      reply.era = eraOf(head, scanned.message)
      await dispatch(req, head, callerIn(reply.era), scanned.message, bytes, reply)
    } finally {
      replies.delete(reply)
      if (replies.size === 0) idle()
    }
  }

  /** The session of its id, if it is this caller's and of this view. */
  const sessionOf = ({ sessionId = '' }: RequestHead, { principal, view }: Caller): ClientSession | undefined =>
    broker.sessions.find(sessionId, { principal: principal.key, view })

  const dispatch = async (
    req: IncomingMessage,
    head: RequestHead,
    caller: Caller,
    message: Message,
    bytes: Buffer,
    reply: Reply,
  ): Promise<void> => {
    const incoming = { context: broker, caller, head, trace: traceOf(req), message, bytes, reply }
    if (message.method !== undefined) reply.labels.method = message.method
    if (one(req, header.REPLAY_SERVER) !== undefined) {
      await replay(broker, req.headers, incoming)
      return
    }
    // Answers and cancellations belong to what is under way; so does a replay.
    if (stopping && message.kind === 'request') {
      reply.refuse('stopping', message.id)
      return
    }
    if (reply.era === 'stateless') {
      await answerStateless(incoming)
      return
    }
    const { sessionId, protocolVersion = '' } = head
    if (message.method === 'initialize' && message.id !== undefined) {
      await initialize({ broker, caller, message, bytes, id: message.id, reply })
      return
    }
    const refusal = (reason: RefusalReason | 'unknown-session'): void =>
      reply.refuse(reason, message.kind === 'request' ? message.id : undefined)
    if (protocolVersion !== '' && !isStateful(protocolVersion)) {
      refusal('unsupported-version')
      return
    }
    if (sessionId === undefined || sessionId === '') {
      refusal('no-session-id')
      return
    }
    const session = sessionOf(head, caller)
    if (session === undefined) {
      refusal('unknown-session')
      return
    }
    reply.inSession(session)
    const client = broker.clientFor(session, caller)
    await answer({ context: broker, client, caller, message, bytes, reply })
  }

  const server = createServer(
    { maxHeaderSize: MOST_HEADER_BYTES, keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 },
    (req, res) => {
      handle(req, res).catch((error: unknown) => {
        if (req.errored !== null || req.destroyed) return
        options.onError(error)
        if (!res.headersSent) res.writeHead(500, { 'content-type': 'application/json' })
        res.end('{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"internal error"}}')
      })
    },
  )
  server.maxRequestsPerSocket = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.socketPath, () => resolve())
  })
  const ticking = setInterval(() => {
    const nowMs = Date.now()
    for (const reply of replies) reply.keepAlive(nowMs, KEEP_ALIVE_MS)
    for (const client of broker.clients()) client.keepAlive(nowMs, KEEP_ALIVE_MS)
    broker.expire(nowMs)
    broker.pool.sweep()
  }, TICK_MS)
  const sweeping = setInterval(() => {
    for (const session of broker.sessions.sweep()) void broker.leave(session)
  }, SWEEP_MS)

  return {
    get streams() {
      let open = broker.listeners.size
      for (const client of broker.clients()) if (client.hasStream) open++
      return open
    },
    get requests() {
      return requests
    },
    async drain(limitMs) {
      stopping = true
      for (const client of broker.clients()) client.closeStream()
      broker.listeners.close()
      if (replies.size === 0) return
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        idle = resolve
        timer = setTimeout(resolve, limitMs)
      })
      clearTimeout(timer)
    },
    async close() {
      stopping = true
      clearInterval(ticking)
      clearInterval(sweeping)
      await broker.close()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

const ITS_OWN: Identified = { ok: true, principal: nobody.principal }
