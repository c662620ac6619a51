/** Where something is that Envoy calls: a host and a port. */
import { isIP } from 'node:net'
import { bad, type Form, good } from './form.ts'
import { readHostName } from './url.ts'

export interface HostPort {
  /** An IP address without brackets, or a name. */
  readonly host: string
  readonly port: number
}

export const readHostPort = (text: string): Form<HostPort> => {
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text) ?? []
  if (digits === undefined) return bad('must be a host and a port', 'such as 127.0.0.1:9191')
  const port = Number(digits)
  if (port < 1 || port > 65_535) return bad('must have a port from 1 to 65535')
  if (bracketed !== undefined) {
    return isIP(bracketed) === 6 && !bracketed.includes('%')
      ? good({ host: bracketed, port })
      : bad('must have an IPv6 address inside the brackets')
  }
  return isIP(plain) === 4 || readHostName(plain).ok
    ? good({ host: plain, port })
    : bad('must have a host name or an IP address before the port')
}
