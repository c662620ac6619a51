/** The resource types we serve, in the order in which they are sent. */

export const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster'
export const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
export const LISTENER = 'type.googleapis.com/envoy.config.listener.v3.Listener'
export const ROUTES = 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration'
export const EXTENSION = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig'

/** Clusters and their secrets first: whatever is sent later may name them. */
export const TYPE_URLS = [CLUSTER, SECRET, LISTENER, ROUTES, EXTENSION] as const
export type TypeUrl = (typeof TYPE_URLS)[number]

/** The message's name: a type URL without what stands before the slash. */
export const messageName = (url: string): string => url.slice(url.indexOf('/') + 1)
