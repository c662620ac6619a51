/** The whole translation: a registry → every resource Envoy is given. */
import type { HttpServer, PolicyCluster, Registry, Secret, Server } from '../registry/model.ts'
import { ownClusters, serverClusters } from './cluster.ts'
import { extProcFilter } from './ext-proc-filter.ts'
import { jwtFilter } from './jwt-filter.ts'
import { limitsFilter } from './limits-filter.ts'
import { edgeListener } from './listener.ts'
import type { Message } from './pack.ts'
import { policyCluster, policySecrets } from './policy-cluster.ts'
import { policyFilters } from './policy-filters.ts'
import type { Resource, Resources } from './resource.ts'
import { edgeRoutes, innerRoutes } from './route-configuration.ts'
import type { RunPaths } from './run-paths.ts'
import { edgeCertificate, serverSecrets } from './secret.ts'
import { CLUSTER, EXTENSION, LISTENER, ROUTES, SECRET } from './type-url.ts'

/** What is fetched while the gateway runs. */
export interface Live {
  /** The issuer's public keys, a JWKS as JSON; undefined: there are none, so nobody is let in while `gateway.auth` is set. */
  readonly jwks: string | undefined
  /** Server's name → the value of its `authorization` header; absent for a server with `oauth`: there is no token, so its calls fail. */
  readonly credentials: ReadonlyMap<string, Secret>
}

/** Before anything was fetched. */
export const nothingLive: Live = { jwks: undefined, credentials: new Map() }

const reachable = (server: Server): server is HttpServer => server.kind === 'http' && server.enabled

const originOf = ({ place, name }: PolicyCluster) => ({ place, path: `gateway.clusters.${name}` })

const own = (message: Message): Resource => ({ message })

/** `systemCa` is the path of the system's certificate bundle, for servers without one of their own. */
export const resources = (registry: Registry, run: RunPaths, systemCa: string, live: Live = nothingLive): Resources => {
  const servers = registry.servers.filter(reachable)
  const { auth, filters, clusters } = registry.gateway
  const each = (build: (server: HttpServer) => readonly Message[]): readonly Resource[] =>
    servers.flatMap((server) =>
      build(server).map((message) => ({ message, place: server.place, path: `servers.${server.name}` })),
    )
  return {
    [CLUSTER]: [
      ...ownClusters(run).map(own),
      ...each((server) => serverClusters(server, systemCa)),
      ...clusters.map((cluster) => ({ message: policyCluster(cluster, systemCa), ...originOf(cluster) })),
    ],
    [SECRET]: [
      ...edgeCertificate(registry).map(own),
      ...each((server) => serverSecrets(server, live.credentials.get(server.name))),
      ...clusters.flatMap((cluster) => policySecrets(cluster).map((message) => ({ message, ...originOf(cluster) }))),
    ],
    [LISTENER]: [
      {
        message: edgeListener(registry.gateway),
        fitted: (filterTypes) => edgeListener(registry.gateway, filterTypes),
      },
    ],
    [ROUTES]: [own(edgeRoutes(registry, servers)), own(innerRoutes)],
    [EXTENSION]: [
      {
        message: jwtFilter(registry, live.jwks),
        ...(auth === undefined ? {} : { place: auth.place, path: 'gateway.auth' }),
      },
      own(extProcFilter),
      { message: limitsFilter(registry), fitted: (_types, version) => limitsFilter(registry, version) },
      ...policyFilters(filters),
    ],
  }
}
