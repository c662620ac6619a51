/** The Streamable HTTP client side of one session with a server: open, ask, tell, listen, end. */

import type { Caller } from '../clients/caller.ts'
import { LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID } from '../mcp/headers.ts'
import { SseDecoder } from '../mcp/sse.ts'
import type { HttpServer } from '../registry/model.ts'
import type { ServerSession } from '../sessions/session-table.ts'
import { type Initialized, type Introduction, initializeBody, initializedBody, parseInitialized } from './handshake.ts'
import { type Post, type Posted, post, RETRY_MS, retryWithin } from './http-exchange.ts'
import type { InnerClient, InnerRequest } from './inner-client.ts'
import { localReply } from './local-reply.ts'
import { parseServerMessage, type ServerMessage } from './server-message.ts'
import { NotShown } from './shown-client.ts'
import { type Failure, failed } from './upstream.ts'

/** Larger answers of servers than this are not taken through the broker. */
export const MOST_ANSWER_BYTES = 64 * 1024 * 1024

export interface Opened {
  readonly session: ServerSession
  readonly initialized: Initialized
}

/** A server's HTTP endpoint, reached through Envoy. */
export interface HttpEndpoint {
  /** Replaced when the registry changes a name or a limit. */
  server: HttpServer
  readonly client: InnerClient
  /** On whose behalf requests are made, as it is at each of them; absent: the gateway's own. */
  readonly as?: () => Caller
  /** A fresh id for a request of ours. */
  nextId(): string
}

/** How often a caller's own lists are read again. */
export const CALLERS_REFRESH_MS = 5 * 60_000

/** The same endpoint, spoken to for somebody else. */
export const onBehalfOf = (endpoint: HttpEndpoint, as: () => Caller): HttpEndpoint => ({
  get server() {
    return endpoint.server
  },
  client: endpoint.client,
  as,
  nextId: () => endpoint.nextId(),
})

const headersFor = (session: ServerSession | undefined): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  ...(session !== undefined && { [PROTOCOL_VERSION]: session.protocolVersion }),
  ...(session?.id !== undefined && { [SESSION_ID]: session.id }),
})

const request = (
  endpoint: HttpEndpoint,
  method: InnerRequest['method'],
  session: ServerSession | undefined,
  body?: Buffer,
): InnerRequest => ({
  server: endpoint.server.name,
  path: endpoint.server.endpoint.path,
  method,
  headers: headersFor(session),
  as: endpoint.as?.(),
  ...(body !== undefined && { body }),
})

/** Asks for what is said outside calls, or for the rest of the stream that the event of this id came on. */
export const takeUp = (endpoint: HttpEndpoint, session: ServerSession, lastEventId?: string): InnerRequest => {
  const asked = request(endpoint, 'GET', session)
  const from = lastEventId === undefined ? {} : { [LAST_EVENT_ID]: lastEventId }
  return { ...asked, headers: { ...asked.headers, accept: 'text/event-stream', ...from } }
}

/** Sends a message within a session. */
export const send = (
  endpoint: HttpEndpoint,
  session: ServerSession | undefined,
  body: Buffer,
  id: string | undefined,
  options: Pick<Post, 'signal' | 'onResumable' | 'onPolled'> &
    Partial<Pick<Post, 'onMessage' | 'waiting' | 'timeoutMs'>>,
): Promise<Posted> =>
  post(endpoint.client, {
    request: request(endpoint, 'POST', session, body),
    id,
    timeoutMs: options.timeoutMs ?? endpoint.server.timeoutMs,
    mostBytes: MOST_ANSWER_BYTES,
    waiting: options.waiting ?? (() => false),
    onMessage: options.onMessage ?? (() => undefined),
    ...(session?.id !== undefined && { resume: (lastEventId: string) => takeUp(endpoint, session, lastEventId) }),
    ...(options.onResumable !== undefined && { onResumable: options.onResumable }),
    ...(options.onPolled !== undefined && { onPolled: options.onPolled }),
    signal: options.signal,
  })

/** Opens a session; a failure marked `otherEra` is an answer, only no session. Never rejects. */
export const openSession = async (
  endpoint: HttpEndpoint,
  as: Introduction,
  signal: AbortSignal,
): Promise<Opened | Failure> => {
  const id = endpoint.nextId()
  const { outcome, sessionId } = await send(endpoint, undefined, initializeBody(id, as), id, { signal })
  if (outcome.kind === 'failed') return outcome
  if (outcome.status >= 500) return failed('server-down', `initialize: HTTP ${outcome.status}`)
  const initialized =
    outcome.status !== 200
      ? `initialize: HTTP ${outcome.status}`
      : parseServerMessage(outcome.body)?.kind === 'response'
        ? parseInitialized(outcome.body)
        : 'initialize: not a response'
  if (typeof initialized === 'string') return { ...failed('server-down', initialized), otherEra: true }
  const session: ServerSession = { id: sessionId, protocolVersion: initialized.protocolVersion }
  await send(endpoint, session, initializedBody, undefined, { signal })
  return { session, initialized }
}

