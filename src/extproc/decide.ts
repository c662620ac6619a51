/** Where a request goes: straight to one server, or to the broker. Pure and total; the broker words every refusal. */
import { type Bucket, buckets, limitsCalls } from '../catalog/buckets.ts'
import { canBePublic } from '../catalog/caching.ts'
import type { RoutingTable, Row, ServerRow } from '../catalog/routing-table.ts'
import { verdictOn } from '../catalog/thing.ts'
import { clientIn } from '../mcp/client-name.ts'
import { encodeHeaderValue } from '../mcp/header-value.ts'
import { stringOf } from '../mcp/json-text.ts'
import type { Message } from '../mcp/message.ts'
import { type DirectMethod, isDirect } from '../mcp/methods.ts'
import { paramFault } from '../mcp/param-headers.ts'
import { type Edge, examine, type RequestHead } from '../mcp/request-head.ts'
import { scan } from '../mcp/scan.ts'
import { rename } from '../mcp/splice.ts'
import { declaredFeatures, declaresTasks, eraOf, eraOfVersion, statelessFault } from '../mcp/stateless-request.ts'
import { type Era, isStateful, isStateless } from '../mcp/versions.ts'
import type { Asker } from '../policy/asker.ts'
import { isFor } from '../policy/audience.ts'
import type { Ground } from '../policy/grounds.ts'
import type { Principal } from '../policy/principal.ts'
import type { ClientFeature } from '../registry/model.ts'
import { isConfirmation } from '../sessions/confirmation.ts'
import type { ClientSession, ServerSession, SessionLookup } from '../sessions/session-table.ts'
import { type Found, isPublishable, lookUp, lookUpCompleted } from './look-up.ts'

/** Whom a request comes from, as Envoy says. */
export interface Sender {
  /** Undefined: nobody that a token speaks for, though one has to. The broker says so. */
  readonly principal: Principal | undefined
  readonly address: string
}

/** What the head alone decides. `body`: the request could go direct, so the body decides. */
export type HeadDecision =
  /** `era` is what the version header alone says. */
  | { readonly to: 'broker'; readonly era: Era; readonly asker: Asker | undefined }
  /** Without a session the broker's in any case; read for filters that decide on what it says. */
  | {
      readonly to: 'body'
      readonly era: 'stateful'
      readonly asker: Asker
      readonly session: ClientSession | undefined
    }
  | { readonly to: 'body'; readonly era: 'stateless'; readonly asker: Asker; readonly head: RequestHead }

/** What is known of the request beside its way. */
interface Judged {
  /** How a stateless client calls itself; empty: not in this request. */
  readonly client: string
  /** What allows it; none: no rule is about it. */
  readonly grounds: readonly Ground[]
  /** What it counts against. */
  readonly buckets: readonly Bucket[]
}

export type Decision = Judged &
  (
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
        /** `mcpName`: the own name for the header; undefined: the one that came is right as it is. */
        | { readonly era: 'stateless'; readonly mcpName: string | undefined }
      ))
    | {
        readonly to: 'broker'
        readonly era: Era
        readonly method: string | undefined
        readonly id: string | undefined
        /** What it names, if whoever asks may have it: of anything else no filter learns more than the client will. */
        readonly row: Row | undefined
      }
  )

/** Longest id we remember and publish. */
const MAX_ID = 256

/**
 * Anything is the broker's but a well-formed POST that has a direct way to some server: of a live session, or of the
 * stateless era by its version header. `everyBody`: what it says is wanted even when it is the broker's.
 */
export const decideHead = (
  head: RequestHead,
  { principal, address }: Sender,
  edge: Edge,
  lookup: SessionLookup,
  table: RoutingTable,
  everyBody: boolean,
): HeadDecision => {
  const { protocolVersion: version, sessionId } = head
  const era = eraOfVersion(version)
  const examined = examine(head, edge)
  const { view } = examined
  const { authenticated, audience } = table.policy
  // Envoy takes an audience for the same without its scheme, or with a slash at its end.
  const isMeant = principal !== undefined && (!authenticated || isFor(principal.claims['aud'], audience, view))
  if (!isMeant) return { to: 'broker', era, asker: undefined }
  const asker: Asker = { principal, view, era, address }
  const broker: HeadDecision = { to: 'broker', era, asker }
  if (!examined.ok || examined.verb !== 'post') return broker
  const anyBody = everyBody || limitsCalls(table)
  if (era === 'stateless') {
    return anyBody || (isStateless(version ?? '') && hasStatelessServer(table))
      ? { to: 'body', era, asker, head }
      : broker
  }
  const legible = version === undefined || isStateful(version)
  const holder = { principal: principal.key, view }
  const session = sessionId !== undefined && legible ? lookup.find(sessionId, holder) : undefined
  if (anyBody) return { to: 'body', era, asker, session }
  if (session === undefined) return broker
  for (const server of directServers(table, session.claims.features)) {
    if (session.servers.has(server)) return { to: 'body', era, asker, session }
  }
  return broker
}

