/** What has to be asked about a thing: of every level that has a say the rules that cover it, worked out once. */
import type { Kind } from '../mcp/methods.ts'
import type { Access } from '../registry/model.ts'
import { type Covering, coveringRules } from './covering.ts'
import { type Ground, groundOf } from './grounds.ts'
import { covers } from './patterns.ts'
import type { Policy } from './policy.ts'
import { type Subject, subjectOf } from './subject.ts'
import type { Thing } from './thing.ts'

export interface Level {
  readonly by: 'gateway' | 'server' | 'view'
  /** Such as `servers.github.access`. */
  readonly path: string
  readonly subject: Subject
  readonly asks:
    | {
        readonly kind: 'rules'
        readonly rules: readonly Covering[]
        /** With other scopes some might hold. */
        readonly scoped: boolean
      }
    | { readonly kind: 'roles'; readonly client: string; readonly role: string; readonly ground: Ground }
    /** Nothing can allow it, and why. */
    | { readonly kind: 'nothing'; readonly why: string }
}

export interface Plan {
  /** Levels without rules have no say; with no level at all everybody may. */
  readonly levels: readonly Level[]
  /** To weigh it costs more than to remember what came out. */
  readonly heavy: boolean
  /** Some expression looks at the client's address, so that nothing that came out lasts. */
  readonly fleeting: boolean
}

type Plans = Readonly<Record<Kind, WeakMap<Thing, Plan>>>
const known = new WeakMap<Policy, Map<string, Plans>>()

/** The same thing of the same routing table is asked about again and again. */
export const planOf = (policy: Policy, view: string, kind: Kind, thing: Thing): Plan => {
  const views = known.get(policy) ?? new Map<string, Plans>()
  const plans = views.get(view) ?? { tools: new WeakMap(), prompts: new WeakMap(), resources: new WeakMap() }
  const plan = plans[kind].get(thing)
  if (plan !== undefined) return plan
  const made = planFor(levelsOf(policy, view, kind, thing))
  plans[kind].set(thing, made)
  // Names that are no view's come from clients: nothing is kept of them.
  if (view === '' || policy.views.has(view)) known.set(policy, views.set(view, plans))
  return made
}

const FEW = 8

const planFor = (levels: readonly Level[]): Plan => {
  const rules = levels.flatMap(({ asks }) => (asks.kind === 'rules' ? asks.rules : []))
  return {
    levels,
    heavy: rules.length > FEW || rules.some(({ rule }) => rule.when !== undefined),
    fleeting: rules.some(({ rule }) => rule.when?.looksAt.has('address') === true),
  }
}

const levelsOf = (policy: Policy, view: string, kind: Kind, thing: Thing): readonly Level[] => {
  const server = policy.servers.get(thing.server)
  const about = { name: thing.server, description: server?.description ?? '' }
  const exposed = { name: thing.exposed, subject: subjectOf(kind, thing.exposed, thing.hints, about) }
  const own = { name: thing.own, subject: subjectOf(kind, thing.own, thing.hints, about) }

  const level = (by: Level['by'], path: string, { name, subject }: typeof own, access?: Access): readonly Level[] =>
    access === undefined ? [] : [{ by, path, subject, asks: asksOf(access, kind, name, thing) }]
  const shut = (by: Level['by'], path: string, why: string): readonly Level[] => [
    { by, path, subject: exposed.subject, asks: { kind: 'nothing', why } },
  ]

  const ofServer = (): readonly Level[] => {
    const path = `servers.${thing.server}`
    // A policy that knows some servers knows all that there are.
    if (server === undefined && policy.servers.size > 0) return shut('server', path, 'there is no such server')
    return level('server', `${path}.access`, own, server?.access)
  }
  const ofView = (): readonly Level[] => {
    if (view === '') return []
    const found = policy.views.get(view)
    if (found === undefined) return shut('view', `views.${view}`, 'there is no such view')
    if (!covers(found, kind, thing.exposed)) return shut('view', `views.${view}`, 'the view does not show it')
    return level('view', `views.${view}.access`, exposed, found.access)
  }
  return [...level('gateway', 'gateway.access', exposed, policy.gateway), ...ofServer(), ...ofView()]
}

/** How the roles known from Keycloak start, by what they are for. */
const ROLE_OF = { tools: 'tool:', prompts: 'prompt:', resources: 'resource:' } as const satisfies Record<Kind, string>

const asksOf = (access: Access, kind: Kind, name: string, { own, server }: Thing): Level['asks'] => {
  if (access.kind === 'roles') {
    return { kind: 'roles', client: access.client ?? server, role: ROLE_OF[kind] + own, ground: groundOf(access) }
  }
  const rules = coveringRules(access.rules, kind, name)
  return { kind: 'rules', rules, scoped: rules.some(({ rule }) => rule.allow.some(({ of }) => of === 'scopes')) }
}
