/** Rules that are read well and still do nothing: those another one covers, those about hidden items, those without claims to look at. */
import type { Inspection } from './inspection.ts'
import type { Condition, Rule, Selection } from './model.ts'
import { itemPath, listOf } from './patterns.ts'
import { type Path, pathText } from './place.ts'
import type { RuleSheet } from './schema-access.ts'
import { anyOf, isAboutAll, matcherOf } from './selection.ts'

const kinds = ['tools', 'prompts', 'resources'] as const

/** What a server shows; patterns that are about hidden items alone are worth a word. */
export type Shown = Readonly<Record<(typeof kinds)[number], Selection>>

/** `shown`: what the server hides, when they are a server's. */
export const warnOfRules = (
  inspection: Inspection,
  path: Path,
  rules: readonly Rule[],
  sheets: readonly RuleSheet[],
  shown: Shown | undefined,
): void => {
  for (const [index, rule] of rules.entries()) {
    const here = [...path, index]
    if (inspection.isBroken(here)) continue
    warnOfClaims(inspection, here, rule)
    warnOfCovered(inspection, path, rules, index)
    const sheet = sheets[index]
    if (shown !== undefined && sheet !== undefined) warnOfHidden(inspection, here, sheet, shown)
  }
}

const warnOfClaims = (inspection: Inspection, path: Path, { allow, when }: Rule): void => {
  if (inspection.isWritten(['gateway', 'auth'])) return
  const hint = 'add gateway.auth'
  if (allow.length > 0)
    inspection.warning([...path, 'allow'], 'without gateway.auth nobody has claims, so it allows nobody', hint)
  if (when !== undefined && (when.claims === 'any' || when.claims.size > 0)) {
    inspection.warning([...path, 'when'], 'it looks at claims, and without gateway.auth there are none', hint)
  }
}

/** Order does not matter to a decision; of two that are the same, the second is the one to remove. */
const warnOfCovered = (inspection: Inspection, path: Path, rules: readonly Rule[], index: number): void => {
  const rule = rules[index]
  if (rule === undefined) return
  const other = rules.findIndex(
    (each, at) =>
      at !== index && covers(each, rule) && (at < index || !covers(rule, each)) && !inspection.isBroken([...path, at]),
  )
  if (other === -1) return
  const message = `it never matters: ${pathText([...path, other])} allows the same or more`
  inspection.warning([...path, index], message, 'remove it, or narrow the other')
}

/** Every rule is compared with every other: what tells most pairs apart at once comes first. */
const covers = (wide: Rule, narrow: Rule): boolean =>
  (wide.confirm || !narrow.confirm) &&
  (wide.when === undefined || wide.when.source.trim() === narrow.when?.source.trim()) &&
  wide.allow.every((condition) => narrow.allow.some((other) => implies(other, condition))) &&
  kinds.every((kind) => coversKind(wide, narrow, kind))

const coversKind = (wide: Rule, narrow: Rule, kind: (typeof kinds)[number]): boolean => {
  if (isAboutAll(wide)) return true
  const others = isAboutAll(narrow) ? ['*'] : (narrow[kind] ?? [])
  return others.every(matcherOf(wide[kind] ?? []))
}

const implies = (narrow: Condition, wide: Condition): boolean =>
  narrow.of === wide.of && narrow.path === wide.path && narrow.values.every((value) => wide.values.includes(value))

const warnOfHidden = (inspection: Inspection, path: Path, sheet: RuleSheet, shown: Shown): void => {
  for (const kind of kinds) {
    const written = sheet[kind]
    if (written === undefined) continue
    const included = anyOf(shown[kind].include)
    const excluded = anyOf(shown[kind].exclude)
    const renamed = new Map([...shown[kind].rename].map(([own, to]) => [to, own]))
    for (const [index, pattern] of listOf(written).entries()) {
      const own = shown[kind].rename.has(pattern) ? undefined : renamed.get(pattern)
      if (own !== undefined) {
        const here = itemPath([...path, kind], written, index)
        inspection.warning(here, "rules take the server's own names, and this is a new one", `did you mean "${own}"?`)
        continue
      }
      if (pattern === '' || !(excluded(pattern) || (!pattern.includes('*') && !included(pattern)))) continue
      inspection.warning(itemPath([...path, kind], written, index), `${kind}: of this server hides all that it matches`)
    }
  }
}
