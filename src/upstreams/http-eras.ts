/** Finds out over HTTP which eras a server speaks: asked in both at once, since a server of both may name only one. */
import type { Era } from '../mcp/versions.ts'
import { type DiscoverVerdict, judgeDiscover } from './era-probe.ts'
import type { Initialized, Introduction } from './handshake.ts'
import { closeSession, type HttpEndpoint, type Opened, openSession } from './http-session.ts'
import { type StatelessWire, wireRequest } from './stateless-wire.ts'
import { type Failure, failed } from './upstream.ts'

/** Once it takes part in one era, the answer in the other is waited for so much longer. */
const OTHER_ANSWER_MS = 2000

/** What the server says of itself in the stateless era; where that is none of its own, our open session in the other. */
export type Probed = {
  /** At least one. */
  readonly eras: readonly Era[]
  /** One era is certain, the other is not: the server did not say. */
  readonly unsure: boolean
} & (
  | {
      readonly discovered: Initialized
      /** What it says of itself in the other era, of a server of both. */
      readonly initialized?: Initialized
    }
  | { readonly opened: Opened }
)

/** Asks the server, in one era alone where that is `pinned`; a failure when it takes part in none. Never rejects. */
export const probe = async (
  endpoint: HttpEndpoint,
  wire: StatelessWire,
  as: Introduction,
  pinned: Era | undefined,
  signal: AbortSignal,
): Promise<Probed | Failure> => {
  const enough = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const takesPart = (): void => {
    timer ??= setTimeout(() => enough.abort(), OTHER_ANSWER_MS)
  }
  const either = AbortSignal.any([signal, enough.signal])
  const discover = async (): Promise<DiscoverVerdict> => {
    const { timeoutMs } = endpoint.server
    const request = wireRequest(wire.nextId(), 'server/discover', '{}', as)
    const verdict = judgeDiscover(
      await wire.send({ ...request, timeoutMs, onMessage: () => undefined, signal: either }),
    )
    if (verdict.speaks === 'stateless') takesPart()
    return verdict
  }
  const initialize = async (): Promise<Opened | Failure> => {
    const opened = await openSession(endpoint, as, either)
    if (!('kind' in opened)) takesPart()
    return opened
  }
  const [verdict, opened] = await Promise.all([
    pinned === 'stateful' ? notAsked : discover(),
    pinned === 'stateless' ? failed('server-down', 'it is spoken to in the stateless era alone') : initialize(),
  ])
  clearTimeout(timer)
  return judge(endpoint, verdict, opened, pinned)
}
const notAsked: DiscoverVerdict = { speaks: 'stateful', why: 'it is spoken to in the stateful era alone' }

const judge = (
  endpoint: HttpEndpoint,
  verdict: DiscoverVerdict,
  opened: Opened | Failure,
  pinned: Era | undefined,
): Probed | Failure => {
  if (verdict.speaks !== 'stateless') {
    if (!('kind' in opened)) return { eras: ['stateful'], opened, unsure: verdict.speaks === 'unclear' }
    return verdict.speaks === 'other' || pinned === 'stateless'
      ? failed('server-down', `server/discover: ${verdict.why}`)
      : opened
  }
  const discovered = verdict.initialized
  if ('kind' in opened) {
    const unsure = pinned === undefined && opened.otherEra !== true
    return { eras: ['stateless'], discovered, unsure }
  }
  void closeSession(endpoint, opened.session)
  // Without a session it could not ask anything of a client: then translation serves stateful clients better.
  return opened.session.id === undefined
    ? { eras: ['stateless'], discovered, unsure: false }
    : { eras: ['stateful', 'stateless'], discovered, initialized: opened.initialized, unsure: false }
}
