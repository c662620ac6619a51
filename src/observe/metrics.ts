/** What Prometheus sees: calls, durations, errors, the catalogue, servers, sessions and Envoy's acknowledgements. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Call } from './call.ts'
import { outcome } from './call.ts'

/** What the gauges show, read when somebody asks; a part of the gateway's status. */
interface Gauged {
  readonly version: string
  readonly servers: readonly {
    readonly name: string
    readonly state: string
    readonly tools: number
    readonly prompts: number
    readonly resources: number
    readonly templates: number
    readonly hidden: readonly { readonly withheld?: true }[]
    readonly stale: boolean
  }[]
  readonly registry: {
    readonly problems: readonly { readonly severity: string }[]
    readonly applied: { readonly envoys: number; readonly of: number }
  }
  readonly sessions: {
    readonly clients: number
    readonly servers: number
    readonly pooled: number
    readonly waiting: number
    readonly streams: number
  }
}

export interface MetricsOptions {
  readonly gauged: () => Gauged
  /** How many requests the broker has been sent so far; default: no such series. */
  readonly brokered?: () => number
  /** Which label values may become a series; every other one is `other`. Anyone can send us any name. */
  readonly known: {
    readonly method: (name: string) => boolean
    readonly server: (name: string) => boolean
    /** Exposed names. */
    readonly tool: (name: string) => boolean
  }
  /** CPU, memory and event loop of this process as well; default true. */
  readonly process?: boolean
}

export interface Metrics {
  /** One finished request; about a microsecond. */
  record(call: Call): void
  ads(event: 'push' | 'ack' | 'nack', type: string): void
  /** A snapshot has been ACKed by every connected Envoy. */
  applied(ms: number): void
  /** A list of a server was longer than we follow. */
  listCapped(server: string, list: string): void
  stdioRestart(server: string): void
  /** The text Prometheus scrapes. */
  text(): Promise<string>
  readonly contentType: string
}

const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const APPLY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]
/** Series that calls may make in a process's life; tools come and go with reloads. */
const MOST_SERIES = 20_000
const PATHS: ReadonlySet<string> = new Set(['direct', 'broker'])

type Series = (durationMs: number) => void

