/** A verdict in words: what every level says, and of each rule that covers the thing why it does or does not hold. */
import type { Kind, MethodName } from '../mcp/methods.ts'
import type { Condition, Rule } from '../registry/model.ts'
import type { Asker } from './asker.ts'
import { held, toolRoles } from './claims.ts'
import type { Ground } from './grounds.ts'
import { conditionHolds, factsOf, type Question, roleHolds, ruleHolds, whenHolds } from './holds.ts'
import { judge, OWN_METHOD, type Verdict } from './judge.ts'
import { type Level, planOf } from './plan.ts'
import type { Policy } from './policy.ts'
import type { Subject } from './subject.ts'
import type { Thing } from './thing.ts'

/** One thing that a rule asks for, in words such as `groups: needs "dev", has "staff"`. */
export interface Reason {
  readonly holds: boolean
  readonly text: string
}

export interface ExplainedRule extends Ground {
  readonly holds: boolean
  readonly confirm: boolean
  /** All must hold. None: it is anyone's. */
  readonly reasons: readonly Reason[]
}

export interface ExplainedLevel {
  readonly by: Level['by']
  /** Such as `servers.github.access`. */
  readonly path: string
  readonly allowed: boolean
  /** Why no rule is shown. */
  readonly note?: string
  /** In the file's order: those that cover the thing. */
  readonly rules: readonly ExplainedRule[]
}

export interface Explanation {
  readonly verdict: Verdict
  /** Levels that have a say; none: nothing restricts it. */
  readonly levels: readonly ExplainedLevel[]
}

/** Of a method beside the kind's own, when already the kind's own is denied: of that. */
export const explain = (policy: Policy, asker: Asker, method: MethodName, kind: Kind, thing: Thing): Explanation => {
  const own = OWN_METHOD[kind]
  const denied = !judge(policy, asker, own, kind, thing).allowed
  const question: Question = { asker, method: denied ? own : method, roles: policy.roles }
  return {
    verdict: judge(policy, asker, method, kind, thing),
    levels: planOf(policy, asker.view, kind, thing).levels.map((level) => explained(level, question)),
  }
}

const explained = ({ by, path, asks, subject }: Level, question: Question): ExplainedLevel => {
  switch (asks.kind) {
    case 'nothing':
      return { by, path, allowed: false, note: asks.why, rules: [] }
    case 'roles': {
      const holds = roleHolds(asks, question)
      const { asker, roles } = question
      const where = roles === undefined ? `resource_access.${asks.client}.roles` : roles
      const has = toolRoles(asker.principal, asks.client, roles)
      const text = holds
        ? `${where}: has ${quoted(asks.role)}`
        : `${where}: needs ${quoted(asks.role)}, has ${listed(has)}`
      return {
        by,
        path,
        allowed: holds,
        rules: [{ ...asks.ground, holds, confirm: false, reasons: [{ holds, text }] }],
      }
    }
    case 'rules': {
      const rules = asks.rules
        .toSorted((a, b) => a.number - b.number)
        .map(({ ground, rule }) => ({
          ...ground,
          holds: ruleHolds(rule, question, subject),
          confirm: rule.confirm,
          reasons: reasonsOf(rule, question, subject),
        }))
      const note = rules.length === 0 ? { note: 'no rule is about it' } : {}
      return { by, path, allowed: rules.some(({ holds }) => holds), ...note, rules }
    }
    default:
      return asks satisfies never
  }
}

const reasonsOf = (rule: Rule, question: Question, subject: Subject): readonly Reason[] => {
  const conditions = rule.allow.map((condition) => ({
    holds: conditionHolds(condition, question),
    text: conditionText(condition, question),
  }))
  if (rule.when === undefined) return conditions
  const holds = whenHolds(rule, question, subject)
  const fault = rule.when.fault(factsOf(question, subject))
  const text = `when: ${fault === undefined ? String(holds) : `cannot be worked out: ${fault}`}`
  return [...conditions, { holds, text }]
}

const conditionText = (condition: Condition, question: Question): string => {
  const name = condition.of === 'claim' ? condition.path : condition.of
  const needs = condition.values.map(quoted).join(' or ')
  return `${name}: needs ${needs}, has ${listed(held(question.asker.principal, condition, question.roles))}`
}

const MOST_LISTED = 10

const listed = (values: ReadonlySet<string>): string => {
  if (values.size === 0) return 'nothing'
  const shown = [...values].slice(0, MOST_LISTED).map(quoted).join(', ')
  return values.size > MOST_LISTED ? `${shown} and ${values.size - MOST_LISTED} more` : shown
}

const quoted = (text: string): string => JSON.stringify(text)
