/** What the entrypoint accepts and what its address is, worked out from the registry in force. */
import type { Edge } from './mcp/request-head.ts'
import type { Registry } from './registry/model.ts'

/** Reads the registry anew at each use, so that a reload counts at once. */
export const edgeOf = (registry: () => Registry): Edge => {
  let seen: Registry | undefined
  let edge = { path: '/mcp', hosts: new Set<string>(), origins: new Set<string>(), maxBody: 0 }
  const now = () => {
    const next = registry()
    if (next !== seen) {
      seen = next
      const { listen, url, origins, maxBody } = next.gateway
      const hosts = new Set([
        listen.host.toLowerCase(),
        ...(url === undefined ? [] : [new URL(url).hostname.toLowerCase().replace(/^\[|\]$/g, '')]),
      ])
      edge = { path: '/mcp', hosts, origins: new Set(origins.map((origin) => origin.toLowerCase())), maxBody }
    }
    return edge
  }
  return {
    path: '/mcp',
    get hosts() {
      return now().hosts
    },
    get origins() {
      return now().origins
    },
    get maxBody() {
      return now().maxBody
    },
  }
}

/** Where agents connect. */
export const publicUrl = ({ gateway: { url, listen, tls } }: Registry): string =>
  url ??
  `${tls === undefined ? 'http' : 'https'}://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}/mcp`
