/** Has a human confirm a stateless client's request: answered with the question first, and delivered when it comes back confirmed. */
import { isObject, members, replaceSpans, stringOf, textOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import { scan } from '../mcp/scan.ts'
import { type Confirmations, type ConfirmedCall, isConfirmation } from '../sessions/confirmation.ts'
import { objectEdits } from '../translation/object-edits.ts'
import type { Target as Judged } from './calls.ts'
import { answerIn, confirmForm, notConfirmed, showsForms } from './confirm-form.ts'
import { resultMeta } from './gateway-info.ts'
import type { StatelessIncoming } from './incoming.ts'
import { digestOf, type PooledRequest, stateOf } from './pooled-request.ts'

type Target = Pick<Judged, 'row' | 'literal'>

interface Confirming extends StatelessIncoming {
  readonly id: string
  readonly method: PooledRequest['method']
}

/** The question's key in `inputRequests`; a server's own questions never stand beside it. */
const KEY = 'mcp-gateway:confirm'

/** Whether a human was asked: their no counts also when the rule that wanted them asked is gone, and no server gets our state. */
export const answersConfirmation = ({ requestState }: Message, bytes: Buffer): boolean =>
  requestState !== undefined && isConfirmation(stringOf(bytes, requestState))

/** The request as the server is to get it, what names its row at its place in there; undefined: the client has its answer. */
export const confirmRequest = <Request extends Confirming>(
  request: Request,
  target: Target,
): { readonly request: Request; readonly target: Target } | undefined => {
  const { context, message, bytes, reply, id } = request
  const { row } = target
  reply.names(row.server, request.method, row.own)
  const call = callOf(request, target)
  const state = stateOf(request)
  if (state === undefined) return ask(request, target, call)
  const opened = context.confirmations.open(stringOf(bytes, state), call)
  switch (opened.is) {
    case 'invalid':
      reply.refuse('bad-request-state', id, { server: row.server })
      return undefined
    case 'late':
      reply.refuse('not-confirmed', id, notConfirmed(row, 'timeout'))
      return undefined
    case 'other':
      return ask(request, target, call)
    case 'confirmed':
      opened.use()
      return goOn(request, target, call, { requestState: opened.state })
    case 'asked': {
      const said = humanSaid(bytes, message.inputResponses)
      if (said === 'unanswered') return ask(request, target, call)
      if (said === undefined) {
        const subject = `inputResponses[${JSON.stringify(KEY)}] needs an action: accept, decline or cancel`
        reply.refuse('bad-params', id, { subject })
        return undefined
      }
      opened.use()
      // What else came with it was for no server: none has been asked anything yet.
      if (said === 'accepted')
        return goOn(request, target, call, { requestState: undefined, inputResponses: undefined })
      reply.refuse('not-confirmed', id, notConfirmed(row, said))
      return undefined
    }
    default:
      return opened satisfies never
  }
}

const callOf = ({ caller, method, message, bytes }: Confirming, { row, literal }: Target): ConfirmedCall => ({
  principal: caller.principal.key,
  view: caller.view,
  server: row.server,
  method,
  own: row.own,
  digest: digestOf(literal, message, bytes),
})

const humanSaid = (bytes: Buffer, responses: Span | undefined) => {
  const found = responses === undefined ? undefined : members(bytes, responses).get(KEY)
  return found === undefined ? ('unanswered' as const) : answerIn(bytes, found)
}

/** Answers with the question. */
const ask = (
  { context, method, message, bytes, reply, id }: Confirming,
  { row }: Target,
  call: ConfirmedCall,
): undefined => {
  const declared = message.metaClientCapabilities
  const form = confirmForm(method, row, message, bytes)
  if (form === undefined) reply.refuse('confirmation-too-large', id, { server: row.server, subject: row.exposed })
  else if (declared === undefined || !showsForms(bytes, members(bytes, declared).get('elicitation')))
    reply.refuse('missing-capability', id, {
      server: row.server,
      subject: 'elicitation.form, since a human has to confirm this',
      recorded: 'cannot-confirm',
      extra: { requiredCapabilities: { elicitation: { form: {} } } },
    })
  else {
    reply.labels.refused = { reason: 'not-confirmed-asked', letThrough: false }
    const question = `{${JSON.stringify(KEY)}:{"method":"elicitation/create","params":${form}}}`
    const state = JSON.stringify(context.confirmations.asked(call))
    reply.result(
      id,
      `{"resultType":"input_required","inputRequests":${question},"requestState":${state},"_meta":${resultMeta(context.version)}}`,
    )
  }
}

/** The request without what was between its client and us; if its server wants input in turn, the client need not be asked again. */
const goOn = <Request extends Confirming>(
  request: Request,
  { row }: Target,
  call: ConfirmedCall,
  changes: Readonly<Record<string, string | undefined>>,
): { readonly request: Request; readonly target: Target } => {
  const { context, method, reply } = request
  const { params } = request.message
  const bytes =
    params === undefined ? request.bytes : replaceSpans(request.bytes, objectEdits(request.bytes, params, changes))
  const scanned = scan(bytes)
  const literal = scanned.ok ? scanned.message[method === 'resources/read' ? 'uri' : 'name'] : undefined
  if (!scanned.ok || literal === undefined) throw new Error('a request is none any more without what was ours in it')
  reply.labels.confirmed = true
  reply.rewrite((answer) => onward(context.confirmations, call, answer))
  return { request: { ...request, message: scanned.message, bytes }, target: { row, literal } }
}

/** The server's state goes to the client within ours; what was confirmed once is not to be kept and shown again unasked. */
const onward = (confirmations: Confirmations, call: ConfirmedCall, answer: Buffer): Buffer => {
  const result = members(answer).get('result')
  if (!isObject(answer, result)) return answer
  const said = members(answer, result)
  const type = said.get('resultType')
  if (type !== undefined && stringOf(answer, type) === 'input_required') {
    const state = said.get('requestState')
    const ours = confirmations.confirmed(call, state === undefined ? undefined : textOf(answer, state))
    return replaceSpans(answer, objectEdits(answer, result, { requestState: JSON.stringify(ours) }))
  }
  return said.has('ttlMs')
    ? replaceSpans(answer, objectEdits(answer, result, { ttlMs: '0', cacheScope: '"private"' }))
    : answer
}
