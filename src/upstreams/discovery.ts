/** Keeps one server's catalogue: reads all pages of its lists, again when it says they changed, again when it comes back. */
import { strictest, UNCACHED } from '../catalog/caching.ts'
import {
  type CachedMethod,
  type Item,
  type ItemKind,
  type ListMethod,
  lists,
  parsePage,
  type ServerCatalogue,
} from '../catalog/server-catalogue.ts'
import type { Era } from '../mcp/versions.ts'
import type { CachePolicy, Server } from '../registry/model.ts'
import type { Initialized } from './handshake.ts'
import { pause } from './pause.ts'
import { resultOf } from './server-message.ts'
import { NotShown } from './shown-client.ts'
import type { Failure, UpstreamState, UpstreamStatus } from './upstream.ts'

/** Caps of one list: beyond them a server is looping or hostile. */
const MOST_PAGES = 1000
const MOST_ITEMS = 20_000
const MOST_LIST_BYTES = 64 * 1024 * 1024
/** Several list_changed in a row are one change. */
const COALESCE_MS = 20
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 10_000
/** A conversation that lasted this long counts as a good one. */
const STEADY_MS = 10_000
/** How often the lists of a server are read again that has no way to tell of changes. */
const POLL_MS = 60_000

/** One conversation with a server in which its lists are read. */
export interface Link {
  /** What the server says of itself; another value after `renew`. */
  readonly initialized: Initialized
  /** The eras the server is spoken to in. */
  readonly eras: readonly Era[]
  /** The capabilities for tasks of the stateful era, of a server whose lists are read in the other one. */
  readonly tasks?: readonly string[]
  /** Whether it can tell us of changes. */
  readonly announces: boolean
  /** The response to a request of ours; rejects when there is none. `params` is JSON text. */
  request(method: string, params: string, signal: AbortSignal): Promise<Buffer>
  /** Where there is no session, what the server says of itself is asked for again before its lists are. */
  readonly renew?: (signal: AbortSignal) => Promise<void>
  /** Resolves with the reason once the conversation is over; without one, only another is to be begun. */
  readonly over: Promise<string | undefined>
  close(): void
}

export interface Discovery {
  status(): UpstreamStatus
  catalogue(): ServerCatalogue | undefined
  readonly settled: Promise<void>
  /** Reads the lists again soon; a server that is down is tried at once. */
  refresh(): void
  close(): Promise<void>
}

interface Options {
  /** The entry as it is now. */
  readonly server: () => Pick<Server, 'listTimeoutMs'>
  /** Opens a conversation; `changed` is called when the server says that a list changed. */
  readonly open: (changed: () => void, signal: AbortSignal) => Promise<Link>
  /** The catalogue or the state is another one. */
  readonly onChange: () => void
  /** The lists are read again after so long, whether or not the server tells of changes; default: only if it does not. */
  readonly refreshMs?: number | undefined
  /** A list went beyond the caps. */
  readonly onCapped: (list: ListMethod) => void
}

