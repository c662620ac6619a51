/** The part of a listen stream that is about tasks: which servers have them, and what those say as the client is to hear it. */

import type { Caller } from '../clients/caller.ts'
import { within } from '../clock.ts'
import { members, textOf } from '../mcp/json-text.ts'
import type { Message } from '../mcp/message.ts'
import { META_SUBSCRIPTION_ID } from '../mcp/meta-keys.ts'
import { TASKS_EXTENSION } from '../mcp/task-id.ts'
import { changeObject } from '../translation/object-edits.ts'
import { taskOf } from '../translation/task-ids.ts'
import type { Introduction } from '../upstreams/handshake.ts'
import { REVISION } from '../upstreams/stateless-wire.ts'
import { TASK_NEWS } from '../upstreams/task-watch.ts'
import type { TaskWatching, Upstream } from '../upstreams/upstream.ts'
import { declaredIn } from './declared.ts'
import { judgeRequests } from './stateless-answer.ts'
import { offersTasksTo } from './stateless-pass.ts'
import type { Task } from './task-ids.ts'

export interface TaskNews {
  /** Servers that are listened to. */
  readonly size: number
  /** Begins to listen for these; resolves with those that will be told of. */
  open(ids: readonly string[]): Promise<readonly string[]>
  /** Some servers are other ones now: their tasks are gone. */
  rewatch(): void
  end(): void
}

interface Options {
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly caller: Caller
  /** The task of an id that the client may hear of. */
  readonly find: (exposed: string) => Task | undefined
  /** The client's listen request: its id marks what is said, its `_meta` says who listens. */
  readonly id: string
  readonly message: Message
  readonly bytes: Buffer
  readonly say: (message: Buffer) => void
}

interface Watch {
  readonly upstream: Upstream
  readonly ending: AbortController
}

export const taskNews = ({ upstreams, caller, find, id, message, bytes, say }: Options): TaskNews => {
  const watches = new Map<string, Watch>()
  const drop = (server: string, { ending }: Watch): void => {
    ending.abort()
    watches.delete(server)
  }

  /** `ids`: the server's own → the client's. */
  const begin = async (upstream: Upstream, ids: ReadonlyMap<string, string>): Promise<readonly string[]> => {
    const { name, client, listTimeoutMs } = upstream.server
    if (upstream.watchTasks === undefined) return []
    const watch: Watch = { upstream, ending: new AbortController() }
    const { signal } = watch.ending
    watches.set(name, watch)
    const declared = declaredIn(bytes, message.metaClientCapabilities, message.metaClientInfo, client)
    const heard: TaskWatching['heard'] = (news) => {
      const own = taskOf(TASK_NEWS, news.bytes, news.params)
      const exposed = own === undefined ? undefined : ids.get(own)
      if (signal.aborted || exposed === undefined || news.params === undefined || find(exposed) === undefined) return
      const requests = members(news.bytes, news.params).get('inputRequests')
      if (judgeRequests(news.bytes, requests, declared.features).ok)
        say(told(id, exposed, textOf(news.bytes, news.params)))
    }
    const as = introduction(declared)
    const agreed = await within(listTimeoutMs, upstream.watchTasks({ caller, ids: [...ids.keys()], as, heard, signal }))
    if (agreed !== undefined && agreed.length > 0 && !signal.aborted) return agreed.flatMap((own) => ids.get(own) ?? [])
    if (watches.get(name) === watch) drop(name, watch)
    return []
  }

  return {
    get size() {
      return watches.size
    },
    async open(ids) {
      const owners = new Map<Upstream, Map<string, string>>()
      for (const exposed of ids) {
        const task = find(exposed)
        const upstream = task === undefined ? undefined : upstreams.get(task.server)
        if (task === undefined || upstream === undefined || !offersTasksTo(upstream)) continue
        owners.set(upstream, (owners.get(upstream) ?? new Map<string, string>()).set(task.own, exposed))
      }
      return (await Promise.all([...owners].map(([upstream, own]) => begin(upstream, own)))).flat()
    },
    rewatch() {
      for (const [name, watch] of watches) if (upstreams.get(name) !== watch.upstream) drop(name, watch)
    },
    end() {
      for (const [name, watch] of watches) drop(name, watch)
    },
  }
}

const told = (id: string, exposed: string, params: string): Buffer => {
  const changed = changeObject(Buffer.from(params), {
    taskId: JSON.stringify(exposed),
    _meta: { within: { [META_SUBSCRIPTION_ID]: id } },
  })
  return Buffer.from(`{"jsonrpc":"2.0","method":"${TASK_NEWS}","params":${changed.toString('utf8')}}`)
}

/** The client as this server may know it, and that it takes tasks. */
const introduction = (declared: ReturnType<typeof declaredIn>): Introduction => ({
  protocolVersion: REVISION,
  capabilities: changeObject(Buffer.from(declared.capabilities), {
    extensions: { within: { [TASKS_EXTENSION]: '{}' } },
  }).toString('utf8'),
  clientName: declared.clientName,
  clientVersion: declared.clientVersion,
})
