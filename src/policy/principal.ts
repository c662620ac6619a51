/** Who a request comes from: what a verified token says, reduced to what is kept and compared. */
import { createHash } from 'node:crypto'
import type { Json } from '../registry/model.ts'

export interface Claims {
  readonly [name: string]: Json
}

/** Immutable; the same object for every request with the same token, so that what was worked out for it can be kept by it. */
export interface Principal {
  /** The token's `sub`; empty while nobody is authenticated. */
  readonly subject: string
  /** What belongs to a principal is bound to this: issuer, subject and client, hashed. Empty while nobody is authenticated. */
  readonly key: string
  readonly claims: Claims
}

/** Everybody, while no `gateway.auth` says who is who. */
export const ANYBODY: Principal = { subject: '', key: '', claims: {} }

/** Who has claims that nobody vouches for, or that lack what a token has to say. */
export const sampleOf = (claims: Claims): Principal => principalOf(claims) ?? { subject: '', key: '', claims }

/** Undefined: the token says of whom it is in no way that could be told from another's. */
export const principalOf = (claims: Claims): Principal | undefined => {
  const { iss, sub, client_id: clientId, azp } = claims
  if (typeof sub !== 'string' || sub === '') return undefined
  const client = typeof clientId === 'string' ? clientId : typeof azp === 'string' ? azp : ''
  const key = createHash('sha256')
    .update(JSON.stringify([iss, sub, client]))
    .digest('base64url')
  return { subject: sub, key, claims }
}
