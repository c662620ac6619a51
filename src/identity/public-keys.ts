/** The keys of a JWKS that tokens may be verified with: public ones, for signatures, of kinds that Envoy and we both take. */
import { createPublicKey } from 'node:crypto'
import { isObject } from '../registry/json-object.ts'
import type { Auth } from '../registry/model.ts'

/** A public key, with no member beyond what verifying needs (RFC 7517, 7518, 8037). */
export type PublicKey = Readonly<Record<string, string>> & { readonly kty: string }

/** Asymmetric ones only: with a shared secret, whoever verifies could sign. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const

/** What makes up the key itself, by its kind. Private members are not among it. */
const MEMBERS = new Map<unknown, { readonly own: readonly string[]; readonly algorithms: RegExp }>([
  ['RSA', { own: ['n', 'e'], algorithms: /^[RP]S/ }],
  ['EC', { own: ['crv', 'x', 'y'], algorithms: /^ES/ }],
  ['OKP', { own: ['crv', 'x'], algorithms: /^EdDSA$/ }],
])
const CURVES: ReadonlySet<unknown> = new Set(['P-256', 'P-384', 'P-521', 'Ed25519'])
const LEAST_RSA_BITS = 2048

/** In an order of their own, whatever the document's. What is not such a key is left out. */
export const publicKeys = (document: unknown): readonly PublicKey[] => {
  const keys = isObject(document) && Array.isArray(document['keys']) ? document['keys'] : []
  return keys
    .flatMap((key: unknown) => publicKey(key) ?? [])
    .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
}

/** What Envoy is given where the keys stand in a file; undefined: they do not, or there are none. */
export const keysInFile = (auth: Auth | undefined): string | undefined => {
  const keys = auth?.jwks.kind === 'file' ? publicKeys(JSON.parse(auth.jwks.text)) : []
  return keys.length === 0 ? undefined : JSON.stringify({ keys })
}

const publicKey = (key: unknown): PublicKey | undefined => {
  if (!isObject(key)) return undefined
  const { kty, alg, use, crv, kid, key_ops: operations } = key
  const kind = MEMBERS.get(kty)
  if (kind === undefined || typeof kty !== 'string') return undefined
  if (use !== undefined && use !== 'sig') return undefined
  if (Array.isArray(operations) && !operations.includes('verify')) return undefined
  if (crv !== undefined && !CURVES.has(crv)) return undefined
  const known = ALGORITHMS.some((name) => name === alg && kind.algorithms.test(name))
  if (alg !== undefined && !known) return undefined
  const own: [string, string][] = []
  for (const name of kind.own) {
    const value = key[name]
    if (typeof value !== 'string') return undefined
    own.push([name, value])
  }
  const made = { kty, ...text('kid', kid), ...text('alg', alg), use: 'sig', ...Object.fromEntries(own) }
  return isSound(made) ? made : undefined
}

const text = (name: string, value: unknown): Readonly<Record<string, string>> =>
  typeof value === 'string' ? { [name]: value } : {}

/** Whether there is such a key at all: one that is none could make Envoy refuse all of them. */
const isSound = (jwk: PublicKey): boolean => {
  try {
    const { asymmetricKeyDetails: details } = createPublicKey({ key: jwk, format: 'jwk' })
    return jwk.kty !== 'RSA' || (details?.modulusLength ?? 0) >= LEAST_RSA_BITS
  } catch {
    return false
  }
}
