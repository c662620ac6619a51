/** The bench's own processes: the servers and the load generator, kept off the core of what is measured. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LoadOrder, LoadResult } from './load.ts'
import { type Cores, startPinned, stop } from './processes.ts'

const serverFile = fileURLToPath(new URL('./mcp-server.ts', import.meta.url))
const loadFile = fileURLToPath(new URL('./load.ts', import.meta.url))

/** The first message of a process tells that it is ready. */
const start = async ({ others }: Cores, file: string): Promise<{ child: ChildProcess; said: unknown }> => {
  const child = startPinned(others, process.execPath, ['--import=tsx', file], ['ignore', 'inherit', 'inherit', 'ipc'])
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${file} ended`)
  })
  const [said]: unknown[] = await Promise.race([once(child, 'message'), ended])
  ended.catch(() => undefined) // from here on whoever waits for it finds out
  return { child, said }
}

export interface Servers extends AsyncDisposable {
  readonly port: number
}

/** See `mcp-server.ts` for its paths. */
export const startServers = async (cores: Cores): Promise<Servers> => {
  const { child, said } = await start(cores, serverFile)
  return { port: Number(said), [Symbol.asyncDispose]: () => stop(child) }
}

export interface Load extends AsyncDisposable {
  run(order: LoadOrder): Promise<LoadResult>
}

type Answer = { readonly result: LoadResult } | { readonly error: string }

export const startLoad = async (cores: Cores): Promise<Load> => {
  const { child } = await start(cores, loadFile)
  return {
    async run(order) {
      const answered = new Promise<Answer>((resolve, reject) => {
        child.once('message', resolve)
        child.once('exit', () => reject(new Error('the load generator ended')))
      })
      child.send(order)
      const answer = await answered
      child.removeAllListeners('exit')
      if ('error' in answer) throw new Error(answer.error)
      return answer.result
    },
    [Symbol.asyncDispose]: () => stop(child),
  }
}
