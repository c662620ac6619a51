/** What is said on a subscriptions/listen stream: what the client wants to hear, and each message with the stream's id. */

import { elements, isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { META_SUBSCRIPTION_ID } from '../mcp/meta-keys.ts'
import type { Kind } from '../mcp/methods.ts'

/** What merged lists are announced as; templates change with resources. */
export const LIST_KINDS: readonly Kind[] = ['tools', 'prompts', 'resources']

/** What a client wants to hear of. URIs are exposed ones, each once. */
export interface ListenFilter {
  readonly kinds: readonly Kind[]
  readonly uris: readonly string[]
  /** Undefined: nothing was said about tasks. */
  readonly taskIds?: readonly string[] | undefined
}

/** Resources on one stream, and tasks; each may cost its server something. */
const MOST_URIS = 1000
const MOST_TASKS = 1000

const wanted = (kind: Kind): string => `${kind}ListChanged`

/** The filter of a listen request; otherwise what is wrong with it. */
export const parseListenFilter = (bytes: Buffer, params: Span | undefined): ListenFilter | { readonly why: string } => {
  const filter = params === undefined ? undefined : members(bytes, params).get('notifications')
  if (!isObject(bytes, filter)) return { why: 'notifications must be an object' }
  const said = members(bytes, filter)
  const kinds: Kind[] = []
  for (const kind of LIST_KINDS) {
    const span = said.get(wanted(kind))
    const text = span === undefined ? 'false' : textOf(bytes, span)
    if (text === 'true') kinds.push(kind)
    else if (text !== 'false') return { why: `${wanted(kind)} must be true or false` }
  }
  const uris = strings(bytes, said.get('resourceSubscriptions')) ?? []
  if (uris === 'no') return { why: 'resourceSubscriptions must be an array of URIs' }
  if (uris.length > MOST_URIS) return { why: `resourceSubscriptions may have ${MOST_URIS} URIs at most` }
  const taskIds = strings(bytes, said.get('taskIds'))
  if (taskIds === 'no') return { why: 'taskIds must be an array of strings' }
  if ((taskIds?.length ?? 0) > MOST_TASKS) return { why: `taskIds may have ${MOST_TASKS} ids at most` }
  return { kinds, uris, taskIds }
}

/** Each string of an array once; undefined: there is none; `no`: it is something else. */
const strings = (bytes: Buffer, array: Span | undefined): readonly string[] | 'no' | undefined => {
  if (array === undefined) return undefined
  const spans = elements(bytes, array)
  if (bytes[array.start] !== OPEN_ARRAY || spans.some(({ start }) => bytes[start] !== QUOTE)) return 'no'
  return [...new Set(spans.map((span) => stringOf(bytes, span)))]
}

const OPEN_ARRAY = 0x5b
const QUOTE = 0x22

/** `id` is the listen request's id as raw JSON: it marks every message of the stream, a number as a number. */
const notification = (id: string, method: string, params: string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","method":"notifications/${method}","params":{"_meta":${meta(id)}${params}}}`)
const meta = (id: string): string => `{"${META_SUBSCRIPTION_ID}":${id}}`

/** The first message: what of the filter will be honoured. */
export const acknowledged = (id: string, { kinds, uris, taskIds = [] }: ListenFilter): Buffer => {
  const honoured = {
    ...Object.fromEntries(kinds.map((kind) => [wanted(kind), true])),
    ...(uris.length > 0 && { resourceSubscriptions: uris }),
    ...(taskIds.length > 0 && { taskIds }),
  }
  return notification(id, 'subscriptions/acknowledged', `,"notifications":${JSON.stringify(honoured)}`)
}

export const listChanged = (id: string, kind: Kind): Buffer => notification(id, `${kind}/list_changed`, '')

export const resourceUpdated = (id: string, uri: string): Buffer =>
  notification(id, 'resources/updated', `,"uri":${JSON.stringify(uri)}`)

/** The result that ends the stream by the gateway's own doing. */
export const listenEnded = (id: string): string =>
  `{"jsonrpc":"2.0","id":${id},"result":{"resultType":"complete","_meta":${meta(id)}}}`
