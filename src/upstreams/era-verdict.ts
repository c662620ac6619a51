/** What is known of the eras a server speaks: dated, found out once for all that want to know, and anew when it looks wrong. */
import type { Era } from '../mcp/versions.ts'
import type { EraFinding, Failure } from './upstream.ts'

/** A verdict that leaves one era open is looked into again after so long, and each time after twice as long. */
const FIRST_AGAIN_MS = 60_000
const LONGEST_AGAIN_MS = 3_600_000
/** A server that seems to speak another era at every answer is not asked at every answer. */
const BETWEEN_MS = 1000

/** What asking brought. `unsure`: the server did not say whether it speaks the other era too. */
interface Asked {
  readonly eras: readonly Era[]
  readonly unsure: boolean
}

interface Options {
  readonly pinned: Era | undefined
  /** Asks the server. Never rejects. */
  readonly ask: (signal: AbortSignal) => Promise<Asked | Failure>
  /** The server speaks other eras than was thought. */
  readonly onChange: () => void
}

export interface EraVerdict {
  /** Undefined: it has never answered. */
  readonly finding: EraFinding | undefined
  /** Asks now, or shares the answer that is under way; one that is pinned is not asked. */
  recheck(): Promise<EraFinding | Failure>
  /** Takes an answer that somebody else waits for. */
  share<A extends Asked>(asked: Promise<A | Failure>): Promise<A | Failure>
  /** The registry says which, or no longer does. */
  pin(era: Era | undefined): void
  close(): void
}

export const eraVerdict = ({ pinned: initially, ask, onChange }: Options): EraVerdict => {
  const closing = new AbortController()
  let pinned = initially
  let finding = findingOf(pinned)
  let asking: Promise<EraFinding | Failure> | undefined
  let askedMs = 0
  let againMs = FIRST_AGAIN_MS
  let timer: NodeJS.Timeout | undefined

  const note = ({ eras, unsure }: Asked): EraFinding => {
    const before = finding
    const found: EraFinding = { eras, how: pinned === undefined ? 'probed' : 'pinned', atMs: Date.now() }
    finding = found
    clearTimeout(timer)
    if (!unsure) againMs = FIRST_AGAIN_MS
    else if (!closing.signal.aborted) {
      timer = setTimeout(() => void recheck(), againMs)
      timer.unref()
      againMs = Math.min(againMs * 2, LONGEST_AGAIN_MS)
    }
    if (before !== undefined && before.eras.join() !== eras.join()) onChange()
    return found
  }
  const keep = (asked: Promise<Asked | Failure>): Promise<EraFinding | Failure> => {
    const kept = asked
      .then((answer) => ('kind' in answer ? answer : note(answer)))
      .finally(() => {
        if (asking === kept) asking = undefined
      })
    asking = kept
    return kept
  }
  const recheck = (): Promise<EraFinding | Failure> => {
    if (asking !== undefined) return asking
    const recent = Date.now() - askedMs < BETWEEN_MS
    if (finding !== undefined && (finding.how === 'pinned' || recent)) return Promise.resolve(finding)
    askedMs = Date.now()
    return keep(ask(closing.signal))
  }

  return {
    get finding() {
      return finding
    },
    recheck,
    async share(asked) {
      await keep(asked)
      return await asked
    },
    pin(era) {
      if (era === pinned) return
      pinned = era
      finding = findingOf(era)
      onChange()
    },
    close() {
      clearTimeout(timer)
      closing.abort()
    },
  }
}

const findingOf = (pinned: Era | undefined): EraFinding | undefined =>
  pinned === undefined ? undefined : { eras: [pinned], how: 'pinned', atMs: Date.now() }
