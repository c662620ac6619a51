/** Who asks: the token of a request verified against the issuer's keys, once per token; also holds those keys. */
import { createHash } from 'node:crypto'
import { dropOldest } from '../bounded.ts'
import { type Clock, within } from '../clock.ts'
import { isFor } from '../policy/audience.ts'
import { ANYBODY, type Principal, principalOf } from '../policy/principal.ts'
import type { Auth } from '../registry/model.ts'
import { type KeySet, type KeySetMeans, type KeyStatus, type Keys, keySet } from './key-set.ts'
import { verifyToken } from './verify-token.ts'

export type Identified =
  | {
      readonly ok: true
      readonly principal: Principal
      /** As it was sent; absent while nobody is authenticated. */
      readonly token?: string
    }
  | {
      readonly ok: false
      readonly reason: 'no-token' | 'bad-token' | 'no-keys'
      /** Why, in words that may be shown to anybody. */
      readonly detail: string
    }

export interface AuthStatus extends KeyStatus {
  readonly issuer: string
  readonly audience: string
}

export interface Authenticator {
  /** `authorization`: the header's value. Never rejects. */
  identify(authorization: string | undefined, view: string): Promise<Identified>
  /** Fetches the keys of an issuer that will count soon; resolves when the first attempt is over, or `withinMs` are. */
  prepare(auth: Auth | undefined, withinMs: number): Promise<void>
  /** From now on tokens of this issuer count; undefined: there are none, and everybody is anybody. */
  use(auth: Auth | undefined): void
  /** The keys of an issuer that was prepared or is in use, as JSON. */
  jwks(auth: Auth | undefined): string | undefined
  /** Somebody else met a token whose key is not among them. */
  missed(): void
  /** Undefined: without `gateway.auth`. */
  status(): AuthStatus | undefined
  close(): Promise<void>
}

export interface AuthenticatorMeans extends Clock, Pick<KeySetMeans, 'onChange' | 'onProblem'> {
  /** What fetches from an issuer whose certificate is signed by these authorities. */
  readonly fetching: (ca: string | undefined) => Pick<KeySetMeans, 'get' | 'close'>
}

/** A token that was verified, and with what. */
interface Known {
  readonly auth: Auth
  readonly keys: Keys
  readonly principal: Principal
  readonly audience: unknown
  readonly expiresMs: number
}

/** Tokens remembered at once, the latest. */
const MOST_KNOWN = 4096
/** RFC 6750 2.1; the scheme is case-insensitive (RFC 9110 11.1). */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i

/** `first`: what counts at the start. */
export const authenticator = (first: Auth | undefined, means: AuthenticatorMeans): Authenticator => {
  const sets = new Map<string, KeySet>()
  /** By the token's hash. */
  const known = new Map<string, Known>()
  let inUse = first

  const setOf = (auth: Auth): KeySet => {
    const id = sourceOf(auth)
    const set = sets.get(id) ?? keySet(auth, { ...means, ...means.fetching(auth.ca) })
    sets.set(id, set)
    return set
  }
  const closeBut = (...kept: readonly (Auth | undefined)[]): void => {
    const ids = new Set(kept.map((auth) => (auth === undefined ? undefined : sourceOf(auth))))
    for (const [id, set] of sets) {
      if (ids.has(id)) continue
      sets.delete(id)
      void set.close()
    }
  }
  const verified = async (token: string, auth: Auth, set: KeySet): Promise<Known | string> => {
    for (let again = false; ; again = true) {
      const keys = set.keys()
      if (keys === undefined) return 'there are no keys'
      const nowMs = means.now()
      const result = await verifyToken(token, keys, auth, nowMs)
      if (result.ok) {
        const { claims } = result
        const principal = principalOf(claims)
        if (principal === undefined) return 'it does not say whose it is (sub)'
        const expiresMs = Number(claims['exp']) * 1000 + auth.skewMs
        return { auth, keys, principal, audience: claims['aud'], expiresMs }
      }
      if (result.reason !== 'unknown-key' || again) return result.detail
      await set.missed()
      if (set.keys() === keys) return result.detail
    }
  }
  return {
    async identify(authorization, view) {
      const auth = inUse
      if (auth === undefined) return { ok: true, principal: ANYBODY }
      if (authorization === undefined) {
        return { ok: false, reason: 'no-token', detail: 'it is missing' }
      }
      const token = BEARER.exec(authorization)?.[1]
      if (token === undefined) {
        return { ok: false, reason: 'no-token', detail: 'it holds none' }
      }
      const set = setOf(auth)
      const keys = set.keys()
      if (keys === undefined) {
        return { ok: false, reason: 'no-keys', detail: 'there are no keys' }
      }
      const id = createHash('sha256').update(token).digest('base64url')
      const before = known.get(id)
      const counts = before?.auth === auth && before.keys === keys && means.now() < before.expiresMs
      const found = counts ? before : await verified(token, auth, set)
      if (typeof found === 'string') return { ok: false, reason: 'bad-token', detail: found }
      if (!counts) remember(known, id, found)
      if (!isFor(found.audience, auth.audience, view)) {
        return { ok: false, reason: 'bad-token', detail: 'it is for another audience' }
      }
      return { ok: true, principal: found.principal, token }
    },
    async prepare(auth, withinMs) {
      if (auth === undefined) return
      const { settled } = setOf(auth)
      closeBut(inUse, auth)
      await within(withinMs, settled, means)
    },
    use(auth) {
      inUse = auth
      closeBut(auth)
      if (auth !== undefined) setOf(auth)
    },
    jwks: (auth) => (auth === undefined ? undefined : setOf(auth).keys()?.jwks),
    missed: () => {
      if (inUse !== undefined) void setOf(inUse).missed()
    },
    status: () => {
      if (inUse === undefined) return undefined
      const { issuer, audience } = inUse
      return { issuer, audience, ...setOf(inUse).status() }
    },
    async close() {
      await Promise.all([...sets.values()].map((set) => set.close()))
    },
  }
}

/** Two with the same have the same keys. */
const sourceOf = ({ issuer, jwks, ca }: Auth): string => JSON.stringify([issuer, jwks, ca])

const remember = (known: Map<string, Known>, id: string, found: Known): void => {
  known.delete(id)
  known.set(id, found)
  dropOldest(known, MOST_KNOWN)
}
