/** A stateless server on a pipe: what tells one request's messages from another's, and how a request is given up there. */

import { members, replaceSpans, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { META_SUBSCRIPTION_ID } from '../mcp/meta-keys.ts'
import { scan } from '../mcp/scan.ts'
import type { Notification } from './server-message.ts'
import type { StatelessWire, WireRequest } from './stateless-wire.ts'
import type { Heard, Pipe } from './stdio-pipe.ts'
import { failed } from './upstream.ts'

export interface StdioWire extends StatelessWire {
  /** A message of the server that answers nothing and is no progress. */
  hear(message: Heard): void
}

interface Running {
  readonly pipe: Pipe
  readonly request: WireRequest
  readonly logs: boolean
}

/** `pipe` is the one to the process of the moment, `down` says why there is none. */
export const stdioWire = (pipe: () => Pipe | undefined, nextId: () => string, down: () => string): StdioWire => {
  const running = new Map<string, Running>()

  /**
   * Log messages name no request. When a single request wants any they are its own; otherwise nobody could say whose they
   * are, and they may hold what only one client should see.
   */
  const logged = (message: Notification): void => {
    const [only, another] = [...running].filter(([, { logs }]) => logs)
    if (only !== undefined && another === undefined) deliver(only[0], message)
  }
  const deliver = (own: string, message: Notification): void => {
    const found = running.get(own)
    found?.pipe.refresh(own)
    found?.request.onMessage(message)
  }

  return {
    nextId,
    hear(message) {
      // This era has no requests of servers.
      if (message.kind === 'request') return
      const subscription = subscriptionOf(message)
      if (subscription === undefined) {
        if (message.method === 'notifications/message') logged(message)
        return
      }
      const own = textOf(message.bytes, subscription)
      const id = running.get(own)?.request.id
      if (id === undefined) return
      const bytes = replaceSpans(message.bytes, [{ span: subscription, with: id }])
      deliver(own, { ...message, bytes, params: members(bytes).get('params') })
    },
    async send(request) {
      const current = pipe()
      if (current === undefined) return failed('server-down', down())
      const own = nextId()
      const scanned = scan(request.body)
      const message = scanned.ok ? scanned.message : undefined
      running.set(own, { pipe: current, request, logs: message?.metaLogLevel !== undefined })
      const outcome = await current.send(own, {
        id: request.id,
        body: request.body,
        progressToken: message?.metaProgressToken,
        timeoutMs: request.timeoutMs,
        progress: (notification) => request.onMessage(notification),
        signal: request.signal,
      })
      running.delete(own)
      // There is no stream to close: a request given up, or given up on, is cancelled by name.
      if (outcome.kind === 'failed' && (request.signal.aborted || outcome.reason === 'server-silent'))
        current.write(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${own}}}`))
      return outcome
    },
  }
}

/** The subscription that a notification belongs to. */
const subscriptionOf = ({ bytes, params }: Notification): Span | undefined => {
  const meta = params === undefined ? undefined : members(bytes, params).get('_meta')
  return meta === undefined ? undefined : members(bytes, meta).get(META_SUBSCRIPTION_ID)
}
