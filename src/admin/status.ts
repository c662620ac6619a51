/** What the gateway knows of itself: the value behind `/status`, the status page and the commands that ask it. */
import type { Era } from '../mcp/versions.ts'
import type { Place } from '../registry/model.ts'
import type { EnvoyStatus } from '../xds/status.ts'

export type { EnvoyStatus }

/** `degraded`: it answers, but not all of it (a list failed, was cut short or is an old one). */
export type ServerState = 'up' | 'down' | 'starting' | 'degraded' | 'disabled'

/**
 * The way calls take: `broker` where only the broker can reach the server, `translated` where its era is another. `hidden`:
 * for a tool that can only be called as a task, to clients that can have none there.
 */
export type CallPath = 'direct' | 'broker' | 'translated' | 'hidden'

/** The way of each era's clients. One that declares what the server may ask for takes the broker's instead of the direct one. */
export type CallPaths = Readonly<Record<Era, CallPath>>

/** Something that needs the operator's attention. `place`: where in the registry file. */
export interface StatusProblem {
  readonly severity: 'error' | 'warning'
  readonly message: string
  readonly hint?: string
  /** The file the place is in, when it is not the registry itself. */
  readonly file?: string
  /** Such as `servers.weather.timeout`. */
  readonly path?: string
  readonly place?: Place
  /** The server it is about. */
  readonly server?: string
}

export interface ServerStatus {
  readonly name: string
  readonly kind: 'http' | 'stdio'
  readonly description?: string
  readonly state: ServerState
  readonly required: boolean
  /** When the state was entered; ISO 8601 like every time here. */
  readonly since: string
  readonly lastError?: string
  /** What it negotiated with us. */
  readonly protocolVersion?: string
  /** The eras it is spoken to in, and how and when that was found out; absent: not known yet. */
  readonly era?: { readonly eras: readonly Era[]; readonly how: 'pinned' | 'probed'; readonly at: string }
  /** Known as soon as its era is. */
  readonly paths?: CallPaths
  /** Shown, after include, exclude and clashes. */
  readonly tools: number
  readonly prompts: number
  readonly resources: number
  readonly templates: number
  /** What it offers and nobody sees, and why. Exposed names. */
  readonly hidden: readonly {
    readonly name: string
    readonly reason: string
    /** A tool that hides something, or is not what was approved. */
    readonly withheld?: true
  }[]
  readonly listsFetchedAt?: string
  /** The token of our own that it is shown, for one with `oauth` or `exchange`. */
  readonly token?: { readonly obtainedAt?: string; readonly expiresAt?: string; readonly problem?: string }
  /** The lists are older than they should be: the last refresh failed or is still running. */
  readonly stale: boolean
}

export interface ToolStatus {
  /** The exposed name. */
  readonly name: string
  readonly server: string
  /** The server's own name for it. */
  readonly own: string
  readonly paths?: CallPaths
}

interface RegistryStatus {
  readonly file: string
  /** Hash of the loaded file. */
  readonly version: string
  /** Whether an `mcp.lock` is in force. */
  readonly pinned?: boolean
  readonly loadedAt: string
  /** Those of the newest file, loaded or refused. */
  readonly problems: readonly StatusProblem[]
  /** How many of the connected Envoys have ACKed it all, and what the slowest took. */
  readonly applied: { readonly envoys: number; readonly of: number; readonly ms?: number }
}

/** A request the gateway refused. */
export interface Refusal {
  readonly at: string
  /** The same id stands in the client's error and in the log. */
  readonly decision: string
  readonly status: number
  readonly reason: string
}

/** The audit log of the moment. */
export interface AuditStatus {
  /** A file's path, or `-`. */
  readonly to: string
  /** Written since it was opened. */
  readonly lines: number
  /** Of the last one: kept elsewhere, it proves that the file's end was not cut off. Empty before the first. */
  readonly hash: string
  readonly waiting: number
  readonly lost: number
  /** Why it cannot be written at the moment. */
  readonly fault?: string
}

/** Whose tokens let clients in, and whether they can be verified. */
export interface AuthStatus {
  readonly issuer: string
  readonly audience: string
  /** How many of the issuer's keys are known. None: every request is refused. */
  readonly keys: number
  /** When they were fetched; absent for those in a file. */
  readonly fetchedAt?: string
  /** Why they cannot be had, or not anew. */
  readonly problem?: string
}

/** Holds no secret: it is made of names, counts and messages. */
export interface Status {
  readonly version: string
  readonly url: string
  readonly startedAt: string
  readonly registry: RegistryStatus
  readonly servers: readonly ServerStatus[]
  readonly tools: readonly ToolStatus[]
  /** Of everything but the file: NACKs, clashes, servers that are down. */
  readonly problems: readonly StatusProblem[]
  readonly envoys: readonly EnvoyStatus[]
  readonly sessions: {
    readonly clients: number
    /** Sessions we hold with servers on clients' behalf. */
    readonly servers: number
    /** Those held at stateful servers for stateless clients; of them, the ones whose call waits for its client's input. */
    readonly pooled: number
    readonly waiting: number
    readonly streams: number
  }
  /** The latest, newest first. */
  readonly refusals: readonly Refusal[]
  /** Absent without an audit log. */
  readonly audit?: AuditStatus
  /** Absent without `gateway.auth`: everybody is let in. */
  readonly auth?: AuthStatus
}

/** Whether agents can be served, and what is missing when not. */
export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}
