/** Keys of an issuer and tokens made with them: good ones, and every kind that must not be taken for one. */
import { createHmac, randomUUID } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  /** With its private members, as the issuer keeps it. */
  readonly jwk: JWK
  /** As the issuer publishes it. */
  readonly published: JWK
  /** PEM, as anybody can make it of what is published. */
  readonly spki: string
  sign(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): Promise<string>
}

export const signingKey = async (alg = 'RS256', kid: string = randomUUID()): Promise<SigningKey> => {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const names = { kid, alg, use: 'sig' }
  return {
    kid,
    alg,
    jwk: { ...(await exportJWK(privateKey)), ...names },
    published: { ...(await exportJWK(publicKey)), ...names },
    spki: await exportSPKI(publicKey),
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'JWT', ...header }).sign(privateKey),
  }
}

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Seconds since the epoch, so many from now. */
export const inSeconds = (seconds: number, nowMs: number = Date.now()): number => Math.floor(nowMs / 1000) + seconds

type Claimed = Readonly<Record<string, unknown>>

interface Forging {
  /** One of the issuer's own keys. */
  readonly key: SigningKey
  /** Nobody published this one. */
  readonly foreign: SigningKey
  /** Of a token that would be taken. */
  readonly claims: Claimed
  readonly nowMs?: number
}

const without = (claims: Claimed, name: string): Claimed =>
  Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))

/** For a slightly different audience. */
const meantFor = ({ key, claims }: Forging, change: (audience: string) => string): Promise<string> =>
  key.sign({ ...claims, aud: change(String(claims['aud'])) })

const unsigned = (header: unknown, claims: unknown, signature = ''): string =>
  `${encoded(header)}.${encoded(claims)}.${signature}`

const hmac = (secret: string, { kid }: SigningKey, claims: unknown): string => {
  const signed = `${encoded({ alg: 'HS256', kid, typ: 'JWT' })}.${encoded(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** What is wrong with it → how it is made. */
export const badTokens: Readonly<Record<string, (forging: Forging) => string | Promise<string>>> = {
  expired: ({ key, claims, nowMs }) => key.sign({ ...claims, exp: inSeconds(-600, nowMs) }),
  'without an expiry': ({ key, claims }) => key.sign(without(claims, 'exp')),
  'not valid yet': ({ key, claims, nowMs }) => key.sign({ ...claims, nbf: inSeconds(600, nowMs) }),
  'of another audience': (forging) => meantFor(forging, () => 'https://elsewhere.example.com/mcp'),
  'for an address that only begins like ours': (forging) => meantFor(forging, (ours) => `${ours}s`),
  'for our address with a slash at its end': (forging) => meantFor(forging, (ours) => `${ours}/`),
  'for our address without its scheme': (forging) => meantFor(forging, (ours) => ours.replace(/^https?:\/\//, '')),
  'for our address under another scheme': (forging) =>
    meantFor(forging, (ours) =>
      ours.startsWith('https:') ? ours.replace('https:', 'http:') : `https${ours.slice(4)}`,
    ),
  'without an audience': ({ key, claims }) => key.sign(without(claims, 'aud')),
  'of another issuer': ({ key, claims }) => key.sign({ ...claims, iss: 'https://elsewhere.example.com' }),
  'without an issuer': ({ key, claims }) => key.sign(without(claims, 'iss')),
  'without a subject': ({ key, claims }) => key.sign(without(claims, 'sub')),
  'signed with a key nobody published': ({ foreign, claims }) => foreign.sign(claims),
  'signed with another key under a published name': ({ key, foreign, claims }) =>
    foreign.sign(claims, { kid: key.kid }),
  'with its own key in the header': ({ foreign, claims }) => foreign.sign(claims, { jwk: foreign.published }),
  'changed after it was signed': async ({ key, claims }) => {
    const [header, , signature] = (await key.sign(claims)).split('.')
    return [header, encoded({ ...claims, sub: 'root' }), signature].join('.')
  },
  'without its signature': async ({ key, claims }) => (await key.sign(claims)).replace(/[^.]*$/, ''),
  unsigned: ({ claims }) => unsigned({ alg: 'none', typ: 'JWT' }, claims),
  'unsigned, spelled otherwise': ({ key, claims }) => unsigned({ alg: 'NONE', kid: key.kid }, claims),
  'unsigned under the name of a key': async ({ key, claims }) =>
    unsigned({ alg: 'none', kid: key.kid }, claims, (await key.sign(claims)).split('.')[2]),
  'signed by HS256 with the public key as its secret (PEM)': ({ key, claims }) => hmac(key.spki, key, claims),
  'signed by HS256 with the public key as its secret (JWK)': ({ key, claims }) =>
    hmac(JSON.stringify(key.published), key, claims),
  'signed by HS256 with the modulus as its secret': ({ key, claims }) => hmac(key.published.n ?? '', key, claims),
  'no JWT at all': () => randomUUID(),
}
