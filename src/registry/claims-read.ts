/** Which claims a registry's rules look at: what sample claims are compared with. */
import { isObject } from './json-object.ts'
import type { Access, Gateway, Json, Rule, Server, View } from './model.ts'

/** Paths of claims; `any`: some expression looks at claims whose names it works out. */
export type ClaimsRead = ReadonlySet<string> | 'any'

/** RFC 7519 and RFC 9068: in tokens whatever the rules are. */
const registered: ReadonlySet<string> = new Set('iss sub aud exp iat nbf jti scope scp azp client_id'.split(' '))

type Claims = Readonly<Record<string, Json>>

/** The names that lead to each claim no rule looks at, as deep down as rules look. A name may have dots in it, and a path does. */
export const unreadClaims = (
  claims: Claims,
  read: ReadonlySet<string>,
  above: readonly string[] = [],
): readonly (readonly string[])[] =>
  Object.entries(claims).flatMap(([name, value]) => {
    const names = [...above, name]
    const path = names.join('.')
    if (read.has(path) || (above.length === 0 && registered.has(name))) return []
    if (![...read].some((one) => one.startsWith(`${path}.`))) return [names]
    return isObject(value) ? unreadClaims(value, read, names) : []
  })

/** What may stand where the last of these names does. */
export const namesBeside = (names: readonly string[], read: ReadonlySet<string>): readonly string[] => {
  const above = names
    .slice(0, -1)
    .map((name) => `${name}.`)
    .join('')
  const rests = [...read].filter((path) => path.startsWith(above)).map((path) => path.slice(above.length))
  return rests.flatMap((rest) => [rest, rest.replace(/\..*/s, '')])
}

export const claimsRead = (gateway: Gateway, servers: readonly Server[], views: readonly View[]): ClaimsRead => {
  const roles = gateway.auth?.roles
  const read = new Set<string>()
  for (const { name, access } of [{ name: '', access: gateway.access }, ...servers, ...views]) {
    const paths = access === undefined ? [] : accessClaims(access, roles, name)
    if (paths === 'any') return 'any'
    for (const path of paths) read.add(path)
  }
  return read
}

const accessClaims = (access: Access, roles: string | undefined, name: string): ClaimsRead => {
  if (access.kind === 'roles') return new Set([roles ?? `resource_access.${access.client ?? name}.roles`])
  const each = access.rules.map((rule) => ruleClaims(rule, roles))
  return each.includes('any') ? 'any' : new Set(each.flatMap((claims) => (claims === 'any' ? [] : [...claims])))
}

const ruleClaims = ({ allow, when }: Rule, roles: string | undefined): ClaimsRead => {
  if (when?.claims === 'any') return 'any'
  const conditions = allow.flatMap(({ of, path }) => {
    if (of === 'roles') return roles === undefined ? ['realm_access.roles', 'roles'] : [roles]
    if (of === 'claim') return [path]
    return of === 'groups' ? ['groups'] : []
  })
  return new Set([...conditions, ...(when?.claims ?? [])])
}
