/** Where a request goes: straight to one server, or to the broker. Pure and total; the broker words every refusal. */
import type { Row, RoutingTable, ServerRow } from '../catalog/routing-table.ts'
import { resourceRow } from '../catalog/routing-table.ts'
import { clientIn } from '../mcp/client-name.ts'
import { encodeHeaderValue } from '../mcp/header-value.ts'
import { stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import { type DirectMethod, isDirect, methods } from '../mcp/methods.ts'
import { paramFault } from '../mcp/param-headers.ts'
import { type Edge, examine, type RequestHead } from '../mcp/request-head.ts'
import { scan } from '../mcp/scan.ts'
import { rename } from '../mcp/splice.ts'
import { declaredFeatures, declaresTasks, eraOf, eraOfVersion, statelessFault } from '../mcp/stateless-request.ts'
import { type Era, isStateful, isStateless } from '../mcp/versions.ts'
import type { ClientFeature } from '../registry/model.ts'
import type { ClientSession, ServerSession, SessionLookup } from '../sessions/session-table.ts'

/** What the head alone decides. `body`: the request could go direct, so the body decides. */
export type HeadDecision =
  /** `era` is what the version header alone says. */
  | { readonly to: 'broker'; readonly era: Era }
  /** Without a session the broker's in any case; read for filters that decide on what it says. */
  | { readonly to: 'body'; readonly era: 'stateful'; readonly session: ClientSession | undefined }
  | { readonly to: 'body'; readonly era: 'stateless'; readonly head: RequestHead }

export type Decision =
  | ({
      readonly to: 'server'
      readonly method: DirectMethod
      /** The request's id, raw. */
      readonly id: string
      readonly row: Row
      readonly server: ServerRow
      readonly cluster: string
      /** The body with the server's own name in it; undefined: the body that came is right as it is. */
      readonly body: Buffer | undefined
    } & (
      | { readonly era: 'stateful'; readonly session: ServerSession }
      /** `mcpName`: the own name for the header; undefined: the one that came is right as it is. `client`: how it calls itself. */
      | { readonly era: 'stateless'; readonly mcpName: string | undefined; readonly client: string }
    ))
  | {
      readonly to: 'broker'
      readonly era: Era
      readonly method: string | undefined
      readonly id: string | undefined
      readonly row: Row | undefined
    }

/** Longest name or URI we look up, in bytes; it must fit a header. */
const MAX_NAME = 4096
/** Longest id we remember and publish. */
const MAX_ID = 256

/**
 * Anything is the broker's but a well-formed POST that has a direct way to some server: of a live session, or of the
 * stateless era by its version header. `everyBody`: what it says is wanted even when it is the broker's.
 */
export const decideHead = (
  head: RequestHead,
  edge: Edge,
  lookup: SessionLookup,
  table: RoutingTable,
  everyBody: boolean,
): HeadDecision => {
  const { protocolVersion: version, sessionId } = head
  const era = eraOfVersion(version)
  const broker: HeadDecision = { to: 'broker', era }
  const examined = examine(head, edge)
  if (!examined.ok || examined.verb !== 'post') return broker
  if (era === 'stateless') {
    return everyBody || (isStateless(version ?? '') && hasStatelessServer(table)) ? { to: 'body', era, head } : broker
  }
  const legible = version === undefined || isStateful(version)
  const session = sessionId !== undefined && legible ? lookup.find(sessionId) : undefined
  if (everyBody) return { to: 'body', era, session }
  if (session === undefined) return broker
  for (const server of directServers(table, session.claims.features)) {
    if (session.servers.has(server)) return { to: 'body', era, session }
  }
  return broker
}

/** What the head asked the body for. */
export type Asked = HeadDecision & { readonly to: 'body' }

/** Direct when all holds: one valid request of a method that may go direct, a row for its name, a cluster, and a way in its era. */
export const decide = (table: RoutingTable, asked: Asked, bytes: Buffer): Decision => {
  const scanned = scan(bytes)
  if (!scanned.ok) return { to: 'broker', era: asked.era, method: undefined, id: short(scanned.id), row: undefined }
  const { message } = scanned
  const { method, id } = message
  const found = method !== undefined && isDirect(method) ? lookUp(table, method, message, bytes) : undefined
  if (method === undefined || !isDirect(method) || found === undefined) {
    return { to: 'broker', era: eraWith(asked, message), method, id: short(id), row: undefined }
  }
  const { row, at, name } = found
  const server = table.servers.get(row.server)
  if (message.kind === 'request' && id !== undefined && id.length <= MAX_ID && server?.cluster !== undefined) {
    const { cluster } = server
    const renamed = row.own !== name
    if (asked.era === 'stateful') {
      const session = statefulWay(table, server, asked.session, message)
      if (session !== undefined) {
        const body = renamed ? rename(bytes, at, row.own) : undefined
        return { to: 'server', era: 'stateful', method, id, row, server, cluster, session, body }
      }
    } else if (hasStatelessWay(server, row, asked.head, message, bytes)) {
      const mcpName = renamed ? encodeHeaderValue(row.own) : undefined
      const body = renamed ? rename(bytes, at, row.own) : undefined
      const client = clientIn(bytes, message)
      return { to: 'server', era: 'stateless', method, id, row, server, cluster, mcpName, body, client }
    }
  }
  return { to: 'broker', era: eraWith(asked, message), method, id: short(id), row }
}

/**
 * The session that the server opened for this client, when the client declared nothing that the server could ask of it. A
 * task gets another name on its way back, which nobody does on the direct path.
 */
const statefulWay = (
  table: RoutingTable,
  server: ServerRow,
  session: ClientSession | undefined,
  message: Message,
): ServerSession | undefined =>
  session !== undefined &&
  message.metaProtocolVersion === undefined &&
  message.task === undefined &&
  directServers(table, session.claims.features).has(server.name)
    ? session.servers.get(server.name)
    : undefined

/** Nothing about the request is wrong, the client declared nothing that the server may not ask of it, and no task comes back. */
const hasStatelessWay = (server: ServerRow, row: Row, head: RequestHead, message: Message, bytes: Buffer): boolean =>
  takesStateless(server) &&
  statelessFault(head, message, bytes) === undefined &&
  paramFault(row.params, head.mcpParams, bytes, message.arguments) === undefined &&
  declaredFeatures(bytes, message).every((feature) => server.client.includes(feature)) &&
  (server.tasks !== true || !declaresTasks(bytes, message))

const takesStateless = ({ cluster, eras }: ServerRow): boolean => cluster !== undefined && eras.has('stateless')

/** Whether a stateless request could go direct at all. Worked out once per table. */
const hasStatelessServer = (table: RoutingTable): boolean => {
  let has = stateless.get(table)
  if (has === undefined) stateless.set(table, (has = [...table.servers.values()].some(takesStateless)))
  return has
}
const stateless = new WeakMap<RoutingTable, boolean>()

/** The body has the last word on the era. A head that asked for a session's body has no version of the other era. */
const eraWith = (asked: Asked, message: Message): Era =>
  eraOf(asked.era === 'stateless' ? asked.head : NO_VERSION, message)
const NO_VERSION = { protocolVersion: undefined }

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
 * The servers a stateful client with these features may reach without the broker: those that may ask it for nothing it
 * declared. Worked out once per table and set of features.
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
