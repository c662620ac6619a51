/** Tokens of an issuer that is nothing but a key: its key set goes to the gateway as a file. */
import type { JsonObject } from './raw-json.ts'
import { inSeconds, signingKey } from './tokens.ts'

export interface TokenMaker {
  /** The gateway's `auth` entry, with the file beside the registry. */
  readonly auth: JsonObject
  readonly files: Readonly<Record<string, string>>
  /** Headers that carry a token with these claims. `audience`: default, the gateway's. */
  bearer(claims: JsonObject, audience?: string): Promise<Record<string, string>>
}

const ISSUER = 'https://idp.example.com'
const KEYS = 'certs.json'

/** `url`: the gateway's. */
export const tokenMaker = async (url: string): Promise<TokenMaker> => {
  const key = await signingKey('ES256')
  return {
    auth: { issuer: ISSUER, jwks: KEYS },
    files: { [KEYS]: JSON.stringify({ keys: [key.published] }) },
    bearer: async (claims, audience = url) => ({
      authorization: `Bearer ${await key.sign({ ...claims, iss: ISSUER, aud: audience, exp: inSeconds(3600) })}`,
    }),
  }
}
