/** What the answers to clients are made of; read anew for each request. */
import type { Catalogue } from '../catalog/catalogue.ts'
import type { SessionTable } from '../sessions/session-table.ts'
import type { ClientState } from './client-session.ts'
import type { Listeners } from './listeners.ts'
import type { SessionPool } from './session-pool.ts'
import type { Upstream } from './upstream.ts'

export interface Context {
  readonly version: string
  readonly sessions: SessionTable
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** Sessions at stateful servers that stateless clients share. */
  readonly pool: SessionPool
  /** The streams of stateless clients. */
  readonly listeners: Listeners
  catalogue(): Catalogue
  clients(): Iterable<ClientState>
  /** Resolves once a server whose entry is being changed can be asked again; undefined: it can. */
  moved(server: string): Promise<void> | undefined
  /** Resolves when every server has answered once, failed once or used up its time. */
  settled(): Promise<void>
  /** Whether that is so already. */
  readonly isSettled: boolean
}
