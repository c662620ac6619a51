/** The header that lets the gateway into a server. */
import type { Inspection } from './inspection.ts'
import { type Credential, Secret } from './model.ts'
import type { Path } from './place.ts'
import type { CredentialSheet } from './schema.ts'
import { secretText } from './secret-text.ts'

/** Headers that belong to the connection, to the message, to MCP or to Envoy: setting them would break the call. */
const reserved: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'origin',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'traceparent',
  'tracestate',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
])
const reservedPrefixes = ['content-', 'mcp-', 'x-mcp-', 'x-envoy-', 'x-forwarded-']

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Visible ASCII with spaces inside: anything else would be split, trimmed or refused on the way. */
const headerValue = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** The header's name is in lower case. Undefined once its problem is reported. */
export const credential = (inspection: Inspection, path: Path, sheet: CredentialSheet): Credential | undefined => {
  const written = (key: string): boolean => inspection.isWritten([...path, key])
  const forms = ['bearer', 'basic'].filter(written)
  if (written('header') || written('value')) forms.push('header')
  if (forms.length === 0 && inspection.isBroken(path)) return undefined
  if (forms.length !== 1) {
    const message = forms.length === 0 ? 'says nothing' : 'says more than one thing'
    return inspection.error(path, message, 'give one of bearer, header with value, or basic')
  }
  if (sheet.bearer !== undefined) return bearer(inspection, [...path, 'bearer'], sheet.bearer)
  if (sheet.basic !== undefined) return basic(inspection, [...path, 'basic'], sheet.basic)
  return forms[0] === 'header' ? header(inspection, path, sheet) : undefined
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
  const name = sheet.header?.toLowerCase()
  const nameProblem = name === undefined ? undefined : headerNameProblem(name)
  if (nameProblem !== undefined) inspection.error([...path, 'header'], nameProblem)
  const value = sheet.value === undefined ? undefined : secretText(inspection, [...path, 'value'], sheet.value)
  if (value === undefined || name === undefined) return undefined
  if (!headerValue.test(value)) {
    return inspection.error([...path, 'value'], 'must be a header value', 'visible ASCII, no space at its ends')
  }
  return { header: name, value: new Secret(value) }
}

const headerNameProblem = (name: string): string | undefined => {
  if (!token.test(name)) return 'must be the name of a header'
  if (reserved.has(name) || reservedPrefixes.some((prefix) => name.startsWith(prefix))) {
    return 'this header is not yours to set: it belongs to HTTP, to MCP or to the gateway'
  }
  return undefined
}
