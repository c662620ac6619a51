/** Sealed session ids: what was negotiated travels in the id, which nobody outside can make or change. */
import type { ClientFeature } from '../registry/model.ts'
import { sealedBox } from './sealed-box.ts'

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
  /** Whose it is: the key of its principal. Empty while nobody is authenticated. */
  readonly principal: string
  /** The view it was opened in; empty: all of the gateway. */
  readonly view: string
}

/** Seals and opens ids with one 32-byte key. */
export interface Sealer {
  /** The claims as an opaque id of visible ASCII. */
  seal(claims: SessionClaims): string
  /** The claims of an id this key sealed; undefined for anything else. Never throws. */
  open(id: string): SessionClaims | undefined
}

/** A sealer for `key` (32 bytes). */
export const sealer = (key: Uint8Array): Sealer => {
  const box = sealedBox(key, 'mcp-gateway session 1')
  return {
    seal: (claims) =>
      box.seal(
        JSON.stringify([
          claims.key,
          claims.createdMs,
          claims.protocolVersion,
          claims.capabilities,
          claims.features,
          claims.clientName,
          claims.clientVersion,
          claims.principal,
          claims.view,
        ]),
      ),
    open(id) {
      const text = box.open(id)
      return text === undefined ? undefined : parseClaims(JSON.parse(text))
    },
  }
}

const parseClaims = (value: unknown): SessionClaims | undefined => {
  if (!Array.isArray(value) || value.length !== 9) return undefined
  const [
    key,
    createdMs,
    protocolVersion,
    capabilities,
    features,
    clientName,
    clientVersion,
    principal,
    view,
  ]: unknown[] = value
  if (typeof key !== 'string' || typeof createdMs !== 'number' || typeof protocolVersion !== 'string') return undefined
  if (typeof capabilities !== 'string' || typeof clientName !== 'string' || typeof clientVersion !== 'string')
    return undefined
  if (typeof principal !== 'string' || typeof view !== 'string') return undefined
  if (!Array.isArray(features) || !features.every(isFeature)) return undefined
  return { key, createdMs, protocolVersion, capabilities, features, clientName, clientVersion, principal, view }
}

const isFeature = (value: unknown): value is ClientFeature =>
  value === 'elicitation' || value === 'sampling' || value === 'roots'
