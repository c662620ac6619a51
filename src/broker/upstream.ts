/** One server as the broker sees it: what it offers, whether it answers, and how to ask it something. */
import type { ServerCatalogue } from '../catalog/server-catalogue.ts'
import type { Server } from '../registry/model.ts'
import type { ClientState } from './client-session.ts'
import type { ServerMessage } from './server-message.ts'

/** A request of a client, with the server's own names in it. */
export interface UpstreamCall {
  readonly client: ClientState
  /** Raw JSON id of the request in `body`. */
  readonly id: string
  readonly body: Buffer
  /** Where `_meta.progressToken` stands in `body`, for servers whose one connection all clients share. */
  readonly progressToken: { readonly start: number; readonly end: number } | undefined
  /** A notification or request of the server while it works on the call. */
  onMessage(message: Exclude<ServerMessage, { kind: 'response' }>): void
  /** Whether the server's silence counts: not while it waits for the client's answer. */
  waiting(): boolean
  readonly signal: AbortSignal
}

/** How a call ended. `answered` is what the server said, byte for byte. */
export type Outcome =
  | { readonly kind: 'answered'; readonly status: number; readonly type: string; readonly body: Buffer }
  | {
      readonly kind: 'failed'
      readonly reason: 'server-down' | 'server-silent' | 'server-refused' | 'server-invalid'
      readonly detail: string
    }

export type UpstreamState = 'starting' | 'up' | 'degraded' | 'down'

/** For `/status`. */
export interface UpstreamStatus {
  readonly state: UpstreamState
  readonly sinceMs: number
  readonly lastError: string | undefined
  readonly fetchedAtMs: number | undefined
  readonly stale: boolean
}

export interface Upstream {
  readonly server: Server
  /** All clients share one connection to it. */
  readonly shared: boolean
  /** Takes an entry that differs only in names and limits. */
  update(server: Server): void
  status(): UpstreamStatus
  /** What it offered when last asked; kept while it is down. */
  catalogue(): ServerCatalogue | undefined
  /** Resolves when it has answered for the first time, failed for the first time, or its list deadline has passed. */
  readonly settled: Promise<void>
  call(call: UpstreamCall): Promise<Outcome>
  /** Only over HTTP: a call that the server refused in its session `lostId`, sent again when that session is really gone. */
  readonly replay?: (
    call: UpstreamCall,
    lostId: string,
    refused: Extract<Outcome, { kind: 'answered' }>,
  ) => Promise<Outcome>
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
  /** One of its lists is longer than we follow. */
  capped(upstream: Upstream, list: string): void
  /** A notification about a resource on a connection that all clients share: whoever subscribed is meant. */
  shared(upstream: Upstream, message: Extract<ServerMessage, { kind: 'notification' }>): void
  /** A message for one client outside any call. */
  message(upstream: Upstream, client: ClientState, message: Exclude<ServerMessage, { kind: 'response' }>): void
}
