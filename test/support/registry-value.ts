/** Registries as values, for tests that start behind the parser. */
import type { HttpServer, Registry, Selection, Server } from '../../src/registry/model.ts'

const everything: Selection = { include: ['*'], exclude: [], rename: new Map() }

/** A server over HTTP with every default. */
export const httpServer = (name: string, url: string, changes: Partial<HttpServer> = {}): HttpServer => {
  const { protocol, hostname, port, pathname, search } = new URL(url)
  const tls = protocol === 'https:'
  return {
    kind: 'http',
    transport: 'streamable',
    name,
    place: { line: 2, column: 3 },
    enabled: true,
    required: false,
    prefix: `${name}_`,
    tools: everything,
    prompts: everything,
    resources: { ...everything, prefix: false },
    client: ['elicitation'],
    timeoutMs: 60_000,
    listTimeoutMs: 5_000,
    endpoint: {
      tls,
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (tls ? 443 : 80) : Number(port),
      path: pathname + search,
    },
    tls: {},
    forward: [],
    perCaller: false,
    ...changes,
  }
}

/** A registry with every default; agents connect to a port of loopback. */
export const registryOf = (
  port: number,
  servers: readonly Server[],
  changes: Partial<Registry['gateway']> = {},
): Registry => ({
  gateway: {
    listen: { host: '127.0.0.1', port },
    admin: { host: '127.0.0.1', port: 0 },
    origins: [],
    open: false,
    maxBody: 4 * 1024 * 1024,
    filters: [],
    clusters: [],
    confirmMs: 300_000,
    ...changes,
  },
  servers,
  sessions: { idleMs: 3_600_000, pool: { size: 64, idleMs: 300_000, inputMs: 300_000 } },
  views: [],
  tests: [],
})
