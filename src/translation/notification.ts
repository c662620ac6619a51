/** A server's notifications as clients of the other era take them. */
import { members, stringOf } from '../mcp/json-text.ts'
import { META_SUBSCRIPTION_ID } from '../mcp/meta-keys.ts'
import { changeObject } from './object-edits.ts'

/** What a stateless request's stream does not carry: news has its own stream there, the rest is not of that era. */
const NOT_ON_A_REQUEST: ReadonlySet<string> = new Set([
  'notifications/cancelled',
  'notifications/elicitation/complete',
  'notifications/tasks/status',
  'notifications/resources/updated',
  'notifications/resources/list_changed',
  'notifications/prompts/list_changed',
  'notifications/tools/list_changed',
])

/**
 * A stateful server's, for the stream of a stateless client's request; undefined: nothing for that stream. `progressToken`
 * is raw JSON, the token of the client's latest request.
 */
export const statelessNotification = (
  bytes: Buffer,
  { progressToken }: { readonly progressToken?: string } = {},
): Buffer | undefined => {
  const method = methodOf(bytes)
  if (NOT_ON_A_REQUEST.has(method)) return undefined
  if (method !== 'notifications/progress' || progressToken === undefined) return bytes
  return changeObject(bytes, { params: { within: { progressToken } } })
}

/** About the stream that we opened, not about anything the client asked for. */
const ABOUT_LISTENING: ReadonlySet<string> = new Set([
  'notifications/cancelled',
  'notifications/subscriptions/acknowledged',
])

/** A stateless server's, for a stateful client; undefined: nothing that era knows. */
export const statefulNotification = (bytes: Buffer): Buffer | undefined =>
  ABOUT_LISTENING.has(methodOf(bytes))
    ? undefined
    : changeObject(bytes, { params: { within: { _meta: { within: { [META_SUBSCRIPTION_ID]: undefined } } } } })

const methodOf = (bytes: Buffer): string => {
  const method = members(bytes).get('method')
  return method === undefined ? '' : stringOf(bytes, method)
}
