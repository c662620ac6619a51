/** What was written → a sheet whose every key has the right form, and a problem for each one that has not. */
import type { z } from 'zod'
import { didYouMean } from './did-you-mean.ts'
import type { Inspection } from './inspection.ts'
import { exampleAt, unknownKeyHint } from './known-keys.ts'
import { keyText, type Path } from './place.ts'
import { type Sheet, schema } from './schema.ts'
import { unreadable, type Value } from './written.ts'

/** An issue of the schema and the path it is about, from the file's start. */
interface Finding {
  readonly issue: z.core.$ZodIssue
  readonly path: Path
}

/** Takes out what is wrong and fills in again, so that the builders find the other problems in the same run. */
export const fillIn = (value: Value, inspection: Inspection): Sheet | undefined => {
  const first = schema.safeParse(value)
  if (first.success) return first.data
  let findings = first.error.issues.flatMap((issue) => meant(issue, []))
  for (const finding of findings) report(finding, value, inspection)
  const rest: { root: unknown } = { root: copy(value) }
  for (let round = 0; round < rounds; round++) {
    for (const { issue, path } of findings) {
      const wrong = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...path, key]) : [path]
      for (const each of wrong) remove(rest, ['root', ...each])
    }
    const again = schema.safeParse(rest.root ?? {})
    if (again.success) return again.data
    findings = again.error.issues.flatMap((issue) => meant(issue, []))
  }
  return undefined
}

/** Each one takes away at least one level, and the schema has fewer. */
const rounds = 12

/** Of a union's issues, those of the alternative whose kind of value was written. */
const meant = (issue: z.core.$ZodIssue, above: Path): readonly Finding[] => {
  const path = [...above, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))]
  const alternative =
    issue.code === 'invalid_union'
      ? issue.errors.find(
          (inner) => !inner.some(({ code, path: [step] }) => code === 'invalid_type' && step === undefined),
        )
      : undefined
  return alternative === undefined ? [{ issue, path }] : alternative.flatMap((inner) => meant(inner, path))
}

const kinds: Readonly<Record<string, string>> = {
  string: 'a text',
  array: 'a list',
  object: 'keys and values',
  record: 'keys and values',
}

/** What may be written where there is more than one form: by the key, else by the kinds of the forms. */
const eitherAt: Readonly<Record<string, string>> = {
  access: 'roles, { roles: client } or a list of rules',
  allow: 'anyone or conditions',
  claims: 'the path of a file or keys and values',
}

const eitherOf = ({ errors }: z.core.$ZodIssueInvalidUnion, path: Path): string => {
  const hasList = errors.some(([issue]) => issue?.code === 'invalid_type' && issue.expected === 'array')
  const key = String(path.at(-1))
  if (Object.hasOwn(eitherAt, key)) return eitherAt[key] ?? ''
  return hasList ? 'a text or a list' : 'a text or { file: path }'
}

const kindOf = (value: unknown): string => {
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'keys and values'
  return typeof value === 'string' ? 'a text' : `a ${typeof value}`
}

const eachItem = 'begin each with "- "'

const howToWrite = (expected: string, value: Value, path: Path): string | undefined => {
  if (expected === 'a list') return typeof value === 'string' ? 'write [ … ]' : eachItem
  return expected === 'keys and values' ? exampleAt(path) : undefined
}

/** `access: { tools: … }`, where one rule is written and a list of them is meant. */
const isRuleWithoutList = (path: Path, value: unknown): boolean =>
  path.at(-1) === 'access' &&
  isContainer(value) &&
  !Array.isArray(value) &&
  !Object.hasOwn(value, 'roles') &&
  ['tools', 'prompts', 'resources', 'allow', 'when', 'confirm'].some((key) => Object.hasOwn(value, key))

const report = ({ issue, path }: Finding, root: Value, inspection: Inspection): undefined => {
  const value = valueAt(root, path)
  if (value === unreadable) return undefined
  switch (issue.code) {
    case 'unrecognized_keys':
      if (isRuleWithoutList(path, value)) return inspection.error(path, 'must be a list of rules', eachItem)
      for (const key of issue.keys) unknownKey(path, key, value, inspection)
      return undefined
    case 'invalid_type':
    case 'invalid_union': {
      if (value === undefined && isRuleWithoutList(path.slice(0, -1), valueAt(root, path.slice(0, -1))))
        return undefined
      if (value === undefined) return inspection.errorAtKey(path.slice(0, -1), `"${path.at(-1)}" is missing`)
      if (value === null) return inspection.error(path, 'has no value', 'give it one, or remove the key')
      const expected =
        issue.code === 'invalid_union' ? eitherOf(issue, path) : (kinds[issue.expected] ?? issue.expected)
      return inspection.error(path, `must be ${expected}, not ${kindOf(value)}`, howToWrite(expected, value, path))
    }
    case 'invalid_value': {
      const words = issue.values.map(String)
      const near = typeof value === 'string' ? (yesNo[value.toLowerCase()] ?? didYouMean(value, words)) : undefined
      const hint = near !== undefined && words.includes(near) ? `did you mean "${near}"?` : undefined
      return inspection.error(
        path,
        `must be ${words.length === 2 ? words.join(' or ') : `one of ${words.join(', ')}`}`,
        hint,
      )
    }
    case 'custom': {
      const hint: unknown = issue.params?.['hint']
      return inspection.error(path, issue.message, typeof hint === 'string' ? hint : undefined)
    }
    default:
      return inspection.error(path, 'is not valid')
  }
}

const yesNo: Readonly<Record<string, string>> = {
  yes: 'true',
  on: 'true',
  '1': 'true',
  no: 'false',
  off: 'false',
  '0': 'false',
}

/** A lone key inside a credential may be the secret itself, written without the key it belongs to: not repeated. */
const unknownKey = (path: Path, key: string, container: Value | undefined, inspection: Inspection): void => {
  const here = [...path, key]
  const secret = path.includes('credential') || path[0] === 'sessions'
  if (secret && valueAt(container ?? null, [key]) === null) {
    return inspection.errorAt(inspection.keyPlace(here), path, 'a key without a value', unknownKeyHint(path, key))
  }
  inspection.errorAtKey(here, `unknown key "${keyText(key)}"`, unknownKeyHint(path, key))
}

const isContainer = (value: unknown): value is { [key: string | number]: unknown } =>
  typeof value === 'object' && value !== null

const valueAt = (root: Value, path: Path): Value | undefined => {
  let here: unknown = root
  for (const step of path) here = isContainer(here) && Object.hasOwn(here, step) ? here[step] : undefined
  return isValue(here) ? here : undefined
}

/** Holds by construction: everything below a value is one. */
const isValue = (value: unknown): value is Value => value !== undefined

const copy = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(copy)
  return isContainer(value) ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, copy(each)])) : value
}

/** Removes what a path leads to: the whole list for an item, which keeps the places of others; the whole map, or the list it is an item of, for a key that is missing in it. */
const remove = (root: unknown, path: Path): void => {
  let parent: unknown = root
  let drop: (() => void) | undefined
  for (const [index, step] of path.entries()) {
    if (!isContainer(parent)) break
    const container = parent
    if (!Object.hasOwn(container, step)) {
      if (index < path.length - 1) return // gone with another
      break
    }
    if (!Array.isArray(container)) {
      drop = () => {
        delete container[step]
      }
    }
    parent = container[step]
  }
  drop?.()
}
