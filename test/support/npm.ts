/** npm as a person runs it in a terminal: a process group of its own, and nothing of the test's surroundings. */
import { spawn } from 'node:child_process'
import { waitingRoom } from './waiting-room.ts'

export interface Npm extends AsyncDisposable {
  readonly pid: number
  /** Standard output and error so far. */
  log(): string
  /** The first match in its output, now or later; fails when it ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  /** To npm alone, as a supervisor does; or to its group, as Ctrl-C does. */
  signal(signal: NodeJS.Signals, to: 'npm' | 'group'): void
  /** How it ended. */
  readonly ended: Promise<number | NodeJS.Signals>
}

/** Without what an npm around us says of another project. */
const surroundings = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_(package|lifecycle|command|config_\w*prefix)|INIT_CWD)/.test(name),
    ),
  )

/** tap gives a preload to all Node that it starts, and the compiler does not bear it. */
const CLEAN = 'unset NODE_OPTIONS; exec npm "$@"'

export const startNpm = (args: readonly string[], cwd: string): Npm => {
  const child = spawn('/bin/sh', ['-c', CLEAN, 'npm', ...args], {
    cwd,
    env: surroundings(),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { pid = 0 } = child
  const { until, wake } = waitingRoom()
  let text = ''
  let exit: number | NodeJS.Signals | undefined
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
      wake()
    })
  }
  const over = (how: number | NodeJS.Signals): void => {
    exit = how
    wake()
  }
  child.once('error', (error) => {
    text += error.message
    over(-1)
  })
  child.once('close', (code, signal) => over(code ?? signal ?? -1))
  const ended = until(() => exit)
  return {
    pid,
    log: () => text,
    ended,
    says: async (pattern) => {
      const found = await until(() => pattern.exec(text) ?? (exit === undefined ? undefined : 'ended'))
      if (found === 'ended') throw new Error(`npm ${args.join(' ')} ended with ${exit}:\n${text}`)
      return found
    },
    signal(signal, to) {
      process.kill(to === 'npm' ? pid : -pid, signal)
    },
    async [Symbol.asyncDispose]() {
      if (exit === undefined) process.kill(-pid, 'SIGKILL')
      await ended
    },
  }
}

/** Runs it to its end; fails with its words when that is not 0. */
export const npm = async (args: readonly string[], cwd: string): Promise<string> => {
  const run = startNpm(args, cwd)
  const code = await run.ended
  if (code !== 0) throw new Error(`npm ${args.join(' ')} ended with ${code}:\n${run.log()}`)
  return run.log()
}
