/** Requests that one server answers: found in the routing table, given the server's own names, run, and the answer handed on. */
import type { RoutingTable, Row } from '../catalog/routing-table.ts'
import { resourceRow } from '../catalog/routing-table.ts'
import { verdictOn } from '../catalog/thing.ts'
import type { ClientState } from '../clients/client-session.ts'
import { completed } from '../mcp/completed.ts'
import { members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import type { Kind, MethodName } from '../mcp/methods.ts'
import type { Asker } from '../policy/asker.ts'
import { OWN_METHOD, type Verdict } from '../policy/judge.ts'
import { ask, withdrawn } from '../upstreams/questions.ts'
import { isListChanged, type Notification } from '../upstreams/server-message.ts'
import { forClient, forServer } from '../upstreams/task-names.ts'
import type { Outcome, Upstream, UpstreamCall } from '../upstreams/upstream.ts'
import type { BrokerRefusal } from './refusals.ts'
import type { Reply } from './reply.ts'

/** How long a cancelled call may still say something. */
const AFTER_CANCEL_MS = 1000

/** Where a request goes, the literal in it that has to change, and what allowed it. */
export interface Target {
  readonly row: Row
  readonly literal: Span
  readonly verdict: Allowed
}

/** Nothing there for whoever asks. `denied`: something is, and only records say so. */
export interface NoTarget {
  readonly refusal: BrokerRefusal
  readonly subject?: string
  readonly row?: Row
  readonly denied?: Denied
}

type Allowed = Extract<Verdict, { allowed: true }>
type Denied = Extract<Verdict, { allowed: false }>

/** Methods that a human can be asked about; about others nobody is asked, so that they are refused. */
const CONFIRMABLE: ReadonlySet<string> = new Set(Object.values(OWN_METHOD))

/** The row a request names, if whoever asks may use this method on it; otherwise why there is none. */
export const targetOf = (
  table: RoutingTable,
  asker: Asker,
  method: MethodName,
  message: Message,
  bytes: Buffer,
): Target | NoTarget => {
  const find = (
    kind: Kind,
    literal: Span | undefined,
    look: (name: string) => Row | undefined,
    refusal: BrokerRefusal,
  ): Target | NoTarget => {
    if (literal === undefined) return { refusal: 'bad-params' }
    const name = stringOf(bytes, literal)
    const row = look(name)
    if (row === undefined || (row.only ?? asker.era) !== asker.era) return { refusal, subject: name }
    const verdict = verdictOn(table.policy, asker, method, kind, row)
    if (!verdict.allowed) return { refusal, subject: name, row, denied: verdict }
    if (verdict.confirm && !CONFIRMABLE.has(method)) return { refusal: 'cannot-confirm', subject: method, row }
    return { row, literal, verdict }
  }
  const prompt = (name: string): Row | undefined => table.prompts.get(name)
  const resource = (uri: string): Row | undefined => resourceRow(table, uri)
  switch (method) {
    case 'tools/call':
      return find('tools', message.name, (name) => table.tools.get(name), 'unknown-tool')
    case 'prompts/get':
      return find('prompts', message.name, prompt, 'unknown-prompt')
    case 'completion/complete': {
      const ref = completed(message, bytes)
      return ref?.kind === 'resources'
        ? find(
            'resources',
            ref.at,
            (uri) => table.templates.find(({ exposed }) => exposed === uri) ?? resource(uri),
            'unknown-resource',
          )
        : find('prompts', ref?.at, prompt, 'unknown-prompt')
    }
    default:
      return find('resources', message.uri, resource, 'unknown-resource')
  }
}

/** Says so: of what is denied what is said of what does not exist, unless another token is all it takes. */
export const refuseTarget = (reply: Reply, id: string, method: MethodName, none: NoTarget): void => {
  const { refusal, subject, row, denied } = none
  if (row !== undefined) reply.names(row.server, method, row.own)
  if (denied?.scopes !== undefined)
    reply.refuse('insufficient-scope', id, { subject: denied.scopes.join(' '), scopes: denied.scopes })
  else
    reply.refuse(refusal, id, {
      ...(subject !== undefined && { subject }),
      ...(denied !== undefined && { recorded: 'denied' }),
    })
}

/** The request with the server's own name in it. */
export const withOwnName = (bytes: Buffer, { row, literal }: Pick<Target, 'row' | 'literal'>): Buffer =>
  row.own === stringOf(bytes, literal) ? bytes : replaceSpans(bytes, [{ span: literal, with: JSON.stringify(row.own) }])

/** Runs a call at an upstream and answers the client with what comes of it. */
export const runCall = async (
  upstream: Upstream,
  request: Pick<UpstreamCall, 'client' | 'method' | 'row' | 'id' | 'body' | 'progressToken'>,
  reply: Reply,
  run: (call: UpstreamCall) => Promise<Outcome>,
): Promise<Outcome> => {
  const { client, id } = request
  const ending = new AbortController()
  let questions = 0
  let cancelled = false
  const { name } = upstream.server
  const running = {
    server: name,
    send: (bytes: Buffer): boolean => {
      reply.message(bytes)
      return !reply.ended
    },
    cancel(notification: Buffer) {
      cancelled = true
      void upstream.tell(client, forServer(upstream, 'notifications/cancelled', notification))
      setTimeout(() => ending.abort(), AFTER_CANCEL_MS).unref()
    },
  }
  client.calls.set(id, running)
  reply.resumableBy(client)
  reply.onClose(() => ending.abort())
  const outcome = await run({
    ...request,
    signal: ending.signal,
    // For ever only while there is somebody who could answer.
    waiting: () => questions > 0 && !reply.forsaken,
    onResumable: (retryMs) => reply.prime(retryMs),
    onPolled: (retryMs) => reply.release(retryMs),
    onMessage(message) {
      if (message.kind === 'request') {
        questions++
        ask(upstream, client, message, running.send, () => questions--)
      } else hear(upstream, client, message, (bytes) => reply.message(bytes))
    },
  })
  if (client.calls.get(id) === running) client.calls.delete(id)
  if (outcome.kind === 'answered') {
    // Whatever the server's status, an answer goes on as it is; only its kind of body is bounded.
    reply.end(outcome.body, outcome.status, outcome.type)
  } else if (cancelled || ending.signal.aborted) reply.abandon()
  else reply.refuse(outcome.reason, id, { server: name, subject: `${name}: ${outcome.detail}` })
  return outcome
}

/** A notification of a server for one client. Changed lists are the gateway's to announce, once they are read. */
export const hear = (
  upstream: Upstream,
  client: ClientState,
  message: Notification,
  deliver: (bytes: Buffer) => void,
): void => {
  if (isListChanged(message.method)) upstream.refresh()
  else if (message.method === 'notifications/cancelled') {
    const bytes = withdrawn(client, upstream.server.name, message.bytes)
    if (bytes !== undefined) deliver(bytes)
  } else if (message.method === 'notifications/resources/updated') hearUpdate(upstream, client, message, deliver)
  else if (client.mayHearFrom(upstream.server.name)) deliver(forClient(upstream, message))
}

const hearUpdate = (
  { server }: Upstream,
  client: ClientState,
  { bytes, params }: Notification,
  deliver: (bytes: Buffer) => void,
): void => {
  const uri = params === undefined ? undefined : members(bytes, params).get('uri')
  const own = uri === undefined ? '' : stringOf(bytes, uri)
  const exposed = server.resources.prefix ? `${server.name}+${own}` : own
  if (!client.mayHearOf({ exposed, own, server: server.name, hints: '' })) return
  deliver(
    uri === undefined || exposed === own ? bytes : replaceSpans(bytes, [{ span: uri, with: JSON.stringify(exposed) }]),
  )
}
