/** The answer to one POST: a JSON body as long as one message is all there is, an event stream once there are more. */
import type { ServerResponse } from 'node:http'
import { type ClientStreams, RESUMABLE_MS } from '../clients/client-streams.ts'
import type { EventStream } from '../clients/event-stream.ts'
import { clientName } from '../mcp/client-name.ts'
import { LOG_METHOD, LOG_SERVER, LOG_TOOL, SESSION_ID } from '../mcp/headers.ts'
import type { RefusalReason } from '../mcp/refusal.ts'
import { sseEvent } from '../mcp/sse.ts'
import type { Era } from '../mcp/versions.ts'
import type { Ground } from '../policy/grounds.ts'
import { groundsText } from '../policy/grounds.ts'
import { sessionName } from '../sessions/session-name.ts'
import type { ClientSession } from '../sessions/session-table.ts'
import type { Challenged } from './identify.ts'
import { type BrokerRefusal, type RefusalDetail, refusalBody, refusalFor } from './refusals.ts'

const JSON_TYPE = 'application/json'
const PING = ': ping\n\n'
/** More than this unread by a client: it is not reading, and its stream is closed. */
const MOST_UNREAD_BYTES = 16 * 1024 * 1024

/** What records should say of the request: the first three in the access log, all of them in the audit log. */
export interface LogLabels {
  /** The client's, as far as it is known. */
  era: Era
  method?: string
  server?: string
  tool?: string
  /** What it names, in the server's own words. */
  own?: string
  client?: string
  session?: string
  /** Whose token it is; absent while nobody is authenticated. */
  subject?: string
  /** Absent: all of the gateway. */
  view?: string
  /** What allowed it, by line and path in the registry; absent while no rule is about it. */
  rule?: string
  /** A human was asked, and agreed. */
  confirmed?: true
  /** `letThrough`: the request itself was allowed, and this is about what came of it. */
  refused?: { readonly reason: string; readonly letThrough: boolean }
}

export class Reply {
  readonly labels: LogLabels = { era: 'stateful' }
  readonly decision: string
  readonly #res: ServerResponse
  readonly #onRefusal: (refusal: { decision: string; status: number; reason: string }) => void
  #lastWriteMs: number
  #client: { readonly streams: ClientStreams } | undefined
  /** What the answer is sent on once it is an event stream of a session. */
  #stream: EventStream | undefined
  #gone: () => void = () => undefined
  #rewrite: ((last: Buffer) => Buffer) | undefined
  #challenge: ((said: Challenged) => string) | undefined

  constructor(
    res: ServerResponse,
    decision: string,
    nowMs: number,
    onRefusal: (refusal: { decision: string; status: number; reason: string }) => void,
  ) {
    this.#res = res
    this.decision = decision
    this.#lastWriteMs = nowMs
    this.#onRefusal = onRefusal
  }

  /** The era of the client, as far as it is known: it decides how a refusal is worded. */
  get era(): Era {
    return this.labels.era
  }

  set era(era: Era) {
    this.labels.era = era
  }

  /** The request is one of this session. */
  inSession(session: ClientSession): void {
    this.labels.session = sessionName(session)
    this.labels.client = clientName(session.claims.clientName, session.claims.clientVersion)
  }

  /** The request names what this server calls so. */
  names(server: string, method: string, own: string): void {
    this.labels.server = server
    this.labels.own = own
    if (method === 'tools/call') this.labels.tool = own
  }

  /** Who asks where; `challenge` words what those are told who need another token. */
  asked(view: string, challenge: (said: Challenged) => string): void {
    if (view !== '') this.labels.view = view
    this.#challenge = challenge
  }

  /** These rules allow what it asks for. */
  allowedBy(grounds: readonly Ground[]): void {
    if (grounds.length > 0) this.labels.rule = groundsText(grounds)
  }

  /** Nothing more can be said that anybody would hear. */
  get ended(): boolean {
    return this.#stream?.over ?? (this.#res.writableEnded || this.#res.destroyed)
  }

  /** The client has been away for so long that it does not count on an answer. */
  get forsaken(): boolean {
    return this.#stream !== undefined && this.#stream.awayMs(Date.now()) > RESUMABLE_MS
  }

  /** An event stream that this becomes can be resumed in the client's session. */
  resumableBy(client: { readonly streams: ClientStreams }): void {
    this.#client = client
  }

