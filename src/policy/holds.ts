/** Whether a rule, or a role, allows this asker what it covers. */
import type { MethodName } from '../mcp/methods.ts'
import type { Condition, Facts, Rule } from '../registry/model.ts'
import type { Asker } from './asker.ts'
import { held, toolRoles, words } from './claims.ts'
import type { Level } from './plan.ts'
import type { Subject } from './subject.ts'

/** Who asks, for what, and where their claims hold roles. */
export interface Question {
  readonly asker: Asker
  readonly method: MethodName
  /** As in `Policy.roles`. */
  readonly roles: string | undefined
}

export const factsOf = ({ asker, method }: Question, subject: Subject): Facts => ({
  ...subject,
  claims: asker.principal.claims,
  request: { method, view: asker.view, era: asker.era, address: asker.address },
})

/** One of the values has to be there; of a scope that is several words, all of them. */
export const conditionHolds = (condition: Condition, { asker, roles }: Question): boolean => {
  const values = held(asker.principal, condition, roles)
  if (condition.of !== 'scopes') return condition.values.some((value) => values.has(value))
  return condition.values.some((value) => {
    const all = words(value)
    return all.length > 0 && all.every((word) => values.has(word))
  })
}

export const whenHolds = ({ when }: Rule, question: Question, subject: Subject): boolean =>
  when === undefined || when.holds(factsOf(question, subject))

export const ruleHolds = (rule: Rule, question: Question, subject: Subject): boolean =>
  rule.allow.every((condition) => conditionHolds(condition, question)) && whenHolds(rule, question, subject)

/** `tool:search` names one tool, `tool:search_*` all whose names start so. */
export const roleHolds = (
  { client, role }: Extract<Level['asks'], { kind: 'roles' }>,
  { asker, roles }: Question,
): boolean => {
  const values = toolRoles(asker.principal, client, roles)
  if (values.has(role)) return true
  const kind = role.slice(0, role.indexOf(':') + 1)
  for (const value of values)
    if (value.endsWith('*') && value.startsWith(kind) && role.startsWith(value.slice(0, -1))) return true
  return false
}
