/** Which client's session made which task at which server: gone with any of them. */
import { dropOldest } from '../bounded.ts'
import type { ClientState } from '../clients/client-session.ts'
import type { Upstream } from './upstream.ts'

/** Tasks of one client at one server, the newest ones. */
const MOST_TASKS = 1000

/** Own ids. A server that has only seen the gateway's credential takes all clients for one, so it has to be known here. */
const made = new WeakMap<Upstream, Map<ClientState, Map<string, string>>>()
const NONE: ReadonlyMap<string, string> = new Map()

/** `tool`: what was called, in the server's words. */
export const rememberTask = (upstream: Upstream, client: ClientState, own: string, tool: string): void => {
  const clients = made.get(upstream) ?? new Map<ClientState, Map<string, string>>()
  for (const other of clients.keys()) if (other.left) clients.delete(other)
  const tasks = clients.get(client) ?? new Map<string, string>()
  tasks.set(own, tool)
  dropOldest(tasks, MOST_TASKS)
  clients.set(client, tasks)
  made.set(upstream, clients)
}

/** Own ids of a client's tasks, oldest first, each with its tool. */
export const tasksOf = (upstream: Upstream, client: ClientState): ReadonlyMap<string, string> =>
  made.get(upstream)?.get(client) ?? NONE

/** Whose a task is; undefined: nobody's who is still here. */
export const ownerOf = (upstream: Upstream, own: string): ClientState | undefined => {
  for (const [client, tasks] of made.get(upstream) ?? []) if (!client.left && tasks.has(own)) return client
  return undefined
}
