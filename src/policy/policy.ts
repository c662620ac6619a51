/** What a registry says about who may do what, in the form decisions are made from. */
import type { Access, Registry, View } from '../registry/model.ts'

export interface Policy {
  /** Nobody gets anywhere without a verified token. */
  readonly authenticated: boolean
  /** Whom tokens have to be for; empty while nobody is authenticated. */
  readonly audience: string
  readonly gateway: Access | undefined
  readonly views: ReadonlyMap<string, View>
  /** Server's name → its rules, and what expressions may know of it. */
  readonly servers: ReadonlyMap<string, { readonly access: Access | undefined; readonly description: string }>
  /** Where the claims hold the roles; undefined: where Keycloak has them. */
  readonly roles: string | undefined
}

/** Everything is allowed to everybody. */
export const noPolicy: Policy = {
  authenticated: false,
  audience: '',
  gateway: undefined,
  views: new Map(),
  servers: new Map(),
  roles: undefined,
}

export const policyOf = ({ gateway, servers, views }: Registry): Policy => ({
  authenticated: gateway.auth !== undefined,
  audience: gateway.auth?.audience ?? '',
  gateway: gateway.access,
  views: new Map(views.map((view) => [view.name, view])),
  servers: new Map(servers.map(({ name, access, description = '' }) => [name, { access, description }])),
  roles: gateway.auth?.roles,
})
