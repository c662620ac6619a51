/** Patterns of names or URIs: one or a list, and what is odd about each. */
import type { Inspection } from './inspection.ts'
import type { Path } from './place.ts'

/** What the items are called: tools and prompts have names, resources have URIs. */
export type ItemKind = 'name' | 'uri'

interface Oddity {
  readonly message: string
  readonly hint?: string
}

export const patternOddity = (pattern: string, kind: ItemKind): Oddity | undefined => {
  if (pattern === '') return { message: 'an empty pattern matches nothing' }
  if (kind === 'uri' || /^[A-Za-z0-9_.*-]+$/.test(pattern)) return undefined
  return { message: 'no name has these characters, so it matches nothing', hint: '* stands for any characters' }
}

/** Where one of several stands: a text alone has no index. */
export const itemPath = (path: Path, written: string | readonly string[], index: number): Path =>
  typeof written === 'string' ? path : [...path, index]

export const listOf = (written: string | readonly string[]): readonly string[] =>
  typeof written === 'string' ? [written] : written

export const patternList = (
  inspection: Inspection,
  path: Path,
  written: string | readonly string[],
  kind: ItemKind,
): readonly string[] => {
  const patterns = listOf(written)
  if (patterns.length === 0) inspection.error(path, 'is empty', 'name something, or leave the key out')
  for (const [index, pattern] of patterns.entries()) {
    const here = itemPath(path, written, index)
    const oddity = patternOddity(pattern, kind)
    if (oddity !== undefined) inspection.warning(here, oddity.message, oddity.hint)
    else if (patterns.indexOf(pattern) !== index) inspection.warning(here, 'this pattern stands here twice')
  }
  return patterns
}
