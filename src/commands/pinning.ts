/** What `lock`, `diff` and `approve` are about: the lock beside the registry and what the running gateway's servers offer. */
import type { OfferedServer } from '../catalog/definitions.ts'
import type { Address, Lock } from '../registry/model.ts'
import { exitCode } from './exit-code.ts'
import { complain } from './terminal.ts'

export interface PinningOptions {
  readonly admin?: Address
  readonly json?: boolean
}

interface Pinning {
  readonly servers: readonly OfferedServer[]
  /** Undefined: there is none. */
  readonly lock: Lock | undefined
}

/** Undefined, with the reason told and the exit code set, when something is bad. `anew`: what the lock says does not matter. */
export const pinningOf = async (
  file: string,
  { admin }: PinningOptions,
  anew: 'anew' | 'as it is',
): Promise<Pinning | undefined> => {
  const address = admin ?? (await adminOf(file))
  if (address === undefined) return undefined
  const { readLock } = await import('../lock-file.ts')
  const read = readLock(file)
  if (!read.ok && anew === 'as it is') {
    const { formatProblem } = await import('../registry/format-problem.ts')
    for (const problem of read.problems) complain(formatProblem(file, problem))
    process.exitCode = exitCode.bad
    return undefined
  }
  const { askDefinitions } = await import('./running-gateway.ts')
  return { servers: await askDefinitions(address, file), lock: read.ok ? read.lock : undefined }
}

/** Of the registry alone: a lock that cannot be read does not keep the gateway from running on the last good one. */
const adminOf = async (file: string): Promise<Address | undefined> => {
  const { goodRegistry } = await import('./registry-file.ts')
  return goodRegistry(file, { locked: false })?.gateway.admin
}

/** There has to be a lock. */
export const lockNeeded = (file: string): undefined => {
  complain(`there is no mcp.lock beside ${file}; write one with: mcp-gateway lock ${file}`)
  process.exitCode = exitCode.bad
}

/** Servers whose tools nobody knows yet: nothing can be said of them. */
export const unanswered = (servers: readonly OfferedServer[]): readonly string[] =>
  servers.filter(({ answered }) => !answered).map(({ name }) => `${name} has not answered: what it offers is not known`)
