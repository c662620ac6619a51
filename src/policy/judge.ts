/** The one decision: may this asker do this with that? Lists and calls of both eras and in every view ask it. */
import type { Kind, MethodName } from '../mcp/methods.ts'
import type { Era } from '../mcp/versions.ts'
import type { Asker } from './asker.ts'
import type { Ground } from './grounds.ts'
import { type Question, roleHolds, ruleHolds } from './holds.ts'
import { type Level, type Plan, planOf } from './plan.ts'
import type { Policy } from './policy.ts'
import type { Principal } from './principal.ts'
import { scopesNeeded } from './scopes.ts'
import type { Thing } from './thing.ts'

export type Verdict =
  | {
      readonly allowed: true
      /** A human has to agree first. */
      readonly confirm: boolean
      /** One for each level that has rules; none: there are none. */
      readonly grounds: readonly Ground[]
    }
  | {
      readonly allowed: false
      /** What did not allow it. */
      readonly by: 'gateway' | 'server' | 'view'
      /** With these scopes in the token it would be allowed: all that the operation needs. Absent: with no scopes. */
      readonly scopes?: readonly string[]
    }

/** The method that a kind of thing is there for; who may not do that may do nothing with it. */
export const OWN_METHOD = {
  tools: 'tools/call',
  prompts: 'prompts/get',
  resources: 'resources/read',
} as const satisfies Record<Kind, MethodName>

/** Nothing says who may. */
const FREE: Verdict = { allowed: true, confirm: false, grounds: [] }

/**
 * `method` is the request's; what a list shows is what the kind's own method (`tools/call` …) may have. Any other method has to be
 * allowed beside the kind's own.
 */
export const judge = (policy: Policy, asker: Asker, method: MethodName, kind: Kind, thing: Thing): Verdict => {
  const plan = planOf(policy, asker.view, kind, thing)
  if (plan.levels.length === 0) return FREE
  const own = OWN_METHOD[kind]
  const verdict = plan.heavy && !plan.fleeting ? remembered(policy, asker, own, plan) : weigh(policy, asker, own, plan)
  if (method === own || !verdict.allowed) return verdict
  const other = weigh(policy, asker, method, plan)
  return other.allowed && verdict.confirm && !other.confirm ? verdict : other
}

const weigh = (policy: Policy, asker: Asker, method: MethodName, plan: Plan): Verdict => {
  const question: Question = { asker, method, roles: policy.roles }
  let confirm = false
  const grounds: Ground[] = []
  for (const level of plan.levels) {
    const pass = passOf(level, question)
    if (pass === undefined) {
      const mayLackScopes = policy.authenticated && level.asks.kind === 'rules' && level.asks.scoped
      const scopes = mayLackScopes ? scopesNeeded(plan, question) : undefined
      return { allowed: false, by: level.by, ...(scopes !== undefined && { scopes }) }
    }
    confirm ||= pass.confirm
    grounds.push(pass.ground)
  }
  return { allowed: true, confirm, grounds }
}

const passOf = (
  { asks, subject }: Level,
  question: Question,
): { readonly ground: Ground; readonly confirm: boolean } | undefined => {
  switch (asks.kind) {
    case 'nothing':
      return undefined
    case 'roles':
      return roleHolds(asks, question) ? { ground: asks.ground, confirm: false } : undefined
    case 'rules': {
      const held = asks.rules.find(({ rule }) => ruleHolds(rule, question, subject))
      return held && { ground: held.ground, confirm: held.rule.confirm }
    }
    default:
      return asks satisfies never
  }
}

/** What came out for one principal in one era; a plan belongs to a policy, a view and a thing. */
interface Memory {
  readonly verdicts: WeakMap<Plan, Verdict>
  left: number
}
/** A principal that lists thousands of things is not remembered all of them. */
const MOST = 256
const empty = (): Memory => ({ verdicts: new WeakMap(), left: MOST })
const memories = new WeakMap<Principal, Record<Era, Memory>>()

const remembered = (policy: Policy, asker: Asker, own: MethodName, plan: Plan): Verdict => {
  const { principal, era } = asker
  let memory = memories.get(principal)
  if (memory === undefined) memories.set(principal, (memory = { stateful: empty(), stateless: empty() }))
  const known = memory[era].verdicts.get(plan)
  if (known !== undefined) return known
  const verdict = weigh(policy, asker, own, plan)
  if (memory[era].left === 0) memory[era] = empty()
  memory[era].left -= 1
  memory[era].verdicts.set(plan, verdict)
  return verdict
}
