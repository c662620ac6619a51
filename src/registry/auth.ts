/** The `auth:` of the gateway: whose tokens let clients in. */
import { isLoopback } from './address.ts'
import type { Inspection } from './inspection.ts'
import type { Auth } from './model.ts'
import { authorities } from './pem.ts'
import type { Path } from './place.ts'
import type { AuthSheet } from './schema-access.ts'
import { readSecureUrl } from './url.ts'

const LONGEST_SKEW_MS = 300_000

/** `url`: the gateway's public address. */
export const auth = (
  inspection: Inspection,
  path: Path,
  sheet: AuthSheet,
  url: string | undefined,
): Auth | undefined => {
  checkUrl(inspection, path, url)
  if (/[?#]/.test(sheet.issuer)) inspection.error([...path, 'issuer'], 'must not have a query (?…)')
  if (sheet.audience === '') inspection.error([...path, 'audience'], 'is empty')
  if (sheet.skew > LONGEST_SKEW_MS) inspection.error([...path, 'skew'], 'must be at most 5m')
  const roles = sheet.roles?.replace(/^claims\./, '')
  if (roles === '') inspection.error([...path, 'roles'], 'must be the path of a claim', 'such as claims.permissions')
  const ca = sheet.ca === undefined ? undefined : authorities(inspection, [...path, 'ca'], sheet.ca)
  const jwks = keySet(inspection, [...path, 'jwks'], sheet.jwks)
  return jwks === undefined
    ? undefined
    : {
        place: inspection.keyPlace(path),
        issuer: sheet.issuer,
        audience: sheet.audience ?? url ?? '',
        jwks,
        ...(roles === undefined ? {} : { roles }),
        skewMs: sheet.skew,
        ...(ca === undefined ? {} : { ca }),
      }
}

const checkUrl = (inspection: Inspection, path: Path, url: string | undefined): void => {
  if (!inspection.isWritten(['gateway', 'url'])) {
    const hint = 'add gateway.url, such as https://mcp.example.com/mcp'
    return inspection.errorAtKey(path, "auth needs the gateway's public address: tokens are for it", hint)
  }
  if (url === undefined) return
  const { protocol, hostname, pathname } = new URL(url)
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))) {
    inspection.warning(['gateway', 'url'], 'tokens travel unencrypted', 'use https')
  }
  if (pathname.endsWith('/')) {
    const odd = pathname === '/' ? 'has no path' : 'ends in a slash'
    const hint = 'agents connect at /mcp, such as https://mcp.example.com/mcp'
    inspection.warning(['gateway', 'url'], `tokens are for exactly this address, and it ${odd}`, hint)
  }
}

const keySet = (inspection: Inspection, path: Path, written: string | undefined): Auth['jwks'] | undefined => {
  if (written === undefined) return { kind: 'discovered' }
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(written)) {
    const form = readSecureUrl(written)
    return form.ok ? { kind: 'url', url: form.value } : inspection.error(path, form.message, form.hint)
  }
  const text = inspection.read(path, written)
  if (text === undefined) return undefined
  const keys = keysIn(text)
  if (keys === undefined) {
    return inspection.error(path, 'the file must hold a JSON Web Key Set', '{ "keys": [ … ] } with a key at least')
  }
  if (keys.every((key) => 'k' in key)) {
    const hint = "it takes the issuer's public keys: RSA, EC or OKP"
    return inspection.error(path, 'the file holds shared secrets alone, which no token is verified with', hint)
  }
  if (keys.some((key) => 'd' in key || 'k' in key)) {
    inspection.warning(
      path,
      'the file holds private keys or shared secrets, which are not used',
      'keep public keys only',
    )
  }
  return { kind: 'file', text }
}

/** Undefined: it is no key set, or an empty one. */
const keysIn = (text: string): readonly object[] | undefined => {
  const value = parse(text)
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys)) return undefined
  const keys: readonly unknown[] = value.keys
  return keys.length > 0 && keys.every(isObject) ? keys : undefined
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
