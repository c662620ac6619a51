/** A tool that takes exactly as long as a test wants. */
import type { Tool } from './mcp-script.ts'
import { says } from './mcp-script.ts'
import { waitingRoom } from './waiting-room.ts'

export interface SlowTool {
  /** `slow`. It sends a log message at once, so that its answer is an event stream, and `at last` when released. */
  readonly tool: Tool
  /** Resolves when so many calls have arrived. */
  begun(calls: number): Promise<void>
  /** Lets those go that have arrived by now. */
  release(): void
}

export const slowTool = (): SlowTool => {
  const { until, wake } = waitingRoom()
  let arrived = 0
  let released = 0
  return {
    tool: {
      name: 'slow',
      run: async (call) => {
        const own = ++arrived
        call.notify('notifications/message', { level: 'info', data: 'begun' })
        wake()
        await until(() => released >= own || undefined)
        return says('at last')
      },
    },
    async begun(calls) {
      await until(() => arrived >= calls || undefined)
    },
    release() {
      released = arrived
      wake()
    },
  }
}
