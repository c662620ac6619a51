/** What a stateless request for a stateful server says of itself, and what of the server's news is for it. */

import type { Row } from '../catalog/routing-table.ts'
import type { Caller } from '../clients/caller.ts'
import { isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import { LOG_LEVELS } from '../mcp/log-levels.ts'
import type { Message, Span } from '../mcp/message.ts'
import { requestDigest, type StateBinding } from '../sessions/request-state.ts'
import { statelessNotification } from '../translation/notification.ts'
import type { Notification } from '../upstreams/server-message.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import type { Reply } from './reply.ts'

/** A stateless client's request for a server that has sessions. */
export interface PooledRequest {
  readonly caller: Caller
  readonly upstream: Upstream
  readonly method: 'tools/call' | 'prompts/get' | 'resources/read' | 'completion/complete'
  readonly row: Row
  /** The literal in `bytes` that names the row. */
  readonly literal: Span
  readonly message: Message
  readonly bytes: Buffer
  readonly reply: Reply
  /** Raw JSON. */
  readonly id: string
}

/** What the state of this request is bound to. */
export const bindingOf = ({ caller, upstream, method, literal, message, bytes }: PooledRequest): StateBinding => ({
  principal: caller.principal.key,
  view: caller.view,
  server: upstream.server.name,
  method,
  digest: digestOf(literal, message, bytes),
})

/** Of what a request names, at `literal`, and its arguments. */
export const digestOf = (literal: Span, message: Message, bytes: Buffer): string =>
  requestDigest(
    stringOf(bytes, literal),
    message.arguments === undefined ? undefined : textOf(bytes, message.arguments),
  )

/** `params.requestState`, whatever it is. */
export const stateOf = ({ message, bytes }: Pick<PooledRequest, 'bytes' | 'message'>): Span | undefined =>
  message.params === undefined ? undefined : members(bytes, message.params).get('requestState')

/** The level from which on it wants to hear log messages; undefined: none of them. */
export const wantedLevel = (bytes: Buffer, { metaLogLevel }: Message): string | undefined =>
  metaLogLevel === undefined ? undefined : stringOf(bytes, metaLogLevel)

/** Whether its client shows URLs (2026-07-28 elicitation, capabilities: not without saying so). */
export const maySeeUrls = ({ bytes, message }: Pick<PooledRequest, 'bytes' | 'message'>): boolean => {
  const declared = message.metaClientCapabilities
  const elicitation = declared === undefined ? undefined : members(bytes, declared).get('elicitation')
  return elicitation !== undefined && isObject(bytes, members(bytes, elicitation).get('url'))
}

/** A notification of the server as this request's client takes it; undefined: it did not ask for it. `token` is the call's own. */
export const heardBy = (request: PooledRequest, token: string, notification: Notification): Buffer | undefined => {
  const { bytes, message } = request
  switch (notification.method) {
    case 'notifications/progress': {
      const wanted = message.metaProgressToken
      const said = notification.progressToken
      if (wanted === undefined || said === undefined || textOf(notification.bytes, said) !== token) return undefined
      return statelessNotification(notification.bytes, { progressToken: textOf(bytes, wanted) })
    }
    case 'notifications/message': {
      const wanted = wantedLevel(bytes, message)
      if (wanted === undefined || LOG_LEVELS.indexOf(levelOf(notification)) < LOG_LEVELS.indexOf(wanted))
        return undefined
      return statelessNotification(notification.bytes)
    }
    default:
      return statelessNotification(notification.bytes)
  }
}

const levelOf = ({ bytes, params }: Notification): string => {
  const level = params === undefined ? undefined : members(bytes, params).get('level')
  return level === undefined ? '' : stringOf(bytes, level)
}
