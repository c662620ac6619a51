/** The processes that are measured: started on one core, their CPU time and memory read from the system. */
import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** Where what is measured runs, and where everything else does; undefined: the system chooses. */
export interface Cores {
  readonly measured: string | undefined
  readonly others: string | undefined
}

const TASKSET = 'taskset'

const hasTaskset = (): boolean => {
  try {
    execFileSync(TASKSET, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export const chooseCores = (): Cores => {
  const count = availableParallelism()
  return count < 2 || !hasTaskset()
    ? { measured: undefined, others: undefined }
    : { measured: '0', others: count === 2 ? '1' : `1-${count - 1}` }
}

/** Keeps this process off the core of what is measured. */
export const pinThis = ({ others }: Cores): void => {
  if (others !== undefined) execFileSync(TASKSET, ['-acp', others, String(process.pid)], { stdio: 'ignore' })
}

/** The command's own process: `taskset` becomes what it starts. */
export const startPinned = (
  core: string | undefined,
  command: string,
  args: readonly string[],
  stdio: StdioOptions,
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess => {
  const child =
    core === undefined
      ? spawn(command, args, { stdio, env })
      : spawn(TASKSET, ['-c', core, command, ...args], { stdio, env })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** SIGTERM, and SIGKILL to one that does not go. */
export const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
  clearTimeout(late)
}

/** CPU time and memory can only be read where the system shows them as files. */
export const canMeasure = process.platform === 'linux'

/** A process and what it has started: which of it is Envoy, and which Node. */
export interface Tree {
  readonly node: readonly number[]
  readonly envoy: readonly number[]
}

/** The gateway's processes now; the shells that guard children are left out. */
export const treeOf = (root: number): Tree => {
  if (!canMeasure) return { node: [], envoy: [] }
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? statOf(pid) : undefined
    if (stat !== undefined) parents.set(pid, Number(stat[1]))
  }
  const members = [root]
  for (const pid of members) for (const [child, parent] of parents) if (parent === pid) members.push(child)
  const isEnvoy = (pid: number): boolean => executable(pid).endsWith('/envoy')
  return {
    node: members.filter((pid) => !isEnvoy(pid) && !executable(pid).endsWith('sh')),
    envoy: members.filter(isEnvoy),
  }
}

const executable = (pid: number): string => {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return ''
  }
}

/** Fields of /proc/PID/stat from the third on: the second may hold anything. */
const statOf = (pid: number): readonly string[] | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

const MS_PER_TICK = canMeasure ? 1000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) : 1

/** utime + stime of all threads since the start, in ms. */
export const cpuMs = (pids: readonly number[]): number => {
  let ticks = 0
  for (const pid of pids) {
    const stat = statOf(pid)
    if (stat !== undefined) ticks += Number(stat[11]) + Number(stat[12])
  }
  return ticks * MS_PER_TICK
}

/** Resident memory in MiB. */
export const rssMb = (pids: readonly number[]): number => {
  let kib = 0
  for (const pid of pids) kib += Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  return kib / 1024
}