export const discover = ({ server, open, onChange, onCapped, refreshMs }: Options): Discovery => {
  const ending = new AbortController()
  let state: UpstreamState = 'starting'
  let sinceMs = Date.now()
  let lastError: string | undefined
  let unshown: Failure['reason'] | undefined
  let fetchedAtMs: number | undefined
  let stale = false
  let catalogue: ServerCatalogue | undefined
  let settle: () => void = () => undefined
  const settled = new Promise<void>((resolve) => {
    settle = resolve
  })
  const changes = changeQueue(ending.signal)
  let link: Link | undefined

  const set = (next: UpstreamState, error: string | undefined): boolean => {
    const same = state === next && lastError === error
    if (state !== next) sinceMs = Date.now()
    state = next
    lastError = error
    return !same
  }
  const enter = (next: UpstreamState, error: string | undefined): void => {
    if (set(next, error)) onChange()
  }

  /** Reads all four lists; what fails keeps its last good value. */
  const fetchAll = async (current: Link): Promise<void> => {
    stale = catalogue !== undefined
    await current.renew?.(AbortSignal.any([ending.signal, AbortSignal.timeout(server().listTimeoutMs)]))
    const { initialized } = current
    const read = async (method: ListMethod, capability: string): Promise<Fetched> =>
      initialized.capabilities.has(capability)
        ? await fetchList(current, method, server().listTimeoutMs, ending.signal, onCapped)
        : { items: [], caching: undefined, problem: undefined }
    const [tools, prompts, resources, templates] = await Promise.all([
      read('tools/list', 'tools'),
      read('prompts/list', 'prompts'),
      read('resources/list', 'resources'),
      read('resources/templates/list', 'resources'),
    ])
    if (ending.signal.aborted) return
    const kept = (kind: ItemKind, fetched: Fetched): readonly Item[] =>
      fetched.problem !== undefined && catalogue !== undefined && catalogue[kind].length > fetched.items.length
        ? catalogue[kind]
        : fetched.items
    catalogue = {
      protocolVersion: initialized.protocolVersion,
      eras: current.eras,
      caching: cachingOf({
        'server/discover': initialized.caching,
        'tools/list': tools.caching,
        'prompts/list': prompts.caching,
        'resources/list': resources.caching,
        'resources/templates/list': templates.caching,
      }),
      capabilities: new Set([...initialized.capabilities, ...(current.tasks ?? [])]),
      instructions: initialized.instructions,
      tools: kept('tools', tools),
      prompts: kept('prompts', prompts),
      resources: kept('resources', resources),
      templates: kept('templates', templates),
    }
    const problems = [tools, prompts, resources, templates].flatMap(({ problem }) =>
      problem === undefined ? [] : [problem],
    )
    fetchedAtMs = Date.now()
    stale = problems.length > 0
    set(problems.length > 0 ? 'degraded' : 'up', problems.length > 0 ? problems.join('; ') : undefined)
    onChange()
  }

  const run = async (): Promise<void> => {
    let retryMs = FIRST_RETRY_MS
    while (!ending.signal.aborted) {
      const { listTimeoutMs } = server()
      const deadline = setTimeout(() => {
        settle()
        if (link === undefined || fetchedAtMs === undefined) enter('down', `no answer within ${listTimeoutMs} ms`)
      }, listTimeoutMs)
      try {
        const current = await open(changes.note, ending.signal)
        link = current
        unshown = undefined
        let over: { readonly reason: string | undefined } | undefined
        void current.over.then((reason) => {
          over = { reason }
          if (link === current) changes.note()
        })
        await fetchAll(current)
        clearTimeout(deadline)
        settle()
        const openedMs = Date.now()
        for (;;) {
          // A list that failed is asked for again, later and later; a server that cannot announce changes is polled.
          await changes.next(state === 'degraded' ? retryMs : (refreshMs ?? (current.announces ? undefined : POLL_MS)))
          if (ending.signal.aborted) return
          if (over !== undefined) {
            if (over.reason !== undefined) enter('down', over.reason)
            break
          }
          await fetchAll(current)
          retryMs = state === 'up' ? FIRST_RETRY_MS : Math.min(retryMs * 2, LONGEST_RETRY_MS)
        }
        // One that keeps ending soon after it was opened is not tried in quick succession.
        if (Date.now() - openedMs > STEADY_MS) retryMs = FIRST_RETRY_MS
      } catch (error) {
        if (ending.signal.aborted) return
        stale = catalogue !== undefined
        unshown = error instanceof NotShown ? error.failure.reason : undefined
        enter('down', error instanceof Error ? error.message : String(error))
        settle()
      } finally {
        clearTimeout(deadline)
        link?.close()
        link = undefined
      }
      // Who may not have a token now may not have one a moment later.
      const isFinal = unshown !== undefined && unshown !== 'exchange-failed'
      await changes.next(isFinal && refreshMs !== undefined ? refreshMs : retryMs * (0.75 + Math.random() / 2))
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS)
    }
  }
  const running = run()

  return {
    status: () => ({
      state,
      sinceMs,
      lastError,
      fetchedAtMs,
      stale,
      ...(unshown !== undefined && { notShown: true as const }),
    }),
    catalogue: () => catalogue,
    settled,
    refresh: changes.note,
    async close() {
      ending.abort()
      settle()
      link?.close()
      await running
    },
  }
}

