/** Who wants to hear of which resources of one server: each is asked of the server once, however many want it. */

/** How the server is asked. */
export interface Subscribing {
  /** Asks to be told of these; resolves with those the server agreed to. Never rejects. */
  readonly begin: (uris: readonly string[]) => Promise<readonly string[]>
  /** Nobody wants to hear of these any more. */
  readonly end: (uris: readonly string[]) => void
}

export interface ResourceWatch {
  /** Tells `changed` until the signal ends; resolves with what the server agreed to. */
  watch(uris: readonly string[], changed: (uri: string) => void, signal: AbortSignal): Promise<readonly string[]>
  /** The server has told that this one changed. */
  changed(uri: string): void
  /** What is watched now, to be asked for again in a new conversation. */
  readonly uris: readonly string[]
}

interface Watched {
  readonly listeners: Set<Listener>
  readonly agreed: Promise<boolean>
}

/** One `watch`; an object, so that the same function may listen twice. */
interface Listener {
  readonly tell: (uri: string) => void
}

export const resourceWatch = ({ begin, end }: Subscribing): ResourceWatch => {
  const watched = new Map<string, Watched>()

  /** The entries of these, those that are not there yet asked for at once. */
  const entries = (uris: readonly string[], listener: Listener): readonly (readonly [string, Watched])[] => {
    const fresh = uris.filter((uri) => !watched.has(uri))
    const asked = fresh.length === 0 ? Promise.resolve([]) : begin(fresh)
    for (const uri of fresh)
      watched.set(uri, { listeners: new Set(), agreed: asked.then((agreed) => agreed.includes(uri)) })
    return uris.flatMap((uri) => {
      const entry = watched.get(uri)
      entry?.listeners.add(listener)
      return entry === undefined ? [] : [[uri, entry] as const]
    })
  }
  /** Leaves entries; those that nobody is left in end, once the server has answered about them. */
  const leave = async (left: readonly (readonly [string, Watched])[], listener: Listener): Promise<void> => {
    for (const [, { listeners }] of left) listeners.delete(listener)
    const agreed = await Promise.all(left.map(async ([, entry]) => await entry.agreed))
    const ended: string[] = []
    for (const [at, [uri, entry]] of left.entries()) {
      if (entry.listeners.size > 0 || watched.get(uri) !== entry) continue
      watched.delete(uri)
      if (agreed[at] === true) ended.push(uri)
    }
    if (ended.length > 0) end(ended)
  }

  return {
    async watch(uris, changed, signal) {
      if (signal.aborted) return []
      const listener = { tell: changed }
      const mine = entries([...new Set(uris)], listener)
      signal.addEventListener('abort', () => void leave(mine, listener), { once: true })
      const agreed = await Promise.all(mine.map(async ([, entry]) => await entry.agreed))
      const refused = mine.filter((_, at) => agreed[at] !== true)
      void leave(refused, listener)
      return mine.flatMap(([uri], at) => (agreed[at] === true ? [uri] : []))
    },
    changed(uri) {
      const told = new Set<Listener>()
      for (const [wanted, { listeners }] of watched)
        if (covers(wanted, uri)) for (const listener of listeners) told.add(listener)
      for (const { tell } of told) tell(uri)
    },
    get uris() {
      return [...watched.keys()]
    },
  }
}

/** An update may be about a resource below the one that was subscribed to (2026-07-28 schema, ResourceUpdatedNotification). */
const covers = (wanted: string, uri: string): boolean =>
  uri === wanted || (uri.startsWith(wanted) && (wanted.endsWith('/') || /^[/?#]/.test(uri.slice(wanted.length))))
