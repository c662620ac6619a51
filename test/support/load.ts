/** Calls without pause, several at a time, until told to stop; what became of each is kept. */
import { setTimeout as pause } from 'node:timers/promises'
import type { RawClient, Reply } from './raw-client.ts'
import { rpc } from './raw-client.ts'
import { waitingRoom } from './waiting-room.ts'

/** One call and what came of it. */
export interface Called {
  /** The `text` it carried: no other call has it. */
  readonly text: string
  /** What was going on when it was sent, and when its answer came. */
  readonly sentIn: string
  readonly answeredIn: string
  /** Undefined: the connection broke. */
  readonly reply: Reply | undefined
}

export interface Load {
  readonly calls: Called[]
  /** What is going on now; calls remember it. */
  phase: string
  /** Resolves when so many calls that fit have been answered, now or later. */
  reached(count: number, fits?: (called: Called) => boolean): Promise<void>
  /** Sends no more; resolves when all are answered. */
  stop(): Promise<readonly Called[]>
}

/** The result carried the very text of its call. */
export const succeeded = ({ reply, text }: Called): boolean =>
  reply?.status === 200 && JSON.stringify(reply.messages[0]?.result)?.includes(`"${text}"`) === true

/** A client whose call failed waits before its next one. */
const AFTER_FAILURE_MS = 20

/** Every caller calls one of `tools` with a text of its own; every second one on a new connection each time. */
export const startLoad = (client: RawClient, tools: readonly string[], callers: number): Load => {
  const { until, wake } = waitingRoom()
  const calls: Called[] = []
  let stopping = false
  let sent = 0
  const load: Load = {
    calls,
    phase: 'start',
    async reached(count, fits) {
      const so = (): number => (fits === undefined ? calls : calls.filter(fits)).length
      await until(() => so() >= count || undefined)
    },
    async stop() {
      stopping = true
      await Promise.all(running)
      return calls
    },
  }
  const call = async (caller: number): Promise<void> => {
    const text = `text ${++sent}`
    const sentIn = load.phase
    const params = { name: tools[sent % tools.length], arguments: { text } }
    const body = rpc(JSON.stringify(`load-${sent}`), 'tools/call', params)
    const reply = await client.post(body, { fresh: caller % 2 === 0 }).catch(() => undefined)
    const called = { text, sentIn, answeredIn: load.phase, reply }
    calls.push(called)
    wake()
    if (!succeeded(called)) await pause(AFTER_FAILURE_MS)
  }
  const running = Array.from({ length: callers }, async (_, caller) => {
    while (!stopping) await call(caller)
  })
  return load
}
