/** The kinds of URL in a registry: endpoints, the gateway's public address, a browser's origin, whom a token is for. */
import { isIP } from 'node:net'
import { isLoopback } from './address.ts'
import { bad, type Form, good } from './form.ts'
import type { Endpoint } from './model.ts'

/** WHATWG parsing forgives a lot (white space inside, missing slashes); a registry should say what it means. */
const readHttp = (text: string): Form<URL> => {
  // eslint-disable-next-line no-control-regex
  if (/[\s\u0000-\u001f\u007f\\]/.test(text)) return bad('must be a URL without white space or backslashes')
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase()
  if (scheme === undefined) return bad('must be a whole URL', 'such as https://weather.example.com/mcp')
  if (scheme !== 'http' && scheme !== 'https') return bad('must be an http or https URL')
  if (!URL.canParse(text) || /^[^:]+:\/\/\//.test(text)) return bad('must be a URL')
  const url = new URL(text)
  if (url.port === '0') return bad('must have a port from 1 to 65535')
  if (!/^(?:\[.*\]|[a-z0-9._-]+)$/.test(url.hostname)) return bad('must have a host name or an IP address')
  if (url.hash !== '' || text.includes('#')) return bad('must not have a fragment (#…)')
  return good(url)
}

export const readEndpoint = (text: string): Form<Endpoint> => {
  const form = readHttp(text)
  if (!form.ok) return form
  const url = form.value
  if (hasUser(text))
    return bad('must not have a user or a password in it', 'use credential: { basic: { user, password } }')
  const tls = url.protocol === 'https:'
  return good({
    tls,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
  })
}

/** Kept as written: agents and identity providers compare it character by character. */
export const readPublicUrl = (text: string): Form<string> => {
  const form = readHttp(text)
  if (!form.ok) return form
  if (hasUser(text)) return bad('must not have a user or a password in it')
  if (text.includes('?')) return bad('must not have a query (?…)')
  return good(text)
}

/** Where tokens come from: kept as written, and never asked in the clear. */
export const readSecureUrl = (text: string): Form<string> => {
  const form = readHttp(text)
  if (!form.ok) return form
  const { protocol, hostname } = form.value
  if (hasUser(text)) return bad('must not have a user or a password in it')
  if (protocol !== 'https:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))) {
    return bad('must be an https URL', 'http is for this machine alone')
  }
  return good(text)
}

/** RFC 8707: absolute, without a fragment. */
export const readResource = (text: string): Form<string> =>
  /^[A-Za-z][A-Za-z0-9+.-]*:[^\s#\p{Cc}]+$/u.test(text) && URL.canParse(text)
    ? good(text)
    : bad('must be a URI without a fragment', 'such as https://api.example.com/')

/** In the form browsers send: lower case, without the scheme's own port. Schemes of editors and extensions count. */
export const readOrigin = (text: string): Form<string> => {
  if (text === '*') return bad('must be one origin', 'every origin cannot be allowed; name each one')
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:\/\/[A-Za-z0-9._:[\]-]+$/.test(text) || !URL.canParse(text)) {
    return bad('must be an origin: a scheme, a host and no path', 'such as https://app.example.com')
  }
  const { origin } = new URL(text)
  return good(origin === 'null' ? text.toLowerCase() : origin)
}

/** A name a certificate can be asked for. */
export const readHostName = (text: string): Form<string> =>
  text.length <= 253 && isIP(text) === 0 && /^(?!-)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/.test(text)
    ? good(text)
    : bad('must be a host name')

const hasUser = (text: string): boolean => /^[^:]+:\/\/[^/?#]*@/.test(text)
