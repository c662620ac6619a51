/** A stateful server's response as a stateless client takes it. */
import { elements, isObject, members, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { META_SERVER_INFO } from '../mcp/meta-keys.ts'
import type { MethodName } from '../mcp/methods.ts'
import { type InputRequest, inputRequest } from './input-request.ts'
import { type Changes, changeResponse } from './object-edits.ts'
import { asServerError, readError } from './rpc-error.ts'
import { isCacheable, mayNeedInput } from './stateless-methods.ts'

export type StatelessResponse =
  | { readonly kind: 'response'; readonly bytes: Buffer }
  /** The server wants URLs visited first, and the call sent anew afterwards. */
  | { readonly kind: 'input'; readonly requests: readonly InputRequest[] }
  | { readonly kind: 'invalid'; readonly why: string }

export interface StatelessResponseOptions {
  /** Raw JSON. */
  readonly id: string
  /** Raw JSON; where the server did not say so itself. */
  readonly serverInfo: string
  /** Undefined: nobody said anything, so nothing may be kept. */
  readonly caching: { readonly ttlMs: number; readonly scope: 'private' | 'public' } | undefined
  /** Put before the messages of requests made here, as before those that the server makes itself. */
  readonly label?: string
}

export const statelessResponse = (
  method: MethodName,
  response: Buffer,
  o: StatelessResponseOptions,
): StatelessResponse => {
  const found = members(response)
  const result = found.get('result')
  const error = found.get('error')
  if (result !== undefined && error === undefined) return completed(method, response, result, o)
  if (error !== undefined && result === undefined) return failed(method, response, error, o)
  return { kind: 'invalid', why: 'its response does not have either a result or an error' }
}

const completed = (
  method: MethodName,
  response: Buffer,
  result: Span,
  { id, serverInfo, caching = { ttlMs: 0, scope: 'private' } }: StatelessResponseOptions,
): StatelessResponse => {
  if (!isObject(response, result)) return { kind: 'invalid', why: 'its result is not an object' }
  const meta = members(response, result).get('_meta')
  const introduced = isObject(response, meta) && members(response, meta).has(META_SERVER_INFO)
  return answer(response, id, result, {
    resultType: '"complete"',
    ...(isCacheable(method) ? { ttlMs: String(caching.ttlMs), cacheScope: `"${caching.scope}"` } : {}),
    ...(introduced ? {} : { _meta: { within: { [META_SERVER_INFO]: serverInfo } } }),
  })
}

const RESOURCE_NOT_FOUND = -32002
const URL_ELICITATION_REQUIRED = -32042

const failed = (
  method: MethodName,
  response: Buffer,
  error: Span,
  { id, label = '' }: StatelessResponseOptions,
): StatelessResponse => {
  const read = readError(response, error)
  if (read === undefined) return { kind: 'invalid', why: 'its error has no code' }
  if (read.code === URL_ELICITATION_REQUIRED && mayNeedInput(method)) {
    const requests = urlRequests(response, read.data, label)
    if (requests !== undefined) return { kind: 'input', requests }
  }
  if (read.code === RESOURCE_NOT_FOUND) return answer(response, id, error, { code: '-32602' })
  // Of this range a stateless client knows what its own revision has put there, and nothing else.
  const reserved = read.code <= -32000 && read.code >= -32099
  return answer(response, id, error, reserved ? asServerError(response, read) : {})
}

const answer = (response: Buffer, id: string, object: Span, changes: Changes): StatelessResponse => ({
  kind: 'response',
  bytes: changeResponse(response, id, object, changes),
})

/** The elicitations in the data of the error; undefined when that is not what they are. */
const urlRequests = (bytes: Buffer, data: Span | undefined, label: string): readonly InputRequest[] | undefined => {
  const list = data === undefined ? undefined : members(bytes, data).get('elicitations')
  const spans = list === undefined ? [] : elements(bytes, list)
  const requests = spans.flatMap((params) => {
    const found = members(bytes, params)
    const said = (key: string): string => {
      const span = found.get(key)
      return span === undefined ? '' : stringOf(bytes, span)
    }
    return said('mode') === 'url' && said('url') !== ''
      ? [inputRequest('elicitation/create', bytes, params, { message: JSON.stringify(label + said('message')) })]
      : []
  })
  return requests.length > 0 && requests.length === spans.length ? requests : undefined
}
