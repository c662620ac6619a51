/** The `sessions:` section: how long clients' sessions live, and what seals their ids. */
import type { Inspection } from './inspection.ts'
import { Secret, type SessionOptions } from './model.ts'
import type { Path } from './place.ts'
import type { SessionsSheet } from './schema.ts'
import { secretText } from './secret-text.ts'

export const sessions = (inspection: Inspection, sheet: SessionsSheet): SessionOptions => {
  const path = ['sessions', 'key']
  const key = sheet.key === undefined ? undefined : sealingKey(inspection, path, sheet.key)
  if (typeof sheet.key === 'string' && !inspection.usesVariable(path)) {
    inspection.warning(path, 'a secret stands in the file', 'use "${NAME}" or { file: path }')
  }
  const { size, idle, input } = sheet.pool
  const pool = { size, idleMs: idle, inputMs: input }
  return { idleMs: sheet.idle, pool, ...(key === undefined ? {} : { key }) }
}

/** Whatever the author wrote it in, the value is base64url. */
const sealingKey = (
  inspection: Inspection,
  path: Path,
  written: NonNullable<SessionsSheet['key']>,
): Secret | undefined => {
  const text = secretText(inspection, path, written)
  if (text === undefined) return undefined
  const bytes = decode(text)
  if (bytes?.length !== 32) {
    return inspection.error(path, 'must be 32 bytes as base64, base64url or hex', 'make one with: openssl rand -hex 32')
  }
  return new Secret(bytes.toString('base64url'))
}

const decode = (text: string): Buffer | undefined => {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
}
