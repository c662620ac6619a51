/** What a server asks of a client, in the one era a request of its own, in the other a part of a result; and the answer back. */
import { type Edit, elements, isObject, members, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { type Changes, changeObject, objectEdits } from './object-edits.ts'
import { blockType, structuredChanges } from './structured-content.ts'
import { toolEdits } from './tool.ts'

/** One entry of `inputRequests`; `json` is `{"method":…,"params":…}`. */
export interface InputRequest {
  readonly method: string
  readonly json: string
}

/** A stateful server's request, as an entry of `inputRequests`: without its id and whatever needs a connection to be of use. */
export const inputRequestOf = (question: Buffer): InputRequest => {
  const found = members(question)
  const method = found.get('method')
  return inputRequest(method === undefined ? '' : stringOf(question, method), question, found.get('params'))
}

/** The same from the parts; `changes` are made to the parameters too. */
export const inputRequest = (
  method: string,
  bytes: Buffer,
  params: Span | undefined,
  changes: Changes = {},
): InputRequest => {
  const kept =
    params === undefined
      ? undefined
      : changeObject(bytes.subarray(params.start, params.end), {
          elicitationId: undefined,
          task: undefined,
          _meta: { within: { progressToken: undefined } },
          ...changes,
        })
  return {
    method,
    json: `{"method":${JSON.stringify(method)}${kept === undefined ? '' : `,"params":${kept.toString('utf8')}`}}`,
  }
}

/** The response to a stateful server's request with this raw id, from the client's entry in `inputResponses`. */
export const answerOf = (id: string, rawResult: string | Buffer): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":${rawResult.toString()}}`)

/**
 * An entry of a stateless server's `inputRequests`, as a request with this raw id. A URL to visit gets an id of its own from
 * it, because stateful clients insist on one; nobody ever tells them that it is done.
 */
export const serverRequestOf = (
  id: string,
  { method, params }: { readonly method: string; readonly params: string },
): Buffer => {
  const bytes = Buffer.from(params)
  const kept = replaceSpans(bytes, [
    ...objectEdits(bytes, whole(bytes), {
      ...(asksForUrl(bytes) ? { elicitationId: id.startsWith('"') ? id : JSON.stringify(id) } : {}),
      _meta: { within: { progressToken: undefined } },
    }),
    ...(method === 'sampling/createMessage' ? samplingEdits(bytes) : []),
  ])
  return Buffer.from(
    `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${kept.toString('utf8')}}`,
  )
}

const whole = (bytes: Buffer): Span => ({ start: 0, end: bytes.length })

const asksForUrl = (params: Buffer): boolean => {
  const found = members(params)
  const mode = found.get('mode')
  return mode !== undefined && stringOf(params, mode) === 'url' && !found.has('elicitationId')
}

/** What tools offered to the model, and results of tools among its messages, may not have in the stateful era. */
const samplingEdits = (params: Buffer): readonly Edit[] => {
  const found = members(params)
  const tools = found.get('tools')
  const messages = found.get('messages')
  return [
    ...(tools === undefined ? [] : elements(params, tools).flatMap((tool) => toolEdits(params, tool))),
    ...(messages === undefined ? [] : elements(params, messages))
      .flatMap((message) => {
        const content = members(params, message).get('content')
        if (content === undefined) return []
        return isObject(params, content) ? [content] : elements(params, content)
      })
      .filter((block) => blockType(params, block) === 'tool_result')
      .flatMap((block) => objectEdits(params, block, structuredChanges(params, block))),
  ]
}