/** What the head asked the body for. */
export type Asked = HeadDecision & { readonly to: 'body' }

/**
 * Direct when all holds: one valid request of a method that may go direct, a row for its name, leave for whoever asks without
 * asking a human first, a cluster, and a way in its era. A resource that clients of the stateless era may not keep for others
 * is the broker's: it says so in the answer, which on the direct path nobody reads.
 */
export const decide = (table: RoutingTable, asked: Asked, bytes: Buffer): Decision => {
  const scanned = scan(bytes)
  if (!scanned.ok) {
    return { to: 'broker', era: asked.era, method: undefined, id: short(scanned.id), row: undefined, ...UNJUDGED }
  }
  const { message } = scanned
  const { method, id } = message
  const era = eraWith(asked, message)
  const client = era === 'stateless' ? clientIn(bytes, message) : ''
  // The body has the last word on it for rules as well.
  const asker = era === asked.era ? asked.asker : { ...asked.asker, era }
  if (method === undefined || !isDirect(method)) {
    const counted =
      method === 'completion/complete' && mayBeAnswered(asked) ? completion(table, asker, message, bytes) : []
    return { to: 'broker', era, method, id: short(id), row: undefined, client, grounds: [], buckets: counted }
  }
  const found = lookUp(table, method, era, message, bytes)
  const verdict = found && verdictOn(table.policy, asker, method, found.kind, found.row)
  if (found === undefined || verdict?.allowed !== true) {
    return { to: 'broker', era, method, id: short(id), row: undefined, ...UNJUDGED, client }
  }
  const { row } = found
  const server = table.servers.get(row.server)
  const fits = bytes.length <= (server?.limits?.maxBody ?? bytes.length)
  const judged: Judged = {
    client,
    grounds: verdict.grounds,
    buckets: fits && mayBeAnswered(asked) ? buckets(table, method, row) : [],
  }
  if (
    message.kind === 'request' &&
    id !== undefined &&
    id.length <= MAX_ID &&
    server?.cluster !== undefined &&
    !verdict.confirm &&
    fits &&
    isPublishable(found)
  ) {
    const { cluster } = server
    if (asked.era === 'stateful') {
      const session = statefulWay(table, server, asked.session, message)
      if (session !== undefined) {
        const body = renamed(found) ? rename(bytes, found.at, row.own) : undefined
        return { to: 'server', era: 'stateful', method, id, row, server, cluster, session, body, ...judged }
      }
    } else if (
      (method !== 'resources/read' || canBePublic(table.policy, asker.view, verdict.grounds.length > 0)) &&
      hasStatelessWay(server, row, asked.head, message, bytes)
    ) {
      const mcpName = renamed(found) ? encodeHeaderValue(row.own) : undefined
      const body = renamed(found) ? rename(bytes, found.at, row.own) : undefined
      return { to: 'server', era: 'stateless', method, id, row, server, cluster, mcpName, body, ...judged }
    }
  }
  return { to: 'broker', era, method, id: short(id), row: isPublishable(found) ? row : undefined, ...judged }
}

/** What the broker refuses for its head, whatever the body says, uses up nothing. */
const mayBeAnswered = (asked: Asked): boolean => asked.era === 'stateless' || asked.session !== undefined

const renamed = ({ row, name }: Found): boolean => row.own !== name

const UNJUDGED: Judged = { client: '', grounds: [], buckets: [] }

/** The broker's always; a limit counts it all the same. */
const completion = (table: RoutingTable, asker: Asker, message: Message, bytes: Buffer): readonly Bucket[] => {
  const method = 'completion/complete'
  const found = limitsCalls(table) ? lookUpCompleted(table, asker.era, message, bytes) : undefined
  const verdict = found && verdictOn(table.policy, asker, method, found.kind, found.row)
  if (found === undefined || verdict?.allowed !== true || verdict.confirm) return []
  const most = table.servers.get(found.row.server)?.limits?.maxBody
  return bytes.length <= (most ?? bytes.length) ? buckets(table, method, found.row) : []
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

/**
 * Nothing about the request is wrong, the client declared nothing that the server may not ask of it, no task comes back, and no
 * human's answer comes with it.
 */
const hasStatelessWay = (server: ServerRow, row: Row, head: RequestHead, message: Message, bytes: Buffer): boolean =>
  takesStateless(server) &&
  statelessFault(head, message, bytes) === undefined &&
  paramFault(row.params, head.mcpParams, bytes, message.arguments) === undefined &&
  declaredFeatures(bytes, message).every((feature) => server.client.includes(feature)) &&
  (server.tasks !== true || !declaresTasks(bytes, message)) &&
  (message.requestState === undefined || !isConfirmation(stringOf(bytes, message.requestState)))

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
