/** A child process of a test: what it prints is kept, waited for and shown when it fails; it never outlives the test. */

import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { waitingRoom } from './waiting-room.ts'

export interface Child extends AsyncDisposable {
  readonly pid: number
  /** Standard output and error so far, as they came. */
  readonly log: () => string
  /** Undefined while it runs; a signal's name when one ended it. */
  readonly exit: number | NodeJS.Signals | undefined
  /** The first match in its output, now or later; fails when it ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  /** Sends a signal (default SIGTERM) and resolves with how it ended. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

/** Kills a process as soon as we are gone, however we went: by then its standard input has ended. */
const guard = (pid: number): ChildProcess => {
  const watch = `trap '' HUP INT TERM ALRM; read -r gone; kill -KILL ${pid}`
  const watching = spawn('/bin/sh', ['-c', watch], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  watching.unref()
  return watching
}

/** How long a child may take to end before it is killed. */
const GRACE_MS = 15_000

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** Starts a command, `node` by default with this process's environment. */
export const startChild = (args: readonly string[], { env = {}, cwd }: StartOptions = {}): Child => {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`cannot start ${args.join(' ')}`)
  const watching = guard(pid)
  const { until, wake } = waitingRoom()
  let text = ''
  let exit: number | NodeJS.Signals | undefined
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (piece: string) => {
      text += piece
      wake()
    })
  }
  child.once('close', (code, signal) => {
    watching.kill('SIGKILL')
    exit = code ?? signal ?? -1
    wake()
  })
  const self: Child = {
    pid,
    log: () => text,
    get exit() {
      return exit
    },
    says: async (pattern) => {
      const found = await until(() => pattern.exec(text) ?? (exit === undefined ? undefined : 'ended'))
      if (found === 'ended') throw new Error(`${args.join(' ')} ended with ${exit}:\n${text}`)
      return found
    },
    stop: async (signal = 'SIGTERM') => {
      if (exit !== undefined) return exit
      child.kill(signal)
      const late = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
      await once(child, 'close')
      clearTimeout(late)
      return exit ?? -1
    },
    [Symbol.asyncDispose]: async () => void (await self.stop()),
  }
  return self
}
