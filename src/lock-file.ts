/** The file `mcp.lock` beside a registry: found, read and written. */
import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ParsedLock, parseLock, printLock } from './catalog/lock.ts'
import type { Lock } from './registry/model.ts'

export const lockFileOf = (registry: string): string => join(dirname(registry), 'mcp.lock')

/** `lock` undefined: there is no such file, so nothing is pinned; of the same text it is the same value. `seen` is told it. */
export const readLock = (
  registry: string,
  seen: (text: string) => unknown = () => undefined,
): { readonly ok: true; readonly lock: Lock | undefined } | Extract<ParsedLock, { ok: false }> => {
  const file = lockFileOf(registry)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { ok: true, lock: undefined }
    const message = 'the file cannot be read'
    return { ok: false, problems: [{ severity: 'error', file, place: { line: 1, column: 1 }, path: '', message }] }
  }
  seen(text)
  // Parsing takes about 0.4 ms a tool, and a registry is saved more often than its lock.
  if (last?.file !== file || last.text !== text) last = { file, text, parsed: parseLock(text, file) }
  return last.parsed
}
let last: { readonly file: string; readonly text: string; readonly parsed: ParsedLock } | undefined

/** Whole or not at all: a gateway may be watching. */
export const writeLock = async (registry: string, lock: Lock): Promise<void> => {
  const file = lockFileOf(registry)
  await writeFile(`${file}.${process.pid}`, printLock(lock))
  await rename(`${file}.${process.pid}`, file)
}
