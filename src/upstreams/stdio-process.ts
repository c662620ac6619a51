/** A server that is a child process: messages of JSON-RPC, one a line, over its standard input and output. */
import { type Ending, type GuardedChild, startGuarded } from '../process/guarded-child.ts'
import { lineSplitter } from '../process/line-splitter.ts'

/** Where a server's standard error goes, line by line. */
export interface StdioLog {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface StdioCommand {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  /** What the author named. */
  readonly env: ReadonlyMap<string, string>
  /** Our own environment, of which PATH, HOME and the locale are passed on. */
  readonly inherited: Readonly<Record<string, string | undefined>>
  readonly log: StdioLog
  /** A line of its standard output, its newline removed; it need not be JSON. */
  readonly onMessage: (line: Buffer) => void
}

export interface StdioProcess {
  readonly pid: number
  /** Never rejects. */
  readonly ended: Promise<Ending>
  /** The last line of its standard error so far. */
  lastStderr(): string
  /** Resolves when it takes more. Messages arrive in the order of the calls. Rejects when it has ended or never reads. */
  send(message: Buffer | string): Promise<void>
  /** Closes its input, then SIGTERM, then SIGKILL, to its whole process group. */
  close(): Promise<void>
}

const LONGEST_MESSAGE = 64 * 1024 * 1024
const LONGEST_STDERR = 64 * 1024
const STATUS_TEXT = 500
/** What may wait for a server that does not read. */
const LARGEST_BACKLOG = 128 * 1024 * 1024
const INPUT_CLOSED_MS = 500
const TERMINATE_MS = 2_000

/** A server sees nothing of our environment beside these and what the author names. */
const environment = ({ inherited, env }: StdioCommand): Record<string, string | undefined> => {
  const passed = Object.entries(inherited).filter(([name]) => /^(PATH|HOME|LANG|LC_[A-Z_]+)$/u.test(name))
  return { ...Object.fromEntries(passed), ...Object.fromEntries(env) }
}

/** One line: in valid JSON a newline is only ever space between tokens. */
const oneLine = (message: Buffer | string): Buffer => {
  const line = Buffer.concat([Buffer.from(message), Buffer.from('\n')])
  for (let at = line.indexOf(0x0a); at < line.length - 1; at = line.indexOf(0x0a, at + 1)) line[at] = 0x20
  for (let at = line.indexOf(0x0d); at !== -1; at = line.indexOf(0x0d, at + 1)) line[at] = 0x20
  return line
}

/** Starts it. Rejects with a sentence for people when it cannot be started. */
export const spawnStdio = async (options: StdioCommand): Promise<StdioProcess> => {
  const { name, command, args, cwd, log, onMessage } = options
  const child: GuardedChild = await startGuarded({ command, args, cwd, env: environment(options) })
  const { stdin, stdout, stderr, ended } = child
  let lastStderr = ''
  let over = false

  const messages = lineSplitter(LONGEST_MESSAGE, {
    line: onMessage,
    overlong: () => log.warn(`a message of over ${LONGEST_MESSAGE} bytes was dropped`, { server: name }),
  })
  const complaints = lineSplitter(LONGEST_STDERR, {
    line: (bytes) => {
      const line = bytes.toString()
      lastStderr = line.slice(0, STATUS_TEXT)
      log.info(line, { server: name, from: 'stderr' })
    },
    overlong: () => log.warn(`a line of over ${LONGEST_STDERR} bytes was dropped`, { server: name, from: 'stderr' }),
  })
  stdout.on('data', (chunk: Buffer) => messages.push(chunk)).once('end', () => messages.end())
  stderr.on('data', (chunk: Buffer) => complaints.push(chunk)).once('end', () => complaints.end())
  const end = ended.finally(() => {
    over = true
  })

  let drained: Promise<void> | undefined
  const whenDrained = (): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        stdin.off('drain', done).off('close', done)
        drained = undefined
        resolve()
      }
      stdin.on('drain', done).on('close', done)
    })
  const send = async (message: Buffer | string): Promise<void> => {
    if (over || !stdin.writable) throw new Error(`server "${name}" has ended`)
    if (stdin.writableLength > LARGEST_BACKLOG) throw new Error(`server "${name}" does not read its input`)
    if (stdin.write(oneLine(message))) return
    drained ??= whenDrained()
    await drained
    if (over || stdin.destroyed) throw new Error(`server "${name}" has ended`)
  }
  const close = async (): Promise<void> => {
    stdin.end()
    if (!(await child.endsWithin(INPUT_CLOSED_MS))) await child.stop(TERMINATE_MS)
  }
  return { pid: child.pid, ended: end, lastStderr: () => lastStderr, send, close }
}
