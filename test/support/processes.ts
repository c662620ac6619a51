/** The processes of this machine: what a process has started, and what is left of it afterwards. */
import { execFile } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly group: number
  /** Its command line. */
  readonly command: string
}

/** All that run; what has ended and waits for its parent to notice does not. */
const processes = async (): Promise<readonly Process[]> => {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-ww', '-o', 'pid=,ppid=,pgid=,stat=,args='])
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, group, state = '', command = ''] = /^ *(\d+) +(\d+) +(\d+) +(\S+) +(.*)$/.exec(line) ?? []
    if (pid === undefined || state.startsWith('Z')) return []
    return [{ pid: Number(pid), parent: Number(parent), group: Number(group), command }]
  })
}

/** Everything a process has started, by whatever way: its descendants, and those who share a group with one. */
export const startedBy = async (pid: number): Promise<readonly Process[]> => {
  const all = await processes()
  const ours = all.find((one) => one.pid === pid)?.group
  const found = new Set<Process>()
  const add = (one: Process): void => {
    if (one.pid === pid || found.has(one)) return
    found.add(one)
    for (const other of all)
      if (other.parent === one.pid || (other.group === one.group && one.group !== ours)) add(other)
  }
  for (const one of all) if (one.parent === pid) add(one)
  return [...found]
}

const LOOK_AGAIN_MS = 50

/** The ones that still run after so many milliseconds; sooner when none does. */
export const survivors = async (those: readonly Process[], withinMs: number): Promise<readonly Process[]> => {
  const deadline = performance.now() + withinMs
  for (;;) {
    const now = await processes()
    // A number may be someone else's by now.
    const left = those.filter(({ pid, command }) => now.some((one) => one.pid === pid && one.command === command))
    if (left.length === 0 || performance.now() > deadline) return left
    await pause(LOOK_AGAIN_MS)
  }
}
