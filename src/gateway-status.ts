/** Puts together what `/status`, `/ready`, the status page and the metrics show; a pure function of the parts' own states. */
import type {
  AuditStatus,
  AuthStatus,
  CallPath,
  CallPaths,
  EnvoyStatus,
  Readiness,
  Refusal,
  ServerState,
  ServerStatus,
  Status,
  StatusProblem,
  ToolStatus,
} from './admin/status.ts'
import type { Catalogue } from './catalog/catalogue.ts'
import type { Era } from './mcp/versions.ts'
import { rulesWithoutTools } from './policy/check.ts'
import type { Problem, Registry, Server } from './registry/model.ts'
import type { Upstream } from './upstreams/upstream.ts'
import { refusalText } from './xds/refusal-text.ts'

/** What the parts say at one moment. */
export interface Parts {
  readonly version: string
  readonly url: string
  readonly startedMs: number
  readonly file: string
  readonly registry: Registry
  readonly registryVersion: string
  readonly loadedMs: number
  readonly appliedMs: number | undefined
  /** Of the newest file, loaded or refused. */
  readonly problems: readonly Problem[]
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly catalogue: Catalogue
  readonly envoys: readonly EnvoyStatus[]
  readonly clients: number
  readonly serverSessions: number
  /** Of stateless clients' calls at stateful servers. */
  readonly pool: { readonly size: number; readonly waiting: number }
  readonly streams: number
  readonly refusals: readonly Refusal[]
  readonly audit: AuditStatus | undefined
  readonly auth: Keys | undefined
  /** Server → its token of our own. */
  readonly tokens: ReadonlyMap<string, Token>
}

interface Token {
  readonly obtainedMs: number | undefined
  readonly expiresMs: number | undefined
  readonly problem: string | undefined
}

/** What is known of the issuer. */
interface Keys {
  readonly issuer: string
  readonly audience: string
  readonly keys: number
  readonly fetchedMs: number | undefined
  readonly problem: string | undefined
}

export const gatewayStatus = (parts: Parts): Status => {
  const { registry, envoys } = parts
  const applied = envoys.filter((envoy) => envoy.applied).length
  const servers = registry.servers.map((server) => serverStatus(server, parts))
  return {
    version: parts.version,
    url: parts.url,
    startedAt: iso(parts.startedMs),
    registry: {
      file: parts.file,
      version: parts.registryVersion,
      pinned: registry.lock !== undefined,
      loadedAt: iso(parts.loadedMs),
      problems: parts.problems,
      applied: {
        envoys: applied,
        of: envoys.length,
        ...(parts.appliedMs !== undefined &&
          applied === envoys.length && { ms: Math.round(parts.appliedMs * 10) / 10 }),
      },
    },
    servers,
    tools: tools(parts),
    problems: problems(servers, parts),
    envoys,
    sessions: {
      clients: parts.clients,
      servers: parts.serverSessions,
      pooled: parts.pool.size,
      waiting: parts.pool.waiting,
      streams: parts.streams,
    },
    refusals: parts.refusals,
    ...(parts.audit !== undefined && { audit: parts.audit }),
    ...(parts.auth !== undefined && { auth: authStatus(parts.auth) }),
  }
}

/** Agents can be served once an Envoy has acknowledged everything and listens; only `required` servers are waited for. */
export const readiness = (status: Status, registry: Registry, edgeAccepts: boolean): Readiness => {
  const required = registry.servers.filter((server) => server.enabled && server.required).map(({ name }) => name)
  const missing = status.servers.filter(
    ({ name, state }) => required.includes(name) && (state === 'down' || state === 'starting'),
  )
  const reasons = [
    ...(status.envoys.some(({ types }) => Object.values(types).some(({ acks }) => acks > 0))
      ? []
      : ['no Envoy has acknowledged the configuration']),
    ...(status.envoys.length > 0 && status.envoys.every(({ closed }) => closed === true)
      ? ['a filter was refused and there is no earlier one in its place: every request is refused']
      : []),
    ...(status.auth?.keys === 0
      ? [`tokens cannot be verified, so every request is refused${because(status.auth.problem)}`]
      : []),
    ...(edgeAccepts ? [] : ['the entrypoint does not accept connections yet']),
    ...missing.map(({ name, lastError }) => `required server "${name}" is not up${because(lastError)}`),
  ]
  return { ready: reasons.length === 0, reasons }
}