type Caching = Readonly<Partial<Record<CachedMethod, CachePolicy>>>

/** Only what the server did say. */
const cachingOf = (said: Readonly<Record<CachedMethod, CachePolicy | undefined>>): Caching =>
  Object.fromEntries(Object.entries(said).filter(([, policy]) => policy !== undefined))

interface Fetched {
  readonly items: readonly Item[]
  /** What holds for all pages together; undefined when none says anything. */
  readonly caching: CachePolicy | undefined
  readonly problem: string | undefined
}

/** All pages of one list within the caps; a cap or the deadline keeps what was read and says so. */
const fetchList = async (
  link: Link,
  method: ListMethod,
  timeoutMs: number,
  ending: AbortSignal,
  onCapped: Options['onCapped'],
): Promise<Fetched> => {
  const items: Item[] = []
  const cursors = new Set<string>()
  const signal = AbortSignal.any([ending, AbortSignal.timeout(timeoutMs)])
  let bytes = 0
  let params = '{}'
  const hints: (CachePolicy | undefined)[] = []
  const caching = (): CachePolicy | undefined =>
    hints.every((hint) => hint === undefined) ? undefined : strictest(hints.map((hint) => hint ?? UNCACHED))
  const done = (problem: string | undefined): Fetched => ({ items, caching: caching(), problem })
  const cut = (why: string): Fetched => done(`${method}: ${why}`)
  const capped = (why: string): Fetched => {
    onCapped(method)
    return cut(why)
  }
  for (let page = 0; ; page++) {
    if (page === MOST_PAGES) return capped(`more than ${MOST_PAGES} pages`)
    let response: Buffer
    try {
      response = await link.request(method, params, signal)
    } catch (error) {
      const why =
        signal.aborted && !ending.aborted
          ? `not complete within ${timeoutMs} ms`
          : error instanceof Error
            ? error.message
            : String(error)
      return cut(why)
    }
    const outcome = resultOf(response)
    // Some servers declare resources and have no templates: method not found is an empty list.
    if ('error' in outcome)
      return /not found|not supported|unknown method/i.test(outcome.error) ? done(undefined) : cut(outcome.error)
    const parsed = parsePage(method, response, outcome.result)
    if (parsed === undefined) return cut(`the result has no ${lists[method].items}`)
    items.push(...parsed.items)
    hints.push(parsed.caching)
    bytes += response.length
    if (parsed.nextCursor === undefined) return done(undefined)
    if (cursors.has(parsed.nextCursor)) return capped('the server gave the same cursor twice')
    if (items.length > MOST_ITEMS || bytes > MOST_LIST_BYTES)
      return capped(`more than ${MOST_ITEMS} items or ${MOST_LIST_BYTES} bytes`)
    cursors.add(parsed.nextCursor)
    params = `{"cursor":${parsed.nextCursor}}`
  }
}

/** Joins changes that come in quick succession. One waits at a time. */
const changeQueue = (signal: AbortSignal) => {
  let pending = false
  let waiter: (() => void) | undefined
  signal.addEventListener('abort', () => waiter?.(), { once: true })
  return {
    note: (): void => {
      pending = true
      waiter?.()
    },
    /** Resolves after a change, or after `afterMs` without one. */
    async next(afterMs: number | undefined): Promise<undefined> {
      if (!pending && !signal.aborted)
        await new Promise<void>((resolve) => {
          const timer = afterMs === undefined ? undefined : setTimeout(resolve, afterMs)
          waiter = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      waiter = undefined
      if (!signal.aborted && pending) await pause(COALESCE_MS, signal)
      pending = false
    },
  }
}
