/** What `up` and `serve` share: start, tell what happens, stop on a signal. */
import type { GatewayOptions, RunningGateway } from '../gateway.ts'
import type { GatewayEvent } from '../gateway-event.ts'
import { exitCode } from './exit-code.ts'
import { complain, paint, print } from './terminal.ts'

/** How long a graceful stop may take. */
const STOP_MS = 10_000

/** By POSIX, a process that a signal ended exits with 128 and the signal's number. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** Resolves at the first of the signals; a second one ends the process at once. */
const firstSignal = (): Promise<'signal'> =>
  new Promise((resolve) => {
    let seen = 0
    const heard = (code: number): void => {
      seen += 1
      if (seen > 1) process.exit(code)
      resolve('signal')
    }
    for (const [signal, code] of Object.entries(SIGNALS)) process.on(signal, () => heard(code))
  })

/** Stops it, even while it is still starting. */
const stopped = async (starting: Promise<RunningGateway>): Promise<number> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, STOP_MS, 'late')
  })
  const how = await Promise.race([starting.then((gateway) => gateway.stop()), late])
  clearTimeout(timer)
  if (how !== 'late') return exitCode.fine
  complain(`mcp-gateway: not everything ended within ${STOP_MS / 1000} s; ending it now`)
  return exitCode.unreachable
}

/** One or more lines about an event; `ready` has its own. */
const told = (event: Exclude<GatewayEvent, { kind: 'ready' }>): string => {
  switch (event.kind) {
    case 'applied': {
      const what = event.changed === '' ? '' : `: ${event.changed}`
      return `${paint('green', 'applied')} to ${event.envoys}/${event.of} Envoy in ${Math.round(event.ms)} ms${what}`
    }
    case 'rejected':
      return `${event.text}\n${paint('red', 'not applied')}: the last good registry stays in force`
    case 'nack':
      return `${event.text}\n${paint('red', 'refused by Envoy')}: everything else is applied`
    case 'warnings':
    case 'envoy':
      return event.text
    default:
      return event satisfies never
  }
}

/** Runs until a signal, or until something essential is gone for good; what it returns is the exit code. */
export const runGateway = async (
  options: Omit<GatewayOptions, 'onEvent'>,
  ready: (event: Extract<GatewayEvent, { kind: 'ready' }>) => string,
): Promise<number> => {
  const signal = firstSignal()
  const { RegistryProblems, startGateway } = await import('../gateway.ts')
  const starting = startGateway({
    ...options,
    onEvent: (event) => print(event.kind === 'ready' ? ready(event) : told(event)),
  })
  let gateway: RunningGateway | 'signal'
  try {
    gateway = await Promise.race([starting, signal])
  } catch (error) {
    if (!(error instanceof RegistryProblems)) throw error
    complain(error.text)
    return exitCode.bad
  }
  try {
    if (gateway !== 'signal') await Promise.race([gateway.done, signal])
  } catch (error) {
    await stopped(starting)
    throw error
  }
  return await stopped(starting)
}
