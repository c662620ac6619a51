/** Where the audit log's lines go: the end of a file, or standard output; what is there already is continued. */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  type Stats,
  statSync,
  write,
} from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CHAIN_START, type Chained, chained, linksOf } from './audit-chain.ts'

export interface Sink {
  /**
   * Appends them in this order and resolves with the hash of the last one. Rejects when not all of them could be written;
   * asked again with the same ones first, it writes none twice.
   */
  write(bodies: readonly string[]): Promise<string>
  close(): void
}

/** A chain of its own for each start: nobody can read back what went before. */
export const standardOutput = (): Sink => {
  let hash = CHAIN_START
  return {
    write(bodies) {
      const lines = chain(bodies, hash)
      hash = lines.at(-1)?.hash ?? hash
      const text = lines.map(({ line }) => line).join('')
      return new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error instanceof Error ? reject(error) : resolve(hash)))
      })
    },
    close: () => undefined,
  }
}

interface Open {
  readonly fd: number
  readonly dev: number
  readonly ino: number
  size: number
  hash: string
}

const writeAll = async (fd: number, bytes: Buffer): Promise<void> => {
  let rest = bytes
  while (rest.length > 0) {
    const written = await new Promise<number>((resolve, reject) => {
      write(fd, rest, (error, count) => (error === null ? resolve(count) : reject(error)))
    })
    rest = rest.subarray(written)
  }
}

/** `onTorn`: a line that a crash left incomplete was cut off. `put` writes all of some bytes at the end of a file. */
export const appending = (path: string, onTorn: () => void, put = writeAll): Sink => {
  let open: Open | undefined
  /** Lines of which nobody knows how many were written. */
  let unsure: readonly Chained[] = []

  const close = (): void => {
    if (open !== undefined) closeSync(open.fd)
    open = undefined
  }
  /** The file that is there now: it may have been moved away, replaced or cut short by somebody. */
  const current = async (): Promise<Open> => {
    if (open !== undefined) {
      const there: Stats | undefined = await stat(path).catch(() => undefined)
      if (there?.ino === open.ino && there.dev === open.dev && there.size === open.size) return open
      close()
    }
    const fd = openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o600)
    try {
      const { whole, hash, torn } = endOf(fd)
      if (torn) {
        ftruncateSync(fd, whole)
        onTorn()
      }
      const { dev, ino } = fstatSync(fd)
      return (open = { fd, dev, ino, size: whole, hash })
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
  return {
    async write(bodies) {
      const file = await current()
      const there = unsure.findIndex(({ hash }) => hash === file.hash) + 1
      const lines = chain(bodies.slice(there), file.hash)
      unsure = lines
      const bytes = Buffer.from(lines.map(({ line }) => line).join(''))
      try {
        await put(file.fd, bytes)
      } catch (error) {
        close() // how much of it is there, its end will tell
        throw error
      }
      unsure = []
      file.size += bytes.length
      file.hash = lines.at(-1)?.hash ?? file.hash
      return file.hash
    },
    close,
  }
}

/** Why an audit log can't be kept in this file; undefined: it can. Changes nothing. */
export const auditFault = (path: string): string | undefined => {
  try {
    const there = statSync(path, { throwIfNoEntry: false })
    if (there === undefined) {
      accessSync(dirname(path), constants.W_OK | constants.X_OK)
      return undefined
    }
    if (!there.isFile()) return 'this is no file'
    accessSync(path, constants.R_OK | constants.W_OK)
    const fd = openSync(path, 'r')
    try {
      endOf(fd)
    } finally {
      closeSync(fd)
    }
    return undefined
  } catch (error) {
    if (error instanceof NotOurs) return error.message
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'its folder does not exist' : 'the file cannot be written'
  }
}

class NotOurs extends Error {}

const chain = (bodies: readonly string[], from: string): readonly Chained[] => {
  let prev = from
  return bodies.map((body) => {
    const one = chained(body, prev)
    prev = one.hash
    return one
  })
}

const NEWLINE = 0x0a
/** More than a line can have. */
const MOST_LINE = 64 * 1024
const BEGINNING = '{"time":"'

/** How many bytes are whole lines, the hash of the last one, and whether there is a beginning of one more behind it. */
const endOf = (fd: number): { readonly whole: number; readonly hash: string; readonly torn: boolean } => {
  const { size } = fstatSync(fd)
  if (size === 0) return { whole: 0, hash: CHAIN_START, torn: false }
  const from = Math.max(0, size - 2 * MOST_LINE)
  const bytes = Buffer.alloc(size - from)
  const end = bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from))
  const last = end.lastIndexOf(NEWLINE)
  if (last === -1 && from === 0 && end.toString('latin1', 0, BEGINNING.length) === BEGINNING) {
    return { whole: 0, hash: CHAIN_START, torn: true }
  }
  const before = last <= 0 ? -1 : end.lastIndexOf(NEWLINE, last - 1)
  const links = last === -1 ? undefined : linksOf(end.subarray(before + 1, last))
  if (links === undefined) throw new NotOurs('the file holds something else than an audit log')
  if (!links.intact) throw new NotOurs('the last line of the file was changed: an audit log cannot go on from it')
  return { whole: from + last + 1, hash: links.hash, torn: last + 1 < end.length }
}
