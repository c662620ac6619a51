/** One message from a server: its parts as spans, its bytes untouched. */
import { members, replaceSpans, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { scan } from '../mcp/scan.ts'

/** `bytes` is the whole message. */
export type ServerMessage =
  | { readonly kind: 'response'; readonly id: string | undefined; readonly bytes: Buffer }
  | (ServerRequest & { readonly kind: 'request' })
  | Notification

/** What a server tells. */
export interface Notification {
  readonly kind: 'notification'
  readonly method: string
  readonly bytes: Buffer
  readonly params: Span | undefined
  /** `params.progressToken`. */
  readonly progressToken: Span | undefined
}

/** What a server wants of a client. `id` is raw JSON text. */
export interface ServerRequest {
  readonly id: string
  readonly method: string
  readonly bytes: Buffer
  readonly params: Span | undefined
  readonly metaProgressToken: Span | undefined
}

/**
 * The message in `bytes`; undefined when it is none. What a client would act on (requests, notifications) is read as
 * strictly as clients' own requests are; a response only has to be JSON, since it is handed on unread.
 */
export const parseServerMessage = (bytes: Buffer): ServerMessage | undefined => {
  const scanned = scan(bytes)
  if (!scanned.ok) return lenientResponse(bytes)
  const { kind, id, method, params, progressToken, metaProgressToken } = scanned.message
  if (kind === 'response') return { kind, id, bytes }
  if (method === undefined) return undefined
  if (kind === 'notification' || id === undefined) return { kind: 'notification', method, bytes, params, progressToken }
  return { kind, id, method, bytes, params, metaProgressToken }
}

/** The same progress under another token; `text` is raw JSON. */
export const underToken = (message: Notification, token: Span, text: string): Notification => {
  const bytes = replaceSpans(message.bytes, [{ span: token, with: text }])
  const progressToken = { start: token.start, end: token.start + Buffer.byteLength(text) }
  return { ...message, bytes, params: members(bytes).get('params'), progressToken }
}

const lenientResponse = (bytes: Buffer): ServerMessage | undefined => {
  try {
    JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
  const found = members(bytes)
  const id = found.get('id')
  if (found.has('method') || !(found.has('result') || found.has('error'))) return undefined
  return { kind: 'response', id: id === undefined ? undefined : textOf(bytes, id), bytes }
}

/** The result or error of a response. */
export const resultOf = (response: Buffer): { readonly result: Span } | { readonly error: string } => {
  const found = members(response)
  const result = found.get('result')
  if (result !== undefined) return { result }
  const error = found.get('error')
  const message = error === undefined ? undefined : members(response, error).get('message')
  return { error: message === undefined ? 'no result' : stringOf(response, message) }
}

/** Whether a notification says that a list changed. */
export const isListChanged = (method: string): boolean =>
  /^notifications\/(tools|prompts|resources)\/list_changed$/.test(method)

/** `params.uri` of a notification. */
export const updatedUri = ({ bytes, params }: Notification): string | undefined => {
  const uri = params === undefined ? undefined : members(bytes, params).get('uri')
  return uri === undefined ? undefined : stringOf(bytes, uri)
}
