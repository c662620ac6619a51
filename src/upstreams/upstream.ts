/** One server as the broker sees it: what it offers, whether it answers, and how to ask it something. */

import type { Row } from '../catalog/routing-table.ts'
import type { ServerCatalogue } from '../catalog/server-catalogue.ts'
import type { Caller } from '../clients/caller.ts'
import type { ClientState } from '../clients/client-session.ts'
import type { MethodName } from '../mcp/methods.ts'
import type { Era } from '../mcp/versions.ts'
import type { Server } from '../registry/model.ts'
import type { Introduction } from './handshake.ts'
import type { ExchangeEvents } from './inner-client.ts'
import type { Notification, ServerMessage } from './server-message.ts'

/** The eras a server is spoken to in, and how and when that was found out. Both: each client in its own. */
export interface EraFinding {
  readonly eras: readonly Era[]
  readonly how: 'pinned' | 'probed'
  readonly atMs: number
}

/** A request of a stateless client to a server of that era, with the server's own names in it. */
export interface StatelessCall {
  /** On whose behalf. */
  readonly caller: Caller
  /** Raw JSON id of the request in `body`. */
  readonly id: string
  readonly method: MethodName
  readonly body: Buffer
  /** MCP's own headers and the trace context as the server should see them; names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** A notification of the server before the answer. */
  onMessage(message: Notification): void
  /** Its end closes the stream, which cancels the request at the server. */
  readonly signal: AbortSignal
}

/** Somebody who wants to hear of tasks. */
export interface TaskWatching {
  /** On whose behalf; absent: the gateway's own. */
  readonly caller?: Caller
  readonly ids: readonly string[]
  /** How the client is introduced: a task may want of it what it declared. */
  readonly as: Introduction
  /** A `notifications/tasks` of the server. */
  readonly heard: (message: Notification) => void
  readonly signal: AbortSignal
}

/** A request of a stateful client, with the server's own names in it. */
export interface UpstreamCall {
  /** `client.caller`, as it is when the call begins, is on whose behalf. */
  readonly client: ClientState
  readonly method: MethodName
  /** What the request names; undefined for a replay, which the server knew already. */
  readonly row: Row | undefined
  /** Raw JSON id of the request in `body`. */
  readonly id: string
  readonly body: Buffer
  /** Where `_meta.progressToken` stands in `body`, for servers whose one connection all clients share. */
  readonly progressToken: { readonly start: number; readonly end: number } | undefined
  /** A notification or request of the server while it works on the call. */
  onMessage(message: Exclude<ServerMessage, { kind: 'response' }>): void
  /** Whether the server's silence counts: not while it waits for the client's answer. */
  waiting(): boolean
  /** The answer is a stream that the server lets resume; after so long, if its connection breaks. */
  readonly onResumable?: (retryMs: number) => void
  /** The server has ended the connection and wants to be asked for the rest after so long, which it will be. */
  readonly onPolled?: (retryMs: number) => void
  readonly signal: AbortSignal
}

/**
 * How a call ended. `answered` is what the server said, byte for byte. `otherEra`: the server did not carry it out, and
 * said so as servers do that speak another era than it was asked in.
 */
export type Outcome =
  | {
      readonly kind: 'answered'
      readonly status: number
      readonly type: string
      readonly body: Buffer
      readonly otherEra?: true
    }
  | {
      readonly kind: 'failed'
      readonly reason:
        | 'server-down'
        | 'server-silent'
        | 'server-refused'
        | 'server-invalid'
        | 'not-allowed'
        // The server was to be shown a token made from the caller's, and there is none.
        | 'no-token'
        | 'bad-token'
        | 'exchange-refused'
        | 'exchange-failed'
      readonly detail: string
      readonly otherEra?: true
    }

export type Failure = Extract<Outcome, { kind: 'failed' }>

export const failed = (reason: Failure['reason'], detail: string): Failure => ({ kind: 'failed', reason, detail })

/** The server was not asked: there was nothing to show it. That says nothing about the server. */
export const notShown = ({ reason }: Failure): boolean =>
  reason === 'no-token' || reason === 'bad-token' || reason === 'exchange-refused' || reason === 'exchange-failed'

/** What was answered; throws, with the reason, when nothing was. */
export const answerOf = (outcome: Outcome): Buffer => {
  if (outcome.kind === 'failed') throw new Error(outcome.detail)
  return outcome.body
}

