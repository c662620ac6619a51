/** Who a request comes from, by the token that Envoy has verified; the claims of one are decoded once, not at each request. */
import { type Principal, principalOf } from '../policy/principal.ts'
import { claimsOf, payloadIn } from './claims.ts'

/** A token as it came, and what Envoy says of it. */
export interface Verified {
  /** The value of the header. */
  readonly authorization: string | undefined
  /** Envoy's metadata, as bytes. */
  readonly metadata: Buffer | undefined
}

/** Undefined: nobody that could be told from others. */
export type Principals = (verified: Verified) => Principal | undefined

interface Known {
  readonly authorization: string
  readonly principal: Principal | undefined
}

/** Tokens in each of two generations. */
const MOST = 2048
/** A token ends with its signature, which differs from every other's. */
const SIGNATURE = 64

const BEARER = /^bearer +[A-Za-z0-9._~+/-]+=*$/i

/** Remembers the latest ones: `most` at least, and never more than twice as many. */
export const rememberPrincipals = (most = MOST): Principals => {
  let young = new Map<string, Known>()
  let old = new Map<string, Known>()
  return ({ authorization, metadata }) => {
    // A header alone proves nothing, were it remembered a hundred times: Envoy has to have let it in now.
    const payload = metadata === undefined ? undefined : payloadIn(metadata)
    // Envoy finds a token behind other words as well; the broker would not.
    if (authorization === undefined || payload === undefined || !BEARER.test(authorization)) return undefined
    // Hashed is only the end; the whole is compared.
    const key = authorization.slice(-SIGNATURE)
    let known = young.get(key)
    if (known?.authorization === authorization) return known.principal
    known = old.get(key)
    if (known?.authorization !== authorization) {
      const claims = claimsOf(payload)
      known = { authorization, principal: claims === undefined ? undefined : principalOf(claims) }
    }
    young.set(key, known)
    if (young.size >= most) [old, young] = [young, new Map()]
    return known.principal
  }
}
