/** Which callers a server can't tell apart: only these may share what it said, or a session with it. */
import { createHash } from 'node:crypto'
import type { Principal } from '../policy/principal.ts'
import type { HttpServer, Server } from '../registry/model.ts'
import type { Caller } from './caller.ts'

/** Claims that differ from token to token and say nothing of what its bearer may do. */
const OF_THE_TOKEN: ReadonlySet<string> = new Set(['iat', 'exp', 'nbf', 'jti'])

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('base64url')

/** The same for tokens of one principal that say the same: a token with fewer scopes is worth less. Empty: nobody. */
export const authorityOf = (principal: Principal): string => {
  const known = authorities.get(principal)
  if (known !== undefined) return known
  const { key, claims } = principal
  const said = Object.entries(claims)
    .filter(([name]) => !OF_THE_TOKEN.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  const made = key === '' ? '' : digest([key, said])
  authorities.set(principal, made)
  return made
}
const authorities = new WeakMap<Principal, string>()

/** The headers of theirs that this server gets. */
export const forwardedTo = (server: HttpServer, { header }: Caller): Readonly<Record<string, string>> =>
  Object.fromEntries(
    server.forward.flatMap((name) => {
      const value = header(name)
      return value === undefined ? [] : [[name, value]]
    }),
  )

/** Empty: anybody. */
export const callerKey = (server: Server, caller: Caller): string => {
  const { principal } = caller
  if (server.kind !== 'http') return principal.key
  const who = server.exchange === undefined ? principal.key : authorityOf(principal)
  return server.forward.length === 0 ? who : digest([who, forwardedTo(server, caller)])
}
