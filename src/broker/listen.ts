/** subscriptions/listen, ended here: one stream of ours to each client, fed by the catalogue and by the servers' own news. */

import type { Catalogue } from '../catalog/catalogue.ts'
import { changedLists } from '../catalog/changed-lists.ts'
import { type RoutingTable, type Row, resourceRow } from '../catalog/routing-table.ts'
import { verdictOn } from '../catalog/thing.ts'
import type { Caller } from '../clients/caller.ts'
import { within } from '../clock.ts'
import type { Kind } from '../mcp/methods.ts'
import { declaresTasks } from '../mcp/stateless-request.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import { acknowledged, listChanged, listenEnded, parseListenFilter, resourceUpdated } from './listen-messages.ts'
import type { Changed, Listeners } from './listeners.ts'
import type { Reply } from './reply.ts'
import { offersTasksTo } from './stateless-pass.ts'
import { refuseUndeclared } from './stateless-tasks.ts'
import type { Task, TaskIds } from './task-ids.ts'
import { type TaskNews, taskNews } from './task-news.ts'
import { mayHaveTask } from './task-rights.ts'

interface Options {
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly table: () => RoutingTable
  readonly taskIds: TaskIds
  /** Streams of all clients together. */
  readonly mostStreams: number
}

/** A server's own URI → the one its clients know. */
type Uris = ReadonlyMap<string, string>

/** The resources of one server that one stream hears of. */
interface Watch {
  readonly upstream: Upstream
  readonly asked: Uris
  /** Those of them that it agreed to and the registry shows. */
  uris: Uris
  agreed: boolean
  readonly ending: AbortController
}

interface Stream {
  readonly id: string
  readonly caller: Caller
  /** The latest that the caller knows of, or may know of; undefined: what all are offered. */
  offered: Catalogue | undefined
  readonly reply: Reply
  readonly kinds: readonly Kind[]
  /** Server → what is heard of it. */
  readonly watches: Map<string, Watch>
  readonly tasks: TaskNews
  /** What happened before the acknowledgement, which has to come first; the same news only once. */
  early: Map<string, Buffer> | undefined
  /** Frees everything. */
  end(): void
}

