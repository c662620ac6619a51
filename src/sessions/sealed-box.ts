/** Text that goes out through strangers' hands and comes back: AES-256-GCM, so that it can neither be read, made nor changed outside. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const IV_BYTES = 12
const TAG_BYTES = 16

/** Seals and opens text with one key for one purpose. */
export interface SealedBox {
  /** The text as visible ASCII; never the same twice. */
  seal(text: string): string
  /** The text that was sealed with this key for this purpose; undefined for anything else. Never throws. */
  open(sealed: string): string | undefined
}

/** What was sealed as the JSON of a list; empty for anything else. */
export const openList = (box: SealedBox, sealed: string): readonly unknown[] => {
  const text = box.open(sealed)
  const value: unknown = text === undefined ? undefined : JSON.parse(text)
  return Array.isArray(value) ? value : []
}

/** `key` has 32 bytes. `purpose` is bound in: what was sealed for another use of the key, or in another format, never opens here. */
export const sealedBox = (key: Uint8Array, purpose: string): SealedBox => {
  const bound = Buffer.from(purpose)
  return {
    seal(text) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(bound)
      return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
    },
    open(sealed) {
      const bytes = Buffer.from(sealed, 'base64url')
      // Decoding is lenient; only the one spelling we would have written counts.
      if (bytes.length < IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== sealed) return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(bound).setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return undefined
      }
    },
  }
}
