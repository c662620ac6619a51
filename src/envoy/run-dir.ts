/** The directory that our sockets lie in: nobody else may enter it, and its path is short. */
import { lstat, mkdir, mkdtemp, rm, rmdir, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { errorCode, errorText, StartProblem } from './start-problem.ts'

/** A socket's path may be 103 bytes on macOS and 107 on Linux; longer ones are cut without a word. */
const LONGEST_PATH = 100
const UNIQUE = 'mcpgw-XXXXXX'

export interface RunDirOptions {
  /** Used, and made when missing; otherwise a new directory that is removed at close. */
  readonly preferred?: string
  /** File names of every socket that will lie in it. */
  readonly sockets: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface RunDir {
  readonly path: string
  /** Removes the sockets, and the directory when it was made here. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const longest = (directory: string, sockets: readonly string[]): number =>
  Math.max(...sockets.map((name) => Buffer.byteLength(join(directory, name))))

const isOurs = async (directory: string): Promise<boolean> => {
  try {
    const found = await stat(directory)
    return found.isDirectory() && found.uid === process.getuid?.()
  } catch {
    return false
  }
}

const makeNew = async ({ env, sockets }: RunDirOptions): Promise<string> => {
  const runtime = env['XDG_RUNTIME_DIR']
  const bases = [
    ...(runtime !== undefined && (await isOurs(runtime)) ? [runtime] : []),
    env['TMPDIR'] ?? tmpdir(),
    '/tmp',
  ]
  const base = bases.find((candidate) => longest(join(candidate, UNIQUE), sockets) <= LONGEST_PATH) ?? '/tmp'
  try {
    // 0700 by definition.
    return await mkdtemp(join(base, UNIQUE.slice(0, -6)))
  } catch (error) {
    throw new StartProblem(
      `cannot make a directory in ${base}: ${errorText(error)}`,
      'set TMPDIR to one you may write to',
    )
  }
}

const usePreferred = async (directory: string): Promise<boolean> => {
  let made: boolean
  try {
    made = (await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined
  } catch (error) {
    throw new StartProblem(`cannot make ${directory}: ${errorText(error)}`, 'choose a directory you may write to')
  }
  const { mode, uid } = await stat(directory)
  if (uid !== process.getuid?.()) {
    throw new StartProblem(`${directory} belongs to another user`, 'choose a directory of your own')
  }
  if ((mode & 0o077) !== 0) {
    throw new StartProblem(
      `others may enter ${directory}: who reaches the sockets in it reads every secret`,
      'choose one that only you may enter, or one that does not exist yet',
    )
  }
  return made
}

/** Whether someone listens there. A socket nobody listens on refuses. */
const isLive = (path: string): Promise<boolean> =>
  new Promise((answer, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      answer(true)
    })
    socket.once('error', (error) => {
      const code = errorCode(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT') answer(false)
      else reject(new StartProblem(`cannot use ${path}: ${error.message}`, 'remove it or choose another directory'))
    })
  })

const removeStale = async (directory: string, sockets: readonly string[]): Promise<void> => {
  for (const name of sockets) {
    const path = join(directory, name)
    const found = await lstat(path).catch(() => undefined)
    if (found === undefined) continue
    if (!found.isSocket()) throw new StartProblem(`${path} is not a socket`, 'move it away or choose another directory')
    if (await isLive(path)) {
      throw new StartProblem(`another gateway runs in ${directory}`, 'stop it, or choose another directory')
    }
    await rm(path, { force: true })
  }
}

/** @throws StartProblem */
export const makeRunDir = async (options: RunDirOptions): Promise<RunDir> => {
  const { preferred, sockets } = options
  const path = preferred === undefined ? await makeNew(options) : resolve(preferred)
  const bytes = longest(path, sockets)
  if (bytes > LONGEST_PATH) {
    throw new StartProblem(
      `the path of a socket in ${path} would have ${bytes} bytes, and ${LONGEST_PATH} are safe`,
      'choose a directory with a shorter path',
    )
  }
  const made = preferred === undefined || (await usePreferred(path))
  await removeStale(path, sockets)
  const close = async (): Promise<void> => {
    if (preferred === undefined) {
      await rm(path, { recursive: true, force: true })
      return
    }
    await Promise.all(sockets.map((name) => rm(join(path, name), { force: true })))
    // Anything of the author's in it stays, and then the directory does too.
    if (made) await rmdir(path).catch(() => {})
  }
  return { path, close, [Symbol.asyncDispose]: close }
}
