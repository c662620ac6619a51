/** Every stateful method a client may send: who answers it, what it is looked up by, and whether it may go direct. */

/** What a request names. */
export type Kind = 'tools' | 'prompts' | 'resources'

/**
 * `gateway`: we answer alone. `one`: a single server, found by `key`. `all`: every server is asked and the answers are
 * merged. `every`: every server is told, and the answer is ours.
 */
export type Method =
  | { readonly by: 'gateway'; readonly sent: Sent }
  | { readonly by: 'one'; readonly sent: Sent; readonly key: Key; readonly kind?: Kind; readonly direct: boolean }
  | { readonly by: 'all'; readonly sent: Sent }
  | { readonly by: 'every'; readonly sent: Sent }

type Sent = 'request' | 'notification'

/** The member of `params` that leads to the server. `requestId` and `progressToken` lead to the server that runs or asked. */
export type Key = 'name' | 'uri' | 'ref' | 'requestId' | 'progressToken'

const gateway = <S extends Sent>(sent: S) => ({ by: 'gateway', sent }) as const
const all = () => ({ by: 'all', sent: 'request' }) as const
const every = <S extends Sent>(sent: S) => ({ by: 'every', sent }) as const
const one = <K extends Key>(key: K) => ({ by: 'one', sent: 'request', key, direct: false }) as const
const about = <K extends Key>(key: K) => ({ by: 'one', sent: 'notification', key, direct: false }) as const
/** A single server's work alone: it may bypass the broker. */
const direct = <K extends Key, N extends Kind>(key: K, kind: N) =>
  ({ by: 'one', sent: 'request', key, kind, direct: true }) as const

export const methods = {
  initialize: gateway('request'),
  ping: gateway('request'),
  'tools/list': all(),
  'tools/call': direct('name', 'tools'),
  'prompts/list': all(),
  'prompts/get': direct('name', 'prompts'),
  'resources/list': all(),
  'resources/templates/list': all(),
  'resources/read': direct('uri', 'resources'),
  'resources/subscribe': one('uri'),
  'resources/unsubscribe': one('uri'),
  'completion/complete': one('ref'),
  'logging/setLevel': every('request'),
  'notifications/initialized': gateway('notification'),
  'notifications/cancelled': about('requestId'),
  'notifications/progress': about('progressToken'),
  'notifications/roots/list_changed': every('notification'),
} satisfies Record<string, Method>

export type MethodName = keyof typeof methods

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

export const isDirect = (name: string): name is DirectMethod => {
  if (!isMethod(name)) return false
  const method: Method = methods[name]
  return method.by === 'one' && method.direct
}
