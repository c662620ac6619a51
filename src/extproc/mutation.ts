/** How a decided request is changed: the cluster, the server's own session and path, and what is published about it. */
import { shareOf } from '../catalog/buckets.ts'
import type { Row } from '../catalog/routing-table.ts'
import * as headers from '../mcp/headers.ts'
import type { Era } from '../mcp/versions.ts'
import { groundsText } from '../policy/grounds.ts'
import type { Decision } from './decide.ts'
import type { Fields, Metadata, Mutation } from './processing.ts'

/** What every answer of one exchange needs beside its decision. */
export interface Circumstances {
  /** The broker's cluster. */
  readonly brokerCluster: string
  readonly decisionId: string
  /** What the head said; a decided body knows better. */
  readonly era: Era
  /** The view asked; empty: all of the gateway. */
  readonly view: string
  /** Whose token it is; empty while nobody is authenticated. */
  readonly subject: string
  /** A name for the client's session that reveals nothing; empty without a session. */
  readonly session: string
  /** How the session's client calls itself; empty without a session. */
  readonly client: string
  /** Filters of the operator's own come next: they may see the client's token. The route removes it. */
  readonly filtered: boolean
}

type Header = readonly [name: string, value: string]

/** The head alone sent it to the broker: it keeps every header, so that the broker can say what is wrong. */
export const headMutation = ({ brokerCluster, decisionId }: Circumstances): Mutation => ({
  set: [
    [headers.CLUSTER, brokerCluster],
    [headers.DECISION_ID, decisionId],
  ],
  remove: [],
  body: undefined,
})

/** `names` are the request's header names; a server gets only those it may see. */
export const bodyMutation = (decision: Decision, names: readonly string[], circumstances: Circumstances): Mutation => {
  const { brokerCluster, decisionId, filtered } = circumstances
  const set: Header[] = [[headers.DECISION_ID, decisionId], ...published(decision.method, decision.row)]
  if (decision.to === 'broker') {
    return { set: [[headers.CLUSTER, brokerCluster], ...set], remove: [], body: undefined }
  }
  const { server, cluster, body } = decision
  const { forward = [] } = server
  const allowed = decision.era === 'stateful' ? isAllowed : isAllowedStateless
  const stays = (name: string): boolean =>
    allowed(name) ||
    name.startsWith(':') ||
    name === NEEDED ||
    (filtered && name === headers.AUTHORIZATION) ||
    forward.includes(name)
  const remove = names.filter((name) => !stays(name))
  set.push([headers.CLUSTER, cluster], [':path', server.path])
  if (decision.era === 'stateful') {
    const { id, protocolVersion } = decision.session
    set.push([headers.PROTOCOL_VERSION, protocolVersion])
    if (id === undefined) remove.push(headers.SESSION_ID)
    else set.push([headers.SESSION_ID, id])
  } else if (decision.mcpName !== undefined) set.push([headers.MCP_NAME, decision.mcpName])
  if (body !== undefined) set.push(['content-length', String(body.length)])
  return { set, remove, body }
}

const isAllowed = (name: string): boolean => headers.REQUEST_ALLOWED.has(name)
const isAllowedStateless = (name: string): boolean =>
  headers.STATELESS_REQUEST_ALLOWED.has(name) || name.startsWith(headers.MCP_PARAM_PREFIX)

/** Envoy chooses no route at all without it; the route itself removes it. */
const NEEDED = 'x-forwarded-proto'

/** What an operator's own policy may decide on, in the server's own words. */
const published = (method: string | undefined, row: Row | undefined): Header[] => {
  if (method === undefined) return []
  const set: Header[] = [[headers.METHOD, headerName(method)]]
  if (row === undefined) return set
  set.push([headers.SERVER_NAME, row.server])
  if (method === 'resources/read') set.push([headers.RESOURCE_URI, headerUri(row.own)])
  else if (method === 'prompts/get') set.push([headers.PROMPT_NAME, headerName(row.own)])
  else {
    set.push([headers.TOOL_NAME, headerName(row.own)])
    if (row.hints !== '') set.push([headers.ANNOTATION_HINTS, row.hints])
  }
  return set
}

/** Kuadrant's and Envoy's own shapes of the same facts (design 4.6). */
export const metadata = (decision: Decision | undefined, circumstances: Circumstances): Metadata => {
  const { decisionId, era, session } = circumstances
  const client = decision === undefined || decision.client === '' ? circumstances.client : decision.client
  const row = decision?.row
  const method = decision?.method ?? ''
  const own = row?.own ?? ''
  return {
    ...(decision?.method === undefined
      ? {}
      : {
          'envoy.filters.http.mcp': {
            method,
            params: row === undefined ? {} : method === 'resources/read' ? { uri: own } : { name: own },
          },
        }),
    'mcp.gateway': {
      era: decision?.era ?? era,
      path: decision?.to === 'server' ? 'direct' : 'broker',
      decision: decisionId,
      view: circumstances.view,
      subject: circumstances.subject,
      session,
      ...(client === '' ? {} : { client }),
      ...(row === undefined ? {} : { server: row.server, tool: own }),
      ...(method === '' ? {} : { method }),
      ...(decision?.id === undefined ? {} : { id: decision.id }),
      ...(decision === undefined ? {} : judged(decision, circumstances)),
    },
  }
}

/** What allows it, and which of a rate limit's buckets it counts against. */
const judged = ({ grounds, buckets }: Decision, circumstances: Circumstances): Fields => {
  const fields: Record<string, string> = {}
  if (grounds.length > 0) fields['rule'] = groundsText(grounds)
  for (const bucket of buckets) {
    fields[`limit_${bucket.of}`] = bucket.name
    // Never empty, which Envoy takes for nothing.
    fields[`limit_${bucket.of}_of`] = shareOf(bucket, circumstances)
  }
  return fields
}

/** Names may hold anything; what is not printable ASCII, and the percent sign itself, becomes `%XX` of its UTF-8. */
const headerName = (text: string): string => (PLAIN_NAME.test(text) ? text : escape(text, PLAIN_NAME))
/** In a URI the percent sign has its meaning already. */
const headerUri = (text: string): string => (PLAIN_URI.test(text) ? text : escape(text, PLAIN_URI))

const PLAIN_NAME = /^[!-$&-~]*$/
const PLAIN_URI = /^[!-~]*$/

const escape = (text: string, plain: RegExp): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return plain.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
