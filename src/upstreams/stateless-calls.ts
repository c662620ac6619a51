/** Requests of stateful clients at a stateless server: sent in its era, its input requests asked of the client, the answer translated. */

import type { ClientState } from '../clients/client-session.ts'
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Message } from '../mcp/message.ts'
import { paramHeadersFor } from '../mcp/param-headers.ts'
import { scan } from '../mcp/scan.ts'
import type { Server } from '../registry/model.ts'
import { statefulNotification } from '../translation/notification.ts'
import { statefulResponse } from '../translation/stateful-response.ts'
import { statelessRequest } from '../translation/stateless-request.ts'
import { deniesStateless } from './era-probe.ts'
import { clientIntroduction, ownIntroduction } from './handshake.ts'
import { inputQuestions, type Wanted } from './input-questions.ts'
import { featureFor } from './questions.ts'
import { type Notification, parseServerMessage } from './server-message.ts'
import { statelessWatch } from './stateless-watch.ts'
import { REVISION, type StatelessWire, wireHeaders } from './stateless-wire.ts'
import { watchTasks } from './task-watch.ts'
import {
  type Failure,
  failed,
  type Outcome,
  type StatelessCall,
  type TaskWatching,
  type Upstream,
  type UpstreamCall,
} from './upstream.ts'

/** A server that wants more input after each answer is looping. */
const MOST_ROUNDS = 16
/** What a stateful client hears that never set a level: there the server decides, here somebody has to. */
const DEFAULT_LEVEL = 'info'

export interface StatelessCalls {
  /** A stateful client's request, translated. */
  call(call: UpstreamCall): Promise<Outcome>
  /** A stateless client's request, as it is. */
  pass(call: StatelessCall): Promise<Outcome>
  /** What a client says apart from its requests; false: it does not belong to anything here. */
  tell(client: ClientState, body: Buffer): boolean
  watch: Upstream['watch']
  watchTasks(watching: TaskWatching): Promise<readonly string[]>
  /** The client's session is over: its calls and subscriptions here end. */
  leave(client: ClientState): void
  /** Subscriptions end; calls under way go on. */
  close(): void
}

interface Options {
  readonly server: () => Server
  readonly wire: StatelessWire
  /** The gateway's own. */
  readonly version: string
  /** The names of the capabilities the server declared. */
  readonly capabilities: () => ReadonlySet<string>
  /** A resource that a stateful client subscribed to has changed. */
  readonly updated: (client: ClientState, message: Notification) => void
}

interface Running {
  readonly client: ClientState
  readonly id: string
  readonly ending: AbortController
}

