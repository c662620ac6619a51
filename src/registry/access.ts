/** The `access:` of the gateway, of a server or of a view: rules, or the roles in the token. */
import { compileExpression } from './expression.ts'
import type { Inspection } from './inspection.ts'
import type { Access, Condition, Expression, Rule } from './model.ts'
import { itemPath, listOf, patternList } from './patterns.ts'
import { type Path, pathText } from './place.ts'
import { type Shown, warnOfRules } from './rule-check.ts'
import type { AccessSheet, ConditionsSheet, RuleSheet } from './schema-access.ts'

/** Undefined once the problem is reported that leaves nothing of it. */
export const serverAccess = (
  inspection: Inspection,
  path: Path,
  sheet: AccessSheet,
  shown: Shown,
): Access | undefined => {
  if (sheet === 'roles') return rolesAccess(inspection, path)
  if (Array.isArray(sheet)) return rulesAccess(inspection, path, sheet, shown)
  const here = [...path, 'roles']
  if (sheet.roles === '') return inspection.error(here, 'is empty')
  return { ...rolesAccess(inspection, path), client: sheet.roles }
}

/** The server's name is the client's. */
export const rolesAccess = (inspection: Inspection, path: Path): Extract<Access, { readonly kind: 'roles' }> => {
  if (!inspection.isWritten(['gateway', 'auth'])) {
    inspection.warning(path, 'without gateway.auth nobody has roles, so everything is denied', 'add gateway.auth')
  }
  return { kind: 'roles', place: inspection.keyPlace(path), path: pathText(path) }
}

export const rulesAccess = (
  inspection: Inspection,
  path: Path,
  sheets: readonly RuleSheet[],
  shown?: Shown,
): Access => {
  if (sheets.length === 0) {
    inspection.error(path, 'is empty, so it would deny everything', 'leave it out to allow everything')
  }
  const rules = sheets.map((sheet, index) => rule(inspection, [...path, index], sheet))
  warnOfRules(inspection, path, rules, sheets, shown)
  return { kind: 'rules', rules }
}

const rule = (inspection: Inspection, path: Path, sheet: RuleSheet): Rule => {
  const { tools, prompts, resources } = sheet
  const says = inspection.isWritten([...path, 'allow']) || inspection.isWritten([...path, 'when'])
  if (!says && !inspection.isBroken(path)) {
    inspection.errorAtKey(path, 'a rule needs allow or when', 'allow: anyone is for everybody')
  }
  const when = sheet.when === undefined ? undefined : expression(inspection, [...path, 'when'], sheet.when)
  return {
    place: inspection.keyPlace(path),
    path: pathText(path),
    ...(tools === undefined ? {} : { tools: patternList(inspection, [...path, 'tools'], tools, 'name') }),
    ...(prompts === undefined ? {} : { prompts: patternList(inspection, [...path, 'prompts'], prompts, 'name') }),
    ...(resources === undefined
      ? {}
      : { resources: patternList(inspection, [...path, 'resources'], resources, 'uri') }),
    allow: typeof sheet.allow === 'object' ? conditions(inspection, [...path, 'allow'], sheet.allow) : [],
    ...(when === undefined ? {} : { when }),
    confirm: sheet.confirm,
  }
}

const expression = (inspection: Inspection, path: Path, source: string): Expression | undefined => {
  const form = compileExpression(source, inspection.keyPlace(path))
  if (form.ok) return form.value
  // the words of an expression may be shown, those of the environment never
  if (inspection.usesVariable(path)) return inspection.error(path, 'is not a CEL expression that can be used here')
  return inspection.error(path, form.message, form.hint)
}

const kinds = ['roles', 'groups', 'scopes', 'subjects'] as const

const conditions = (inspection: Inspection, path: Path, sheet: ConditionsSheet): readonly Condition[] => {
  const made: readonly Condition[] = [
    ...kinds.flatMap((of): readonly Condition[] => {
      const written = sheet[of]
      return written === undefined ? [] : [{ of, path: '', values: values(inspection, [...path, of], written) }]
    }),
    ...Object.entries(sheet.claims ?? {}).map(([claim, written]): Condition => {
      const here = [...path, 'claims', claim]
      if (claim.startsWith('claims.'))
        inspection.warning(here, 'the path begins inside the token', 'leave "claims." away')
      return { of: 'claim', path: claim, values: values(inspection, here, written) }
    }),
  ]
  if (made.length === 0 && !inspection.isBroken(path)) {
    inspection.error(path, 'says nothing', 'anyone is for everybody')
  }
  return made
}

const values = (inspection: Inspection, path: Path, written: string | readonly string[]): readonly string[] => {
  const list = listOf(written)
  if (list.length === 0) inspection.error(path, 'is empty, so it would allow nobody')
  for (const [index, value] of list.entries()) {
    if (value.trim() === '') inspection.error(itemPath(path, written, index), 'is empty')
    else if (list.indexOf(value) !== index) inspection.warning(itemPath(path, written, index), 'this stands here twice')
  }
  return list
}
