/** What clients are told to get a token: the protected resource's metadata (RFC 9728) and the challenge of a 401 or 403. */
import { metadataUrl, resourceOf, WELL_KNOWN } from '../mcp/protected-resource.ts'
import type { Access, Registry, View } from '../registry/model.ts'

/** The document at this path of the entrypoint, as JSON; undefined: none is served there. */
export const resourceMetadata = (registry: Registry, path: string): string | undefined => {
  const { auth, url } = registry.gateway
  if (auth === undefined || url === undefined || !path.startsWith(WELL_KNOWN)) return undefined
  const [named = ''] = path.split('?')
  const view = registry.views.find(({ name }) => documentPath(url, name) === named)
  // Without a path of its own it is about the host's one resource, all of the gateway.
  if (view === undefined && named !== WELL_KNOWN && named !== documentPath(url, '')) return undefined
  const scopes = scopesOf(registry, view)
  return JSON.stringify({
    resource: resourceOf(url, view?.name ?? ''),
    authorization_servers: [auth.issuer],
    bearer_methods_supported: ['header'],
    ...(scopes.length > 0 && { scopes_supported: scopes }),
    resource_name: view === undefined ? 'MCP Gateway' : (view.description ?? `MCP Gateway, ${view.name}`),
  })
}

export interface Challenge {
  readonly error?: 'invalid_token' | 'insufficient_scope'
  /** All that the operation needs. */
  readonly scopes?: readonly string[]
}

/** The value of `WWW-Authenticate` (RFC 6750 3, RFC 9728 5.1). An unknown view's is the gateway's. */
export const challenge = ({ gateway: { url }, views }: Registry, view: string, { error, scopes = [] }: Challenge) => {
  const known = views.some(({ name }) => name === view) ? view : ''
  const words = scopes.filter((scope) => SCOPE.test(scope))
  const parameters = [
    ...(error === undefined ? [] : [`error="${error}"`]),
    ...(words.length === 0 ? [] : [`scope="${words.join(' ')}"`]),
    ...(url === undefined ? [] : [`resource_metadata="${metadataUrl(resourceOf(url, known))}"`]),
  ]
  return parameters.length === 0 ? 'Bearer' : `Bearer ${parameters.join(', ')}`
}

/** RFC 6749 3.3; nothing else can stand inside the quotes. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/

const documentPath = (url: string, view: string): string => new URL(metadataUrl(resourceOf(url, view))).pathname

/**
 * Every scope that some rule asks for. Who has none of them sees nothing that needs one, and so would never be asked for more:
 * which of them a client gets is for the issuer to say.
 */
const scopesOf = ({ gateway, servers }: Registry, view: View | undefined): readonly string[] => {
  const accesses = [
    gateway.access,
    ...servers.filter(({ enabled }) => enabled).map(({ access }) => access),
    view?.access,
  ]
  return [...new Set(accesses.flatMap(scopesIn))].toSorted()
}

const scopesIn = (access: Access | undefined): readonly string[] =>
  access?.kind !== 'rules'
    ? []
    : access.rules
        .flatMap(({ allow }) => allow)
        .filter(({ of }) => of === 'scopes')
        .flatMap(({ values }) => values.flatMap((value) => value.split(' ')))
        .filter((scope) => SCOPE.test(scope) && scope !== 'offline_access')
