/** A conversation over the HTTP+SSE transport (2024-11-05): messages are posted, all answers come on one stream. */
import { members, replaceSpans, textOf } from '../mcp/json-text.ts'
import { post } from './http-exchange.ts'
import { type HttpEndpoint, MOST_ANSWER_BYTES, maybeLost } from './http-session.ts'
import { parseServerMessage, type ServerMessage } from './server-message.ts'
import { openStream } from './sse-stream.ts'
import { type Failure, failed, type Outcome } from './upstream.ts'

export type Heard = Exclude<ServerMessage, { kind: 'response' }>

/** A request to send. `id` and `progressToken` are raw JSON text. */
export interface ChannelCall {
  readonly id: string
  readonly body: Buffer
  readonly progressToken?: string | undefined
  waiting?(): boolean
  /** What the server says while it works on the call; without it, the call is ours and hears nothing. */
  onMessage?(message: Heard): void
  readonly signal: AbortSignal
}

export interface SseChannel {
  /** Never rejects. */
  request(call: ChannelCall): Promise<Outcome>
  /** Sends a message that nothing comes back for. */
  tell(body: Buffer): Promise<void>
  /** Resolves once the connection is over, with what it failed for. */
  readonly over: Promise<Failure>
  close(): void
}

interface Pending {
  readonly call: ChannelCall
  finish(outcome: Outcome): void
  /** The server has said something. */
  refresh(): void
}

/** What a server says on account of a call; the rest is said to the client at large. */
const ABOUT_CALLS: ReadonlySet<string> = new Set(['notifications/message', 'notifications/cancelled'])

const unfinished = failed('server-down', 'the call was ended')

/** Opens the stream. `hear` gets what is about no call; `signal` ends the opening only. Never rejects. */
export const openChannel = async (
  endpoint: HttpEndpoint,
  hear: (message: Heard) => void,
  signal: AbortSignal,
): Promise<SseChannel | Failure> => {
  const pending = new Map<string, Pending>()
  let invalid: () => void = () => undefined

  /** Whose call a message is about. All calls are of one client, so at worst another stream of its own carries it. */
  const callOf = (message: Heard): ChannelCall | undefined => {
    const calls = [...pending.values()].flatMap(({ call }) => (call.onMessage === undefined ? [] : [call]))
    if (message.kind === 'request' || ABOUT_CALLS.has(message.method)) return calls.at(-1)
    if (message.method !== 'notifications/progress' || message.progressToken === undefined) return undefined
    const token = textOf(message.bytes, message.progressToken)
    return calls.find(({ progressToken }) => progressToken === token)
  }
  const received = (data: Buffer): void => {
    const message = parseServerMessage(data)
    if (message === undefined) {
      invalid()
      return
    }
    for (const each of pending.values()) each.refresh()
    if (message.kind === 'response') {
      const asked = message.id === undefined ? undefined : pending.get(keyOf(message.id))
      asked?.finish({ kind: 'answered', status: 200, type: 'application/json', body: withId(message, asked.call.id) })
      return
    }
    const call = callOf(message)
    if (call?.onMessage === undefined) hear(message)
    else call.onMessage(message)
  }

  const stream = await openStream(endpoint, received, signal)
  if ('kind' in stream) return stream
  invalid = () => stream.lose(failed('server-invalid', 'an event is not a JSON-RPC message'))
  void stream.over.then((failure) => {
    for (const each of pending.values()) each.finish(failure)
  })

  /** Posts a message; resolves with why the server did not take it. */
  const deliver = async (body: Buffer, waiting: () => boolean): Promise<Failure | undefined> => {
    const { outcome } = await post(endpoint.client, {
      request: {
        server: endpoint.server.name,
        path: stream.address,
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: '*/*' },
        body,
        as: endpoint.as?.(),
      },
      id: undefined,
      timeoutMs: endpoint.server.timeoutMs,
      mostBytes: MOST_ANSWER_BYTES,
      waiting,
      onMessage: () => undefined,
      signal: stream.signal,
    })
    if (outcome.kind === 'failed') return stream.lost ?? outcome
    if (outcome.status >= 200 && outcome.status < 300) return undefined
    const failure = failed('server-down', `HTTP ${outcome.status} to a message`)
    // The stream may be open still, but nobody reads what is posted for it.
    if (maybeLost(outcome.status, outcome.body)) stream.lose(failure)
    return failure
  }
  const request = (call: ChannelCall): Promise<Outcome> =>
    new Promise((resolve) => {
      const key = keyOf(call.id)
      const silence = setTimeout(() => {
        // One stream for all calls: while somebody is asked something on it, none of them counts as silent.
        if ([...pending.values()].some(({ call: other }) => other.waiting?.() === true)) silence.refresh()
        else finish(failed('server-silent', `no message for ${endpoint.server.timeoutMs} ms`))
      }, endpoint.server.timeoutMs)
      const finish = (outcome: Outcome): void => {
        clearTimeout(silence)
        call.signal.removeEventListener('abort', end)
        if (pending.get(key) === entry) pending.delete(key)
        resolve(outcome)
      }
      const end = (): void => finish(unfinished)
      const entry: Pending = { call, finish, refresh: () => silence.refresh() }
      if (stream.lost !== undefined || call.signal.aborted) finish(stream.lost ?? unfinished)
      else if (pending.has(key)) finish(failed('server-invalid', 'a request with the same id is under way'))
      else {
        pending.set(key, entry)
        call.signal.addEventListener('abort', end)
        void deliver(call.body, () => pending.get(key) === entry).then((failure) => {
          if (failure !== undefined) finish(failure)
        })
      }
    })
  return {
    request,
    async tell(body) {
      await deliver(body, () => false)
    },
    over: stream.over,
    close: () => stream.lose(failed('server-down', 'the connection was closed')),
  }
}

/** Equal for all spellings of one id: servers read it and write it again. */
const keyOf = (id: string): string => JSON.stringify(JSON.parse(id))

/** The response under the id that was asked with. */
const withId = ({ bytes, id }: Extract<ServerMessage, { kind: 'response' }>, asked: string): Buffer => {
  const span = id === asked ? undefined : members(bytes).get('id')
  return span === undefined ? bytes : replaceSpans(bytes, [{ span, with: asked }])
}
