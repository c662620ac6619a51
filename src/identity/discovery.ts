/** Where an issuer publishes what it is, and where its keys are by that (OIDC Discovery 4, RFC 8414 3). */
import { isObject } from '../registry/json-object.ts'

/** In the order they are tried: OIDC's, then those with the well-known part in front of the issuer's own path. */
export const metadataUrls = (issuer: string): readonly string[] => {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const urls = [
    `${origin}${path}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
  ]
  return [...new Set(urls)]
}

export type KeysAt = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly problem: string }

const MOST_SHOWN = 200

/** A document is about the issuer it names, character by character; anybody could publish one about another. */
export const keysAt = (document: unknown, issuer: string, from: string): KeysAt => {
  if (!isObject(document)) return { ok: false, problem: `${from} is not a JSON object` }
  const { issuer: named, jwks_uri: url } = document
  if (named !== issuer) {
    const other =
      typeof named === 'string' ? `of the issuer ${JSON.stringify(named.slice(0, MOST_SHOWN))}` : 'of no issuer'
    return { ok: false, problem: `${from} is ${other}, not of ${JSON.stringify(issuer)}` }
  }
  if (typeof url !== 'string') return { ok: false, problem: `${from} names no jwks_uri` }
  return { ok: true, url }
}
