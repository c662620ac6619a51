/** A server over standard input and output: one process that all clients share, so ids and tokens are ours on the way in. */
import { endingText } from '../process/guarded-child.ts'
import { members, replaceSpans, textOf } from '../mcp/json-text.ts'
import { scan } from '../mcp/scan.ts'
import type { StdioServer } from '../registry/model.ts'
import type { ClientState } from './client-session.ts'
import { discover, type Link } from './discovery.ts'
import { initializeBody, initializedBody, ownId, ownIntroduction, parseInitialized } from './handshake.ts'
import { isListChanged } from './http-upstream.ts'
import { parseServerMessage, type ServerMessage } from './server-message.ts'
import type { StdioProcess } from './stdio-process.ts'
import type { Outcome, Upstream, UpstreamCall, UpstreamEvents } from './upstream.ts'

/** Starts the process of an entry, for the first time or again; rejects with the reason when it cannot be. */
export type StartChild = (server: StdioServer, heard: (line: Buffer) => void, again: boolean) => Promise<StdioProcess>

/** A cold `npx` fetches and unpacks before it says a word. */
const FIRST_ANSWER_MS = 120_000
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** A request under way in the process; `client` undefined: our own. */
interface Pending {
  readonly client: ClientState | undefined
  readonly originalId: string
  readonly token: string | undefined
  answered(bytes: Buffer): void
  lost(reason: string): void
  heard?(message: Exclude<ServerMessage, { kind: 'response' }>): void
}

interface Process {
  readonly child: StdioProcess
  readonly pending: Map<string, Pending>
}

