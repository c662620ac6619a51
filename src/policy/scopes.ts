/** Which scopes a token would need, when scopes are all that it lacks. */
import type { Condition, Rule } from '../registry/model.ts'
import { held, words } from './claims.ts'
import { conditionHolds, type Question, roleHolds, ruleHolds, whenHolds } from './holds.ts'
import type { Level, Plan } from './plan.ts'

interface Need {
  /** All that it takes, those already there among them. */
  readonly scopes: readonly string[]
  readonly missing: number
}

/**
 * Of every level what its cheapest rule needs, also of those that allow it already: a token asked for with less would be refused by
 * them. Undefined: some level allows it with no scopes.
 */
export const scopesNeeded = ({ levels }: Plan, question: Question): readonly string[] | undefined => {
  const needs = levels.map((level) => needOf(level, question))
  const scopes = needs.flatMap((need) => need?.scopes ?? [])
  return needs.includes(undefined) || scopes.length === 0 ? undefined : [...new Set(scopes)]
}

const needOf = ({ asks, subject }: Level, question: Question): Need | undefined => {
  switch (asks.kind) {
    case 'nothing':
      return undefined
    case 'roles':
      return roleHolds(asks, question) ? NONE : undefined
    case 'rules':
      if (!asks.scoped) return asks.rules.some(({ rule }) => ruleHolds(rule, question, subject)) ? NONE : undefined
      return cheapest(
        asks.rules
          .filter(({ rule }) => holdsButForScopes(rule, question) && whenHolds(rule, question, subject))
          .map(({ rule }) =>
            together(rule.allow.filter(isAboutScopes).map((condition) => needOfOne(condition, question))),
          ),
      )
    default:
      return asks satisfies never
  }
}

const NONE: Need = { scopes: [], missing: 0 }

const isAboutScopes = ({ of }: Condition): boolean => of === 'scopes'

const holdsButForScopes = ({ allow }: Rule, question: Question): boolean =>
  allow.every((condition) => isAboutScopes(condition) || conditionHolds(condition, question))

const needOfOne = (condition: Condition, { asker, roles }: Question): Need | undefined => {
  const has = held(asker.principal, condition, roles)
  return cheapest(
    condition.values.map(words).flatMap((scopes) => {
      const missing = scopes.filter((scope) => !has.has(scope)).length
      return scopes.length === 0 ? [] : [{ scopes, missing }]
    }),
  )
}

const together = (needs: readonly (Need | undefined)[]): Need | undefined =>
  needs.reduce<Need | undefined>(
    (sum, need) =>
      sum === undefined || need === undefined
        ? undefined
        : { scopes: [...sum.scopes, ...need.scopes], missing: sum.missing + need.missing },
    NONE,
  )

/** What lacks least, then what needs least, then what comes first. */
const cheapest = (needs: readonly (Need | undefined)[]): Need | undefined =>
  needs.reduce((best, need) => {
    if (best === undefined || need === undefined) return best ?? need
    return (need.missing - best.missing || need.scopes.length - best.scopes.length) < 0 ? need : best
  }, undefined)
