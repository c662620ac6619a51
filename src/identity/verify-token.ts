/** Verifies one token: signature, issuer, expiry; everything but whom it is for, which depends on the address asked. */
import { errors, type JWTVerifyResult, jwtVerify } from 'jose'
import type { Claims } from '../policy/principal.ts'
import type { Auth } from '../registry/model.ts'
import type { Keys } from './key-set.ts'
import { ALGORITHMS } from './public-keys.ts'

export type Verified =
  | { readonly ok: true; readonly claims: Claims }
  | { readonly ok: false; readonly reason: 'unknown-key' | 'bad-token'; readonly detail: string }

/** Never rejects. `nowMs`: the time that counts. */
export const verifyToken = async (
  token: string,
  keys: Keys,
  { issuer, skewMs }: Pick<Auth, 'issuer' | 'skewMs'>,
  nowMs: number,
): Promise<Verified> => {
  const options = {
    algorithms: [...ALGORITHMS],
    issuer,
    requiredClaims: ['exp'],
    clockTolerance: skewMs / 1000,
    currentDate: new Date(nowMs),
  }
  try {
    return accepted(await jwtVerify<Claims>(token, keys.find, options))
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return refused(error)
    // A token need not name its key when only one of several can have signed it.
    for await (const key of error) {
      try {
        return accepted(await jwtVerify<Claims>(token, key, options))
      } catch (other) {
        if (!(other instanceof errors.JWSSignatureVerificationFailed)) return refused(other)
      }
    }
    return refused(new errors.JWSSignatureVerificationFailed())
  }
}

const accepted = ({ payload }: JWTVerifyResult<Claims>): Verified => ({ ok: true, claims: payload })

const refused = (error: unknown): Verified => {
  if (error instanceof errors.JWKSNoMatchingKey) {
    return { ok: false, reason: 'unknown-key', detail: 'it is signed with a key that its issuer does not publish' }
  }
  return { ok: false, reason: 'bad-token', detail: detailOf(error) }
}

/** Says nothing of what is in the token. */
const detailOf = (error: unknown): string => {
  if (error instanceof errors.JWTExpired) return 'it has expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'it is not signed with an algorithm that is accepted here'
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS.get(error.claim) ?? `its ${error.claim} is wrong`
  return 'it is not a signed JWT'
}

const CLAIMS: ReadonlyMap<string, string> = new Map([
  ['iss', 'it is of another issuer'],
  ['exp', 'it does not say when it expires'],
  ['nbf', 'it is not valid yet'],
])
