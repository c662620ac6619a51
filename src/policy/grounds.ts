/** What allowed something, in the words of the registry: for records and for filters. */
import type { Place } from '../registry/model.ts'

/** What a verdict rests on. */
export interface Ground {
  /** Such as `servers.github.access[0]`. */
  readonly path: string
  readonly place: Place
}

export const groundOf = ({ path, place }: Ground): Ground => ({ path, place })

/** Such as `12 servers.github.access[0]`, one for each level; empty: no rule is about it. */
export const groundsText = (grounds: readonly Ground[]): string =>
  grounds.map(({ path, place }) => `${place.line} ${path}`).join(', ')
