/** One HTTP request's conversation with Envoy, as a pure step: what came, and what is due. */
import type { RoutingTable } from '../catalog/routing-table.ts'
import { clientName } from '../mcp/client-name.ts'
import type { Edge } from '../mcp/request-head.ts'
import { ANYBODY } from '../policy/principal.ts'
import type { ClientSession, SessionLookup } from '../sessions/session-table.ts'
import { type Asked, type Decision, decide, decideHead } from './decide.ts'
import { bodyMutation, type Circumstances, headMutation, metadata } from './mutation.ts'
import type { Principals } from './principals.ts'
import type { ProcessingRequest, ProcessingResponse } from './processing.ts'

/** What one exchange is judged by; the table is read once, when its head arrives. */
export interface Rules {
  readonly table: () => RoutingTable
  readonly sessions: SessionLookup
  readonly edge: Edge
  readonly brokerCluster: string
  /** Whether filters of the operator's own come next, which decide on what bodies say. */
  readonly everyBody: () => boolean
  readonly nameOf: (session: ClientSession) => string
  /** Asked while the policy wants everybody to have a token. */
  readonly principals: Principals
}

export type State =
  | { readonly at: 'start' }
  | {
      readonly at: 'body'
      readonly asked: Asked
      readonly table: RoutingTable
      readonly names: readonly string[]
      readonly circumstances: Circumstances
    }
  | { readonly at: 'done' }

/** `end`: Envoy will send nothing more. */
export type Event = ProcessingRequest | { readonly of: 'end' }

export type Effect =
  | { readonly do: 'answer'; readonly response: ProcessingResponse }
  /** The last due answer is given. Closing in order before that would let the request pass unprocessed. */
  | { readonly do: 'close' }
  /** Anything else ends the stream with a gRPC error, which Envoy turns into a 503. */
  | { readonly do: 'fail'; readonly why: string }
  /** So that a cancellation finds the server that runs the call. */
  | { readonly do: 'remember'; readonly session: ClientSession; readonly id: string; readonly server: string }
  | { readonly do: 'report'; readonly decision: Decision }

export type Step = readonly [State, readonly Effect[]]

export const start: State = { at: 'start' }
const done: State = { at: 'done' }
const close: Effect = { do: 'close' }

export const step = (state: State, event: Event, rules: Rules): Step => {
  if (state.at === 'done') return [done, []]
  if (state.at === 'start' && event.of === 'request_headers') return onHead(event, rules)
  if (state.at === 'body' && event.of === 'request_body') return onBody(state, event.body)
  // A local reply of a filter before us, such as a 413, begins with its response.
  if (state.at === 'start' && event.of === 'response_headers') {
    return [done, [{ do: 'answer', response: { to: 'response_headers' } }, close]]
  }
  return [done, [{ do: 'fail', why: `${event.of} while at ${state.at}` }]]
}

const onHead = (event: ProcessingRequest & { of: 'request_headers' }, rules: Rules): Step => {
  const { sessions, edge, brokerCluster } = rules
  const table = rules.table()
  const filtered = rules.everyBody()
  const principal = table.policy.authenticated ? rules.principals(event) : ANYBODY
  const sender = { principal, address: event.address }
  const decision = decideHead(event.head, sender, edge, sessions, table, filtered)
  const { era, asker } = decision
  const common = {
    brokerCluster,
    decisionId: event.requestId,
    era,
    view: asker?.view ?? '',
    subject: asker?.principal.subject ?? '',
    filtered,
  }
  if (decision.to === 'body' && !event.endOfStream) {
    const of = decision.era === 'stateful' ? decision.session : undefined
    const session = of === undefined ? '' : rules.nameOf(of)
    const client = of === undefined ? '' : clientName(of.claims.clientName, of.claims.clientVersion)
    const circumstances = { ...common, session, client }
    return [
      { at: 'body', asked: decision, table, names: event.names, circumstances },
      [{ do: 'answer', response: { to: 'request_headers', next: 'body' } }],
    ]
  }
  const circumstances = { ...common, session: '', client: '' }
  const response: ProcessingResponse = {
    to: 'request_headers',
    next: 'end',
    mutation: headMutation(circumstances),
    metadata: metadata(undefined, circumstances),
  }
  return [done, [{ do: 'answer', response }, close]]
}

const onBody = ({ asked, table, names, circumstances }: State & { at: 'body' }, body: Buffer): Step => {
  const decision = decide(table, asked, body)
  const response: ProcessingResponse = {
    to: 'request_body',
    mutation: bodyMutation(decision, names, circumstances),
    metadata: metadata(decision, circumstances),
  }
  const effects: Effect[] = [{ do: 'answer', response }, close, { do: 'report', decision }]
  // A stateless client cancels by closing its stream, which Envoy passes on.
  if (decision.to === 'server' && asked.era === 'stateful' && asked.session !== undefined) {
    effects.unshift({ do: 'remember', session: asked.session, id: decision.id, server: decision.server.name })
  }
  return [done, effects]
}
