/** What lets the gateway into a server: a header, or the tokens it asks an OAuth server for. */
import { readHeaderName } from './header-name.ts'
import type { Inspection } from './inspection.ts'
import { type Credential, type HttpServer, Secret } from './model.ts'
import { oauthClient } from './oauth-client.ts'
import type { Path } from './place.ts'
import type { CredentialSheet } from './schema.ts'
import { secretText } from './secret-text.ts'

/** Visible ASCII with spaces inside: anything else would be split, trimmed or refused on the way. */
const headerValue = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** At most one of them. */
export type Credentials = Pick<HttpServer, 'credential' | 'oauth' | 'exchange'>

/** Empty once its problem is reported. */
export const credentials = (inspection: Inspection, path: Path, sheet: CredentialSheet): Credentials => {
  const written = (key: string): boolean => inspection.isWritten([...path, key])
  const forms = ['bearer', 'basic', 'oauth', 'exchange'].filter(written)
  if (written('header') || written('value')) forms.push('header')
  if (forms.length === 0 && inspection.isBroken(path)) return {}
  if (forms.length !== 1) {
    const message = forms.length === 0 ? 'says nothing' : 'says more than one thing'
    inspection.error(path, message, 'give one of bearer, header with value, basic, oauth or exchange')
    return {}
  }
  if (sheet.oauth !== undefined) return { oauth: oauthClient(inspection, [...path, 'oauth'], sheet.oauth) }
  if (sheet.exchange !== undefined) {
    if (!inspection.isWritten(['gateway', 'auth'])) {
      inspection.errorAtKey([...path, 'exchange'], 'callers have no token to exchange', 'add gateway.auth')
    }
    return { exchange: oauthClient(inspection, [...path, 'exchange'], sheet.exchange) }
  }
  const credential = fixed(inspection, path, sheet, forms[0] === 'header')
  return credential === undefined ? {} : { credential }
}

/** The header's name is in lower case. Undefined once its problem is reported. */
const fixed = (
  inspection: Inspection,
  path: Path,
  sheet: CredentialSheet,
  hasHeader: boolean,
): Credential | undefined => {
  if (sheet.bearer !== undefined) return bearer(inspection, [...path, 'bearer'], sheet.bearer)
  if (sheet.basic !== undefined) return basic(inspection, [...path, 'basic'], sheet.basic)
  return hasHeader ? header(inspection, path, sheet) : undefined
}

const bearer = (
  inspection: Inspection,
  path: Path,
  written: NonNullable<CredentialSheet['bearer']>,
): Credential | undefined => {
  const value = secretText(inspection, path, written)
  if (value === undefined) return undefined
  if (!/^[\x21-\x7e]+$/.test(value)) {
    const hint = /^bearer /i.test(value) ? 'leave the word "Bearer" away' : 'it is visible ASCII without spaces'
    return inspection.error(path, 'must be the token alone', hint)
  }
  return { header: 'authorization', value: new Secret(`Bearer ${value}`) }
}

const basic = (
  inspection: Inspection,
  path: Path,
  written: NonNullable<CredentialSheet['basic']>,
): Credential | undefined => {
  const password = secretText(inspection, [...path, 'password'], written.password)
  const valid = (text: string): boolean => !/\p{Cc}/u.test(text)
  if (written.user.includes(':')) inspection.error([...path, 'user'], 'must not have a ":" in it')
  else if (!valid(written.user)) inspection.error([...path, 'user'], 'must not have control characters in it')
  if (password === undefined) return undefined
  if (!valid(password)) return inspection.error([...path, 'password'], 'must not have control characters in it')
  return {
    header: 'authorization',
    value: new Secret(`Basic ${Buffer.from(`${written.user}:${password}`).toString('base64')}`),
  }
}

const header = (inspection: Inspection, path: Path, sheet: CredentialSheet): Credential | undefined => {
  const has = (key: string): boolean => inspection.isWritten([...path, key])
  if (!has('value')) inspection.error(path, 'header needs a value', 'add value: "${NAME}"')
  if (!has('header')) inspection.error(path, 'value needs a header', 'add the name of the header, or use bearer')
  const name = sheet.header === undefined ? undefined : readHeaderName(sheet.header)
  if (name?.ok === false) inspection.error([...path, 'header'], name.message)
  const value = sheet.value === undefined ? undefined : secretText(inspection, [...path, 'value'], sheet.value)
  if (value === undefined || name?.ok !== true) return undefined
  if (!headerValue.test(value)) {
    return inspection.error([...path, 'value'], 'must be a header value', 'visible ASCII, no space at its ends')
  }
  return { header: name.value, value: new Secret(value) }
}
