/** What a request's head alone decides: path and view, verb, host, origin, media types, size, and whether it can be about a session. */

import type { HeadRefusal } from './refusal.ts'
import { isStateful, isStateless } from './versions.ts'

/** The values as sent; `path` with its query. */
export interface RequestHead {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly host: string | undefined
  readonly origin: string | undefined
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  readonly accept: string | undefined
  readonly contentLength: string | undefined
  readonly sessionId: string | undefined
  readonly protocolVersion: string | undefined
  /** `Mcp-Method` and `Mcp-Name`, as sent. */
  readonly mcpMethod: string | undefined
  readonly mcpName: string | undefined
  /** The `Mcp-Param-…` headers: the rest of the name in lower case → the value as sent. */
  readonly mcpParams: ReadonlyMap<string, string>
}

/** What this entrypoint accepts. Loopback hosts and loopback origins always pass. */
export interface Edge {
  /** Such as `/mcp`. Views are one segment below it. */
  readonly path: string
  /** The names of the views. */
  readonly views: ReadonlySet<string>
  /** Lower case, without port and without brackets. */
  readonly hosts: ReadonlySet<string>
  /** Lower case, such as `https://app.example.com`. */
  readonly origins: ReadonlySet<string>
  /** In bytes. */
  readonly maxBody: number
}

export type Verb = 'post' | 'get' | 'delete'
/** `view` is the one its path leads to; empty: all of the gateway, or a path that is refused. */
export type Examined =
  | { readonly ok: true; readonly verb: Verb; readonly view: string }
  | { readonly ok: false; readonly reason: HeadRefusal; readonly view: string }

const VERBS: ReadonlyMap<string, Verb> = new Map([
  ['POST', 'post'],
  ['GET', 'get'],
  ['DELETE', 'delete'],
])

export const examine = (head: RequestHead, edge: Edge): Examined => {
  const view = viewAt(head.path, edge.path)
  if (view === undefined) return { ok: false, reason: 'wrong-path', view: '' }
  if (view !== '' && !edge.views.has(view)) return { ok: false, reason: 'unknown-view', view: '' }
  const refuse = (reason: HeadRefusal): Examined => ({ ok: false, reason, view })
  const verb = VERBS.get(head.method ?? '')
  if (verb === undefined) return refuse('wrong-verb')
  if (!isOurHost(head.host, edge.hosts)) return refuse('foreign-host')
  if (!isAllowedOrigin(head.origin, edge.origins)) return refuse('foreign-origin')
  if (verb !== 'post' && isStateless(head.protocolVersion ?? '')) return refuse('wrong-verb')
  if (verb === 'post') {
    if (!JSON_TYPE.test(head.contentType ?? '')) return refuse('content-type')
    if ((head.contentEncoding ?? 'identity').trim().toLowerCase() !== 'identity') return refuse('content-encoding')
    if (!accepts(head.accept, 'application/json')) return refuse('not-acceptable')
    if (Number(head.contentLength ?? 0) > edge.maxBody) return refuse('too-large')
  }
  if (verb !== 'delete' && !accepts(head.accept, 'text/event-stream')) return refuse('not-acceptable')
  if (verb === 'post') return { ok: true, verb, view } // which version counts, the body decides
  if (head.protocolVersion !== undefined && !isStateful(head.protocolVersion)) return refuse('unsupported-version')
  if ((head.sessionId ?? '') === '') return refuse('no-session-id')
  return { ok: true, verb, view }
}

/** The view's name in a path, empty at the gateway's own; undefined: nothing of ours can be there. */
const viewAt = (path: string | undefined, ours: string): string | undefined => {
  if (path?.startsWith(ours) !== true) return undefined
  if (path.length === ours.length || path[ours.length] === '?') return ''
  const query = path.indexOf('?')
  const below = path.slice(ours.length, query < 0 ? undefined : query)
  return VIEW.test(below) ? below.slice(1) : undefined
}
const VIEW = /^\/[a-z][a-z0-9-]*$/

/** JSON is UTF-8 (RFC 8259 8.1); another charset would be another reading of the same bytes. */
const JSON_TYPE = /^\s*application\/json\s*(;\s*charset\s*=\s*("utf-8"|utf-8)\s*)?;?\s*$/i

const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1'])
const HOST = /^(\[[0-9a-f:.]+\]|[^:[\]@/\s]+)(:\d{1,5})?$/

/** Guards against DNS rebinding: a page that resolves its own name to us still sends its own name. */
const isOurHost = (host: string | undefined, ours: ReadonlySet<string>): boolean => {
  const name = HOST.exec(host?.toLowerCase() ?? '')?.[1]?.replace(/^\[|\]$/g, '')
  return name !== undefined && (LOOPBACK.has(name) || ours.has(name))
}

const LOOPBACK_ORIGIN = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** No Origin is no browser. `null` is anybody's. */
const isAllowedOrigin = (origin: string | undefined, allowed: ReadonlySet<string>): boolean => {
  if (origin === undefined) return true
  const lower = origin.toLowerCase()
  return lower !== 'null' && (LOOPBACK_ORIGIN.test(lower) || allowed.has(lower))
}

/** Streamable HTTP demands the header, so its absence accepts nothing. A weight of zero is a refusal (RFC 9110 12.4.2). */
const accepts = (accept: string | undefined, type: 'application/json' | 'text/event-stream'): boolean => {
  if (accept === undefined) return false
  const family = `${type.slice(0, type.indexOf('/'))}/*`
  return accept
    .toLowerCase()
    .split(',')
    .some((part) => {
      const [range = '', ...parameters] = part.split(';').map((text) => text.trim())
      return (
        (range === type || range === family || range === '*/*') && !parameters.some((text) => /^q=0(\.0*)?$/.test(text))
      )
    })
}
