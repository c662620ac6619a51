/** A stateful server on a pipe: one session that all clients share, so what it says goes to whom it can only be meant for. */

import { dropOldest } from '../bounded.ts'
import type { ClientState } from '../clients/client-session.ts'
import { members, replaceSpans, stringOf, textOf } from '../mcp/json-text.ts'
import { LOG_LEVELS } from '../mcp/log-levels.ts'
import { scan } from '../mcp/scan.ts'
import type { StdioServer } from '../registry/model.ts'
import { createdTask, taskOf } from '../translation/task-ids.ts'
import { resourceWatch } from './resource-watch.ts'
import { isListChanged, type Notification, underToken, updatedUri } from './server-message.ts'
import { ask, type Heard, type Pipe } from './stdio-pipe.ts'
import { failed, type Outcome, type Upstream, type UpstreamCall } from './upstream.ts'

export interface StatefulPipe extends Pick<Upstream, 'call' | 'setLevel' | 'watch'> {
  tell(client: ClientState, body: Buffer): void
  leave(client: ClientState): void
  /** A message of the server that answers nothing and is no progress of what is under way. */
  hear(message: Heard): void
  /** A process was started: it is told what the one before it knew. */
  renew(): void
}

interface Options {
  readonly server: () => StdioServer
  /** The pipe to the process of the moment, if it speaks this era. */
  readonly pipe: () => Pipe | undefined
  /** Why there is none. */
  readonly down: () => string
  readonly listsChanged: () => void
  /** A notification about a resource: whoever subscribed is meant. */
  readonly updated: (message: Notification) => void
  /** Whose task this is; undefined: nobody's who is still here. */
  readonly ownerOf: (task: string) => ClientState | undefined
  /** A message for one client outside any call. */
  readonly message: (client: ClientState, message: Heard) => void
}

interface Running {
  readonly own: string
  readonly call: UpstreamCall
}

/** Tasks whose progress is told of, the newest ones. */
const MOST_TOKENS = 1000

