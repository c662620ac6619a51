/** What an item of a server is called after include, exclude and rename. */
import type { Selection } from './model.ts'

type Matcher = (name: string) => boolean

/** Walks the literal parts from left to right: linear, whatever the pattern. */
const matcher = (pattern: string): Matcher => {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return (name) => name === pattern
  return (name) => {
    if (!name.startsWith(first)) return false
    let at = first.length
    for (const part of rest) {
      const found = name.indexOf(part, at)
      if (found === -1) return false
      at = found + part.length
    }
    return name.length - last.length >= at && name.endsWith(last)
  }
}

/** Whether one of the patterns matches a whole name. What matches a pattern, taken as a name, matches all that it does. */
export const anyOf = (patterns: readonly string[]): Matcher => {
  const exact = new Set(patterns.filter((pattern) => !pattern.includes('*')))
  const matchers = patterns.filter((pattern) => pattern.includes('*')).map(matcher)
  return (name) => exact.has(name) || matchers.some((matches) => matches(name))
}

/** The same for patterns that are the registry's values, asked again and again: compiled once. */
export const matcherOf = (patterns: readonly string[]): Matcher => {
  const known = matchers.get(patterns)
  if (known !== undefined) return known
  const made = anyOf(patterns)
  matchers.set(patterns, made)
  return made
}
const matchers = new WeakMap<readonly string[], Matcher>()

/** What a rule or a view speaks of: with no patterns at all, of everything. */
export const isAboutAll = (spoken: { readonly [Kind in 'tools' | 'prompts' | 'resources']?: unknown }): boolean =>
  spoken.tools === undefined && spoken.prompts === undefined && spoken.resources === undefined

interface Compiled {
  readonly included: Matcher
  readonly excluded: Matcher
}

/** A selection is a value of the registry, asked about every item of every list: compiled once. */
const compiled = new WeakMap<Selection, Compiled>()

const compile = (selection: Selection): Compiled => {
  const known = compiled.get(selection)
  if (known !== undefined) return known
  const made = { included: anyOf(selection.include), excluded: anyOf(selection.exclude) }
  compiled.set(selection, made)
  return made
}

/** The new name, without the server's prefix; undefined when the item is hidden. Patterns match the server's own name. */
export const select = (selection: Selection, ownName: string): string | undefined => {
  const { included, excluded } = compile(selection)
  if (!included(ownName) || excluded(ownName)) return undefined
  return selection.rename.get(ownName) ?? ownName
}