export type UpstreamState = 'starting' | 'up' | 'degraded' | 'down'

/** For `/status`. */
export interface UpstreamStatus {
  readonly state: UpstreamState
  readonly sinceMs: number
  readonly lastError: string | undefined
  readonly fetchedAtMs: number | undefined
  readonly stale: boolean
  /** It was not asked: whoever it was to be asked for has nothing to show it. */
  readonly notShown?: true
}

export interface Upstream {
  readonly server: Server
  /** All clients share one connection to it. */
  readonly shared: boolean
  /** Takes an entry that differs only in names and limits. */
  update(server: Server): void
  status(): UpstreamStatus
  /**
   * What it offered when last asked; kept while it is down. Where that depends on the caller, only what it is able to do:
   * its lists are empty.
   */
  catalogue(): ServerCatalogue | undefined
  /**
   * Only where what it offers depends on who asks: what it offers this caller, asked for once and kept up to date for as
   * long as the caller comes back; the same value until it is another. Undefined: it offers nothing, or does not answer.
   */
  readonly catalogueFor?: (caller: Caller) => Promise<ServerCatalogue | undefined>
  /** Resolves when it has answered for the first time, failed for the first time, or its list deadline has passed. */
  readonly settled: Promise<void>
  /** How it is spoken to; undefined until that is known. */
  era(): EraFinding | undefined
  /** A stateful client's request; translated when the server is stateless only. */
  call(call: UpstreamCall): Promise<Outcome>
  /** A stateless client's request, to a server that speaks its era. */
  pass(call: StatelessCall): Promise<Outcome>
  /**
   * Tells of changes of these resources (the server's own URIs) until the signal ends, in whatever era it speaks;
   * resolves with those the server agreed to. Never rejects. `caller` counts where what the server offers depends on it.
   */
  watch(
    uris: readonly string[],
    changed: (uri: string) => void,
    signal: AbortSignal,
    caller?: Caller,
  ): Promise<readonly string[]>
  /**
   * Only where the tasks extension may be: says what becomes of these tasks (the server's own ids) until the signal ends;
   * resolves with those that the server agreed to tell of. Never rejects.
   */
  readonly watchTasks?: (watching: TaskWatching) => Promise<readonly string[]>
  /** Only over HTTP: a call that the server refused in its session `lostId`, sent again when that session is really gone. */
  readonly replay?: (
    call: UpstreamCall,
    lostId: string,
    refused: Extract<Outcome, { kind: 'answered' }>,
  ) => Promise<Outcome>
  /**
   * Only over HTTP: asks the server for the rest of a stream after an event of its own, in the client's session; what it
   * returns ends that. Undefined: there is no such session.
   */
  readonly resume?: (client: ClientState, lastEventId: string, events: ExchangeEvents) => (() => void) | undefined
  /** Sends a notification or a response from the client; nothing comes back. */
  tell(client: ClientState, body: Buffer): Promise<void>
  /** Passes on the client's log level (`client.logLevel`) to the session it has here. */
  setLevel(client: ClientState): Promise<void>
  /** The client has opened its stream, or this server's session: what the server says outside calls is wanted. */
  listen(client: ClientState): void
  /** The client's session is over. */
  leave(client: ClientState): Promise<void>
  /** A message has told that a list changed. */
  refresh(): void
  close(): Promise<void>
}

/** What an upstream tells the broker. */
export interface UpstreamEvents {
  /** Its catalogue or its state changed. */
  changed(upstream: Upstream): void
  /** What it offers some callers changed: those that are meant. */
  changedFor?(upstream: Upstream, isMeant: (caller: Caller) => boolean): void
  /** One of its lists is longer than we follow. */
  capped(upstream: Upstream, list: string): void
  /** A notification about a resource on a connection that all clients share: whoever subscribed is meant. */
  shared(upstream: Upstream, message: Notification): void
  /** A message for one client outside any call. */
  message(upstream: Upstream, client: ClientState, message: Exclude<ServerMessage, { kind: 'response' }>): void
}

/** Makes the upstream of a server; chosen by the wiring, since the kinds differ in what they need. */
export type MakeUpstream = (server: Server, events: UpstreamEvents) => Upstream
