/** Which Envoy a binary is, and whether it is new enough. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'

/** Taken without a word from here on: the ext_proc and RBAC fixes of August 2026 are in, and settled. */
const FLOOR = '1.39.3'
/** An explicit choice from here on is taken with a warning. */
const TOLERATED = '1.39.1'

/** The number in `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`; a development build counts as its number. */
export const parseVersion = (output: string): string | undefined =>
  /version: [0-9a-f]*\/(\d+\.\d+\.\d+)/u.exec(output)?.[1]

const compare = (left: string, right: string): number => {
  const [a, b] = [left.split('.').map(Number), right.split('.').map(Number)]
  return (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0)
}

export type Verdict = 'fine' | 'old' | 'refused'

/** `old` is enough only for someone who asked for it. */
export const judge = (version: string): Verdict => {
  if (compare(version, FLOOR) >= 0) return 'fine'
  return compare(version, TOLERATED) >= 0 ? 'old' : 'refused'
}

export const floorText = `Envoy ${FLOOR} or later is needed (security fixes)`

const run = promisify(execFile)

interface Known {
  readonly stamp: string
  readonly version: string
}

const isKnown = (value: unknown): value is Known =>
  typeof value === 'object' &&
  value !== null &&
  'stamp' in value &&
  typeof value.stamp === 'string' &&
  'version' in value &&
  typeof value.version === 'string'

const readMemory = async (file: string): Promise<Map<string, Known>> => {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    if (typeof value !== 'object' || value === null) return new Map()
    return new Map(Object.entries(value).flatMap(([path, known]) => (isKnown(known) ? [[path, known]] : [])))
  } catch {
    return new Map()
  }
}

/** Losing a race with another start loses a memory, never a file: it is replaced whole. */
const writeMemory = async (file: string, memory: ReadonlyMap<string, Known>): Promise<void> => {
  const next = `${file}.${process.pid}`
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(next, JSON.stringify(Object.fromEntries(memory)))
    await rename(next, file)
  } catch {
    // A cache that can't be written costs one `--version` a start.
  }
}

/**
 * What the binary says it is. Asking takes tens of milliseconds, so the answer is kept in `memory` for as long as
 * the file is the same. Rejects when it does not run or says something else.
 */
export const versionOf = async (binary: string, memory: string): Promise<string> => {
  const { mtimeMs, size, ino } = await stat(binary)
  const stamp = `${mtimeMs} ${size} ${ino}`
  const known = await readMemory(memory)
  const remembered = known.get(binary)
  if (remembered?.stamp === stamp) return remembered.version
  const { stdout } = await run(binary, ['--version'], { timeout: 10_000 })
  const version = parseVersion(stdout)
  if (version === undefined) throw new Error('it does not say which version it is')
  await writeMemory(memory, new Map([...known, [binary, { stamp, version }]]))
  return version
}
