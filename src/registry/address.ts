/** Where something listens, as `host:port`, and whether that is this machine alone. */
import { BlockList, isIP } from 'node:net'
import { bad, type Form, good } from './form.ts'
import type { Address } from './model.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** `host` without brackets, as an address or a name. */
export const isLoopback = (host: string): boolean => {
  const version = isIP(host)
  if (version === 0) return host === 'localhost' || host.endsWith('.localhost')
  return loopback.check(host, version === 6 ? 'ipv6' : 'ipv4')
}

const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'

/** Whether two listeners could not both be opened. */
export const collide = (a: Address, b: Address): boolean =>
  a.port !== 0 && a.port === b.port && (a.host === b.host || isWildcard(a.host) || isWildcard(b.host))

export const readAddress = (text: string): Form<Address> => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? []
  if (digits === undefined) {
    return bad('must be an address and a port', 'such as 127.0.0.1:8080, or [::1]:8080 for IPv6')
  }
  const port = Number(digits)
  if (port > 65_535) return bad('must have a port from 0 to 65535')
  if (bracketed !== undefined) {
    return isIP(bracketed) === 6 && !bracketed.includes('%')
      ? good({ host: bracketed, port })
      : bad('must have an IPv6 address inside the brackets')
  }
  if (plain === 'localhost') return good({ host: '127.0.0.1', port })
  if (plain === undefined || isIP(plain) !== 4) {
    return bad('must have an IP address before the port', 'every interface is 0.0.0.0, this machine alone is 127.0.0.1')
  }
  return good({ host: plain, port })
}