const authStatus = ({ issuer, audience, keys, fetchedMs, problem }: Keys): AuthStatus => ({
  issuer,
  audience,
  keys,
  ...(fetchedMs !== undefined && { fetchedAt: iso(fetchedMs) }),
  ...(problem !== undefined && { problem }),
})

const because = (reason: string | undefined): string => (reason === undefined ? '' : `: ${reason}`)

const iso = (ms: number): string => new Date(ms).toISOString()

const serverStatus = (server: Server, { upstreams, catalogue, startedMs, tokens }: Parts): ServerStatus => {
  const upstream = upstreams.get(server.name)
  const status = upstream?.status()
  const counts = catalogue.counts.get(server.name) ?? { tools: 0, prompts: 0, resources: 0, templates: 0 }
  const state: ServerState = server.enabled ? (status?.state ?? 'starting') : 'disabled'
  const protocolVersion = upstream?.catalogue()?.protocolVersion
  const found = upstream?.era()
  const token = tokens.get(server.name)
  return {
    name: server.name,
    kind: server.kind,
    ...(server.description !== undefined && { description: server.description }),
    state,
    required: server.required,
    since: iso(status?.sinceMs ?? startedMs),
    ...(status?.lastError !== undefined && { lastError: status.lastError }),
    ...(protocolVersion !== undefined && { protocolVersion }),
    ...(found !== undefined && { era: { eras: found.eras, how: found.how, at: iso(found.atMs) } }),
    ...(found !== undefined && { paths: pathsOf(server, found.eras) }),
    ...counts,
    hidden: catalogue.hidden
      .filter((hidden) => hidden.server === server.name)
      .map(({ kind, name, reason, withheld }) => ({
        name,
        reason,
        ...(kind === 'tools' && withheld !== undefined && { withheld: true as const }),
      })),
    ...(status?.fetchedAtMs !== undefined && { listsFetchedAt: iso(status.fetchedAtMs) }),
    ...(token !== undefined && { token: tokenStatus(token) }),
    stale: status?.stale ?? false,
  }
}

const tokenStatus = ({ obtainedMs, expiresMs, problem }: Token): ServerStatus['token'] & object => ({
  ...(obtainedMs !== undefined && { obtainedAt: iso(obtainedMs) }),
  ...(expiresMs !== undefined && { expiresAt: iso(expiresMs) }),
  ...(problem !== undefined && { problem }),
})

const pathsOf = (server: Server, eras: readonly Era[]): CallPaths => {
  const own = server.kind === 'http' && server.transport === 'streamable' ? 'direct' : 'broker'
  const path = (era: Era): CallPath => (eras.includes(era) ? own : 'translated')
  return { stateful: path('stateful'), stateless: path('stateless') }
}

const tools = ({ catalogue, registry, upstreams }: Parts): readonly ToolStatus[] => {
  const paths = new Map<string, CallPaths>()
  for (const server of registry.servers) {
    const found = upstreams.get(server.name)?.era()
    if (found !== undefined) paths.set(server.name, pathsOf(server, found.eras))
  }
  return [...catalogue.table.tools.values()].map(({ exposed, server, own, only }) => {
    const known = paths.get(server)
    if (known === undefined) return { name: exposed, server, own }
    const path = (era: Era): CallPath => ((only ?? era) === era ? known[era] : 'hidden')
    return { name: exposed, server, own, paths: { stateful: path('stateful'), stateless: path('stateless') } }
  })
}

/** What to do about an item that nobody sees. */
const hintOf = {
  hidden: { hint: 'rename it or give the server another prefix' },
  suspicious: {},
  unapproved: { hint: 'mcp-gateway diff shows what differs, mcp-gateway approve takes it over' },
} as const

/** Names longer than this are refused by several clients, although MCP allows 128. */
const CAREFUL_NAME = 64