export const stdioUpstream = (
  initial: StdioServer,
  start: StartChild,
  version: string,
  events: UpstreamEvents,
): Upstream => {
  let server = initial
  let current: Process | undefined
  let count = 0
  let starts = 0
  /** Processes on their way out; closing waits for them. */
  const closing = new Set<Promise<void>>()
  const levels = new Map<ClientState, number>()
  const nextId = (): string => ownId('gateway', ++count)

  /** Sends a request under an id of ours. */
  const request = (process: Process, id: string, body: Buffer, pending: Pending): void => {
    process.pending.set(id, pending)
    write(process, body)
  }
  /** A process that does not take it has ended or will be ended; whoever waits is told by that. */
  const write = (process: Process, body: Buffer): void => void process.child.send(body).catch(() => undefined)
  const own = (
    process: Process,
    method: string,
    params: string,
    signal: AbortSignal,
    body?: (id: string) => Buffer,
  ): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const id = nextId()
      const end = (): void => {
        process.pending.delete(id)
        reject(new Error('no answer'))
      }
      if (signal.aborted) {
        end()
        return
      }
      signal.addEventListener('abort', end, { once: true })
      const done = (): void => signal.removeEventListener('abort', end)
      request(
        process,
        id,
        body?.(id) ?? Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}`),
        {
          client: undefined,
          originalId: id,
          token: undefined,
          answered(bytes) {
            done()
            resolve(bytes)
          },
          lost(reason) {
            done()
            reject(new Error(reason))
          },
        },
      )
    })

  const openLink = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    let end: (reason: string) => void = () => undefined
    const over = new Promise<string>((resolve) => {
      end = resolve
    })
    const pending = new Map<string, Pending>()
    const heard: { by?: Process } = {}
    const child = await start(
      server,
      (line) => {
        if (heard.by !== undefined) hear(heard.by, line, changed)
      },
      starts++ > 0,
    )
    const started: Process = { child, pending }
    heard.by = started
    void child.ended.then((ending) => {
      if (current === started) current = undefined
      const said = child.lastStderr()
      const reason = said === '' ? endingText(ending) : `${endingText(ending)}: ${said}`
      end(reason)
      for (const each of pending.values()) each.lost(reason)
      pending.clear()
    })
    const close = (): void => {
      if (current === started) current = undefined
      closing.add(child.close())
    }
    try {
      const introduction = ownIntroduction(version, server.client)
      const first = AbortSignal.any([signal, AbortSignal.timeout(FIRST_ANSWER_MS)])
      const initialized = parseInitialized(
        await own(started, 'initialize', '', first, (id) => initializeBody(id, introduction)),
      )
      if (typeof initialized === 'string') throw new Error(initialized)
      write(started, initializedBody)
      current = started
      const link: Link = {
        initialized,
        announces: true,
        over,
        request: (method, params, requestSignal) =>
          own(started, method, params, AbortSignal.any([signal, requestSignal])),
        close,
      }
      return link
    } catch (error) {
      close()
      throw error
    }
  }

  const hear = (process: Process, line: Buffer, changed: () => void): void => {
    const message = parseServerMessage(line)
    if (message === undefined) return
    if (message.kind === 'response') {
      const pending = message.id === undefined ? undefined : process.pending.get(message.id)
      if (message.id === undefined || pending === undefined) return
      process.pending.delete(message.id)
      const span = members(line).get('id')
      pending.answered(span === undefined ? line : replaceSpans(line, [{ span, with: pending.originalId }]))
      return
    }
    if (message.kind === 'request') {
      question(process, message)
      return
    }
    if (isListChanged(message.method)) changed()
    else if (message.method === 'notifications/progress') progress(process, message)
    else if (message.method === 'notifications/message') logged(process, message)
    else if (message.method === 'notifications/resources/updated') events.shared(upstream, message)
    else onlyCaller(process)?.heard?.(message)
  }

  /** The one client that has calls here at the moment: only then is it plain whom the server means. */
  const onlyCaller = (process: Process): Pending | undefined => {
    let found: Pending | undefined
    for (const pending of process.pending.values()) {
      if (pending.client === undefined) continue
      if (found !== undefined && found.client !== pending.client) return undefined
      found = pending
    }
    return found
  }
  const question = (process: Process, message: Extract<ServerMessage, { kind: 'request' }>): void => {
    const caller = onlyCaller(process)
    if (caller?.heard !== undefined) caller.heard(message)
    else if (message.method === 'ping') write(process, Buffer.from(`{"jsonrpc":"2.0","id":${message.id},"result":{}}`))
    else {
      const error = {
        code: -32603,
        message: 'it is not plain which client is meant: none or several are calling this server',
      }
      write(process, Buffer.from(`{"jsonrpc":"2.0","id":${message.id},"error":${JSON.stringify(error)}}`))
    }
  }
  const progress = (process: Process, message: Extract<ServerMessage, { kind: 'notification' }>): void => {
    const scanned = scan(message.bytes)
    const span = scanned.ok ? scanned.message.progressToken : undefined
    const pending = span === undefined ? undefined : process.pending.get(textOf(message.bytes, span))
    if (span === undefined || pending?.token === undefined) return
    pending.heard?.({ ...message, bytes: replaceSpans(message.bytes, [{ span, with: pending.token }]) })
  }
  const logged = (process: Process, message: Extract<ServerMessage, { kind: 'notification' }>): void => {
    const caller = onlyCaller(process)
    if (caller?.client === undefined || message.params === undefined) return
    const level = members(message.bytes, message.params).get('level')
    const wanted = levels.get(caller.client) ?? 0
    if (level !== undefined && LEVELS.indexOf(textOf(message.bytes, level).slice(1, -1)) < wanted) return
    caller.heard?.(message)
  }

  const discovery = discover({
    server: () => server,
    open: openLink,
    onChange: () => events.changed(upstream),
    onCapped: (list) => events.capped(upstream, list),
  })

  const upstream: Upstream = {
    get server() {
      return server
    },
    shared: true,
    update(next) {
      if (next.kind === 'stdio') server = next
    },
    status: () => discovery.status(),
    catalogue: () => discovery.catalogue(),
    settled: discovery.settled,
    refresh: () => discovery.refresh(),
    call: (call) => {
      const process = current
      if (process === undefined) {
        discovery.refresh()
        return Promise.resolve({
          kind: 'failed',
          reason: 'server-down',
          detail: discovery.status().lastError ?? 'the process is not running',
        })
      }
      return runIn(process, call)
    },
    async tell(client, body) {
      const process = current
      if (process === undefined) return
      const scanned = scan(body)
      const span = scanned.ok ? scanned.message.requestId : undefined
      if (span === undefined) {
        write(process, body)
        return
      }
      const original = textOf(body, span)
      for (const [id, pending] of process.pending)
        if (pending.client === client && pending.originalId === original)
          write(process, replaceSpans(body, [{ span, with: id }]))
    },
    async setLevel(client) {
      const level = client.logLevel === undefined ? undefined : /"level"\s*:\s*"(\w+)"/.exec(client.logLevel)?.[1]
      if (level === undefined || current === undefined) return
      levels.set(client, Math.max(0, LEVELS.indexOf(level)))
      // The process has one level: the one of whoever wants to hear most.
      const least = LEVELS[Math.min(...levels.values())]
      await own(current, 'logging/setLevel', `{"level":"${least}"}`, AbortSignal.timeout(server.timeoutMs)).catch(
        () => undefined,
      )
    },
    listen: () => undefined,
    async leave(client) {
      levels.delete(client)
    },
    async close() {
      await discovery.close()
      await Promise.all(closing)
    },
  }

  const runIn = (process: Process, call: UpstreamCall): Promise<Outcome> =>
    new Promise((resolve) => {
      const id = nextId()
      const idSpan = members(call.body).get('id')
      const done = (outcome: Outcome): void => {
        clearTimeout(timer)
        process.pending.delete(id)
        call.signal.removeEventListener('abort', onAbort)
        resolve(outcome)
      }
      const onAbort = (): void => done({ kind: 'failed', reason: 'server-down', detail: 'the call was ended' })
      const timer = setTimeout(() => {
        if (call.waiting()) timer.refresh()
        else done({ kind: 'failed', reason: 'server-silent', detail: `no message for ${server.timeoutMs} ms` })
      }, server.timeoutMs)
      if (call.signal.aborted || idSpan === undefined) {
        onAbort()
        return
      }
      call.signal.addEventListener('abort', onAbort)
      const token = call.progressToken
      const body = replaceSpans(call.body, [
        { span: idSpan, with: id },
        ...(token === undefined ? [] : [{ span: token, with: id }]),
      ])
      request(process, id, body, {
        client: call.client,
        originalId: call.id,
        token: token === undefined ? undefined : textOf(call.body, token),
        answered: (bytes) => done({ kind: 'answered', status: 200, type: 'application/json', body: bytes }),
        lost: (reason) => done({ kind: 'failed', reason: 'server-down', detail: reason }),
        heard(message) {
          timer.refresh()
          call.onMessage(message)
        },
      })
    })
  return upstream
}