  /** Calls `then` when the client goes away before the answer is complete, and cannot come back for it. */
  onClose(then: () => void): void {
    this.#gone = then
    this.#res.once('close', () => {
      // Who goes on listening to a stream, the stream knows.
      if (!this.#res.writableFinished && this.#stream === undefined) then()
    })
  }

  #head(status: number, headers: Record<string, string | number>): void {
    const { method, server, tool } = this.labels
    if (method !== undefined) headers[LOG_METHOD] = printable(method)
    if (server !== undefined) headers[LOG_SERVER] = server
    if (tool !== undefined) headers[LOG_TOOL] = printable(tool)
    this.#res.writeHead(status, headers)
  }

  /** A message before the last one: from here on the answer is an event stream. */
  message(bytes: Uint8Array): void {
    if (this.ended) return
    this.openStream()
    if (this.#stream === undefined) this.raw(sseEvent(bytes))
    else this.#stream.send(bytes)
  }

  /** A piece of an event stream as another has written it. */
  raw(bytes: Uint8Array): void {
    this.openStream()
    this.#res.write(bytes)
    this.#lastWriteMs = Date.now()
    if (this.#res.writableLength > MOST_UNREAD_BYTES) this.#res.destroy()
  }

  openStream(retryMs?: number): void {
    if (this.#res.headersSent || this.ended) return
    this.#head(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    if (this.#client === undefined) this.#res.flushHeaders()
    else {
      const forsaken = (): void => this.#gone()
      this.#stream = this.#client.streams.begin('call', this.#res, Date.now(), { retryMs, forsaken })
    }
  }

  /**
   * The answer is going to be a stream: a client that can learn that it may come back for it, and after how long, learns
   * it now.
   */
  prime(retryMs: number): void {
    if (this.#client?.streams.primes === true) this.openStream(retryMs)
  }

  /** Lets go of the client's connection, as the server has let go of ours, if the client knows to come back. */
  release(retryMs: number): void {
    this.prime(retryMs)
    this.#stream?.release(retryMs)
  }

  /** What becomes of the last message on its way out, after what was to become of it already. */
  rewrite(how: (last: Buffer) => Buffer): void {
    const before = this.#rewrite
    this.#rewrite = before === undefined ? how : (last) => how(before(last))
  }

  /** The last message. */
  end(message: Uint8Array | string, status = 200, type = JSON_TYPE, sessionId?: string): void {
    if (this.ended) return
    const bytes = this.#rewrite === undefined ? message : this.#rewrite(Buffer.from(message))
    if (this.#res.headersSent) {
      const last = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
      if (this.#stream === undefined) this.#res.end(sseEvent(last))
      else this.#stream.end(last)
      return
    }
    const length = typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
    const headers: Record<string, string | number> = status === 204 ? {} : { 'content-length': length }
    if (length > 0) headers['content-type'] = type
    if (sessionId !== undefined) headers[SESSION_ID] = sessionId
    this.#head(status, headers)
    this.#res.end(bytes)
  }

  /** A result made of raw JSON parts. */
  result(id: string, ...parts: readonly (Uint8Array | string)[]): void {
    if (this.ended) return
    const bytes = [`{"jsonrpc":"2.0","id":${id},"result":`, ...parts, '}'].map((part) =>
      typeof part === 'string' ? Buffer.from(part) : part,
    )
    this.end(Buffer.concat(bytes))
  }

  /** No body: a notification or response was taken; 204: there is nothing more to come back for. */
  accepted(status: 200 | 202 | 204 = 202): void {
    this.end('', status)
  }

  refuse(reason: RefusalReason | BrokerRefusal, id: string | undefined, detail?: RefusalDetail): void {
    const { status, letThrough = false, ...row } = refusalFor(reason, this.era)
    const retryAfterMs = detail?.retryAfterMs ?? row.retryAfterMs
    const recorded = detail?.recorded ?? reason
    this.labels.refused = { reason: recorded, letThrough }
    this.#onRefusal({ decision: this.decision, status, reason: recorded })
    if (!this.#res.headersSent) {
      if (reason === 'wrong-verb') this.#res.setHeader('allow', this.era === 'stateless' ? 'POST' : 'POST, GET, DELETE')
      if (retryAfterMs !== undefined) this.#res.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
      const challenge = challengeFor(reason, detail)
      if (challenge !== undefined && this.#challenge !== undefined)
        this.#res.setHeader('www-authenticate', this.#challenge(challenge))
    }
    this.end(refusalBody(reason, this.era, id, this.decision, detail), status)
  }

  /** Ends an answer that will never have a last message. */
  abandon(): void {
    if (this.ended) return
    this.openStream()
    if (this.#stream === undefined) this.#res.end()
    else this.#stream.end()
  }

  /** Breaks off, so that the client takes what it has for the beginning only. */
  cut(): void {
    this.#res.destroy()
  }

  /** Called now and then: a long silence gets a comment, so that nobody in between takes the stream for dead. */
  keepAlive(nowMs: number, silenceMs: number): void {
    if (this.ended || nowMs - this.#lastWriteMs < silenceMs) return
    this.openStream()
    if (this.#stream !== undefined) {
      this.#stream.keepAlive(nowMs, silenceMs)
      return
    }
    this.#res.write(PING)
    this.#lastWriteMs = nowMs
  }
}

/** What another token is asked for with; undefined: no token would help. */
const challengeFor = (
  reason: RefusalReason | BrokerRefusal,
  { scopes = [] }: RefusalDetail = {},
): Challenged | undefined => {
  switch (reason) {
    case 'no-token':
      return {}
    case 'bad-token':
      return { error: 'invalid_token' }
    case 'insufficient-scope':
      return { error: 'insufficient_scope', scopes }
    default:
      return undefined
  }
}

/** Header values are visible ASCII; anything else in a name shows as a question mark. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]/gu, '?')
