/** One call at a stateful server for a stateless client: it outlives the request that began it, and waits in between for input. */
import { members, stringOf } from '../mcp/json-text.ts'
import { scan } from '../mcp/scan.ts'
import { answerOf, type InputRequest, inputRequestOf } from '../translation/input-request.ts'
import { statefulRequest } from '../translation/stateful-request.ts'
import { mayNeedInput } from '../translation/stateless-methods.ts'
import { answerQuestion, ask } from '../upstreams/questions.ts'
import { parseServerMessage } from '../upstreams/server-message.ts'
import { failed, type Outcome } from '../upstreams/upstream.ts'
import { hear } from './calls.ts'
import type { Answers } from './input-responses.ts'
import type { PoolSlot } from './pool-slots.ts'
import type { Asked } from './pooled-answer.ts'
import type { PooledRequest } from './pooled-request.ts'
import { heardBy, maySeeUrls, wantedLevel } from './pooled-request.ts'

/** How long a cancelled call may still say something. */
const AFTER_CANCEL_MS = 1000
/** Questions that follow one another this closely are put to the client together. */
const GATHER_MS = 25

export interface PooledCall {
  readonly slot: PoolSlot
  /** The request that waits for an answer at the moment. */
  readonly attached: PooledRequest | undefined
  /** Raw id → method of what the server still wants to know. */
  open(): ReadonlyMap<string, string>
  /** Sends it; resolves once the reply of the first request is complete or its client gone. */
  start(request: PooledRequest): Promise<void>
  /** Goes on with a retry in place of the request before, and with what it brings; resolves as `start` does. */
  resume(request: PooledRequest, answers: Answers): Promise<void>
  /** Tells the server that nobody waits any longer. */
  cancel(reason: string): void
  /** Ends it here, at once and without a word: its server or the gateway goes. */
  end(): void
}

interface Events {
  /** The server wants to know something: the request is to be answered with that, and the call waits for the next. */
  suspend(call: PooledCall, request: PooledRequest, questions: readonly Asked[]): void
  /** Its outcome is for this request; `resumed`: there was one before it. */
  answer(request: PooledRequest, id: string, outcome: Outcome, resumed: boolean): void
  /** Nobody waits for anything of it any longer. `clean`: the session is as good as before. */
  over(call: PooledCall, clean: boolean): void
}

