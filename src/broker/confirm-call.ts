/** Has a human confirm a stateful client's call: asked on the call's own stream, before anything of it goes to a server. */
import type { Row } from '../catalog/routing-table.ts'
import type { RunningCall } from '../clients/client-session.ts'
import { members, stringOf } from '../mcp/json-text.ts'
import type { MethodName } from '../mcp/methods.ts'
import { targetOf } from './calls.ts'
import { answerIn, confirmForm, type HumanAnswer, notConfirmed, showsForms } from './confirm-form.ts'
import type { Incoming } from './incoming.ts'

interface Asking extends Incoming {
  readonly id: string
  readonly method: MethodName<'stateful'>
}

/** No server has it, and no server's cancellation can name it: the gateway asks by itself. */
const NO_SERVER = ''
const NO_ID = '""'

/** True: a human agreed. Otherwise the client has its answer, or is gone. */
export const confirmCall = async (asking: Asking, row: Row): Promise<boolean> => {
  const { client, method, message, bytes, reply, id } = asking
  const { server } = row
  const form = confirmForm(method, row, message, bytes)
  if (form === undefined) {
    reply.refuse('confirmation-too-large', id, { server, subject: row.exposed })
    return false
  }
  const cannot = (subject: string): void =>
    reply.refuse('cannot-confirm', id, { server, subject, extra: { answer: 'unasked' } })
  const declared = Buffer.from(client.session.claims.capabilities)
  const elicitation = members(declared).get('elicitation')
  if (!showsForms(declared, elicitation)) {
    cannot(elicitation === undefined ? 'it does not declare elicitation' : 'it declares elicitation of URLs only')
    return false
  }
  const said = await ask(asking, form)
  const answer = said === 'accepted' && !(await isStill(asking, row)) ? 'changed' : said
  if (answer === 'accepted') reply.labels.confirmed = true
  else if (answer === 'gone') reply.abandon()
  else if (typeof answer === 'string') reply.refuse('not-confirmed', id, notConfirmed(row, answer))
  else cannot(answer.fault)
  return answer === 'accepted'
}

/** A human takes time, in which a registry or a server changes: what was agreed to must be what is done now, and allowed now. */
const isStill = async ({ context, caller, method, message, bytes }: Asking, row: Row): Promise<boolean> => {
  const { table } = await context.catalogueFor(caller)
  const now = targetOf(table, caller, method, message, bytes)
  return !('refusal' in now) && now.row.server === row.server && now.row.own === row.own
}

/** `gone`: the client, or its wish. */
type Asked = Exclude<HumanAnswer, 'changed'> | 'gone' | { readonly fault: string }

const ask = ({ context, client, reply, id }: Asking, params: string): Promise<Asked> =>
  new Promise((resolve) => {
    const settle = (answer: Asked): void => {
      clearTimeout(limit)
      if (asked !== undefined) client.questions.delete(asked)
      if (client.calls.get(id) === running) client.calls.delete(id)
      resolve(answer)
    }
    const withdraw = (reason: string): void =>
      reply.message(
        Buffer.from(
          `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${asked},"reason":${JSON.stringify(reason)}}}`,
        ),
      )
    const running: RunningCall = {
      server: NO_SERVER,
      send(bytes) {
        reply.message(bytes)
        return !reply.ended
      },
      cancel() {
        withdraw('the call was cancelled')
        settle('gone')
      },
    }
    const asked = client.ask({
      server: NO_SERVER,
      id: NO_ID,
      progressToken: undefined,
      answer: (response) => settle(answerOf(response)),
      withdraw: () => settle('gone'),
    })
    const limit = setTimeout(() => {
      withdraw('nobody answered in time')
      settle('timeout')
    }, context.confirmations.limitMs())
    limit.unref()
    if (asked === undefined) {
      settle({ fault: 'it has too many requests to answer already' })
      return
    }
    client.calls.set(id, running)
    reply.resumableBy(client)
    reply.onClose(() => settle('gone'))
    reply.message(Buffer.from(`{"jsonrpc":"2.0","id":${asked},"method":"elicitation/create","params":${params}}`))
    if (reply.ended) settle('gone')
  })

const answerOf = (response: Buffer): Asked => {
  const found = members(response)
  const error = found.get('error')
  if (error === undefined) return answerIn(response, found.get('result')) ?? { fault: 'its answer has no action' }
  const said = members(response, error).get('message')
  return { fault: `it refused to: ${said === undefined ? 'no reason' : stringOf(response, said)}` }
}
