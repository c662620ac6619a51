/** Which client's session made which task at which server: gone with any of them. */
import type { ClientState } from './client-session.ts'
import type { Upstream } from './upstream.ts'

/** Tasks of one client at one server, the newest ones. */
const MOST_TASKS = 1000

/** Own ids. A server that has only seen the gateway's credential takes all clients for one, so it has to be known here. */
const made = new WeakMap<Upstream, Map<ClientState, Set<string>>>()
const NONE: ReadonlySet<string> = new Set()

export const rememberTask = (upstream: Upstream, client: ClientState, own: string): void => {
  const clients = made.get(upstream) ?? new Map<ClientState, Set<string>>()
  for (const other of clients.keys()) if (other.left) clients.delete(other)
  const tasks = clients.get(client) ?? new Set<string>()
  tasks.add(own)
  const [oldest] = tasks
  if (tasks.size > MOST_TASKS && oldest !== undefined) tasks.delete(oldest)
  clients.set(client, tasks)
  made.set(upstream, clients)
}

/** Own ids of a client's tasks, oldest first. */
export const tasksOf = (upstream: Upstream, client: ClientState): ReadonlySet<string> =>
  made.get(upstream)?.get(client) ?? NONE

/** Whose a task is; undefined: nobody's who is still here. */
export const ownerOf = (upstream: Upstream, own: string): ClientState | undefined => {
  for (const [client, tasks] of made.get(upstream) ?? []) if (!client.left && tasks.has(own)) return client
  return undefined
}
