/** What a token's claims hold at a path, as texts that rules can be compared with. */
import { isObject } from '../registry/json-object.ts'
import type { Condition, Json } from '../registry/model.ts'
import type { Claims, Principal } from './principal.ts'

/**
 * At each level the longest own key that the path continues with, so that names with dots in them are found. One text counts as a
 * list of one; `scope` and `scp` are split at spaces; numbers and booleans are their JSON; nothing else counts.
 */
export const claimValues = (claims: Claims, path: string): readonly string[] => {
  const values = texts(valueAt(claims, path))
  return path === 'scope' || path === 'scp' ? values.flatMap(words) : values
}

export const words = (text: string): readonly string[] => text.split(' ').filter((word) => word !== '')

const valueAt = (value: Json | undefined, path: string): Json | undefined => {
  if (!isObject(value)) return undefined
  if (Object.hasOwn(value, path)) return value[path]
  for (let dot = path.lastIndexOf('.'); dot !== -1; dot = dot === 0 ? -1 : path.lastIndexOf('.', dot - 1)) {
    const key = path.slice(0, dot)
    if (Object.hasOwn(value, key)) return valueAt(value[key], path.slice(dot + 1))
  }
  return undefined
}

const own = (value: Json | undefined, key: string): Json | undefined =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined

const texts = (value: Json | undefined): readonly string[] =>
  Array.isArray(value) ? value.flatMap((item: Json) => text(item)) : value === undefined ? [] : text(value)

const text = (value: Json): readonly string[] => {
  if (typeof value === 'string') return [value]
  return typeof value === 'number' || typeof value === 'boolean' ? [String(value)] : []
}

/** Not paths: none has a space in front. */
const KEYCLOAK_ROLES = ' roles'
const SCOPES = ' scopes'

/** What of the claims a condition is about. `roles`: the path that the registry gives for roles. */
const sourceOf = ({ of, path }: Condition, roles: string | undefined): string => {
  switch (of) {
    case 'roles':
      return roles ?? KEYCLOAK_ROLES
    case 'groups':
      return 'groups'
    case 'scopes':
      return SCOPES
    case 'subjects':
      return 'sub'
    case 'claim':
      return path
    default:
      return of satisfies never
  }
}

const read = (claims: Claims, source: string): readonly string[] => {
  if (source === SCOPES) return [...claimValues(claims, 'scope'), ...claimValues(claims, 'scp')]
  if (source !== KEYCLOAK_ROLES) return claimValues(claims, source)
  return [...texts(own(own(claims, 'realm_access'), 'roles')), ...texts(own(claims, 'roles'))]
}

/** Principals live as long as their tokens are used; what was read of one is kept with it. */
const known = new WeakMap<Principal, Map<string, ReadonlySet<string>>>()

const remembered = (principal: Principal, source: string, make: () => readonly string[]): ReadonlySet<string> => {
  const sets = known.get(principal) ?? new Map<string, ReadonlySet<string>>()
  const set = sets.get(source)
  if (set !== undefined) return set
  const made = new Set(make())
  known.set(principal, sets.set(source, made))
  return made
}

/** All values that this principal has of what the condition is about. */
export const held = (principal: Principal, condition: Condition, roles: string | undefined): ReadonlySet<string> => {
  const source = sourceOf(condition, roles)
  return remembered(principal, source, () => read(principal.claims, source))
}

/** The roles that name tools: those of one client of the token, or all where the registry says that roles are. */
export const toolRoles = (principal: Principal, client: string, roles: string | undefined): ReadonlySet<string> =>
  roles === undefined
    ? remembered(principal, ` client ${client}`, () =>
        texts(own(own(own(principal.claims, 'resource_access'), client), 'roles')),
      )
    : remembered(principal, roles, () => claimValues(principal.claims, roles))