const problems = (servers: readonly ServerStatus[], parts: Parts): readonly StatusProblem[] => {
  const { catalogue, envoys, registry, audit, auth } = parts
  const placeOf = new Map(registry.servers.map(({ name, place }) => [name, place]))
  const about = (server: string) => {
    const place = placeOf.get(server)
    return { server, path: `servers.${server}`, ...(place !== undefined && { place }) }
  }
  return [
    ...servers.flatMap((server): readonly StatusProblem[] => {
      const { name, state, lastError = 'no reason known' } = server
      if (state === 'down')
        return [
          {
            severity: server.required ? 'error' : 'warning',
            message: `server "${name}" is down: ${lastError}`,
            ...about(name),
          },
        ]
      if (state === 'degraded')
        return [{ severity: 'warning', message: `server "${name}" answers only in part: ${lastError}`, ...about(name) }]
      return []
    }),
    ...servers.flatMap(({ name, token }): readonly StatusProblem[] =>
      token?.problem === undefined
        ? []
        : [
            {
              severity: 'warning',
              message: `no token for server "${name}" can be had: ${token.problem}`,
              ...about(name),
            },
          ],
    ),
    ...catalogue.hidden.map(
      ({ server, name, reason, withheld }): StatusProblem => ({
        severity: 'warning',
        message: `"${name}" of server "${server}" is ${withheld === undefined ? 'hidden' : 'withheld'}: ${reason}`,
        ...hintOf[withheld ?? 'hidden'],
        ...about(server),
      }),
    ),
    ...catalogue.remarks.map(
      ({ server, message }): StatusProblem => ({ severity: 'warning', message, ...about(server) }),
    ),
    ...[...catalogue.table.tools.values()]
      .filter(({ exposed }) => exposed.length > CAREFUL_NAME)
      .map(
        ({ exposed, server }): StatusProblem => ({
          severity: 'warning',
          message: `the name of tool "${exposed}" is longer than ${CAREFUL_NAME} characters, which several clients refuse`,
          hint: 'give it a shorter one under tools.rename',
          ...about(server),
        }),
      ),
    ...idleRules(parts),
    ...auditProblems(audit, registry),
    ...authProblems(auth, registry),
    ...envoys.flatMap(({ node, nacks }) =>
      nacks.map(
        ({ type, name, message, place }): StatusProblem => ({
          severity: 'error',
          message: `Envoy ${node} refused ${type} ${name}: ${refusalText(message)}`,
          ...(place !== undefined && { place }),
        }),
      ),
    ),
  ]
}

const idle = new WeakMap<Catalogue, readonly Problem[]>()

/** Rules about tools that nobody has; a catalogue is made anew whenever a server or the registry says something else. */
const idleRules = ({ catalogue, registry, upstreams }: Parts): readonly Problem[] => {
  const known = idle.get(catalogue)
  if (known !== undefined) return known
  const found = rulesWithoutTools(registry, (name) =>
    // What it offers depends on who asks.
    catalogue.table.servers.get(name)?.perCaller === true
      ? undefined
      : upstreams
          .get(name)
          ?.catalogue()
          ?.tools.map(({ own }) => own),
  )
  idle.set(catalogue, found)
  return found
}

const auditProblems = (audit: AuditStatus | undefined, registry: Registry): readonly StatusProblem[] => {
  if (audit === undefined) return []
  const { to, waiting, lost, fault } = audit
  const at = {
    path: 'gateway.audit',
    ...(registry.gateway.audit !== undefined && { place: registry.gateway.audit.place }),
  }
  return [
    ...(fault === undefined
      ? []
      : [
          {
            severity: 'error',
            message: `the audit log ${to} cannot be written: ${fault}; ${waiting} lines wait`,
            ...at,
          } as const,
        ]),
    ...(lost === 0
      ? []
      : [{ severity: 'error', message: `${lost} lines of the audit log ${to} were lost`, ...at } as const]),
  ]
}

const authProblems = (auth: Keys | undefined, { gateway }: Registry): readonly StatusProblem[] => {
  if (auth === undefined || (auth.keys > 0 && auth.problem === undefined)) return []
  const { issuer, keys, problem } = auth
  return [
    {
      severity: keys === 0 ? 'error' : 'warning',
      message:
        keys === 0
          ? `there are no keys of ${issuer}, so every request is refused${because(problem)}`
          : `the keys of ${issuer} cannot be fetched anew; the last ones stay in force${because(problem)}`,
      path: 'gateway.auth',
      ...(gateway.auth !== undefined && { place: gateway.auth.place }),
    },
  ]
}