/** Ends a session at the server; whether it took note is its own affair. */
export const closeSession = async (endpoint: HttpEndpoint, session: ServerSession): Promise<void> => {
  if (session.id === undefined) return
  await post(endpoint.client, {
    request: request(endpoint, 'DELETE', session),
    id: undefined,
    timeoutMs: 2000,
    mostBytes: 65_536,
    waiting: () => false,
    onMessage: () => undefined,
    signal: AbortSignal.timeout(3000),
  })
}

/**
 * Whether the server has really lost a session that it answered 404 or 400 for: asked with a ping, so that nothing is
 * ever done twice on a mere status.
 */
export const isGone = async (endpoint: HttpEndpoint, session: ServerSession): Promise<boolean> => {
  const id = endpoint.nextId()
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`)
  const { outcome } = await send(endpoint, session, body, id, { signal: AbortSignal.timeout(5000), timeoutMs: 5000 })
  return outcome.kind === 'answered' && (outcome.status === 404 || outcome.status === 400)
}

/** An answer that may mean a lost session; what it means, `isGone` finds out. */
export const maybeLost = (status: number, body: Buffer): boolean =>
  status === 404 || (status === 400 && /session|not initialized/i.test(body.toString('utf8', 0, 4096)))

/** `not-shown`: there is nothing to show the server, so it was not asked. */
export type StreamEnd = 'ended' | 'unsupported' | 'lost' | 'failed' | 'not-shown'

/** Where and when to go on with a stream. */
export interface Cursor {
  /** Undefined: anew. */
  readonly lastEventId: string | undefined
  readonly retryMs: number
}
/** Where every stream begins. A server that ends it is asked again, not sooner than this, even where it allows that. */
export const cursor: Cursor = { lastEventId: undefined, retryMs: RETRY_MS }

/** Listens on the session's own stream until it ends; resolves with where to go on. Never rejects. */
export const listenOnce = (
  endpoint: HttpEndpoint,
  session: ServerSession,
  from: Cursor,
  onMessage: (message: Exclude<ServerMessage, { kind: 'response' }>) => void,
  onOpen: () => void,
  signal: AbortSignal,
): Promise<{ readonly how: StreamEnd; readonly next: Cursor }> =>
  new Promise((resolve) => {
    const decoder = new SseDecoder(MOST_ANSWER_BYTES)
    const resuming = from.lastEventId !== undefined
    const done = (how: StreamEnd, stop: boolean, next?: Cursor): void => {
      signal.removeEventListener('abort', onAbort)
      if (stop) end()
      const { lastEventId = from.lastEventId, retryMs = from.retryMs } = decoder
      const here = {
        lastEventId: lastEventId === '' ? undefined : lastEventId,
        retryMs: Math.max(retryWithin(retryMs), RETRY_MS),
      }
      resolve({ how, next: next ?? here })
    }
    const onAbort = (): void => done('ended', true)
    if (signal.aborted) {
      resolve({ how: 'ended', next: from })
      return
    }
    signal.addEventListener('abort', onAbort)
    const end = endpoint.client.start(takeUp(endpoint, session, from.lastEventId), {
      head(status, headers) {
        if (localReply(headers) !== undefined) done('failed', true)
        else if (status === 404 || status === 400) {
          // What it does not know may be the event and not the session.
          if (resuming) done('ended', true, cursor)
          else done('lost', true)
        } else if (status !== 200 || headers['content-type']?.toLowerCase().startsWith('text/event-stream') !== true)
          done(resuming && status !== 405 ? 'failed' : 'unsupported', true)
        else onOpen()
      },
      data(chunk) {
        try {
          for (const { data } of decoder.push(chunk)) {
            const message = data.length === 0 ? undefined : parseServerMessage(data)
            if (message !== undefined && message.kind !== 'response') onMessage(message)
          }
        } catch {
          done('failed', true)
        }
      },
      end: () => done('ended', false),
      error: (error) => done(error instanceof NotShown ? 'not-shown' : 'failed', false),
    })
  })
