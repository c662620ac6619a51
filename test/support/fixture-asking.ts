/** Tools and prompts of the fixture that ask the client: written once, as `input_required` results, which the SDK pushes in the stateful era. */

import type { InputRequest, InputRequiredResult, InputResponseView, ServerContext } from '@modelcontextprotocol/server'
import { createRequestStateCodec, inputRequired, inputResponse } from '@modelcontextprotocol/server'

/** Seals what a tool wants to know again on the next round. */
export const sealed = createRequestStateCodec<{ readonly name: string }>({ key: 'a key that only this fixture knows' })

type Kind = Exclude<InputResponseView['kind'], 'missing'>

/** One thing to ask for, and the kind of answer that will do. */
export interface Question {
  readonly kind: Kind
  readonly request: InputRequest
}

export const form = (message: string, requestedSchema: Parameters<typeof inputRequired.elicit>[0]['requestedSchema']) =>
  ({ kind: 'elicit', request: inputRequired.elicit({ message, requestedSchema }) }) as const

/** A form of one field. */
export const field = (message: string, name: string, type: 'string' | 'boolean' = 'string') =>
  form(message, { type: 'object', properties: { [name]: type === 'string' ? { type } : { type } }, required: [name] })

export const completion = (text: string, maxTokens = 100) => {
  const messages = [{ role: 'user' as const, content: { type: 'text' as const, text } }]
  return { kind: 'sampling', request: inputRequired.createMessage({ messages, maxTokens }) } as const
}

export const roots = { kind: 'roots', request: inputRequired.listRoots() } as const

/** The answers by the questions' keys, or the result that asks for those that are missing or make no sense. */
export const answersTo = (
  questions: Readonly<Record<string, Question>>,
  { mcpReq: { inputResponses } }: ServerContext,
  requestState?: string,
): { readonly answers: Readonly<Record<string, InputResponseView>> } | { readonly asks: InputRequiredResult } => {
  const answers: Record<string, InputResponseView> = {}
  const inputRequests: Record<string, InputRequest> = {}
  for (const [key, { kind, request }] of Object.entries(questions)) {
    const view = inputResponse(inputResponses, key)
    if (view.kind === kind) answers[key] = view
    else inputRequests[key] = request
  }
  if (Object.keys(inputRequests).length === 0) return { answers }
  return { asks: inputRequired({ inputRequests, ...(requestState === undefined ? {} : { requestState }) }) }
}

/** What the user or the model said, in words. */
export const inWords = (view: InputResponseView | undefined): string => {
  switch (view?.kind) {
    case 'elicit':
      return `action=${view.action}, content=${JSON.stringify(view.content ?? {})}`
    case 'sampling': {
      const [block] = [view.result.content].flat()
      return block?.type === 'text' ? block.text : JSON.stringify(view.result.content)
    }
    case 'roots':
      return view.roots.map(({ uri }) => uri).join(', ')
    case 'missing':
    case undefined:
      return 'nothing'
    default:
      return view satisfies never
  }
}
