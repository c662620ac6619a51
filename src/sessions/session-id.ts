/** Sealed session ids: AES-256-GCM over what was negotiated, so that an id can be read but neither made nor changed outside. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { ClientFeature } from '../registry/model.ts'

const IV_BYTES = 12
const TAG_BYTES = 16
/** Bound into every id: another format or another use of the key never opens here. */
const PURPOSE = Buffer.from('mcp-gateway session 1')

/** What a sealed session id carries, so that any process with the key can read it. */
export interface SessionClaims {
  /** 16 random bytes, base64url; the key of every table. */
  readonly key: string
  /** When it was made, ms since the epoch. */
  readonly createdMs: number
  /** What was negotiated with the client. */
  readonly protocolVersion: string
  /** The client's declared capabilities as JSON text, cut down to the ones we know. */
  readonly capabilities: string
  /** The features among them that a server could use. */
  readonly features: readonly ClientFeature[]
  readonly clientName: string
  readonly clientVersion: string
}

/** Seals and opens ids with one 32-byte key. */
export interface Sealer {
  /** The claims as an opaque id of visible ASCII. */
  seal(claims: SessionClaims): string
  /** The claims of an id this key sealed; undefined for anything else. Never throws. */
  open(id: string): SessionClaims | undefined
}

/** A sealer for `key` (32 bytes). */
export const sealer = (key: Uint8Array): Sealer => ({
  seal(claims) {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(PURPOSE)
    const text = JSON.stringify([
      claims.key,
      claims.createdMs,
      claims.protocolVersion,
      claims.capabilities,
      claims.features,
      claims.clientName,
      claims.clientVersion,
    ])
    const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
    return sealed.toString('base64url')
  },
  open(id) {
    const sealed = Buffer.from(id, 'base64url')
    // Decoding is lenient; only the one spelling we would have written counts.
    if (sealed.length <= IV_BYTES + TAG_BYTES || sealed.toString('base64url') !== id) return undefined
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
    decipher.setAAD(PURPOSE).setAuthTag(sealed.subarray(-TAG_BYTES))
    try {
      const text = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      return parseClaims(JSON.parse(text))
    } catch {
      return undefined
    }
  },
})

const parseClaims = (value: unknown): SessionClaims | undefined => {
  if (!Array.isArray(value) || value.length !== 7) return undefined
  const [key, createdMs, protocolVersion, capabilities, features, clientName, clientVersion]: unknown[] = value
  if (typeof key !== 'string' || typeof createdMs !== 'number' || typeof protocolVersion !== 'string') return undefined
  if (typeof capabilities !== 'string' || typeof clientName !== 'string' || typeof clientVersion !== 'string')
    return undefined
  if (!Array.isArray(features) || !features.every(isFeature)) return undefined
  return { key, createdMs, protocolVersion, capabilities, features, clientName, clientVersion }
}

const isFeature = (value: unknown): value is ClientFeature =>
  value === 'elicitation' || value === 'sampling' || value === 'roots'
