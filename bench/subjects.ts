/** Who is compared with whom: what each is called, and the era its client speaks, which chooses its Envoy alone. */
import type { Era } from '../src/mcp/versions.ts'

/** In the order of the tables. Those of the gateway differ in what the client declared and in the era of the server. */
const said = {
  server: { client: 'stateful', name: 'no proxy' },
  envoy: { client: 'stateful', name: 'Envoy alone' },
  'direct path': { client: 'stateful', name: 'gateway, direct path' },
  'broker path': { client: 'stateful', name: 'gateway, broker path' },
  'to stateless': { client: 'stateful', name: 'gateway, stateful client → stateless server' },
  'stateless server': { client: 'stateless', name: 'no proxy, stateless' },
  'stateless envoy': { client: 'stateless', name: 'Envoy alone, stateless' },
  'stateless direct path': { client: 'stateless', name: 'gateway, direct path, stateless' },
  'to stateful': { client: 'stateless', name: 'gateway, stateless client → stateful server' },
} as const satisfies Readonly<Record<string, { readonly client: Era; readonly name: string }>>

export type Subject = keyof typeof said

/** What is not measured: the servers, which have no core of their own. */
const unproxied = { stateful: 'server', stateless: 'stateless server' } as const satisfies Record<Era, Subject>
/** What the others are divided by: a plain route, for the same kind of request. */
const plain = { stateful: 'envoy', stateless: 'stateless envoy' } as const satisfies Record<Era, Subject>

export const clientOf = (subject: Subject): Era => said[subject].client
export const nameOf = (subject: Subject): string => said[subject].name
export const isUnproxied = (subject: Subject): boolean => subject === unproxied[clientOf(subject)]
export const plainFor = (subject: Subject): Subject => plain[clientOf(subject)]

const isSubject = (key: string): key is Subject => Object.hasOwn(said, key)

/** Those that were measured: results of an older bench lack some. */
export const subjectsIn = (samples: readonly { readonly subject: Subject }[]): readonly Subject[] =>
  Object.keys(said)
    .filter(isSubject)
    .filter((subject) => samples.some((sample) => sample.subject === subject))
