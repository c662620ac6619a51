/** Envoy's own admin interface, over its Unix socket. */
import { request } from 'node:http'
import { text } from 'node:stream/consumers'

const PATIENCE_MS = 2_000

/** The body of a 200. Rejects on anything else, and when nobody answers. */
export const askAdmin = (socketPath: string, method: 'GET' | 'POST', path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, timeout: PATIENCE_MS, agent: false }, (response) => {
      text(response).then((body) => {
        if (response.statusCode === 200) resolve(body)
        else reject(new Error(`${path} answered ${response.statusCode}`))
      }, reject)
    })
    asked.once('timeout', () => asked.destroy(new Error(`${path} took too long`)))
    asked.once('error', reject)
    asked.end()
  })

/** Requests under way at the listeners with this stat prefix; from `http.<prefix>.downstream_rq_active: 3`. */
export const activeRequests = async (socketPath: string, statPrefix: string): Promise<number> => {
  const stats = await askAdmin(socketPath, 'GET', '/stats?filter=downstream_rq_active')
  return [...stats.matchAll(/^http\.(?<prefix>.+)\.downstream_rq_active: (?<count>\d+)$/gmu)]
    .filter(({ groups }) => groups?.['prefix'] === statPrefix)
    .reduce((sum, { groups }) => sum + Number(groups?.['count']), 0)
}
