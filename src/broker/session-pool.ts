/** Sessions at stateful servers for stateless clients: shared out one call at a time, and kept while a call waits for input. */
import { randomBytes } from 'node:crypto'
import { isObject, stringOf } from '../mcp/json-text.ts'
import { isLogLevel, LOG_LEVELS } from '../mcp/log-levels.ts'
import type { Span } from '../mcp/message.ts'
import type { PoolOptions } from '../registry/model.ts'
import type { RequestStates } from '../sessions/request-state.ts'
import { ownId } from '../upstreams/handshake.ts'
import { declaredIn } from './declared.ts'
import { declines, readAnswers } from './input-responses.ts'
import { type PoolSlot, poolSlots } from './pool-slots.ts'
import { type Asked, answerPooled, askForInput } from './pooled-answer.ts'
import { type PooledCall, pooledCall } from './pooled-call.ts'
import { bindingOf, type PooledRequest, stateOf, wantedLevel } from './pooled-request.ts'

export interface SessionPool {
  /** Answers the request; resolves once its reply is complete or its client gone. */
  run(request: PooledRequest): Promise<void>
  /** A server left: its sessions end, and what runs or waits in them. Resolves when it has been told. */
  drop(server: string): Promise<void>
  /** Ends what was idle for too long. */
  sweep(): void
  /** Sessions held. */
  readonly size: number
  /** Calls that wait for a client's input. */
  readonly waiting: number
  close(): Promise<void>
}

export interface SessionPoolOptions {
  /** The gateway's own, as clients are told. */
  readonly version: string
  /** As they are now. */
  readonly options: () => PoolOptions
  readonly states: RequestStates
  /** Ms since the epoch. */
  readonly now: () => number
}

/** A call that waits for its client, until its time is up. */
interface Waiting {
  readonly call: PooledCall
  readonly limit: NodeJS.Timeout
}

export const sessionPool = ({ version, options, states, now }: SessionPoolOptions): SessionPool => {
  const slots = poolSlots({ limits: options, now })
  const calls = new Set<PooledCall>()
  /** By the handle in the state that the client was given; good for one retry. */
  const waiting = new Map<string, Waiting>()
  let count = 0

  const seal = (request: PooledRequest, handle: string): string =>
    states.seal({ ...bindingOf(request), handle, expiresMs: now() + options().inputMs })

  const stopWaiting = (handle: string): void => {
    clearTimeout(waiting.get(handle)?.limit)
    waiting.delete(handle)
  }
  const suspend = (call: PooledCall, request: PooledRequest, questions: readonly Asked[]): void => {
    const handle = randomBytes(16).toString('base64url')
    const giveUp = (): void => {
      stopWaiting(handle)
      call.cancel('the input did not come in time')
    }
    const limit = setTimeout(giveUp, options().inputMs)
    waiting.set(handle, { call, limit: limit.unref() })
    askForInput(request, questions, seal(request, handle), version)
  }

  const begin = async (request: PooledRequest): Promise<void> => {
    const { upstream, caller, message, bytes, reply, id } = request
    const { name, client } = upstream.server
    const declared = declaredIn(bytes, message.metaClientCapabilities, message.metaClientInfo, client)
    const slot = slots.take(upstream, caller, declared)
    if (slot === undefined) {
      reply.refuse('pool-full', id, { server: name, subject: name })
      return
    }
    const call = pooledCall(slot, ownId('pool', ++count), request, {
      suspend,
      answer: (latest, serverId, outcome, resumed) =>
        answerPooled(latest, outcome, { version, serverId, resumed, sealAnew: () => seal(latest, '') }),
      over(ended, clean) {
        calls.delete(ended)
        if (clean) slots.give(slot)
        else void slots.end(slot)
      },
    })
    calls.add(call)
    await call.start(request)
  }

  /** A request that comes with a state goes on with the call that the state was given for, or is refused. */
  const goOn = async (request: PooledRequest, state: Span): Promise<void> => {
    const { bytes, message, reply, id } = request
    const handle = states.open(stringOf(bytes, state), bindingOf(request), now())
    if (handle === '') {
      if (declines(bytes, message)) reply.refuse('declined', id, { server: request.upstream.server.name })
      else await begin(request)
      return
    }
    const call = handle === undefined ? undefined : waiting.get(handle)?.call
    if (handle === undefined || call === undefined) {
      reply.refuse('bad-request-state', id)
      return
    }
    const answers = readAnswers(bytes, message, call.open())
    if (typeof answers === 'string') {
      reply.refuse('bad-params', id, { subject: answers })
      return
    }
    stopWaiting(handle)
    await call.resume(request, answers)
  }

  /** Ends these calls and sessions; clients that wait are told. */
  const endAll = async (isMeant: (slot: PoolSlot) => boolean, reason: 'server-down' | 'stopping'): Promise<void> => {
    for (const [handle, { call }] of waiting) if (isMeant(call.slot)) stopWaiting(handle)
    for (const call of [...calls].filter(({ slot }) => isMeant(slot))) {
      const { name } = call.slot.upstream.server
      call.attached?.reply.refuse(reason, call.attached.id, { server: name, subject: name })
      call.end()
    }
    await Promise.allSettled([...slots.all()].filter(isMeant).map((slot) => slots.end(slot)))
  }

  return {
    async run(request) {
      const { bytes, message, reply, id } = request
      const level = wantedLevel(bytes, message)
      const state = stateOf(request)
      if (level !== undefined && !isLogLevel(level))
        reply.refuse('bad-params', id, { subject: `the log level must be one of ${LOG_LEVELS.join(', ')}` })
      else if (message.inputResponses !== undefined && !isObject(bytes, message.inputResponses))
        reply.refuse('bad-params', id, { subject: 'inputResponses must be an object' })
      else if (state === undefined) await begin(request)
      else await goOn(request, state)
    },
    drop: (server) => endAll(({ upstream }) => upstream.server.name === server, 'server-down'),
    sweep: () => slots.sweep(),
    get size() {
      return slots.size
    },
    get waiting() {
      return waiting.size
    },
    close: () => endAll(() => true, 'stopping'),
  }
}
