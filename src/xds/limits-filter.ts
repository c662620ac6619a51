/** The filter that limits how often something is called, delivered over ECDS. */
import type { Rate, Registry } from '../registry/model.ts'
import { LIMITS, METADATA } from './names.ts'
import { noFilter } from './no-filter.ts'
import { any, type Message } from './pack.ts'

/** A call counts against one bucket of each; ext_proc says which, and whose share it takes. */
const LEVELS = ['gateway', 'server', 'tool'] as const
type Level = (typeof LEVELS)[number]

/** The name of the bucket. */
const bucketKey = (level: Level): string => `limit_${level}`
/** Whose share: a subject's, a session's or a tool's. */
const sharerKey = (level: Level): string => `${bucketKey(level)}_of`

/** Shares of a bucket that are remembered; beyond it the one unused for longest is forgotten, and so full again. */
const MOST_SHARES = 10_000

/** Envoy's shortest. */
const SHORTEST_MS = 50

const published = (key: string): Message => ({
  metadata: { descriptor_key: key, metadata_key: { key: METADATA, path: [{ key }] }, source: 'DYNAMIC' },
})

/** Fills as time passes, not all at once at the end of an interval. */
const tokenBucket = ({ calls, perMs }: Rate): Message => {
  const times = Math.max(1, Math.ceil(SHORTEST_MS / perMs))
  return {
    max_tokens: calls * times,
    tokens_per_fill: calls * times,
    fill_interval: `${(perMs * times) / 1000}s`,
  }
}

/** A sharer without a value stands for each one there is. */
const bucket = (level: Level, name: string, rate: Rate): Message => ({
  entries: [{ key: bucketKey(level), value: name }, { key: sharerKey(level) }],
  token_bucket: tokenBucket(rate),
})

const bucketsOf = ({ gateway, servers }: Registry): Readonly<Record<Level, readonly Message[]>> => {
  const whole = gateway.limits?.rate
  return {
    gateway: whole === undefined ? [] : [bucket('gateway', 'gateway', whole)],
    server: servers.flatMap(({ name, limits }) =>
      limits?.rate === undefined ? [] : [bucket('server', name, limits.rate)],
    ),
    tool: servers.flatMap(({ name, limits }) =>
      (limits?.tools ?? []).map(({ pattern, rate }) => bucket('tool', `${name}/${pattern}`, rate)),
    ),
  }
}

const always: Message = { default_value: { numerator: 100, denominator: 'HUNDRED' } }

/** An older Envoy can't say how long it takes, and refuses what it does not know. */
const retryAfter = (version: string): Message => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 1 || minor >= 40
    ? { enable_retry_after_header: true }
    : {
        response_headers_to_add: [
          { header: { key: 'retry-after', value: '1' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
        ],
      }
}

/** `version`: of the Envoy, such as `1.40.0`. */
export const limitsFilter = (registry: Registry, version = '1.40.0'): Message => {
  const buckets = bucketsOf(registry)
  const used = LEVELS.filter((level) => buckets[level].length > 0)
  return {
    name: LIMITS,
    typed_config:
      used.length === 0
        ? noFilter
        : any('envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit', {
            stat_prefix: 'mcp',
            filter_enabled: always,
            filter_enforced: always,
            rate_limits: used.map((level) => ({ actions: [published(bucketKey(level)), published(sharerKey(level))] })),
            descriptors: used.flatMap((level) => buckets[level]),
            max_dynamic_descriptors: MOST_SHARES,
            ...retryAfter(version),
          }),
  }
}
