/** A stateless server's response as a stateful client takes it. */
import { entries, isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { META_SERVER_INFO } from '../mcp/meta-keys.ts'
import type { MethodName } from '../mcp/methods.ts'
import { type Changes, changeResponse } from './object-edits.ts'
import { asServerError, type RpcError, readError } from './rpc-error.ts'
import { mayNeedInput } from './stateless-methods.ts'
import { structuredChanges } from './structured-content.ts'

export type StatefulResponse =
  | { readonly kind: 'response'; readonly bytes: Buffer }
  /** The server wants these answered, and the request sent again. `requestState` is raw JSON, to be sent back as it is. */
  | { readonly kind: 'input'; readonly requests: readonly WantedInput[]; readonly requestState: string | undefined }
  | { readonly kind: 'invalid'; readonly why: string }

/** One entry of `inputRequests`; `params` is raw JSON, `{}` where there is none. */
export interface WantedInput {
  readonly key: string
  readonly method: string
  readonly params: string
}

/** `o.id` is raw JSON. */
export const statefulResponse = (
  method: MethodName,
  response: Buffer,
  { id }: { readonly id: string },
): StatefulResponse => {
  const found = members(response)
  const result = found.get('result')
  const error = found.get('error')
  if (result !== undefined && error === undefined) return succeeded(method, response, result, id)
  if (error !== undefined && result === undefined) return failed(method, response, error, id)
  return invalid('its response does not have either a result or an error')
}

const invalid = (why: string): StatefulResponse => ({ kind: 'invalid', why })

const answer = (response: Buffer, id: string, object: Span, changes: Changes): StatefulResponse => ({
  kind: 'response',
  bytes: changeResponse(response, id, object, changes),
})

const succeeded = (method: MethodName, response: Buffer, result: Span, id: string): StatefulResponse => {
  if (!isObject(response, result)) return invalid('its result is not an object')
  const type = members(response, result).get('resultType')
  switch (type === undefined ? 'complete' : stringOf(response, type)) {
    case 'complete':
      return answer(response, id, result, {
        resultType: undefined,
        ttlMs: undefined,
        cacheScope: undefined,
        _meta: { within: { [META_SERVER_INFO]: undefined } },
        ...(method === 'tools/call' ? structuredChanges(response, result) : {}),
      })
    case 'input_required':
      return mayNeedInput(method) ? wanted(response, result) : invalid(`it wants input for ${method}`)
    default:
      return invalid(`its result is of an unknown type${type === undefined ? '' : `, ${textOf(response, type)}`}`)
  }
}

const ASKABLE: ReadonlySet<string> = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list'])

const wanted = (bytes: Buffer, result: Span): StatefulResponse => {
  const found = members(bytes, result)
  const list = found.get('inputRequests')
  const state = found.get('requestState')
  if (list === undefined && state === undefined) return invalid('it wants input and does not say which')
  if (list !== undefined && !isObject(bytes, list)) return invalid('its inputRequests are not an object')
  if (state !== undefined && bytes[state.start] !== QUOTE) return invalid('its requestState is not a string')
  const requests =
    list === undefined ? [] : entries(bytes, list).map(({ key, value }) => wantedInput(bytes, key, value))
  const keys = new Set(requests.map(({ key }) => key))
  const bad = requests.find(({ method, params }) => !ASKABLE.has(method) || !params.startsWith('{'))
  if (bad !== undefined) return invalid(`its input request ${JSON.stringify(bad.key)} is not one of this revision`)
  if (keys.size < requests.length) return invalid('two of its input requests have the same key')
  return { kind: 'input', requests, requestState: state === undefined ? undefined : textOf(bytes, state) }
}

const QUOTE = 0x22

const wantedInput = (bytes: Buffer, key: string, request: Span): WantedInput => {
  const found = members(bytes, request)
  const name = found.get('method')
  const params = found.get('params')
  const method = name === undefined ? '' : stringOf(bytes, name)
  const none = method === 'roots/list' ? '{}' : '' // the one that may come without
  return { key, method, params: params === undefined ? none : textOf(bytes, params) }
}

const INVALID_PARAMS = -32602

const failed = (method: MethodName, response: Buffer, error: Span, id: string): StatefulResponse => {
  const read = readError(response, error)
  if (read === undefined) return invalid('its error has no code')
  if (read.code === INVALID_PARAMS && method === 'resources/read')
    return answer(response, id, error, { code: '-32002' })
  const words = ownWords(response, read)
  if (words === undefined) return answer(response, id, error, {})
  const message = JSON.stringify(`${words}: ${read.message}`)
  return answer(response, id, error, { ...asServerError(response, read), message })
}

/** What the codes mean that only the stateless era has. The request was the gateway's, so the client cannot mend it. */
const ownWords = (bytes: Buffer, { code, data }: RpcError): string | undefined => {
  switch (code) {
    case -32020:
      return 'the server did not accept the headers of the request'
    case -32021:
      return `the server needs ${missing(bytes, data)}, which the client did not declare or the gateway does not let it use`
    case -32022:
      return 'the server does not speak the revision of the request'
    default:
      return undefined
  }
}

/** The capabilities in `requiredCapabilities`, such as `elicitation` and `sampling`. */
const missing = (bytes: Buffer, data: Span | undefined): string => {
  const required = data === undefined ? undefined : members(bytes, data).get('requiredCapabilities')
  const names = required === undefined ? [] : [...members(bytes, required).keys()]
  return names.length === 0 ? 'a capability' : `the capability ${names.join(' and ')}`
}
