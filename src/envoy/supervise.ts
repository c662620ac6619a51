/** Keeps one Envoy running until told to stop; it never outlives us. */
import { setTimeout as sleep } from 'node:timers/promises'
import { endingText, type GuardedChild, startGuarded } from '../process/guarded-child.ts'
import { type BackOff, keepRunning } from '../process/keep-running.ts'
import { lineSplitter } from '../process/line-splitter.ts'
import { activeRequests, askAdmin } from './admin.ts'
import { LOG_FORMAT, type LogLine, parseLogLine } from './log-line.ts'
import { errorText, StartProblem } from './start-problem.ts'

/** Where what Envoy says about itself goes. */
export interface EnvoyLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface SuperviseEnvoy {
  readonly binary: string
  readonly bootstrapPath: string
  /** Its working directory. */
  readonly runDir: string
  /** The admin socket that the bootstrap names. */
  readonly adminSocket: string
  readonly nodeId: string
  /** Worker threads. */
  readonly concurrency: number
  readonly log: EnvoyLog
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error'
  /** A line of its standard output: the access log. */
  readonly onLine?: (line: Buffer) => void
  readonly onState?: (state: EnvoyState) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Stat prefix of the listener that clients connect to: its requests are waited for at close. */
  readonly statPrefix?: string
  /** At close, requests under way get this long. */
  readonly drainMs?: number
  /** Awaited when they have ended, for what Envoy says of them a little later. */
  readonly beforeEnd?: () => Promise<void>
  /** From the first start until its admin interface answers. */
  readonly startMs?: number
  readonly backOff?: BackOff
}

export type EnvoyState =
  | { readonly is: 'starting' }
  | { readonly is: 'running'; readonly pid: number }
  | { readonly is: 'waiting'; readonly untilMs: number; readonly reason: string }
  | { readonly is: 'stopped' }

