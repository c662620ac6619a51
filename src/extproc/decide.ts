/** Where a request goes: straight to one server, or to the broker. Pure and total; the broker words every refusal. */
import type { ServerRow, Row, RoutingTable } from '../catalog/routing-table.ts'
import { resourceRow } from '../catalog/routing-table.ts'
import { stringOf } from '../mcp/json-text.ts'
import { type DirectMethod, isDirect, methods } from '../mcp/methods.ts'
import { type Edge, examine, type RequestHead } from '../mcp/request-head.ts'
import { type Message, type Span, scan } from '../mcp/scan.ts'
import { rename } from '../mcp/splice.ts'
import type { ClientFeature } from '../registry/model.ts'
import type { ClientSession, ServerSession, SessionLookup } from '../sessions/session-table.ts'

/** What the head alone decides. `body`: the session could go direct, so the body decides. */
export type HeadDecision = { readonly to: 'broker' } | { readonly to: 'body'; readonly session: ClientSession }

export type Decision =
  | {
      readonly to: 'server'
      readonly method: DirectMethod
      /** The request's id, raw. */
      readonly id: string
      readonly row: Row
      readonly server: ServerRow
      readonly cluster: string
      readonly session: ServerSession
      /** The body with the server's own name in it; undefined: the body that came is right as it is. */
      readonly body: Buffer | undefined
    }
  | {
      readonly to: 'broker'
      readonly method: string | undefined
      readonly id: string | undefined
      readonly row: Row | undefined
    }

/** Longest name or URI we look up, in bytes; it must fit a header. */
const MAX_NAME = 4096
/** Longest id we remember and publish. */
const MAX_ID = 256

/** Anything but a well-formed POST of a live session that has a direct way to some server is the broker's. */
export const decideHead = (head: RequestHead, edge: Edge, lookup: SessionLookup, table: RoutingTable): HeadDecision => {
  const examined = examine(head, edge)
  if (!examined.ok || examined.verb !== 'post' || head.sessionId === undefined) return BROKER
  const session = lookup.find(head.sessionId)
  if (session === undefined) return BROKER
  for (const server of directServers(table, session.claims.features)) {
    if (session.servers.has(server)) return { to: 'body', session }
  }
  return BROKER
}
const BROKER: HeadDecision = { to: 'broker' }

/**
 * Direct when all holds: one valid request of a method that may go direct, a row for its name, a cluster, a session that
 * server opened for this client, and nothing the client declared that the server could ask of it.
 */
export const decide = (table: RoutingTable, session: ClientSession, bytes: Buffer): Decision => {
  const scanned = scan(bytes)
  if (!scanned.ok) return { to: 'broker', method: undefined, id: short(scanned.id), row: undefined }
  const { message } = scanned
  const { method, id } = message
  const found = method !== undefined && isDirect(method) ? lookUp(table, method, message, bytes) : undefined
  if (method === undefined || !isDirect(method) || found === undefined) {
    return { to: 'broker', method, id: short(id), row: undefined }
  }
  const { row, at, name } = found
  const server = table.servers.get(row.server)
  const serverSession = session.servers.get(row.server)
  if (
    message.kind !== 'request' ||
    id === undefined ||
    id.length > MAX_ID ||
    server?.cluster === undefined ||
    serverSession === undefined ||
    !directServers(table, session.claims.features).has(server.name)
  ) {
    return { to: 'broker', method, id: short(id), row }
  }
  const body = row.own === name ? undefined : rename(bytes, at, row.own)
  return { to: 'server', method, id, row, server, cluster: server.cluster, session: serverSession, body }
}

const short = (id: string | undefined): string | undefined => (id !== undefined && id.length <= MAX_ID ? id : undefined)

const lookUp = (table: RoutingTable, method: DirectMethod, message: Message, bytes: Buffer): Found | undefined => {
  const { key, kind } = methods[method]
  const at = message[key]
  if (at === undefined || at.end - at.start > MAX_NAME) return undefined
  const name = stringOf(bytes, at)
  const row = kind === 'resources' ? resourceRow(table, name) : table[kind].get(name)
  return row === undefined ? undefined : { row, at, name }
}
interface Found {
  readonly row: Row
  readonly at: Span
  readonly name: string
}

/**
 * The servers a client with these features may reach without the broker: those that may ask it for nothing it declared.
 * Worked out once per table and set of features.
 */
const directServers = (table: RoutingTable, features: readonly ClientFeature[]): ReadonlySet<string> => {
  let byFeatures = known.get(table)
  if (byFeatures === undefined) known.set(table, (byFeatures = new Map()))
  const key = features.join()
  let servers = byFeatures.get(key)
  if (servers === undefined) {
    const direct = [...table.servers.values()].filter(
      ({ cluster, client }) => cluster !== undefined && !client.some((feature) => features.includes(feature)),
    )
    byFeatures.set(key, (servers = new Set(direct.map(({ name }) => name))))
  }
  return servers
}
const known = new WeakMap<RoutingTable, Map<string, ReadonlySet<string>>>()
