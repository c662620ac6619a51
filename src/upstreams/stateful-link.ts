/** The gateway's own session with a stateful server over HTTP: its lists are read there, and it says there when they change. */

import type { ServerSession } from '../sessions/session-table.ts'
import type { Link } from './discovery.ts'
import { ownRequest } from './handshake.ts'
import {
  type Cursor,
  closeSession,
  cursor,
  type HttpEndpoint,
  listenOnce,
  maybeLost,
  type Opened,
  send,
} from './http-session.ts'
import { pause } from './pause.ts'
import { isListChanged, type ServerMessage, updatedUri } from './server-message.ts'

/** A server may hold back the head of its stream until it has something to say. */
export const LISTENS_WITHIN_MS = 250

interface Options {
  readonly endpoint: HttpEndpoint
  readonly opened: Opened
  /** A list changed. */
  readonly changed: () => void
  /** A resource changed that is subscribed to in this session. */
  readonly updated: (uri: string) => void
  /** The end of this one, because another is to be begun. */
  readonly anew: AbortSignal
  /** Ends everything. */
  readonly signal: AbortSignal
}

export const statefulLink = async (options: Options): Promise<Link> => {
  const { endpoint, changed, updated } = options
  const { session, initialized } = options.opened
  const ending = new AbortController()
  const signal = AbortSignal.any([options.signal, ending.signal])
  let announces = false
  let end: (reason: string | undefined) => void = () => undefined
  const over = new Promise<string | undefined>((resolve) => {
    end = resolve
  })
  options.anew.addEventListener('abort', () => end(undefined), { once: true })
  if (options.anew.aborted) end(undefined)

  const hear = (message: Exclude<ServerMessage, { kind: 'response' }>): void => {
    if (message.kind === 'request') void answerAlone(endpoint, session, message)
    else if (isListChanged(message.method)) changed()
    else if (message.method === 'notifications/resources/updated') {
      const uri = updatedUri(message)
      if (uri !== undefined) updated(uri)
    }
  }
  const opened = new Promise<void>((resolve) => {
    const open = (): void => {
      announces = true
      resolve()
    }
    const listen = async (): Promise<void> => {
      let at: Cursor = cursor
      for (;;) {
        const { how, next } = await listenOnce(endpoint, session, at, hear, open, signal)
        resolve()
        if (signal.aborted || how === 'unsupported') return
        if (how !== 'ended') {
          end(ends[how])
          return
        }
        at = next
        await pause(at.retryMs, signal)
      }
    }
    void listen()
  })
  await Promise.race([opened, pause(LISTENS_WITHIN_MS, signal)])

  return {
    initialized,
    eras: ['stateful'],
    get announces() {
      return announces
    },
    over,
    async request(method, params, requestSignal) {
      const id = endpoint.nextId()
      const body = ownRequest(id, method, params)
      const { outcome } = await send(endpoint, session, body, id, { signal: AbortSignal.any([signal, requestSignal]) })
      if (outcome.kind === 'failed') {
        if (!requestSignal.aborted) end(outcome.detail)
        throw new Error(outcome.detail)
      }
      if (outcome.status !== 200) {
        if (maybeLost(outcome.status, outcome.body)) end('the server ended the session')
        throw new Error(`HTTP ${outcome.status}`)
      }
      return outcome.body
    },
    close() {
      if (ending.signal.aborted) return
      ending.abort()
      void closeSession(endpoint, session)
    },
  }
}

const ends = {
  lost: 'the server ended the session',
  failed: 'the connection to the server was lost',
  'not-shown': 'there is no token to show the server',
} as const

/** What a session without a client answers to a server's request. */
const answerAlone = (
  endpoint: HttpEndpoint,
  session: ServerSession,
  { id, method }: Extract<ServerMessage, { kind: 'request' }>,
): Promise<unknown> => {
  const answer =
    method === 'ping' ? '"result":{}' : '"error":{"code":-32601,"message":"no client is behind this session"}'
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},${answer}}`)
  return send(endpoint, session, body, undefined, { signal: AbortSignal.timeout(5000) })
}
