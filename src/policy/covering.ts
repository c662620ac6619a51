/** Which rules of an `access` are about a thing, found without asking each of them. */
import type { Kind } from '../mcp/methods.ts'
import type { Rule } from '../registry/model.ts'
import { isAboutAll } from '../registry/selection.ts'
import { type Ground, groundOf } from './grounds.ts'
import { covers } from './patterns.ts'

export interface Covering {
  readonly ground: Ground
  readonly rule: Rule
  /** Its place among the rules of its level. */
  readonly number: number
}

/** Those that ask a human first, and otherwise in the file's order: the first that holds decides. */
export const coveringRules = (rules: readonly Rule[], kind: Kind, name: string): readonly Covering[] => {
  const made = indexes.get(rules) ?? indexOf(rules)
  indexes.set(rules, made)
  const { named, heads, lengths } = made[kind]
  const starting = lengths.flatMap((length) => (length > name.length ? [] : (heads.get(name.slice(0, length)) ?? [])))
  return [...(named.get(name) ?? []), ...new Set(starting.filter(({ rule }) => covers(rule, kind, name)))].sort(
    (a, b) => Number(b.rule.confirm) - Number(a.rule.confirm) || a.number - b.number,
  )
}

interface Index {
  /** Rules that give nothing but whole names, by each of them. */
  readonly named: ReadonlyMap<string, readonly Covering[]>
  /** The others, by what each of their patterns starts with: most of many are told apart by that. */
  readonly heads: ReadonlyMap<string, readonly Covering[]>
  /** Of the keys of `heads`. */
  readonly lengths: readonly number[]
}

/** Rules are the registry's values. */
const indexes = new WeakMap<readonly Rule[], Readonly<Record<Kind, Index>>>()

const indexOf = (rules: readonly Rule[]): Readonly<Record<Kind, Index>> => {
  const all = rules.map((rule, number): Covering => ({ rule, number, ground: groundOf(rule) }))
  return { tools: indexFor('tools', all), prompts: indexFor('prompts', all), resources: indexFor('resources', all) }
}

const indexFor = (kind: Kind, all: readonly Covering[]): Index => {
  const named = new Map<string, Covering[]>()
  const heads = new Map<string, Covering[]>()
  for (const covering of all) {
    const patterns = covering.rule[kind] ?? (isAboutAll(covering.rule) ? ['*'] : [])
    const whole = patterns.every((pattern) => !pattern.includes('*'))
    const keys = whole ? patterns : patterns.map((pattern) => pattern.replace(/\*.*/s, ''))
    for (const key of new Set(keys)) add(whole ? named : heads, key, covering)
  }
  return { named, heads, lengths: [...new Set([...heads.keys()].map(({ length }) => length))] }
}

const add = (lists: Map<string, Covering[]>, key: string, covering: Covering): void => {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [covering])
  else list.push(covering)
}
