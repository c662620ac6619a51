/** Collects the problems and the files of one registry while it is read and built. */
import { dirname, resolve } from 'node:path'
import type { Place, Problem } from './model.ts'
import { type Path, pathKey, pathText } from './place.ts'

/** Where something written stands. */
interface Spot {
  /** The key, or the item of a list. */
  readonly key: Place
  readonly value: Place
  /** Its text comes from the environment, at least partly. */
  readonly variable: boolean
}

/** Messages never repeat values: any of them may be a secret, or have come from the environment. */
export interface Inspection {
  /** At the value; for something that is not there, at the nearest key above it. */
  error(path: Path, message: string, hint?: string): undefined
  errorAtKey(path: Path, message: string, hint?: string): undefined
  errorAt(place: Place, path: Path, message: string, hint?: string): undefined
  warning(path: Path, message: string, hint?: string): undefined
  note(path: Path, spot: Spot): void
  keyPlace(path: Path): Place
  /** Whether the author wrote something there, good or bad. */
  isWritten(path: Path): boolean
  /** Whether an error was found there or below. */
  isBroken(path: Path): boolean
  usesVariable(path: Path): boolean
  /** Relative to the registry file → absolute. */
  resolve(path: string): string
  /** A file's text; undefined once its problem is reported. */
  read(path: Path, file: string): string | undefined
  /** A file's absolute path; undefined once the problem is reported that keeps an audit log from being kept in it. */
  appendable(path: Path, file: string): string | undefined
  readonly problems: readonly Problem[]
  /** Every file that was asked for, absolute. */
  readonly files: ReadonlySet<string>
}

const reasons: ReadonlyMap<unknown, string> = new Map([
  ['ENOENT', 'the file does not exist'],
  ['ENOTDIR', 'the file does not exist'],
  ['EACCES', 'the file may not be read'],
  ['EPERM', 'the file may not be read'],
  ['EISDIR', 'this is a directory, not a file'],
])

/** `file` is the registry; `readFile` throws when it cannot; `auditFault` says why an audit log can't be kept in a file. */
export const inspect = (
  file: string,
  readFile: (path: string) => string,
  auditFault: (path: string) => string | undefined,
): Inspection => {
  const problems: Problem[] = []
  const broken: Path[] = []
  const spots = new Map<string, Spot>()
  const files = new Set<string>()
  const folder = dirname(resolve(file))

  const nearest = (path: Path): Spot => {
    for (let length = path.length; length > 0; length--) {
      const spot = spots.get(pathKey(path.slice(0, length)))
      if (spot !== undefined) return length === path.length ? spot : { ...spot, value: spot.key }
    }
    const start = { line: 1, column: 1 }
    return { key: start, value: start, variable: false }
  }
  const add = (severity: Problem['severity'], place: Place, path: Path, message: string, hint?: string): undefined => {
    problems.push({ severity, place, path: pathText(path), message, ...(hint === undefined ? {} : { hint }) })
    if (severity === 'error') broken.push(path)
  }

  const inspection: Inspection = {
    error: (path, message, hint) => add('error', nearest(path).value, path, message, hint),
    errorAtKey: (path, message, hint) => add('error', nearest(path).key, path, message, hint),
    errorAt: (place, path, message, hint) => add('error', place, path, message, hint),
    warning: (path, message, hint) => add('warning', nearest(path).value, path, message, hint),
    note: (path, spot) => void spots.set(pathKey(path), spot),
    keyPlace: (path) => nearest(path).key,
    isWritten: (path) => spots.has(pathKey(path)),
    isBroken: (path) => broken.some((wrong) => path.every((step, index) => wrong[index] === step)),
    usesVariable: (path) => spots.get(pathKey(path))?.variable === true,
    resolve: (path) => resolve(folder, path),
    read(path, written) {
      if (written === '' || written.includes('\0')) return inspection.error(path, 'must be the path of a file')
      const absolute = inspection.resolve(written)
      files.add(absolute)
      try {
        return readFile(absolute)
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : undefined
        return inspection.error(
          path,
          reasons.get(code) ?? 'the file cannot be read',
          'paths are relative to the registry file',
        )
      }
    },
    appendable(path, written) {
      if (written === '' || written.includes('\0')) return inspection.error(path, 'must be the path of a file, or -')
      const absolute = inspection.resolve(written)
      const fault = auditFault(absolute)
      return fault === undefined ? absolute : inspection.error(path, fault, 'paths are relative to the registry file')
    },
    problems,
    files,
  }
  return inspection
}
