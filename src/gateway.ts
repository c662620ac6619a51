/** Starts and stops everything and takes every new registry through it; the only file that knows all parts. */
import { randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { serveAdmin } from './admin/server.ts'
import type { Refusal, Status } from './admin/status.ts'
import { type Broker, broker as makeBroker } from './broker/broker.ts'
import { serveBroker } from './broker/server.ts'
import { sessionPool } from './broker/session-pool.ts'
import { definitions } from './catalog/definitions.ts'
import { emptyTable, type RoutingTable } from './catalog/routing-table.ts'
import { accepts } from './envoy/ports.ts'
import { serveExtProc } from './extproc/server.ts'
import { gatewayAudit } from './gateway-audit.ts'
import { followRegistry, inTurn } from './gateway-changes.ts'
import { gatewayCredentials } from './gateway-credentials.ts'
import { edgeOf, publicUrl } from './gateway-edge.ts'
import { startEnvoy } from './gateway-envoy.ts'
import { type GatewayEvent, nackEvent } from './gateway-event.ts'
import { gatewayIdentity } from './gateway-identity.ts'
import { NODE, startingGround } from './gateway-start.ts'
import { gatewayStatus, readiness } from './gateway-status.ts'
import { makeUpstreams } from './gateway-upstreams.ts'
import { loadRegistry } from './load-registry.ts'
import { isMethod } from './mcp/methods.ts'
import type { Log } from './observe/log.ts'
import { metrics as makeMetrics } from './observe/metrics.ts'
import type { Registry } from './registry/model.ts'
import { APPLY_MS, type InForce, isFiltered, reload } from './reload.ts'
import { confirmations } from './sessions/confirmation.ts'
import { requestStates } from './sessions/request-state.ts'
import { sealer } from './sessions/session-id.ts'
import { sessionTable } from './sessions/session-table.ts'
import { innerClient } from './upstreams/inner-client.ts'
import { version } from './version.ts'
import { BROKER } from './xds/names.ts'
import { type Live, resources } from './xds/resources.ts'
import { serveXds } from './xds/server.ts'
import { snapshot } from './xds/snapshot.ts'
import { systemCa } from './xds/system-ca.ts'

export { RegistryProblems } from './load-registry.ts'

export interface GatewayOptions {
  readonly file: string
  /** What the command line says; it wins over the file. */
  readonly overrides: { readonly listen?: string; readonly admin?: string }
  /** `external`: Envoys of the operator's connect by themselves. */
  readonly envoy: 'supervised' | 'external'
  readonly envoyPath?: string
  readonly runDir?: string
  /** Envoy's worker threads. */
  readonly concurrency: number
  /** Print Envoy's access log. */
  readonly accessLog: boolean
  readonly log: Log
  /** Everything a person at the terminal should be told, in order. */
  readonly onEvent: (event: GatewayEvent) => void
}

export interface RunningGateway {
  readonly url: string
  readonly admin: string
  status(): Status
  stop(): Promise<void>
  /** Rejects when something essential is gone for good. */
  readonly done: Promise<void>
}

/** At a stop, calls under way get this long. */
const DRAIN_MS = 5000
const MOST_REFUSALS = 100

/** Rejects with StartProblem or RegistryProblems; whatever was started by then is stopped again. */
export const startGateway = async (options: GatewayOptions): Promise<RunningGateway> => {
  const started: (() => Promise<void>)[] = []
  const stop = async (): Promise<void> => {
    for (const end of started.splice(0).reverse()) await end()
  }
  try {
    return await start(options, started, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

const start = async (
  options: GatewayOptions,
  started: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<RunningGateway> => {
  const { log, onEvent } = options
  const startedMs = Date.now()
  const { first, envoy, edge: edgeAddress, withPorts, runDir, run } = await startingGround(options)
  started.push(() => runDir.close())

  const current: InForce = {
    loaded: first,
    registry: first.registry,
    loadedMs: startedMs,
    appliedMs: undefined,
    filtered: isFiltered(first.registry),
    problems: first.warnings,
  }
  const given = current.registry.sessions.key
  const key = given === undefined ? randomBytes(32) : Buffer.from(given.reveal(), 'base64')
  const sessions = sessionTable({
    sealer: sealer(key),
    idleMs: () => current.registry.sessions.idleMs,
    now: Date.now,
  })
  const refusals: Refusal[] = []
  let table: RoutingTable = emptyTable
  let stopping = false

  // Closed after everything that may still report a request.
  const audit = gatewayAudit(log, basename(options.file))
  audit.use(current.registry.gateway.audit)
  started.push(() => audit.close())
  const xds = await serveXds({ socketPath: run.ads, log })
  started.push(async () => xds[Symbol.asyncDispose]())
  const inner = innerClient(() => xds.innerSockets())
  started.push(() => inner.close())

  const turn = inTurn((message, error) => log.error(message, { error }))
  const live = (registry: Registry): Live => ({
    jwks: identity.jwks(registry.gateway.auth),
    credentials: credentials.values(registry),
  })
  const snapshotOf = (registry: Registry) => snapshot(resources(withPorts(registry), run, systemCa(), live(registry)))
  const republish = (): void =>
    turn('what changed beside the registry', () => xds.publish(snapshotOf(current.registry), APPLY_MS))
  const identity = gatewayIdentity(() => current.registry, log, republish)
  started.push(() => identity.close())
  const credentials = gatewayCredentials(log, (server) =>
    turn('a new token', async () => {
      await xds.publish(snapshotOf(current.registry), APPLY_MS)
      const upstream = broker.upstreams.get(server)
      if (upstream?.status().state === 'down') upstream.refresh()
    }),
  )
  started.push(async () => credentials.close())
  credentials.use(current.registry)
  const prepared = Promise.all([identity.prepare(current.registry.gateway.auth, APPLY_MS), credentials.ready(APPLY_MS)])

  const pool = sessionPool({
    version,
    options: () => current.registry.sessions.pool,
    states: requestStates(key),
    now: Date.now,
  })
  const broker: Broker = makeBroker({
    version,
    sessions,
    pool,
    key,
    confirmations: confirmations({
      key,
      limitMs: () => current.registry.gateway.confirmMs,
      inputMs: () => current.registry.sessions.pool.inputMs,
      now: Date.now,
    }),
    makeUpstream: makeUpstreams({
      inner,
      sessions,
      credentials,
      log,
      env: process.env,
      onRestart: (server) => metrics.stdioRestart(server),
    }),
    onCatalogue: (catalogue) => {
      table = catalogue.table
    },
    onCapped: (upstream, list) => metrics.listCapped(upstream.server.name, list),
    onState: (upstream) => {
      if (stopping) return
      const { state, lastError } = upstream.status()
      log[state === 'up' || state === 'starting' ? 'info' : 'warn'](`server ${state}`, {
        server: upstream.server.name,
        ...(lastError !== undefined && { reason: lastError }),
      })
    },
  })
  const edge = edgeOf(() => current.registry)
  const brokerServer = await serveBroker({
    socketPath: run.broker,
    broker,
    edge: () => edge,
    ...identity.asked,
    onRefusal: (refusal) => {
      refusals.unshift({ at: new Date().toISOString(), ...refusal })
      refusals.length = Math.min(refusals.length, MOST_REFUSALS)
      log.info('refused', { ...refusal })
    },
    onError: (error) => log.error('a request failed in the broker', { error }),
    onRequest: (decision, told) => audit.heard(decision, told),
  })
  started.push(() => brokerServer.close())
  const extProc = await serveExtProc({
    socketPath: run.extProc,
    // A gateway that stops begins nothing: the broker words the refusal.
    table: () => (stopping ? emptyTable : table),
    sessions,
    edge,
    everyBody: () => current.filtered,
    brokerCluster: BROKER,
    log,
    onRequest: (decision) => audit.heard(decision),
  })
  started.push(async () => extProc[Symbol.asyncDispose]())

  const status = (): Status =>
    gatewayStatus({
      version,
      url: publicUrl(withPorts(current.registry)),
      startedMs,
      file: options.file,
      registry: current.registry,
      registryVersion: current.loaded.version,
      loadedMs: current.loadedMs,
      appliedMs: current.appliedMs,
      problems: current.problems,
      upstreams: broker.upstreams,
      catalogue: broker.catalogue(),
      envoys: xds.status(),
      clients: sessions.size,
      serverSessions: [...sessions.live()].reduce((sum, session) => sum + session.servers.size, 0),
      pool,
      streams: brokerServer.streams,
      refusals,
      audit: audit.status(),
      auth: identity.status(),
      tokens: credentials.status(),
    })
  const metrics = makeMetrics({
    gauged: status,
    brokered: () => brokerServer.requests,
    known: {
      method: isMethod,
      server: (name) => broker.upstreams.has(name),
      tool: (name) => broker.knowsTool(name),
    },
  })
  xds.onAds((event, type) => metrics.ads(event, type))
  xds.onAccessLog((entries) => {
    for (const entry of entries) {
      metrics.record(entry)
      identity.refused(entry.details)
    }
    audit.record(entries)
  })
  xds.onNack((nack) => onEvent(nackEvent(options.file, nack)))
  let edgeAccepts = false
  const admin = await serveAdmin({
    address: first.registry.gateway.admin,
    status,
    definitions: () => definitions(current.registry, (name) => broker.upstreams.get(name)?.catalogue()),
    ready: () => readiness(status(), current.registry, edgeAccepts || options.envoy === 'external'),
    metrics,
  })
  started.push(async () => admin[Symbol.asyncDispose]())

  await prepared
  const pushed = xds.publish(snapshotOf(current.registry), APPLY_MS)
  if (envoy !== undefined) {
    const supervised = await startEnvoy({
      binary: envoy.path,
      nodeId: NODE,
      run,
      runDir: runDir.path,
      concurrency: options.concurrency,
      accessLog: options.accessLog,
      log,
      onEvent,
      beforeEnd: () => audit.reported(),
    })
    started.push(() => supervised.close())
  } else started.push(() => audit.reported())
  // An Envoy of ours waits for what is under way itself.
  started.push(() => brokerServer.drain(envoy === undefined ? DRAIN_MS : 0))
  const applied = await pushed
  if (applied.of > 0 && applied.envoys === applied.of) {
    current.appliedMs = applied.ms
    metrics.applied(applied.ms)
  }
  void broker.apply(current.registry)
  // One that has just connected leads nowhere yet; once it has acknowledged everything, it does.
  let ready = applied.envoys
  xds.onApplied(({ envoys }) => {
    const more = envoys > ready
    ready = envoys
    if (!more) return
    for (const upstream of broker.upstreams.values()) if (upstream.status().state === 'down') upstream.refresh()
  })

  const watching = await followRegistry({
    file: options.file,
    first,
    load: (text) => loadRegistry(options, text),
    take: (loaded) =>
      reload(current, loaded, {
        broker,
        prepare: ({ gateway }) => identity.prepare(gateway.auth, APPLY_MS),
        snapshotOf,
        publish: (next, withinMs) => xds.publish(next, withinMs),
        onEvent,
        onTaken(registry) {
          identity.use(registry.gateway.auth)
          credentials.use(registry)
        },
        onApplied: (ms) => {
          audit.use(current.registry.gateway.audit)
          metrics.applied(ms)
        },
      }),
    turn,
    onEvent,
  })
  started.push(async () => watching[Symbol.asyncDispose]())

  if (envoy !== undefined) edgeAccepts = await accepts(edgeAddress)
  const url = publicUrl(withPorts(current.registry))
  void broker.settled().then(() => onEvent({ kind: 'ready', url, admin: admin.url, status: status() }))
  const end = async (): Promise<void> => {
    stopping = true
    await stop()
  }
  return { url, admin: admin.url, status, stop: end, done: new Promise(() => undefined) }
}
