/** Which rates a call counts against, and whose share it takes: by these names Envoy's rate limit and the broker know their buckets. */
import type { DirectMethod } from '../mcp/methods.ts'
import type { Limits, Rate } from '../registry/model.ts'
import { anyOf } from '../registry/selection.ts'
import type { RoutingTable, Row } from './routing-table.ts'

/** A completion is a call of the server like the others. */
type Counted = DirectMethod | 'completion/complete'

export interface Bucket {
  readonly of: 'gateway' | 'server' | 'tool'
  /** `gateway`; a server's name; `<server>/<pattern>`. */
  readonly name: string
  readonly rate: Rate
  /** Whose share it takes where it counts per tool: all prompts and resources of a server have one together. */
  readonly item: string
}

/** What a call of something counts against; none: it is not limited. */
export const buckets = (table: RoutingTable, method: Counted, row: Row): readonly Bucket[] => {
  const limits = table.servers.get(row.server)?.limits
  const whole = table.limits?.rate
  if (whole === undefined && limits === undefined) return NONE
  const item = method === 'tools/call' ? `tool:${row.exposed}` : `server:${row.server}`
  const found: Bucket[] = []
  if (whole !== undefined) found.push({ of: 'gateway', name: 'gateway', rate: whole, item })
  if (limits?.rate !== undefined) found.push({ of: 'server', name: row.server, rate: limits.rate, item })
  if (limits !== undefined && limits.tools.length > 0 && method === 'tools/call') {
    const tool = toolRates(limits).find(({ covers }) => covers(row.own))
    if (tool !== undefined) found.push({ of: 'tool', name: `${row.server}/${tool.pattern}`, rate: tool.rate, item })
  }
  return found
}
const NONE: readonly Bucket[] = []

/** `subject`: empty while nobody is authenticated. `session`: a name for it; empty of who has none, who counts as who they are. */
export const shareOf = (
  { rate: { per }, item }: Bucket,
  { subject, session }: { readonly subject: string; readonly session: string },
): string => {
  if (per === 'tool') return item
  return per === 'session' && session !== '' ? `session:${session}` : `subject:${subject}`
}

const toolRates = (limits: Limits): readonly ToolRate[] => {
  let made = compiled.get(limits)
  if (made === undefined) {
    made = limits.tools.map((tool) => ({ ...tool, covers: anyOf([tool.pattern]) }))
    compiled.set(limits, made)
  }
  return made
}
interface ToolRate {
  readonly pattern: string
  readonly rate: Rate
  readonly covers: (own: string) => boolean
}
/** Limits are values of a registry. */
const compiled = new WeakMap<Limits, readonly ToolRate[]>()

/** Whether any call is limited: then bodies have to be read that would not be otherwise. Worked out once per table. */
export const limitsCalls = (table: RoutingTable): boolean => {
  let limited = known.get(table)
  if (limited === undefined) {
    limited = hasRate(table.limits) || [...table.servers.values()].some(({ limits }) => hasRate(limits))
    known.set(table, limited)
  }
  return limited
}
const known = new WeakMap<RoutingTable, boolean>()

/** Whether calls are counted at all. */
export const hasRate = (limits: Limits | undefined): boolean =>
  limits !== undefined && (limits.rate !== undefined || limits.tools.length > 0)