export const metrics = ({ gauged, brokered, known, process: ofProcess = true }: MetricsOptions): Metrics => {
  const registry = new Registry()
  const registers = [registry]
  if (ofProcess) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 })
  gauges(registry, gauged)
  if (brokered !== undefined) brokerRequests(registry, brokered)

  const calls = new Counter({
    name: 'mcp_gateway_calls_total',
    help: 'Requests answered, by MCP method, server, tool, path and outcome',
    labelNames: ['method', 'server', 'tool', 'path', 'outcome'],
    registers,
  })
  const errors = new Counter({
    name: 'mcp_gateway_call_errors_total',
    help: "Requests that did not end well, by Envoy's response flag or the HTTP status",
    labelNames: ['server', 'tool', 'path', 'reason'],
    registers,
  })
  const durations = new Histogram({
    name: 'mcp_gateway_call_duration_seconds',
    help: 'From the first byte of a request to the last byte of its answer; streams opened with GET are left out',
    labelNames: ['server', 'path'],
    buckets: CALL_BUCKETS,
    registers,
  })
  const ads = {
    push: counter(registry, 'mcp_gateway_ads_pushes_total', 'Responses sent to Envoys', ['type']),
    ack: counter(registry, 'mcp_gateway_ads_acks_total', 'Responses an Envoy accepted', ['type']),
    nack: counter(registry, 'mcp_gateway_ads_nacks_total', 'Responses an Envoy refused', ['type']),
  }
  const applied = new Histogram({
    name: 'mcp_gateway_apply_duration_seconds',
    help: 'From reading a changed registry to the last acknowledgement of an Envoy',
    buckets: APPLY_BUCKETS,
    registers,
  })
  const capped = counter(registry, 'mcp_gateway_list_capped_total', 'Lists of servers that were cut short', [
    'server',
    'list',
  ])
  const restarts = counter(registry, 'mcp_gateway_stdio_restarts_total', 'Restarts of stdio servers', ['server'])

  const series = new Map<string, Series>()
  const open = (key: string, { server, tool, method, path, ended }: Labels): Series => {
    const full = series.size >= MOST_SERIES
    const labels = { server: full ? 'other' : server, tool: full ? 'other' : tool, path }
    const count = calls.labels({ ...labels, method, outcome: ended.outcome })
    const error = ended.outcome === 'ok' ? undefined : errors.labels({ ...labels, reason: ended.reason })
    const duration = method === 'other' || method === '' ? undefined : durations.labels({ server: labels.server, path })
    const made: Series = (durationMs) => {
      count.inc()
      error?.inc()
      duration?.observe(durationMs / 1000)
    }
    if (!full) series.set(key, made)
    return made
  }

  return {
    record(call) {
      const labels = labelsOf(call, known)
      const { server, tool, method, path, ended } = labels
      const key = `${method}\n${server}\n${tool}\n${path}\n${ended.outcome}\n${ended.reason}`
      const one = series.get(key) ?? open(key, labels)
      one(call.durationMs)
    },
    ads: (event, type) => ads[event].inc({ type }),
    applied: (ms) => applied.observe(ms / 1000),
    listCapped: (server, list) => capped.inc({ server, list }),
    stdioRestart: (server) => restarts.inc({ server }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

interface Labels {
  readonly method: string
  readonly server: string
  readonly tool: string
  readonly path: string
  readonly ended: ReturnType<typeof outcome>
}

const labelsOf = (call: Call, known: MetricsOptions['known']): Labels => {
  const { method, server, tool, path } = call.metadata
  return {
    method: bounded(method, known.method),
    server: bounded(server, known.server),
    tool: bounded(tool, known.tool),
    path: typeof path === 'string' && PATHS.has(path) ? path : '',
    ended: outcome(call),
  }
}

const bounded = (value: unknown, isKnown: (name: string) => boolean): string => {
  if (typeof value !== 'string' || value === '') return ''
  return isKnown(value) ? value : 'other'
}

const counter = <Label extends string>(registry: Registry, name: string, help: string, labelNames: Label[]) =>
  new Counter({ name, help, labelNames, registers: [registry] })

/** The broker counts for itself: a direct call that it had to repeat is among its requests, too. */
const brokerRequests = (registry: Registry, brokered: () => number): void => {
  const made: Counter = new Counter({
    name: 'mcp_gateway_broker_requests_total',
    help: 'Requests the broker was sent; what goes to a server directly is not among them',
    registers: [registry],
    collect: () => {
      made.reset()
      made.inc(brokered())
    },
  })
}

/** Filled afresh at each scrape, so that a removed server's series go with it. */
const gauges = (registry: Registry, gauged: () => Gauged): void => {
  const gauge = <Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    values: (now: Gauged) => readonly (readonly [Record<Label, string>, number])[],
  ): void => {
    const made: Gauge<Label> = new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect: () => {
        made.reset()
        for (const [labels, value] of values(gauged())) made.set(labels, value)
      },
    })
  }
  gauge('mcp_gateway_info', 'The version that runs', ['version'], ({ version }) => [[{ version }, 1]])
  gauge('mcp_gateway_server_up', '1 when the server answers', ['server'], ({ servers }) =>
    servers.map(({ name, state }) => [{ server: name }, state === 'up' || state === 'degraded' ? 1 : 0]),
  )
  gauge('mcp_gateway_server_state', 'The state a server is in', ['server', 'state'], ({ servers }) =>
    servers.map(({ name, state }) => [{ server: name, state }, 1]),
  )
  gauge('mcp_gateway_server_stale', "1 when the server's lists are old ones", ['server'], ({ servers }) =>
    servers.map(({ name, stale }) => [{ server: name }, stale ? 1 : 0]),
  )
  gauge('mcp_gateway_catalogue_items', 'What clients can see', ['server', 'list'], ({ servers }) =>
    servers.flatMap(({ name: server, tools, prompts, resources, templates }) =>
      Object.entries({ tools, prompts, resources, templates }).map(([list, n]) => [{ server, list }, n] as const),
    ),
  )
  gauge('mcp_gateway_catalogue_hidden', 'What servers offer and nobody sees', ['server'], ({ servers }) =>
    servers.map(({ name, hidden }) => [{ server: name }, hidden.length]),
  )
  gauge('mcp_gateway_tools_withheld', 'Tools that hide something or are not what was approved', ['server'], (now) =>
    now.servers.map(({ name, hidden }) => [{ server: name }, hidden.filter(({ withheld }) => withheld).length]),
  )
  gauge(
    'mcp_gateway_envoys',
    'Envoys: connected, and with everything applied',
    ['state'],
    ({ registry: { applied } }) => [
      [{ state: 'connected' }, applied.of],
      [{ state: 'applied' }, applied.envoys],
    ],
  )
  gauge('mcp_gateway_sessions', 'Open sessions, of clients and with servers', ['side'], ({ sessions }) => [
    [{ side: 'client' }, sessions.clients],
    [{ side: 'server' }, sessions.servers],
    [{ side: 'pool' }, sessions.pooled],
  ])
  gauge('mcp_gateway_calls_waiting', 'Calls of stateless clients that wait for their input', [], ({ sessions }) => [
    [{}, sessions.waiting],
  ])
  gauge('mcp_gateway_streams', 'Open event streams to clients', [], ({ sessions }) => [[{}, sessions.streams]])
  gauge('mcp_gateway_registry_problems', 'Problems of the newest registry file', ['severity'], (now) =>
    ['error', 'warning'].map((severity) => [
      { severity },
      now.registry.problems.filter((problem) => problem.severity === severity).length,
    ]),
  )
}
