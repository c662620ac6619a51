/** How the gateway asks a token endpoint for a token. */
import type { Inspection } from './inspection.ts'
import { type OAuthClient, Secret } from './model.ts'
import { authorities } from './pem.ts'
import type { Path } from './place.ts'
import type { OAuthClientSheet } from './schema.ts'
import { secretText } from './secret-text.ts'

export const oauthClient = (inspection: Inspection, path: Path, sheet: OAuthClientSheet): OAuthClient => {
  const { token, client, scopes, audience, resource } = sheet
  const secret = sheet.secret === undefined ? undefined : secretText(inspection, [...path, 'secret'], sheet.secret)
  const ca = sheet.ca === undefined ? undefined : authorities(inspection, [...path, 'ca'], sheet.ca)
  if (client === '') inspection.error([...path, 'client'], 'is empty')
  if (audience === '') inspection.error([...path, 'audience'], 'is empty')
  for (const [index, scope] of scopes.entries()) {
    // RFC 6749, section 3.3
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) inspection.error([...path, 'scopes', index], 'must be one scope')
  }
  return {
    token,
    client,
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
    scopes,
    ...(audience === undefined ? {} : { audience }),
    ...(resource === undefined ? {} : { resource }),
    ...(ca === undefined ? {} : { ca }),
    place: inspection.keyPlace(path),
  }
}