export interface SupervisedEnvoy {
  state(): EnvoyState
  /** How often it had to be started again. */
  restarts(): number
  /** Lets requests under way end, then Envoy. Safe to call twice. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const LONGEST_LINE = 1024 * 1024
const TERMINATE_MS = 2_000
const LOOK_AGAIN_MS = 20
const BACK_OFF: BackOff = { firstMs: 200, longestMs: 10_000, steadyMs: 30_000 }

const flags = (options: SuperviseEnvoy): readonly string[] => [
  ...Object.entries({
    '--config-path': options.bootstrapPath,
    '--service-node': options.nodeId,
    '--concurrency': String(options.concurrency),
    '--log-level': options.logLevel ?? 'warn',
    '--log-format': LOG_FORMAT,
    '--file-flush-interval-msec': '1000', // otherwise the access log is ten seconds behind
    '--drain-strategy': 'immediate', // nothing drains until the end
  }).flat(),
  '--reject-unknown-dynamic-fields', // a typo in the author's filter is a NACK, not silence
  '--disable-hot-restart', // several Envoys on one machine would share memory
]

/** Once told to drain, Envoy closes each connection after its answer; resolves when none is being answered. */
const drain = async (
  { adminSocket, statPrefix = 'mcp_edge', log }: SuperviseEnvoy,
  child: GuardedChild,
  limitMs: number,
): Promise<void> => {
  const deadline = performance.now() + limitMs
  try {
    await askAdmin(adminSocket, 'POST', '/drain_listeners?graceful&skip_exit')
    while (performance.now() < deadline && (await activeRequests(adminSocket, statPrefix)) > 0) {
      if (await child.endsWithin(LOOK_AGAIN_MS)) return
    }
  } catch (error) {
    log.debug('Envoy could not be drained', { reason: errorText(error) })
  }
}

/** Of a resource, said once for every subscription; the control plane hears of it, too, and knows the line of the registry. */
const isRefusal = /^(?:delta|gRPC) config for \S+ rejected: /

/**
 * Resolves once the first Envoy's admin interface answers; from then on an Envoy that ends is started again.
 * @throws StartProblem when it ends before that: its bootstrap is refused or the binary does not run.
 */
export const superviseEnvoy = async (options: SuperviseEnvoy): Promise<SupervisedEnvoy> => {
  const { log, adminSocket, onLine = () => {}, onState = () => {}, drainMs = 5_000, startMs = 10_000 } = options
  const closing = new AbortController()
  let state: EnvoyState = { is: 'starting' }
  let child: GuardedChild | undefined
  let starts = 0
  let lastComplaint = ''
  let ending = ''
  let answered = false
  let failure: string | undefined
  const failed = (): string | undefined => failure

  const enter = (next: EnvoyState): void => {
    state = next
    onState(next)
  }
  const tell = ({ level, logger, message }: LogLine): void => {
    if (level === 'warn' || level === 'error') lastComplaint = message
    // While it ends, Envoy warns of just that: the signal, and connections that close.
    const isExpected = closing.signal.aborted || isRefusal.test(message)
    const heard = isExpected && level === 'warn' ? 'debug' : level
    log[heard](message, { from: 'envoy', ...(logger === '' ? {} : { logger }) })
  }
  const life = async (): Promise<void> => {
    enter({ is: 'starting' })
    starts++
    lastComplaint = ''
    try {
      child = await startGuarded({
        command: options.binary,
        args: flags(options),
        env: options.env,
        cwd: options.runDir,
      })
    } catch (error) {
      ending = `could not be started: ${errorText(error)}`
      return
    }
    const { pid, stdin, stdout, stderr, ended } = child
    stdin.end()
    const accessLog = lineSplitter(LONGEST_LINE, { line: onLine })
    const ownLog = lineSplitter(LONGEST_LINE, { line: (line) => tell(parseLogLine(line.toString())) })
    stdout.on('data', (chunk: Buffer) => accessLog.push(chunk)).once('end', () => accessLog.end())
    stderr.on('data', (chunk: Buffer) => ownLog.push(chunk)).once('end', () => ownLog.end())
    enter({ is: 'running', pid })
    if (closing.signal.aborted) await child.stop(TERMINATE_MS)
    ending = endingText(await ended)
    child = undefined
  }

  const running = keepRunning({
    run: life,
    waiting: (ms) => {
      const reason = lastComplaint === '' ? ending : `${ending}: ${lastComplaint}`
      if (!answered) {
        failure = reason
        closing.abort()
        return
      }
      log.warn(`Envoy ${reason}; starting it again`, { inMs: ms })
      enter({ is: 'waiting', untilMs: Date.now() + ms, reason })
    },
    backOff: options.backOff ?? BACK_OFF,
    signal: closing.signal,
  }).finally(() => enter({ is: 'stopped' }))

  const end = async (limitMs: number): Promise<void> => {
    const current = child
    // From here on an ending is no reason to start again.
    closing.abort()
    if (current !== undefined) {
      if (limitMs > 0) {
        await drain(options, current, limitMs)
        await options.beforeEnd?.()
      }
      await current.stop(TERMINATE_MS)
    }
    await running
  }
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= end(drainMs))

  const answers = (): Promise<boolean> =>
    askAdmin(adminSocket, 'GET', '/server_info').then(
      () => true,
      () => false,
    )
  const deadline = performance.now() + startMs
  while (!(await answers())) {
    if (failed() !== undefined || performance.now() > deadline) {
      const reason = failed() ?? `does not answer within ${startMs} ms`
      await (closed = end(0))
      throw new StartProblem(
        `Envoy ${reason}`,
        `its bootstrap is ${options.bootstrapPath}, its binary ${options.binary}`,
      )
    }
    await sleep(LOOK_AGAIN_MS)
  }
  answered = true
  return { state: () => state, restarts: () => starts - 1, close, [Symbol.asyncDispose]: close }
}