export const statelessCalls = ({ server, wire, version, capabilities, updated }: Options): StatelessCalls => {
  const running = new Set<Running>()
  const subscriptions = new Map<ClientState, Map<string, AbortController>>()
  const questions = inputQuestions(() => wire.nextId())
  const resources = statelessWatch({
    wire,
    as: () => ownIntroduction(version, server().client),
    timeoutMs: () => server().timeoutMs,
  })

  const run = async (call: UpstreamCall, message: Message, signal: AbortSignal): Promise<Outcome> => {
    const { client, method, body: asked } = call
    const as = client.caller
    const introduction = clientIntroduction(client.session.claims, server().client)
    const logLevel = levelOf(client) ?? (capabilities().has('logging') ? DEFAULT_LEVEL : undefined)
    const headers = {
      ...wireHeaders(method, nameOf(method, message, asked)),
      ...(method === 'tools/call' && paramHeadersFor(call.row?.params ?? [], asked, message.arguments)),
    }
    let input: { readonly inputResponses?: string; readonly requestState?: string } = {}
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const id = wire.nextId()
      const outcome = await wire.send({
        id,
        body: statelessRequest(asked, message, {
          id,
          version: REVISION,
          capabilities: introduction.capabilities,
          clientInfo: JSON.stringify({ name: introduction.clientName, version: introduction.clientVersion }),
          ...(logLevel !== undefined && { logLevel }),
          ...input,
        }),
        headers,
        as,
        timeoutMs: server().timeoutMs,
        onMessage: (notification) => hear(call, notification),
        signal,
      })
      if (outcome.kind === 'failed') return outcome
      const denied = round === 0 && deniesStateless(outcome) ? ({ otherEra: true } as const) : {}
      if (parseServerMessage(outcome.body)?.kind !== 'response') {
        const reason = outcome.status >= 500 ? 'server-down' : 'server-invalid'
        return { ...failed(reason, `HTTP ${outcome.status}`), ...denied }
      }
      const response = statefulResponse(method, outcome.body, { id: call.id })
      if (response.kind === 'invalid') return failed('server-invalid', response.why)
      if (response.kind === 'response') return { ...answered(response.bytes), ...denied }
      const forbidden = response.requests.flatMap((wanted) => forbiddenTo(client, wanted) ?? [])
      if (forbidden[0] !== undefined) return forbidden[0]
      const given = await questions.ask(call, response.requests, signal)
      if (signal.aborted) return failed('server-down', 'the call was ended')
      if ('refused' in given) return answered(refusal(call.id, given.refused))
      const { requestState } = response
      input = {
        ...(response.requests.length > 0 && { inputResponses: given.responses }),
        ...(requestState !== undefined && { requestState }),
      }
    }
    return failed('server-invalid', `it wanted input more than ${MOST_ROUNDS} times`)
  }

  /** Why the server may not ask this of this client; undefined: it may. */
  const forbiddenTo = (client: ClientState, { method }: Wanted): Failure | undefined => {
    const feature = featureFor(method)
    if (feature === undefined) return failed('server-invalid', `no input is asked for with ${method}`)
    if (!server().client.includes(feature)) return failed('not-allowed', feature)
    if (!client.session.claims.features.includes(feature))
      return failed('not-allowed', `${feature}, which the client does not offer`)
    return undefined
  }

  const subscribe = async (client: ClientState, id: string, uri: string): Promise<Outcome> => {
    const known = subscriptions.get(client) ?? new Map<string, AbortController>()
    if (known.has(uri)) return answered(emptyResult(id))
    const ending = new AbortController()
    known.set(uri, ending)
    subscriptions.set(client, known)
    const tell = (changed: string): void => {
      const text = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":${JSON.stringify(changed)}}}`
      const notification = parseServerMessage(Buffer.from(text))
      if (notification?.kind === 'notification') updated(client, notification)
    }
    const agreed = await resources.watch([uri], tell, ending.signal)
    if (agreed.length > 0) return answered(emptyResult(id))
    unsubscribe(client, uri)
    return answered(refusal(id, `the server does not tell of changes of ${uri}`))
  }
  const unsubscribe = (client: ClientState, uri: string): void => {
    const known = subscriptions.get(client)
    known?.get(uri)?.abort()
    known?.delete(uri)
    if (known?.size === 0) subscriptions.delete(client)
  }

  return {
    async call(call) {
      const { client, method, body, id } = call
      const scanned = scan(body)
      if (!scanned.ok) return failed('server-invalid', `the request is ${scanned.reason}`)
      const { message } = scanned
      if (method === 'resources/subscribe' || method === 'resources/unsubscribe') {
        const uri = message.uri === undefined ? '' : stringOf(body, message.uri)
        if (method === 'resources/subscribe') return await subscribe(client, id, uri)
        unsubscribe(client, uri)
        return answered(emptyResult(id))
      }
      const entry = { client, id, ending: new AbortController() }
      running.add(entry)
      if (call.signal.aborted) entry.ending.abort()
      call.signal.addEventListener('abort', () => entry.ending.abort(), { once: true })
      try {
        return await run(call, message, entry.ending.signal)
      } finally {
        running.delete(entry)
      }
    },
    pass: (call) =>
      wire.send({
        id: call.id,
        body: call.body,
        headers: call.headers,
        as: call.caller,
        timeoutMs: server().timeoutMs,
        onMessage: (notification) => call.onMessage(notification),
        signal: call.signal,
      }),
    tell(client, body) {
      const scanned = scan(body)
      if (!scanned.ok) return false
      const { message } = scanned
      if (message.kind === 'response') return questions.answer(client, message, body)
      if (message.method !== 'notifications/cancelled' || message.requestId === undefined) return false
      const id = textOf(body, message.requestId)
      const meant = [...running].filter((entry) => entry.client === client && entry.id === id)
      for (const { ending } of meant) ending.abort()
      return meant.length > 0
    },
    watch: (uris, changed, signal) => resources.watch(uris, changed, signal),
    watchTasks: (watching) => watchTasks(wire, server().timeoutMs, watching),
    leave(client) {
      for (const entry of running) if (entry.client === client) entry.ending.abort()
      for (const ending of subscriptions.get(client)?.values() ?? []) ending.abort()
      subscriptions.delete(client)
    },
    close: () => resources.close(),
  }
}

const hear = (call: UpstreamCall, { bytes }: Notification): void => {
  const translated = statefulNotification(bytes)
  const message = translated === undefined ? undefined : parseServerMessage(translated)
  if (message?.kind === 'notification') call.onMessage(message)
}

/** What the request names, as the header repeats it. */
const nameOf = (method: string, message: Message, bytes: Buffer): string | undefined => {
  const named =
    method === 'resources/read'
      ? message.uri
      : method === 'tools/call' || method === 'prompts/get'
        ? message.name
        : undefined
  return named === undefined ? undefined : stringOf(bytes, named)
}

const levelOf = ({ logLevel }: ClientState): string | undefined => {
  const params = logLevel === undefined ? undefined : Buffer.from(logLevel)
  const level = params === undefined ? undefined : members(params).get('level')
  return params === undefined || level === undefined ? undefined : stringOf(params, level)
}

const answered = (body: Buffer): Outcome => ({ kind: 'answered', status: 200, type: 'application/json', body })
const emptyResult = (id: string): Buffer => Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{}}`)
const refusal = (id: string, message: string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify({ code: -32603, message })}}`)
