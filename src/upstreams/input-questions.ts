/** Input that a stateless server wants, asked of a stateful client as requests of their own; the answers go back together. */

import type { ClientState } from '../clients/client-session.ts'
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Message } from '../mcp/message.ts'
import { serverRequestOf } from '../translation/input-request.ts'
import type { StatefulResponse } from '../translation/stateful-response.ts'
import { parseServerMessage } from './server-message.ts'
import type { UpstreamCall } from './upstream.ts'

/** One entry of `inputRequests`. */
export type Wanted = Extract<StatefulResponse, { kind: 'input' }>['requests'][number]

export interface InputQuestions {
  /** Asks for all at once. `responses` is the JSON text of `inputResponses`. */
  ask(
    call: UpstreamCall,
    wanted: readonly Wanted[],
    signal: AbortSignal,
  ): Promise<{ readonly responses: string } | { readonly refused: string }>
  /** Takes a client's response; false: it was asked nothing under that id. */
  answer(client: ClientState, message: Message, bytes: Buffer): boolean
}

type Answer = { readonly result: string } | { readonly refused: string }

export const inputQuestions = (nextId: () => string): InputQuestions => {
  const waiting = new Map<string, { readonly client: ClientState; readonly answered: (answer: Answer) => void }>()

  const askOne = (call: UpstreamCall, wanted: Wanted, signal: AbortSignal): Promise<Answer> =>
    new Promise((resolve) => {
      const id = nextId()
      const request = parseServerMessage(serverRequestOf(id, wanted))
      if (request?.kind !== 'request') {
        resolve({ refused: `the server's ${wanted.method} is not a request` })
        return
      }
      const answered = (answer: Answer): void => {
        waiting.delete(id)
        signal.removeEventListener('abort', withdraw)
        resolve(answer)
      }
      const withdraw = (): void => {
        answered({ refused: 'the call was ended' })
        const cancelled = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`
        const notice = parseServerMessage(Buffer.from(cancelled))
        if (notice?.kind === 'notification') call.onMessage(notice)
      }
      if (signal.aborted) {
        resolve({ refused: 'the call was ended' })
        return
      }
      signal.addEventListener('abort', withdraw)
      waiting.set(id, { client: call.client, answered })
      call.onMessage(request)
    })

  return {
    async ask(call, wanted, signal) {
      // One that is refused ends the call, so the others are not waited for.
      const enough = new AbortController()
      const either = AbortSignal.any([signal, enough.signal])
      let refused: string | undefined
      const answers = await Promise.all(
        wanted.map(async (one) => {
          const answer = await askOne(call, one, either)
          if ('result' in answer) return `${JSON.stringify(one.key)}:${answer.result}`
          refused ??= answer.refused
          enough.abort()
          return ''
        }),
      )
      return refused === undefined ? { responses: `{${answers.join(',')}}` } : { refused }
    },
    answer(client, message, bytes) {
      const asked = message.id === undefined ? undefined : waiting.get(message.id)
      if (asked === undefined || asked.client !== client) return false
      if (message.result !== undefined) asked.answered({ result: textOf(bytes, message.result) })
      else {
        const said = message.error === undefined ? undefined : members(bytes, message.error).get('message')
        asked.answered({ refused: `the client refused: ${said === undefined ? 'no reason' : stringOf(bytes, said)}` })
      }
      return true
    },
  }
}
