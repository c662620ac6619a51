/** Every method a client may send: in which era, who answers it, what it is looked up by, and whether it may go direct. */
import type { Era } from './versions.ts'

/** What a request names. */
export type Kind = 'tools' | 'prompts' | 'resources'

/**
 * `gateway`: we answer alone. `one`: a single server, found by `key`. `all`: every server is asked and the answers are
 * merged. `every`: every server is told, and the answer is ours. `own`: the servers where the client has something are
 * asked, and the answers merged.
 */
export type Method = { readonly sent: 'request' | 'notification'; readonly eras: readonly Era[] } & (
  | { readonly by: 'gateway' }
  | { readonly by: 'one'; readonly key: Key; readonly kind?: Kind; readonly direct: boolean }
  | { readonly by: 'all' }
  | { readonly by: 'every' }
  | { readonly by: 'own' }
)

/**
 * The member of `params` that leads to the server. `requestId` and `progressToken` lead to the server that runs or asked,
 * `taskId` to the one that has the task.
 */
export type Key = 'name' | 'uri' | 'ref' | 'requestId' | 'progressToken' | 'taskId'

const stateful = ['stateful'] as const
const stateless = ['stateless'] as const
const both = ['stateful', 'stateless'] as const

const gateway = <E extends readonly Era[]>(eras: E) => ({ by: 'gateway', sent: 'request', eras }) as const
const all = () => ({ by: 'all', sent: 'request', eras: both }) as const
const one = <E extends readonly Era[], K extends Key>(eras: E, key: K) =>
  ({ by: 'one', sent: 'request', eras, key, direct: false }) as const
/** A single server's work alone: it may bypass the broker. */
const direct = <K extends Key, N extends Kind>(key: K, kind: N) =>
  ({ by: 'one', sent: 'request', eras: both, key, kind, direct: true }) as const
const about = <E extends readonly Era[], K extends Key>(eras: E, key: K) =>
  ({ by: 'one', sent: 'notification', eras, key, direct: false }) as const

export const methods = {
  initialize: gateway(stateful),
  ping: gateway(stateful),
  'server/discover': gateway(stateless),
  'tools/list': all(),
  'tools/call': direct('name', 'tools'),
  'prompts/list': all(),
  'prompts/get': direct('name', 'prompts'),
  'resources/list': all(),
  'resources/templates/list': all(),
  'resources/read': direct('uri', 'resources'),
  'resources/subscribe': one(stateful, 'uri'),
  'resources/unsubscribe': one(stateful, 'uri'),
  'completion/complete': one(both, 'ref'),
  'logging/setLevel': { by: 'every', sent: 'request', eras: stateful },
  'subscriptions/listen': gateway(stateless),
  'tasks/get': one(both, 'taskId'),
  'tasks/cancel': one(both, 'taskId'),
  'tasks/result': one(stateful, 'taskId'),
  'tasks/list': { by: 'own', sent: 'request', eras: stateful },
  'tasks/update': one(stateless, 'taskId'),
  'notifications/initialized': { by: 'gateway', sent: 'notification', eras: stateful },
  'notifications/cancelled': about(both, 'requestId'),
  'notifications/progress': about(stateful, 'progressToken'),
  'notifications/roots/list_changed': { by: 'every', sent: 'notification', eras: stateful },
} as const satisfies Record<string, Method>

/** The methods of one era, or of any. */
export type MethodName<E extends Era = Era> = {
  [Name in keyof typeof methods]: E extends (typeof methods)[Name]['eras'][number] ? Name : never
}[keyof typeof methods]

/** The methods of one row kind, so that another table can be proved complete: `satisfies Record<MethodAnsweredBy<'all'>, …>`. */
export type MethodAnsweredBy<By extends Method['by']> = {
  [Name in MethodName]: (typeof methods)[Name] extends { readonly by: By } ? Name : never
}[MethodName]

/** The methods that may go direct. */
export type DirectMethod = {
  [Name in MethodName]: (typeof methods)[Name] extends { readonly direct: true } ? Name : never
}[MethodName]

/** `__proto__` is not a method. */
export const isMethod = (name: string): name is MethodName => Object.hasOwn(methods, name)

/** Whether clients of this era may send it. */
export const isMethodOf = <E extends Era>(era: E, name: string): name is MethodName<E> => {
  if (!isMethod(name)) return false
  const { eras }: Method = methods[name]
  return eras.includes(era)
}

export const isDirect = (name: string): name is DirectMethod => {
  if (!isMethod(name)) return false
  const method: Method = methods[name]
  return method.by === 'one' && method.direct
}
