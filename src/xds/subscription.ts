/** One Envoy's ADS stream (incremental, all types) as a pure function: (state, event) → [state, effects]. */
import { flush, without } from './delivery.ts'
import { type Doubt, type Lesson, learn, noVerdicts } from './quarantine.ts'
import type { Entry } from './snapshot.ts'
import type { DeltaRequest, Effect, Event, Stream, Subscription } from './stream.ts'

/** No hash looks like it. */
const UNKNOWN = 'unknown'

export const newStream: Stream = { envoy: '', verdicts: noVerdicts, types: new Map(), responses: 0 }

const newSubscription = (request: DeltaRequest, doubts: ReadonlyMap<string, Doubt>): Subscription => {
  const names = request.subscribe.filter((name) => name !== '*')
  // Only clusters and listeners are asked for without names (the specification's legacy wildcard).
  const wildcard = request.subscribe.length === 0 || request.subscribe.includes('*')
  const wanted = ([name]: readonly [string, unknown]) => wildcard || names.includes(name)
  const known = [...doubts].filter(wanted)
  // What a lost response did is unknown: its names count as held, at no version that could be right.
  const lost = known.filter(([, why]) => why === 'unanswered').map(([name]) => [name, UNKNOWN] as const)
  return {
    wildcard,
    names: new Set(names),
    held: new Map([...[...request.initialVersions].filter(wanted), ...lost]),
    doubt: new Set(known.filter(([, why]) => why === 'refused').map(([name]) => name)),
    owed: new Set(names.filter((name) => !request.initialVersions.has(name))),
    stuck: new Set(),
    ungreeted: request.initialVersions.size === 0,
    pushes: 0,
    acks: 0,
    nacks: 0,
  }
}

/** A later request of a type: names come and go. Subscribing again asks for the resource again. */
const resubscribed = (subscription: Subscription, request: DeltaRequest): Subscription => {
  const added = request.subscribe.filter((name) => name !== '*')
  const dropped = request.unsubscribe.filter((name) => name !== '*')
  const wildcard = (subscription.wildcard || request.subscribe.includes('*')) && !request.unsubscribe.includes('*')
  const names = new Set([...without(subscription.names, dropped), ...added])
  const keeps = (name: string) => wildcard || names.has(name)
  return {
    ...subscription,
    wildcard,
    names,
    held: new Map([...subscription.held].filter(([name]) => keeps(name))),
    doubt: new Set([...subscription.doubt].filter(keeps)),
    // Whoever drops a name but still has the wildcard must be told what the wildcard says about it.
    owed: new Set([...subscription.owed, ...added, ...dropped].filter(keeps)),
  }
}

const acknowledged = (subscription: Subscription): readonly [Subscription, ReadonlyMap<string, Entry | undefined>] => {
  const { inFlight, ...rest } = subscription
  const sent = inFlight?.sent ?? new Map<string, Entry | undefined>()
  const held = new Map(subscription.held)
  for (const [name, entry] of sent) {
    if (entry === undefined) held.delete(name)
    else if (subscription.wildcard || subscription.names.has(name)) held.set(name, entry.version)
  }
  const [doubt, stuck] = [without(rest.doubt, sent.keys()), without(rest.stuck, sent.keys())]
  return [{ ...rest, held, doubt, stuck, acks: rest.acks + 1 }, sent]
}

/** One name: it is the culprit. Several: nobody knows, and Envoy may have applied some of them. */
const refused = (
  type: string,
  subscription: Subscription,
  message: string,
): readonly [Subscription, readonly Lesson[]] => {
  const { inFlight, ...rest } = subscription
  const sent = [...(inFlight?.sent ?? [])]
  const names = new Set(sent.map(([name]) => name))
  const doubtful = { ...rest, nacks: rest.nacks + 1, doubt: new Set([...rest.doubt, ...names]) }
  const [only] = sent
  if (only === undefined || sent.length > 1) return [doubtful, [{ kind: 'doubted', type, names, why: 'refused' }]]
  const [name, entry] = only
  return entry === undefined
    ? [{ ...doubtful, stuck: new Set([...rest.stuck, name]) }, [{ kind: 'refused', type, name, message }]]
    : [doubtful, [{ kind: 'refused', type, name, entry, message }]]
}

const answered = (stream: Stream, request: DeltaRequest): readonly [Stream, readonly Lesson[]] => {
  const { type, nonce, error } = request
  const known = stream.types.get(type)
  const put = (subscription: Subscription): Stream => ({
    ...stream,
    types: new Map(stream.types).set(type, subscription),
  })
  if (known === undefined) {
    const first = newSubscription(request, stream.verdicts.doubts.get(`${stream.envoy} ${type}`) ?? new Map())
    const entries = stream.snapshot?.types.get(type) ?? new Map<string, Entry>()
    const current = [...entries].filter(
      ([name, { version }]) => first.held.get(name) === version && !first.doubt.has(name),
    )
    return [put(first), current.length === 0 ? [] : [{ kind: 'accepted', type, names: new Map(current) }]]
  }
  const subscription = resubscribed(known, request)
  // A nonce of an earlier response says nothing about the one under way.
  if (nonce === '' || nonce !== subscription.inFlight?.nonce) return [put(subscription), []]
  if (error !== undefined) {
    const [after, lessons] = refused(type, subscription, error)
    return [put(after), lessons]
  }
  const [after, names] = acknowledged(subscription)
  return [put(after), names.size === 0 ? [] : [{ kind: 'accepted', type, names }]]
}

/** One event on one stream. Lessons among the effects are meant for the other streams; this one has drawn them already. */
export const step = (stream: Stream, event: Event): readonly [Stream, readonly Effect[]] => {
  switch (event.kind) {
    case 'publish':
      return flush({ ...stream, snapshot: event.snapshot, verdicts: event.verdicts })
    case 'request': {
      const { envoy } = event.request
      const [after, lessons] = answered(envoy === undefined ? stream : { ...stream, envoy }, event.request)
      const verdicts = lessons.reduce((known, lesson) => learn(known, after.envoy, lesson), after.verdicts)
      const [state, effects] = flush({ ...after, verdicts })
      return [state, [...lessons, ...effects]]
    }
    default:
      return event satisfies never
  }
}

/** What the end of a stream leaves open, for the next stream of the same Envoy. */
export const unanswered = ({ types }: Stream): readonly Lesson[] =>
  [...types].flatMap(([type, { inFlight }]) =>
    inFlight === undefined
      ? []
      : [{ kind: 'doubted' as const, type, names: new Set(inFlight.sent.keys()), why: 'unanswered' as const }],
  )
