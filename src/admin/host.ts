/** Which Host headers the admin address answers to, so that no foreign web page can read it (DNS rebinding). */
import { isIP } from 'node:net'
import { isLoopback } from '../registry/address.ts'

/** The name or address in a Host header, lower case, without port and brackets; undefined when it is none. */
const hostname = (header: string): string | undefined => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/u.exec(header.toLowerCase())
  return match?.[1] ?? match?.[2]
}

/**
 * A loopback name, or the address we listen on. On a wildcard address any IP address will do: a rebinding
 * page always arrives with a name.
 */
export const hostAllowed = (header: string | undefined, listening: string): boolean => {
  const name = header === undefined ? undefined : hostname(header)
  if (name === undefined) return false
  if (isLoopback(name) || name === listening) return true
  return (listening === '0.0.0.0' || listening === '::') && isIP(name) !== 0
}
