/** A running process as a pipe that all share: requests go in under ids of ours, and each answer goes back to whoever asked. */

import { members, replaceSpans, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { endingText } from '../process/guarded-child.ts'
import { ownRequest } from './handshake.ts'
import { type Notification, parseServerMessage, type ServerMessage, underToken } from './server-message.ts'
import type { StdioProcess } from './stdio-process.ts'
import { failed, type Outcome } from './upstream.ts'

export type Heard = Exclude<ServerMessage, { kind: 'response' }>

/** A request to send. */
export interface PipeRequest {
  /** Raw id in `body`; it and the progress token, which stands at `progressToken`, are others on the way. */
  readonly id: string
  readonly body: Buffer
  readonly progressToken?: Span | undefined
  /** Longest silence; undefined: it may be silent for ever. */
  readonly timeoutMs: number | undefined
  /** Whether the server's silence is excused. */
  waiting?(): boolean
  /** Progress of it, under the token in `body`. */
  progress?(message: Notification): void
  readonly signal: AbortSignal
}

export interface Pipe {
  /** A fresh raw id. */
  nextId(): string
  /** Sends it under this id of ours; resolves with the response under its own. Never rejects. */
  send(own: string, request: PipeRequest): Promise<Outcome>
  /** The server has said something on account of the request with this id of ours. */
  refresh(own: string): void
  /** Sends a message as it is; nothing comes back. */
  write(body: Buffer): void
  /** Resolves with the reason once the process has ended. */
  readonly over: Promise<string>
  close(): Promise<void>
}

interface Pending {
  readonly request: PipeRequest
  finish(outcome: Outcome): void
  refresh(): void
}

/** `start` starts the process and says each line of it; `hear` gets the messages that answer nothing and are no progress of what is under way. */
export const openPipe = async (
  start: (line: (line: Buffer) => void) => Promise<StdioProcess>,
  hear: (message: Heard) => void,
  nextId: () => string,
): Promise<Pipe> => {
  const pending = new Map<string, Pending>()
  let ended: string | undefined

  const heard = (line: Buffer): void => {
    const message = parseServerMessage(line)
    if (message === undefined) return
    if (message.kind === 'response') {
      const asked = message.id === undefined ? undefined : pending.get(message.id)
      const span = asked === undefined ? undefined : members(line).get('id')
      if (asked === undefined || span === undefined) return
      const body = replaceSpans(line, [{ span, with: asked.request.id }])
      asked.finish({ kind: 'answered', status: 200, type: 'application/json', body })
    } else if (message.kind === 'notification' && message.method === 'notifications/progress') progress(message)
    else hear(message)
  }
  const progress = (message: Notification): void => {
    const span = message.progressToken
    const asked = span === undefined ? undefined : pending.get(textOf(message.bytes, span))
    const token = asked?.request.progressToken
    if (span !== undefined && asked === undefined) hear(message)
    if (span === undefined || asked === undefined || token === undefined) return
    asked.refresh()
    asked.request.progress?.(underToken(message, span, textOf(asked.request.body, token)))
  }

  const child = await start(heard)
  const over = child.ended.then((ending) => {
    const said = child.lastStderr()
    const reason = said === '' ? endingText(ending) : `${endingText(ending)}: ${said}`
    ended = reason
    for (const each of pending.values()) each.finish(failed('server-down', reason))
    return reason
  })
  /** A process that does not take it has ended or will be ended; whoever waits is told by that. */
  const write = (body: Buffer): void => void child.send(body).catch(() => undefined)

  return {
    nextId,
    write,
    over,
    close: () => child.close(),
    refresh: (own) => pending.get(own)?.refresh(),
    send: (own, request) =>
      new Promise((resolve) => {
        const { body, timeoutMs, signal, progressToken: token } = request
        const finish = (outcome: Outcome): void => {
          clearTimeout(timer)
          pending.delete(own)
          signal.removeEventListener('abort', end)
          resolve(outcome)
        }
        const end = (): void => finish(failed('server-down', 'the call was ended'))
        const timer =
          timeoutMs === undefined
            ? undefined
            : setTimeout(() => {
                if (request.waiting?.() === true) timer?.refresh()
                else finish(failed('server-silent', `no message for ${timeoutMs} ms`))
              }, timeoutMs)
        const span = members(body).get('id')
        if (signal.aborted || span === undefined || ended !== undefined) {
          finish(failed('server-down', ended ?? 'the call was ended'))
          return
        }
        signal.addEventListener('abort', end)
        pending.set(own, { request, finish, refresh: () => timer?.refresh() })
        write(replaceSpans(body, [{ span, with: own }, ...(token === undefined ? [] : [{ span: token, with: own }])]))
      }),
  }
}

/** Sends a request of ours. `params` is JSON text. */
export const ask = (pipe: Pipe, method: string, params: string, signal: AbortSignal): Promise<Outcome> => {
  const id = pipe.nextId()
  const body = ownRequest(id, method, params)
  return pipe.send(id, { id, body, timeoutMs: undefined, signal })
}
