/** What the answers to clients are made of; read anew for each request. */
import type { Catalogue } from '../catalog/catalogue.ts'
import type { Caller } from '../clients/caller.ts'
import type { ClientState } from '../clients/client-session.ts'
import type { Confirmations } from '../sessions/confirmation.ts'
import type { SessionTable } from '../sessions/session-table.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import type { CallLimits } from './call-limits.ts'
import type { Listeners } from './listeners.ts'
import type { SessionPool } from './session-pool.ts'
import type { TaskIds } from './task-ids.ts'

export interface Context {
  readonly version: string
  readonly sessions: SessionTable
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** Sessions at stateful servers that stateless clients share. */
  readonly pool: SessionPool
  /** What humans are asked to confirm. */
  readonly confirmations: Confirmations
  readonly callLimits: CallLimits
  /** What stateless clients call their tasks. */
  readonly taskIds: TaskIds
  /** The streams of stateless clients. */
  readonly listeners: Listeners
  /** What all clients together may be offered. */
  catalogue(): Catalogue
  /** The same with what servers offer this caller alone. */
  catalogueFor(caller: Caller): Promise<Catalogue>
  clients(): Iterable<ClientState>
  /** Whether the caller has not as many streams open as one may have. */
  mayOpenStream(caller: Caller, instead?: ClientState): boolean
  /** Resolves once a server whose entry is being changed can be asked again; undefined: it can. */
  moved(server: string): Promise<void> | undefined
  /** Resolves when every server has answered once, failed once or used up its time. */
  settled(): Promise<void>
  /** Whether that is so already. */
  readonly isSettled: boolean
}