export const statefulPipe = (options: Options): StatefulPipe => {
  const { server, pipe, down, listsChanged, updated } = options
  const running = new Set<Running>()
  const levels = new Map<ClientState, number>()
  /** The server's own URI → the clients that subscribed to it. */
  const subscribers = new Map<string, Set<ClientState>>()
  /** Our progress token → whose it stands for: a task goes on after the call that made it (2025-11-25 tasks, progress). */
  const tokens = new Map<string, { readonly client: ClientState; readonly token: string }>()

  const ours = async (method: string, params: string): Promise<boolean> => {
    const current = pipe()
    if (current === undefined) return false
    const outcome = await ask(current, method, params, AbortSignal.timeout(server().timeoutMs))
    return outcome.kind === 'answered' && members(outcome.body).has('result')
  }
  const subscribe = async (uris: readonly string[]): Promise<readonly string[]> => {
    const agreed = uris.map(async (uri) => ((await ours('resources/subscribe', JSON.stringify({ uri }))) ? [uri] : []))
    return (await Promise.all(agreed)).flat()
  }
  const unsubscribe = (uri: string): void => void ours('resources/unsubscribe', JSON.stringify({ uri }))
  const watched = resourceWatch({
    begin: subscribe,
    end(uris) {
      for (const uri of uris) if (!subscribers.has(uri)) unsubscribe(uri)
    },
  })
  /** Whether somebody else still wants it. */
  const released = (uri: string, client: ClientState): boolean => {
    const others = subscribers.get(uri)
    others?.delete(client)
    if (others?.size === 0) subscribers.delete(uri)
    return subscribers.has(uri) || watched.uris.includes(uri)
  }

  /** The call of the one client that has calls here at the moment: only then is it plain whom the server means. */
  const onlyCaller = (): Running | undefined => {
    let found: Running | undefined
    for (const each of running) {
      if (found !== undefined && found.call.client !== each.call.client) return undefined
      found = each
    }
    return found
  }
  const toCaller = (message: Heard): boolean => {
    const caller = onlyCaller()
    if (caller === undefined) return false
    pipe()?.refresh(caller.own)
    caller.call.onMessage(message)
    return true
  }
  const asked = (message: Extract<Heard, { kind: 'request' }>): void => {
    if (!toCaller(message))
      refuse(message, 'it is not plain which client is meant: none or several are calling this server')
  }
  const refuse = (message: Extract<Heard, { kind: 'request' }>, why: string): void => {
    const error = { code: -32603, message: why }
    const answer = message.method === 'ping' ? '"result":{}' : `"error":${JSON.stringify(error)}`
    pipe()?.write(Buffer.from(`{"jsonrpc":"2.0","id":${message.id},${answer}}`))
  }
  /** What belongs to a task is for the client that made it, on one of its calls or apart from them. */
  const aboutTask = (message: Heard, task: string): void => {
    const client = options.ownerOf(task)
    const calls = [...running].filter(({ call }) => call.client === client)
    const caller = calls.find(({ call }) => call.method === 'tasks/result') ?? calls[0]
    if (caller !== undefined) {
      pipe()?.refresh(caller.own)
      caller.call.onMessage(message)
    } else if (client !== undefined) options.message(client, message)
    else if (message.kind === 'request') refuse(message, 'the client whose task it is has left')
  }
  const progressed = (message: Notification): void => {
    const span = message.progressToken
    const known = span === undefined ? undefined : tokens.get(textOf(message.bytes, span))
    if (span === undefined || known === undefined || known.client.left) return
    options.message(known.client, underToken(message, span, known.token))
  }
  const logged = (message: Notification): void => {
    const caller = onlyCaller()
    if (caller === undefined || message.params === undefined) return
    const level = members(message.bytes, message.params).get('level')
    const wanted = levels.get(caller.call.client)
    const quieter =
      level !== undefined && wanted !== undefined && LOG_LEVELS.indexOf(stringOf(message.bytes, level)) < wanted
    if (!quieter) toCaller(message)
  }

  const run = async (call: UpstreamCall, current: Pipe): Promise<Outcome> => {
    const entry: Running = { own: current.nextId(), call }
    running.add(entry)
    const outcome = await current.send(entry.own, {
      id: call.id,
      body: call.body,
      progressToken: call.progressToken,
      timeoutMs: server().timeoutMs,
      waiting: () => call.waiting(),
      progress: (message) => call.onMessage(message),
      signal: call.signal,
    })
    running.delete(entry)
    const { client, method, body, progressToken: token } = call
    if (
      token !== undefined &&
      method === 'tools/call' &&
      outcome.kind === 'answered' &&
      createdTask(outcome.body) !== undefined
    ) {
      tokens.set(entry.own, { client, token: textOf(body, token) })
      dropOldest(tokens, MOST_TOKENS)
    }
    return outcome
  }
  /** The process has one level: the one of whoever wants to hear most. */
  const least = (): string | undefined => (levels.size === 0 ? undefined : LOG_LEVELS[Math.min(...levels.values())])
  const tellLevel = async (): Promise<void> => {
    const level = least()
    if (level !== undefined) await ours('logging/setLevel', JSON.stringify({ level }))
  }

  return {
    watch: (uris, changed, signal) => watched.watch(uris, changed, signal),
    async call(call) {
      const current = pipe()
      if (current === undefined) return failed('server-down', down())
      const uri = call.row?.own ?? ''
      if (call.method === 'resources/unsubscribe' && released(uri, call.client)) {
        const body = Buffer.from(`{"jsonrpc":"2.0","id":${call.id},"result":{}}`)
        return { kind: 'answered', status: 200, type: 'application/json', body }
      }
      const outcome = await run(call, current)
      const subscribed = outcome.kind === 'answered' && members(outcome.body).has('result') && !call.client.left
      if (call.method === 'resources/subscribe' && subscribed)
        subscribers.set(uri, (subscribers.get(uri) ?? new Set()).add(call.client))
      return outcome
    },
    tell(client, body) {
      const current = pipe()
      const scanned = scan(body)
      const span = scanned.ok ? scanned.message.requestId : undefined
      if (span === undefined) {
        current?.write(body)
        return
      }
      const original = textOf(body, span)
      for (const { own, call } of running)
        if (call.client === client && call.id === original) current?.write(replaceSpans(body, [{ span, with: own }]))
    },
    async setLevel(client) {
      const params = client.logLevel === undefined ? undefined : Buffer.from(client.logLevel)
      const level = params === undefined ? undefined : members(params).get('level')
      if (params === undefined || level === undefined) return
      levels.set(client, Math.max(0, LOG_LEVELS.indexOf(stringOf(params, level))))
      await tellLevel()
    },
    leave(client) {
      levels.delete(client)
      for (const [own, known] of tokens) if (known.client === client) tokens.delete(own)
      for (const [uri, clients] of subscribers) if (clients.has(client) && !released(uri, client)) unsubscribe(uri)
    },
    hear(message) {
      const task = taskOf(message.method, message.bytes, message.params)
      if (message.kind === 'notification' && message.method === 'notifications/progress') progressed(message)
      // The answer that made the task may have come just before, and not be noted yet.
      else if (task !== undefined) setImmediate(() => aboutTask(message, task))
      else if (message.kind === 'request') asked(message)
      else if (isListChanged(message.method)) listsChanged()
      else if (message.method === 'notifications/message') logged(message)
      else if (message.method === 'notifications/resources/updated') {
        updated(message)
        const uri = updatedUri(message)
        if (uri !== undefined) watched.changed(uri)
      } else toCaller(message)
    },
    renew() {
      void tellLevel()
      // What changed in between nobody will ever tell.
      void subscribe([...new Set([...subscribers.keys(), ...watched.uris])]).then((uris) =>
        uris.forEach((uri) => watched.changed(uri)),
      )
    },
  }
}
