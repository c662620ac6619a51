/** The catalogue with what servers offer one caller alone; merged once for all who are offered the same. */
import { dropOldest } from '../bounded.ts'
import type { Catalogue } from '../catalog/catalogue.ts'
import type { ServerCatalogue } from '../catalog/server-catalogue.ts'
import type { Caller } from '../clients/caller.ts'
import type { Upstream } from '../upstreams/upstream.ts'

interface Options {
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly shared: () => Catalogue
  /** The catalogue with these answers in the place of those that are for all. */
  readonly merge: (own: ReadonlyMap<string, ServerCatalogue>) => Catalogue
}

export interface CallerCatalogues {
  /** Whether some server offers each caller something else. */
  readonly differ: boolean
  of(caller: Caller): Promise<Catalogue>
}

/** Merged catalogues kept at once. */
const MOST = 256

export const callerCatalogues = ({ upstreams, shared, merge }: Options): CallerCatalogues => {
  let keptFor: Catalogue | undefined
  const kept = new Map<string, Catalogue>()
  const numbers = new WeakMap<ServerCatalogue, number>()
  let count = 0
  const numberOf = (answer: ServerCatalogue): number => {
    const known = numbers.get(answer)
    if (known !== undefined) return known
    numbers.set(answer, ++count)
    return count
  }
  const askingNow = (): readonly Upstream[] =>
    [...upstreams.values()].filter(({ catalogueFor }) => catalogueFor !== undefined)
  return {
    get differ() {
      return askingNow().length > 0
    },
    async of(caller) {
      const asking = askingNow()
      if (asking.length === 0) return shared()
      const answers = await Promise.all(
        asking.map(async (upstream) => [upstream.server.name, await upstream.catalogueFor?.(caller)] as const),
      )
      const own = new Map(answers.flatMap(([name, answer]) => (answer === undefined ? [] : [[name, answer] as const])))
      if (keptFor !== shared()) kept.clear()
      keptFor = shared()
      const key = [...own].map(([name, answer]) => `${name} ${numberOf(answer)}`).join(' ')
      const made = kept.get(key) ?? merge(own)
      kept.delete(key)
      kept.set(key, made)
      dropOldest(kept, MOST)
      return made
    },
  }
}
