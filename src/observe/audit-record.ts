/** One finished request as a line of the audit log: who asked for what, what was decided, how it ended; never what was said. */
import { type Call, outcome } from './call.ts'

/** A request as Envoy reports it at its end. */
export interface Finished extends Call {
  /** When it began, ms since the epoch. */
  readonly startMs: number
  /** Envoy's id of the request: the decision's. */
  readonly requestId: string
  /** HTTP's. */
  readonly verb: string
}

/** What the broker knows of a request that came to it. */
export interface Told {
  readonly era: string
  readonly method?: string
  readonly server?: string
  /** What the request names, in the server's own words: a tool, a prompt, a resource. */
  readonly own?: string
  readonly client?: string
  readonly session?: string
  readonly subject?: string
  readonly view?: string
  /** What allowed it: lines of the registry and paths in it, such as `12 servers.github.access[0]`. */
  readonly rule?: string
  /** A human was asked, and agreed. */
  readonly confirmed?: true
  /** `letThrough`: the request itself was allowed, and this is about what came of it. */
  readonly refused?: { readonly reason: string; readonly letThrough: boolean }
}

/** The JSON text of the line, without its place in the chain. `registry`: the name of the file that rules stand in. */
export const auditRecord = (finished: Finished, registry: string, told?: Told): string => {
  const { metadata } = finished
  const published = (key: string): string => {
    const value = metadata[key]
    return typeof value === 'string' ? value : ''
  }
  const method = told?.method ?? published('method')
  const own = told?.own ?? published('tool')
  const rule = told?.rule ?? published('rule')
  return visible(
    JSON.stringify({
      time: new Date(finished.startMs).toISOString(),
      ...decided(finished, told),
      ...(told?.confirmed === true && { confirmed: true }),
      id: short(published('decision') || finished.requestId),
      subject: short(told?.subject || published('subject')),
      client: known(told?.client ?? published('client')),
      session: short(told?.session ?? published('session')),
      view: short(told?.view || published('view')),
      era: known(told?.era ?? published('era')),
      verb: known(finished.verb),
      method: known(method),
      server: known(told?.server ?? published('server')),
      ...(own !== '' && named(method, own)),
      ...(rule !== '' && { rule: `${registry}:${rule.replaceAll(', ', `, ${registry}:`)}` }),
      status: finished.status,
      ms: Math.round(finished.durationMs * 1000) / 1000,
    }),
  )
}

/** Where a broken-off answer is none of the gateway's doing, and a server's failure no refusal of ours. */
const decided = (finished: Finished, told: Told | undefined): Decided => {
  if (told?.refused !== undefined) {
    const { reason, letThrough } = told.refused
    return { decision: letThrough ? 'allowed' : 'refused', reason }
  }
  const { details, flags, metadata } = finished
  if (details === 'via_upstream') return { decision: 'allowed' }
  const reached = metadata['path'] !== undefined
  const known = (reached ? AFTER : BEFORE).find(([begin]) => details.startsWith(begin))
  if (known !== undefined) return known[1]
  const ended = outcome(finished)
  // Envoy's own word for it; what is in braces is about connections.
  const reason = short(details.replace(/\{.*$/, '') || flags[0] || ended.reason)
  // Without a path nothing was decided, so nothing was let through.
  const letThrough = reached && LET_THROUGH.has(ended.outcome) && flags.length > 0
  return { decision: letThrough ? 'allowed' : 'refused', ...(reason !== '' && { reason }) }
}

interface Decided {
  readonly decision: 'allowed' | 'refused'
  readonly reason?: string
}
/** How the details begin of what our own filters answer before anything is decided, and what the client is told; the first counts. */
const BEFORE: readonly (readonly [string, Decided])[] = [
  // A browser asks whether it may ask.
  ['cors_response', { decision: 'allowed', reason: 'preflight' }],
  ['jwt_authn_access_denied{Jwt_is_missing}', { decision: 'refused', reason: 'no-token' }],
  ['jwt_authn_access_denied', { decision: 'refused', reason: 'bad-token' }],
  ['rbac_access_denied_matched_policy[mcp_no_keys]', { decision: 'refused', reason: 'no-keys' }],
]
/** The same past the decision. */
const AFTER: readonly (readonly [string, Decided])[] = [
  ['failed_to_inject_credential', { decision: 'allowed', reason: 'no-credential' }],
  // The gateway's own limits and an operator's, as the client is told; Envoy does not say whose.
  ['local_rate_limited', { decision: 'refused', reason: 'rate-limited' }],
  ['request_rate_limited', { decision: 'refused', reason: 'rate-limited' }],
]
const LET_THROUGH: ReadonlySet<string> = new Set(['cancelled', 'timeout', 'failed'])

const named = (method: string, own: string): Readonly<Record<string, string>> => {
  if (method === 'tools/call') return { tool: short(own) }
  if (method === 'prompts/get') return { prompt: short(own) }
  return method.startsWith('resources/') ? { resource: short(withoutSecrets(own)) } : {}
}

/** A URI may carry a password, and in its query whatever a template was filled with. */
const withoutSecrets = (uri: string): string => uri.replace(/[?#].*$/s, '').replace(/^([^/]*\/\/)[^/]*@/, '$1')

const MOST_CHARACTERS = 256
const short = (text: string): string => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text)
const known = (text: string): string | undefined => (text === '' ? undefined : short(text))

/** Clients and servers choose names; none of them may steer the terminal of whoever reads the file. */
const visible = (json: string): string =>
  json.replaceAll(
    /[\u007f-\u009f\u200b-\u200f\u{2028}-\u{202e}\u2060-\u2069\ufeff]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
