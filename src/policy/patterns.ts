/** Which names a rule, or a view, speaks of. */
import type { Kind } from '../mcp/methods.ts'
import { isAboutAll, matcherOf } from '../registry/selection.ts'

/** The patterns of what is spoken of. A kind without, while another has some, is not; with none at all everything is. */
type Spoken = Partial<Readonly<Record<Kind, readonly string[]>>>

export const covers = (spoken: Spoken, kind: Kind, name: string): boolean => {
  const patterns = spoken[kind]
  return patterns === undefined ? isAboutAll(spoken) : matches(patterns, name)
}

export const matches = (patterns: readonly string[], name: string): boolean => matcherOf(patterns)(name)
