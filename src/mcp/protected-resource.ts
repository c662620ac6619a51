/** The addresses of what tokens are for: the gateway, its views, and the documents about them (RFC 8707, RFC 9728). */

/** Before the path of what it is about, at the same origin. */
export const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** A view has an address of its own below the gateway's; empty: the gateway itself. */
export const resourceOf = (base: string, view: string): string =>
  view === '' ? base : `${base.replace(/\/$/, '')}/${view}`

/** Where the document about a resource is; a path that is nothing but a slash counts as none (RFC 9728 3.1). */
export const metadataUrl = (resource: string): string => {
  const { origin, pathname } = new URL(resource)
  return `${origin}${WELL_KNOWN}${pathname.replace(/\/$/, '')}`
}
