/** The protocol's own demonstration server, bound to 127.0.0.1. */
import { fileURLToPath } from 'node:url'
import { startChild } from './child.ts'

const preload = new URL('../../examples/quickstart/bind-loopback.mjs', import.meta.url)
const server = new URL('../../node_modules/@modelcontextprotocol/server-everything/dist/index.js', import.meta.url)

export const startEverything = async (): Promise<AsyncDisposable & { readonly url: string }> => {
  const args = ['--import', preload.href, fileURLToPath(server), 'streamableHttp']
  const child = startChild(args, { env: { PORT: '0' } })
  const [url = ''] = await child.says(/http:\/\/127\.0\.0\.1:\d+\/mcp/)
  return { url, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() }
}