export const listeners = (options: Options): Listeners => {
  const { upstreams, table, mostStreams } = options
  const streams = new Set<Stream>()

  const say = (stream: Stream, message: Buffer): void => {
    if (stream.early === undefined) stream.reply.message(message)
    else stream.early.set(message.toString(), message)
  }

  const tellOf = (stream: Stream, changed: Changed): void => {
    for (const kind of stream.kinds.length === 0 ? [] : changed(stream.caller))
      if (stream.kinds.includes(kind)) say(stream, listChanged(stream.id, kind))
  }

  const finish = (stream: Stream): void => {
    if (stream.early !== undefined) stream.reply.message(acknowledged(stream.id, { kinds: stream.kinds, uris: [] }))
    stream.reply.end(listenEnded(stream.id))
    stream.end()
  }
  /** A stream that will never say anything again is over. */
  const finishWhenEmpty = (stream: Stream): void => {
    const heard = stream.kinds.length + stream.watches.size + stream.tasks.size
    if (stream.early === undefined && heard === 0) finish(stream)
  }

  const drop = (stream: Stream, watch: Watch): void => {
    const { name } = watch.upstream.server
    watch.ending.abort()
    if (stream.watches.get(name) === watch) stream.watches.delete(name)
  }

  /** Resolves when the server has agreed or refused, and never when it does not say. */
  const begin = async (stream: Stream, upstream: Upstream, asked: Uris): Promise<void> => {
    const { name } = upstream.server
    const watch: Watch = { upstream, asked, uris: asked, agreed: false, ending: new AbortController() }
    const { signal } = watch.ending
    stream.watches.set(name, watch)
    const agreed = await upstream.watch(
      [...asked.keys()],
      (own) => {
        const uri = asked.has(own) ? watch.uris.get(own) : exposedUri(table(), name, own)
        if (signal.aborted || uri === undefined) return
        const told = { exposed: uri, own, server: name, hints: '', params: [] }
        if (mayHear(stream.caller, told)) say(stream, resourceUpdated(stream.id, uri))
      },
      signal,
      stream.caller,
    )
    if (signal.aborted) return
    watch.agreed = true
    watch.uris = new Map(agreed.flatMap((own) => entry(watch.uris, own)))
    if (watch.uris.size > 0) return
    drop(stream, watch)
    finishWhenEmpty(stream)
  }

  const isOwn = (server: string): boolean => table().servers.get(server)?.perCaller === true

  const taskFor = ({ caller, offered }: Stream, exposed: string): Task | undefined => {
    const task = options.taskIds.open(caller, exposed)
    if (task === undefined) return undefined
    const now = isOwn(task.server) && offered !== undefined ? { ...offered.table, policy: table().policy } : table()
    return mayHaveTask(now, caller, task) ? task : undefined
  }
  const mayHear = (caller: Caller, row: Row): boolean => {
    const verdict = verdictOn(table().policy, caller, 'subscriptions/listen', 'resources', row)
    return verdict.allowed && !verdict.confirm
  }

  const rowOfOwn = (row: Row | undefined): Row | undefined => (row !== undefined && isOwn(row.server) ? row : undefined)

  /** Which server has which of these URIs; those that nobody has, or not for this caller, are left out. */
  const owners = ({ caller, offered }: Stream, uris: Iterable<string>): Map<string, Map<string, string>> => {
    const found = new Map<string, Map<string, string>>()
    for (const uri of uris) {
      const row = resourceRow(table(), uri) ?? (offered && rowOfOwn(resourceRow(offered.table, uri)))
      if (row === undefined || !upstreams.has(row.server) || !mayHear(caller, row)) continue
      found.set(row.server, (found.get(row.server) ?? new Map<string, string>()).set(row.own, uri))
    }
    return found
  }

  const open = async (stream: Stream, uris: readonly string[], tasks: readonly string[]): Promise<void> => {
    // The client sees at once that its stream is there; the acknowledgement may have to wait for servers.
    stream.reply.openStream()
    const [taskIds] = await Promise.all([
      stream.tasks.open(tasks),
      ...[...owners(stream, uris)].flatMap(([name, asked]) => {
        const upstream = upstreams.get(name)
        return upstream === undefined ? [] : [within(upstream.server.listTimeoutMs, begin(stream, upstream, asked))]
      }),
    ])
    const honoured = new Set<string>()
    for (const watch of stream.watches.values()) {
      if (watch.agreed) for (const uri of watch.uris.values()) honoured.add(uri)
      else drop(stream, watch)
    }
    stream.reply.message(
      acknowledged(stream.id, { kinds: stream.kinds, uris: uris.filter((uri) => honoured.has(uri)), taskIds }),
    )
    const early = stream.early ?? new Map<string, Buffer>()
    stream.early = undefined
    for (const message of early.values()) stream.reply.message(message)
    finishWhenEmpty(stream)
  }

  return {
    get size() {
      return streams.size
    },
    countOf: (principal) => [...streams].filter(({ caller }) => caller.principal.key === principal).length,
    async open({ id, caller, offered, message, bytes, reply }) {
      const filter = parseListenFilter(bytes, message.params)
      if ('why' in filter) {
        reply.refuse('bad-params', id, { subject: filter.why })
        return
      }
      const tasks = [...upstreams.values()].some(offersTasksTo) ? filter.taskIds : undefined
      if (tasks !== undefined && !declaresTasks(bytes, message)) {
        refuseUndeclared(reply, id)
        return
      }
      if (streams.size >= mostStreams) {
        reply.refuse('too-many-streams', id)
        return
      }
      await new Promise<void>((resolve, reject) => {
        const stream: Stream = {
          id,
          caller,
          offered: offered.table === table() ? undefined : offered,
          reply,
          kinds: filter.kinds,
          watches: new Map(),
          tasks: taskNews({
            upstreams,
            caller,
            find: (exposed) => taskFor(stream, exposed),
            id,
            message,
            bytes,
            say: (news) => say(stream, news),
          }),
          early: new Map(),
          end() {
            streams.delete(stream)
            stream.tasks.end()
            for (const watch of stream.watches.values()) watch.ending.abort()
            stream.watches.clear()
            resolve()
          },
        }
        if (reply.ended) {
          resolve()
          return
        }
        streams.add(stream)
        reply.onClose(() => stream.end())
        open(stream, filter.uris, tasks ?? []).catch(reject)
      })
    },
    announce(changed) {
      for (const stream of streams) tellOf(stream, changed)
    },
    offer(isMeant, before, offered) {
      for (const stream of streams)
        if (isMeant(stream.caller))
          void offered(stream.caller).then((now) => {
            const known = stream.offered ?? before
            stream.offered = now
            if (streams.has(stream)) tellOf(stream, changedLists(known, now))
          })
    },
    rewatch() {
      for (const stream of streams) {
        const wanted = owners(
          stream,
          [...stream.watches.values()].flatMap(({ uris }) => [...uris.values()]),
        )
        for (const [name, watch] of stream.watches) {
          const uris = wanted.get(name)
          if (uris !== undefined && upstreams.get(name) === watch.upstream && isPart(uris, watch.uris)) {
            watch.uris = uris
            wanted.delete(name)
          } else drop(stream, watch)
        }
        stream.tasks.rewatch()
        for (const [name, uris] of wanted) {
          const upstream = upstreams.get(name)
          if (upstream !== undefined) void begin(stream, upstream, uris)
        }
        finishWhenEmpty(stream)
      }
    },
    end(isMeant) {
      for (const stream of streams) if (isMeant(stream.caller)) finish(stream)
    },
    close() {
      for (const stream of streams) finish(stream)
    },
  }
}

/** The URI that clients know; a server may also tell of something below what it was asked about. */
const exposedUri = (table: RoutingTable, server: string, own: string): string =>
  table.servers.get(server)?.prefixedResources === true ? `${server}+${own}` : own

const entry = (uris: Uris, own: string): readonly (readonly [string, string])[] => {
  const exposed = uris.get(own)
  return exposed === undefined ? [] : [[own, exposed]]
}

const isPart = (part: Uris, of: Uris): boolean => [...part].every(([own, exposed]) => of.get(own) === exposed)
