/** Exposed name → server, as plain data: what `decide` and the broker look a request up in. */
import type { ParamHeader } from '../mcp/param-headers.ts'
import type { Era } from '../mcp/versions.ts'
import type { ClientFeature } from '../registry/model.ts'
import { type TemplatePart, templateMatches } from './uri-template.ts'

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
  /** Its resources' URIs carry `<server>+` in front. */
  readonly prefixedResources: boolean
}

/** Immutable; replaced whole. A request reads it once, at its start. */
export interface RoutingTable {
  readonly servers: ReadonlyMap<string, ServerRow>
  readonly tools: ReadonlyMap<string, Row>
  readonly prompts: ReadonlyMap<string, Row>
  readonly resources: ReadonlyMap<string, Row>
  readonly templates: readonly TemplateRow[]
}

/** The table before anything is known. */
export const emptyTable: RoutingTable = {
  servers: new Map(),
  tools: new Map(),
  prompts: new Map(),
  resources: new Map(),
  templates: [],
}

/** The row that a resource's URI leads to: a listed one first, then the first template that matches. */
export const resourceRow = (table: RoutingTable, uri: string): Row | undefined => {
  const listed = table.resources.get(uri)
  if (listed !== undefined) return listed
  const template = table.templates.find(({ parts }) => templateMatches(parts, uri))
  if (template === undefined) return undefined
  const prefixed = table.servers.get(template.server)?.prefixedResources === true
  return {
    exposed: uri,
    own: prefixed ? uri.slice(template.server.length + 1) : uri,
    server: template.server,
    hints: '',
    params: [],
  }
}
