/** What the entrypoint accepts and what its address is, worked out from the registry in force. */
import type { Edge } from './mcp/request-head.ts'
import type { Registry } from './registry/model.ts'

const PATH = '/mcp'

/** Reads the registry anew at each use, so that a reload counts at once. */
export const edgeOf = (registry: () => Registry): Edge => {
  let seen: Registry | undefined
  let edge: Edge = { path: PATH, views: new Set(), hosts: new Set(), origins: new Set(), maxBody: 0 }
  const now = (): Edge => {
    const next = registry()
    if (next !== seen) {
      seen = next
      const { listen, url, origins } = next.gateway
      const hosts = new Set([
        listen.host.toLowerCase(),
        ...(url === undefined ? [] : [new URL(url).hostname.toLowerCase().replace(/^\[|\]$/g, '')]),
      ])
      edge = {
        path: PATH,
        views: new Set(next.views.map(({ name }) => name)),
        hosts,
        origins: new Set(origins.map((origin) => origin.toLowerCase())),
        maxBody: next.gateway.maxBody,
      }
    }
    return edge
  }
  return {
    path: PATH,
    get views() {
      return now().views
    },
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
