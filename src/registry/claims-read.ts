/** Which claims a registry's rules look at: what sample claims are compared with. */
import type { Access, Gateway, Rule, Server, View } from './model.ts'

/** Paths of claims; `any`: some expression looks at claims whose names it works out. */
export type ClaimsRead = ReadonlySet<string> | 'any'

/** RFC 7519 and RFC 9068: in tokens whatever the rules are. */
const registered: ReadonlySet<string> = new Set('iss sub aud exp iat nbf jti scope scp azp client_id'.split(' '))

/** A name may have dots in it, and a path does. */
export const isRead = (name: string, read: ReadonlySet<string>): boolean =>
  registered.has(name) || [...read].some((path) => path === name || path.startsWith(`${name}.`))

export const claimsRead = (gateway: Gateway, servers: readonly Server[], views: readonly View[]): ClaimsRead => {
  const roles = gateway.auth?.roles
  const read = new Set<string>()
  for (const access of [gateway, ...servers, ...views].flatMap((each) => each.access ?? [])) {
    const paths = accessClaims(access, roles)
    if (paths === 'any') return 'any'
    for (const path of paths) read.add(path)
  }
  return read
}

const accessClaims = (access: Access, roles: string | undefined): ClaimsRead => {
  if (access.kind === 'roles') return new Set([roles ?? 'resource_access'])
  const each = access.rules.map((rule) => ruleClaims(rule, roles))
  return each.includes('any') ? 'any' : new Set(each.flatMap((claims) => (claims === 'any' ? [] : [...claims])))
}

const ruleClaims = ({ allow, when }: Rule, roles: string | undefined): ClaimsRead => {
  if (when?.claims === 'any') return 'any'
  const conditions = allow.flatMap(({ of, path }) => {
    if (of === 'roles') return roles === undefined ? ['realm_access', 'roles'] : [roles]
    if (of === 'claim') return [path]
    return of === 'groups' ? ['groups'] : []
  })
  return new Set([...conditions, ...(when?.claims ?? [])])
}
