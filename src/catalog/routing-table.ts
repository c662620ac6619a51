/** Exposed name → server, as plain data: what `decide` and the broker look a request up in. */
import type { ParamHeader } from '../mcp/param-headers.ts'
import type { Era } from '../mcp/versions.ts'
import { matches } from '../policy/patterns.ts'
import { noPolicy, type Policy } from '../policy/policy.ts'
import type { ClientFeature, Limits } from '../registry/model.ts'
import { isPlain, type TemplatePart, templateMatches } from './uri-template.ts'

/** One tool or prompt or listed resource. `own` is the server's name for it (a URI for a resource). */
export interface Row {
  readonly exposed: string
  readonly own: string
  readonly server: string
  /** For tools: `readOnly=true,destructive=unspecified,idempotent=unspecified,openWorld=unspecified`. */
  readonly hints: string
  /** For tools: the arguments that a stateless request repeats as headers. */
  readonly params: readonly ParamHeader[]
  /** For a tool that clients of the other era do not see: the era whose clients do. */
  readonly only?: Era
}

/** A resource template, matched when no listed resource has the URI. `parts` are of the exposed template. */
export interface TemplateRow extends Row {
  readonly parts: readonly TemplatePart[]
}

/** What the data plane must know of a server to send it a request. */
export interface ServerRow {
  readonly name: string
  /** Envoy's cluster for the direct path; undefined: only the broker can reach it (stdio, the old transport). */
  readonly cluster: string | undefined
  /** The `:path` it is served at. */
  readonly path: string
  /** The eras it is spoken to in; none before it has answered. */
  readonly eras: ReadonlySet<Era>
  /** What it may ask of a client. */
  readonly client: readonly ClientFeature[]
  /** It offers the tasks extension, so that a call may be answered with a task. */
  readonly tasks?: true
  /** It offers each caller something else; none of that is in a table for all. */
  readonly perCaller?: true
  /** Its resources' URIs carry `<server>+` in front. */
  readonly prefixedResources: boolean
  /** Patterns of its own URIs that the registry leaves out, whatever template they are made from. */
  readonly hiddenResources?: readonly string[]
  /** Headers of the client that it gets beside the usual ones, in lower case. */
  readonly forward?: readonly string[]
  readonly limits?: Limits
}

/** Immutable; replaced whole. A request reads it once, at its start. */
export interface RoutingTable {
  readonly servers: ReadonlyMap<string, ServerRow>
  readonly tools: ReadonlyMap<string, Row>
  readonly prompts: ReadonlyMap<string, Row>
  readonly resources: ReadonlyMap<string, Row>
  readonly templates: readonly TemplateRow[]
  /** Of all servers together. */
  readonly limits?: Limits
  /** Who may do what with all of it. */
  readonly policy: Policy
}

/** The table before anything is known. */
export const emptyTable: RoutingTable = {
  servers: new Map(),
  tools: new Map(),
  prompts: new Map(),
  resources: new Map(),
  templates: [],
  policy: noPolicy,
}

/** The row of a tool by what its server calls it. */
export const toolOf = (table: RoutingTable, server: string, own: string): Row | undefined => {
  let rows = byOwn.get(table)
  if (rows === undefined) {
    rows = new Map([...table.tools.values()].map((row) => [`${row.server} ${row.own}`, row]))
    byOwn.set(table, rows)
  }
  return rows.get(`${server} ${own}`)
}
const byOwn = new WeakMap<RoutingTable, ReadonlyMap<string, Row>>()

/** Longest URI that a template is tried on, in characters: no listed one is longer either. */
const LONGEST_URI = 8192

/** The row that a resource's URI leads to: a listed one first, then the first template that matches. */
export const resourceRow = (table: RoutingTable, uri: string): Row | undefined => {
  const listed = table.resources.get(uri)
  if (listed !== undefined) return listed
  if (uri.length > LONGEST_URI) return undefined
  for (const { parts, server } of table.templates) {
    if (!templateMatches(parts, uri)) continue
    const { prefixedResources = false, hiddenResources } = table.servers.get(server) ?? {}
    const own = prefixedResources ? uri.slice(server.length + 1) : uri
    if (!isPlain(own) || (hiddenResources !== undefined && matches(hiddenResources, own))) continue
    return { exposed: uri, own, server, hints: '', params: [] }
  }
  return undefined
}
