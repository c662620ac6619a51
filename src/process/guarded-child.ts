/** A child process that ends when this one does, however it ends, together with everything it started. */
import { type ChildProcess, spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { which } from './which.ts'

/**
 * The guard holds the reading end of a pipe (3) whose writing end only we hold: when we are gone, even by SIGKILL,
 * its `read` returns. It is a member of the group, so the group's number cannot pass to anyone else meanwhile.
 * It is forked twice to be no child of the command, which may wait for all of its children; and the command is
 * `exec`ed, so its process id, signals, exit code and standard streams are its own.
 */
const GUARD = `
( { trap '' HUP INT TERM
    exec </dev/null >/dev/null 2>&1
    read -r gone <&3
    kill -KILL $$
    kill -KILL -$$
  } & )
exec 3<&-
exec "$@"`

/** Something of the group may have left it and hold the streams open; the last output gets this long. */
const LAST_OUTPUT_MS = 1_000

export interface ChildCommand {
  readonly command: string
  readonly args: readonly string[]
  /** Its whole environment. Its PATH is where `command` is looked up. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/** How a process ended: one of the two is set. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface GuardedChild {
  /** Also the number of its process group. */
  readonly pid: number
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Resolves when it has ended and its output was read. Never rejects. */
  readonly ended: Promise<Ending>
  /** Whether it ends by itself in that time. */
  endsWithin(ms: number): Promise<boolean>
  /** SIGTERM to the group, SIGKILL to what is left of it after `graceMs`. */
  stop(graceMs: number): Promise<Ending>
}

/** `exited with code 1`, `killed by SIGKILL`. */
export const endingText = ({ code, signal }: Ending): string =>
  signal === null ? `exited with code ${code ?? 'unknown'}` : `killed by ${signal}`

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

const signalGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal)
  } catch {
    // Ended in this moment.
  }
}

const whenSpawned = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })

const whenEnded = (child: ChildProcess): Promise<Ending> =>
  new Promise((resolve) => {
    const guard = child.stdio[3]
    child.once('exit', (code, signal) => {
      // The leader is gone: the guard ends what it left behind, and then itself.
      guard?.destroy()
      const streams = setTimeout(() => {
        child.stdout?.destroy()
        child.stderr?.destroy()
      }, LAST_OUTPUT_MS)
      child.once('close', () => {
        clearTimeout(streams)
        resolve({ code, signal })
      })
    })
  })

/** Starts it in a process group of its own. Rejects with a sentence for people when it cannot be started. */
export const startGuarded = async ({ command, args, env, cwd }: ChildCommand): Promise<GuardedChild> => {
  if (!(await isDirectory(cwd))) throw new Error(`there is no directory ${cwd}`)
  const path = await which(command, { path: env['PATH'] ?? '', cwd })
  if (path === undefined) throw new Error(`there is no command "${command}"${command.includes('/') ? '' : ' on PATH'}`)
  const child = spawn('/bin/sh', ['-c', GUARD, 'guard', path, ...args], {
    cwd,
    env: { ...env },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  const ended = whenEnded(child)
  await whenSpawned(child)
  const { pid, stdin, stdout, stderr } = child
  const guard = child.stdio[3]
  if (pid === undefined || stdin === null || stdout === null || stderr === null || !(guard instanceof Socket)) {
    throw new Error('started without its streams')
  }
  // A write after its end is an error of that write alone.
  stdin.on('error', () => {})
  guard.on('error', () => {})

  const endsWithin = async (ms: number): Promise<boolean> => {
    const timer = new AbortController()
    const late = sleep(ms, false, { signal: timer.signal }).catch(() => false)
    const inTime = await Promise.race([ended.then(() => true), late])
    timer.abort()
    return inTime
  }
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
  return {
    pid,
    stdin,
    stdout,
    stderr,
    ended,
    endsWithin,
    stop: async (graceMs) => {
      if (!hasEnded()) signalGroup(pid, 'SIGTERM')
      if (!(await endsWithin(graceMs))) {
        if (!hasEnded()) signalGroup(pid, 'SIGKILL')
        guard.destroy()
      }
      return ended
    },
  }
}
