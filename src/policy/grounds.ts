/** What allowed something, in the words of the registry: for records and for filters. */
import type { Ground } from './judge.ts'

/** Such as `12 servers.github.access[0]`, one for each level; empty: no rule is about it. */
export const groundsText = (grounds: readonly Ground[]): string =>
  grounds.map(({ path, place }) => `${place.line} ${path}`).join(', ')