/** `id` is raw JSON, unlike any other in the session. */
export const pooledCall = (slot: PoolSlot, id: string, first: PooledRequest, events: Events): PooledCall => {
  const { client, upstream } = slot
  const { method, row } = first
  const mayAskForUrls = maySeeUrls(first)
  const ending = new AbortController()
  const asked = new Map<string, InputRequest>()
  let attached: { readonly request: PooledRequest; readonly done: () => void } | undefined
  let resumed = false
  let sent = false
  let cancelled = false
  let outcome: Outcome | undefined
  let over = false
  let gathering: NodeJS.Timeout | undefined

  const outstanding = (): readonly Asked[] => [...asked].filter(([key]) => client.questions.has(key))
  const detach = (): void => {
    const done = attached?.done
    attached = undefined
    done?.()
  }
  const attach = (request: PooledRequest): Promise<void> =>
    new Promise((resolve) => {
      attached = { request, done: resolve }
      request.reply.onClose(() => {
        if (attached?.request === request) self.cancel('the client closed its stream')
      })
      if (request.reply.ended) self.cancel('the client closed its stream')
    })

  /** Asks the client for everything that is open, once nothing more comes. */
  const gather = (): void => {
    clearTimeout(gathering)
    gathering = setTimeout(() => {
      const questions = outstanding()
      if (attached === undefined || outcome !== undefined || questions.length === 0) return
      events.suspend(self, attached.request, questions)
      detach()
    }, GATHER_MS)
  }

  /** What the server says to the client, on the call's own stream or on the session's. */
  const send = (bytes: Buffer): boolean => {
    const message = parseServerMessage(bytes)
    if (message?.kind === 'notification') {
      const heard = attached === undefined ? undefined : heardBy(attached.request, id, message)
      if (heard !== undefined) attached?.request.reply.message(heard)
      return attached !== undefined
    }
    if (message?.kind !== 'request' || outcome !== undefined || !mayNeedInput(method)) return false
    const question = inputRequestOf(bytes)
    if (asksForUrl(question) && !mayAskForUrls) return false
    asked.set(message.id, question)
    gather()
    return true
  }

  const settle = (): void => {
    // Without anybody to answer, the outcome is kept: the client comes back for it, or does not within its time.
    if (outcome === undefined || over || (attached === undefined && !cancelled)) return
    over = true
    clearTimeout(gathering)
    if (attached !== undefined) events.answer(attached.request, id, outcome, resumed)
    events.over(self, outcome.kind === 'answered' || !sent)
    detach()
  }

  const run = async (request: PooledRequest): Promise<void> => {
    await setLevel(request)
    if (cancelled || ending.signal.aborted) {
      outcome = failed('server-down', 'the call was ended')
      settle()
      return
    }
    const body = statefulRequest(request.bytes, request.message, { id, name: row.own, progressToken: id })
    // Only a token in it has to be found again, where it stands now.
    const scanned = request.message.metaProgressToken === undefined ? undefined : scan(body)
    sent = true
    const running = { server: upstream.server.name, send, cancel: () => self.cancel('the client gave it up') }
    client.calls.set(id, running)
    outcome = await upstream.call({
      client,
      method,
      row,
      id,
      body,
      progressToken: scanned?.ok === true ? scanned.message.metaProgressToken : undefined,
      signal: ending.signal,
      waiting: () => outstanding().length > 0,
      onMessage(message) {
        if (message.kind === 'request') ask(upstream, client, message, send)
        else hear(upstream, client, message, send)
      },
    })
    client.calls.delete(id)
    forget()
    settle()
  }
  const goOn = async (request: PooledRequest, answers: Answers): Promise<void> => {
    await setLevel(request)
    for (const [key, result] of answers) {
      const bytes = answerOf(key, result)
      const scanned = scan(bytes)
      if (scanned.ok) answerQuestion(client, scanned.message, bytes)
    }
    // What was not answered is asked again.
    if (outstanding().length > 0) gather()
  }
  /** Nobody answers any more. */
  const forget = (): void => {
    for (const key of asked.keys()) client.questions.delete(key)
  }
  const leaveAlone = (): void => {
    cancelled = true
    clearTimeout(gathering)
    forget()
    detach()
  }

  /** The session's level is the one of the request it works for; a request without one hears nothing, whatever the level. */
  const setLevel = async ({ message, bytes }: PooledRequest): Promise<void> => {
    const level = wantedLevel(bytes, message)
    if (level === undefined) return
    const params = JSON.stringify({ level })
    if (client.logLevel === params) return
    client.logLevel = params
    // A session that is not open yet is told when it opens.
    const isOpen = upstream.shared || client.session.servers.has(upstream.server.name)
    if (isOpen && upstream.catalogue()?.capabilities.has('logging') === true) await upstream.setLevel(client)
  }

  const self: PooledCall = {
    slot,
    get attached() {
      return attached?.request
    },
    open: () => new Map(outstanding().map(([key, { method: asks }]) => [key, asks])),
    start: (request) =>
      new Promise((resolve, reject) => {
        void attach(request).then(resolve)
        run(request).catch((error: unknown) => {
          over = true
          events.over(self, false)
          reject(error)
        })
      }),
    resume(request, answers) {
      resumed = true
      client.caller = request.caller
      const answered = attach(request)
      settle()
      if (!over) void goOn(request, answers)
      return answered
    },
    cancel(reason) {
      if (cancelled) return
      leaveAlone()
      if (sent && outcome === undefined) void upstream.tell(client, cancelledBody(id, reason))
      setTimeout(() => ending.abort(), AFTER_CANCEL_MS).unref()
      settle()
    },
    end() {
      leaveAlone()
      ending.abort()
      settle()
    },
  }
  return self
}

const cancelledBody = (id: string, reason: string): Buffer =>
  Buffer.from(
    `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id},"reason":${JSON.stringify(reason)}}}`,
  )

const asksForUrl = ({ method, json }: InputRequest): boolean => {
  if (method !== 'elicitation/create') return false
  const bytes = Buffer.from(json)
  const params = members(bytes).get('params')
  const mode = params === undefined ? undefined : members(bytes, params).get('mode')
  return mode !== undefined && stringOf(bytes, mode) === 'url'
}
