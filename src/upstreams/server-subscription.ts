/** `subscriptions/listen` at a stateless server: acknowledged, heard, and opened again when its stream ends. */

import type { Caller } from '../clients/caller.ts'
import { elements, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Introduction } from './handshake.ts'
import { pause } from './pause.ts'
import type { Notification } from './server-message.ts'
import { type StatelessWire, wireRequest } from './stateless-wire.ts'
import type { Outcome } from './upstream.ts'

/** A stream that ended is opened again after so long, and later and later when it keeps ending soon. */
const FIRST_AGAIN_MS = 250
const LONGEST_AGAIN_MS = 30_000
const STEADY_MS = 10_000

/** The news that are asked for, or granted. */
export interface Filter {
  readonly toolsListChanged?: true
  readonly promptsListChanged?: true
  readonly resourcesListChanged?: true
  readonly resourceSubscriptions?: readonly string[]
  /** Of the tasks extension. */
  readonly taskIds?: readonly string[]
}

export interface Subscription {
  readonly wire: StatelessWire
  /** On whose behalf; absent: the gateway's own. */
  readonly caller?: Caller | undefined
  readonly as: Introduction
  readonly filter: Filter
  /** Longest wait for the acknowledgement. */
  readonly timeoutMs: number
  /** News; never the acknowledgement. */
  hear(message: Notification): void
  /** It was opened again: in between something may have been missed. */
  again(): void
  /** It could not be opened again, for now. */
  lost(detail: string): void
  readonly signal: AbortSignal
}

/** Keeps it open until the signal ends; resolves with what the server granted, or undefined when it is not to be had. */
export const subscribe = async (subscription: Subscription): Promise<Filter | undefined> => {
  const first = await openOnce(subscription)
  if (first.granted === undefined) return undefined
  void keep(subscription, first.over)
  return first.granted
}

const keep = async (subscription: Subscription, first: Promise<Outcome>): Promise<void> => {
  const { signal } = subscription
  let over = first
  let delayMs = FIRST_AGAIN_MS
  for (;;) {
    const openedMs = Date.now()
    await over
    if (Date.now() - openedMs > STEADY_MS) delayMs = FIRST_AGAIN_MS
    for (;;) {
      await pause(delayMs, signal)
      if (signal.aborted) return
      delayMs = Math.min(delayMs * 2, LONGEST_AGAIN_MS)
      const next = await openOnce(subscription)
      if (signal.aborted) return
      over = next.over
      if (next.granted !== undefined) break
      const outcome = await next.over
      subscription.lost(outcome.kind === 'failed' ? outcome.detail : `HTTP ${outcome.status}`)
    }
    subscription.again()
  }
}

/** One stream. Resolves when it is acknowledged, or over before that. */
const openOnce = (
  subscription: Subscription,
): Promise<{ readonly granted: Filter | undefined; readonly over: Promise<Outcome> }> =>
  new Promise((resolve) => {
    const { wire, caller, as, filter, timeoutMs, signal } = subscription
    const silent = new AbortController()
    const timer = setTimeout(() => silent.abort(), timeoutMs)
    let acknowledged = false
    const over = wire.send({
      ...wireRequest(wire.nextId(), 'subscriptions/listen', JSON.stringify({ notifications: filter }), as),
      as: caller,
      timeoutMs: undefined,
      onMessage(message) {
        if (message.method !== 'notifications/subscriptions/acknowledged') {
          if (acknowledged) subscription.hear(message)
          return
        }
        if (acknowledged) return
        acknowledged = true
        clearTimeout(timer)
        resolve({ granted: grantedBy(message), over })
      },
      signal: AbortSignal.any([signal, silent.signal]),
    })
    void over.then(() => {
      clearTimeout(timer)
      resolve({ granted: undefined, over })
    })
  })

const grantedBy = ({ bytes, params }: Notification): Filter => {
  const found = params === undefined ? undefined : members(bytes, params).get('notifications')
  const granted = found === undefined ? new Map() : members(bytes, found)
  const is = (key: string): boolean => {
    const span = granted.get(key)
    return span !== undefined && textOf(bytes, span) === 'true'
  }
  const list = (key: string): readonly string[] | undefined => {
    const array = granted.get(key)
    return array === undefined ? undefined : elements(bytes, array).map((span) => stringOf(bytes, span))
  }
  const uris = list('resourceSubscriptions')
  const taskIds = list('taskIds')
  return {
    ...(is('toolsListChanged') && { toolsListChanged: true }),
    ...(is('promptsListChanged') && { promptsListChanged: true }),
    ...(is('resourcesListChanged') && { resourcesListChanged: true }),
    ...(uris !== undefined && { resourceSubscriptions: uris }),
    ...(taskIds !== undefined && { taskIds }),
  }
}
