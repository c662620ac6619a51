/** Connects to one server directly, without any gateway, and reads what tools it offers. */
import type { FetchLike, Transport, VersionNegotiationOptions } from '@modelcontextprotocol/client'
import type { Dispatcher } from 'undici'
import type { KnownTool } from '../catalog/offer.ts'
import { STATELESS_VERSIONS } from '../mcp/versions.ts'
import { type Credential, type HttpServer, Secret, type Server, type StdioServer } from '../registry/model.ts'
import { trusted } from '../xds/system-ca.ts'

export type Live =
  | {
      readonly server: string
      readonly ok: true
      readonly protocolVersion: string
      readonly tools: readonly KnownTool[]
    }
  /** There is no caller to ask it as; says why. */
  | { readonly server: string; readonly ok: true; readonly unasked: string }
  | { readonly server: string; readonly ok: false; readonly error: string }

const urlOf = ({ endpoint: { tls, host, port, path } }: HttpServer): URL =>
  new URL(`${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`)

/** A way to a server, and what is to be done there before it is closed. */
interface Way {
  readonly transport: Transport
  end(): Promise<void>
}

const methodOf = (method: string | undefined): 'GET' | 'POST' | 'DELETE' =>
  method === 'POST' || method === 'DELETE' ? method : 'GET'

/** A redirect is an error, as it is for the gateway: the client would follow it, and carry the credential along. */
const fetchThrough =
  (dispatcher: Dispatcher, credential: Credential | undefined): FetchLike =>
  async (url, init) => {
    const headers = new Headers(init?.headers)
    if (credential !== undefined) headers.set(credential.header, credential.value.reveal())
    const answer = await dispatcher.request({
      origin: new URL(url).origin,
      path: new URL(url).pathname + new URL(url).search,
      method: methodOf(init?.method),
      headers: Object.fromEntries(headers),
      body: typeof init?.body === 'string' ? init.body : null,
      signal: init?.signal ?? null,
    })
    const { statusCode: status } = answer
    if (status >= 300 && status < 400 && status !== 304) {
      answer.body.destroy()
      throw new Error(`the server redirects (${status}), which the gateway does not follow`)
    }
    const answered = Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, String(value)]],
    )
    return new Response(status === 204 || status === 304 ? null : answer.body, { status, headers: answered })
  }

/** Where callers are shown tokens of their own, what belongs to no caller is asked with one of the gateway's, as the gateway does. */
const shown = async (server: HttpServer): Promise<Credential | undefined> => {
  const client = server.oauth ?? server.exchange
  if (client === undefined) return server.credential
  const { CLIENT_CREDENTIALS, tokenEndpoint } = await import('../credentials/token-endpoint.ts')
  const { tokenFetch } = await import('../credentials/token-fetch.ts')
  const answer = await tokenEndpoint(client, tokenFetch(trusted(client.ca)))(CLIENT_CREDENTIALS, {})
  if (!answer.ok) throw new Error(`no token of ${client.token}: ${answer.detail}`)
  return { header: 'authorization', value: new Secret(`Bearer ${answer.token.reveal()}`) }
}

const http = async (server: HttpServer): Promise<Way> => {
  const { Agent } = await import('undici')
  const { SSEClientTransport, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const { client, sni } = server.tls
  const ca = trusted(server.tls.ca)
  const agent = new Agent({
    connect: {
      ...(ca === undefined ? {} : { ca }),
      ...(client === undefined ? {} : { cert: client.cert, key: client.key.reveal() }),
      ...(sni === undefined ? {} : { servername: sni }),
    },
  })
  const fetch = fetchThrough(agent, await shown(server))
  if (server.transport === 'sse') {
    const transport = new SSEClientTransport(urlOf(server), { fetch })
    return {
      transport,
      end: async () => {
        await transport.close()
        await agent.destroy()
      },
    }
  }
  const transport = new StreamableHTTPClientTransport(urlOf(server), { fetch })
  return {
    transport,
    end: async () => {
      await transport.terminateSession().catch(() => {})
      await transport.close()
      await agent.destroy()
    },
  }
}

/** Asked first in the newer era, unless the registry pins one. */
const negotiation = (server: Server): VersionNegotiationOptions => {
  if (server.kind === 'http' && server.transport === 'sse') return { mode: 'legacy' }
  if (server.era === 'stateless') return { mode: { pin: STATELESS_VERSIONS[0] } }
  return { mode: server.era === 'stateful' ? 'legacy' : 'auto' }
}

const stdio = async ({ command, args, env, cwd }: StdioServer): Promise<Way> => {
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio')
  const transport = new StdioClientTransport({
    command,
    args: [...args],
    env: Object.fromEntries(env),
    cwd,
    stderr: 'ignore',
  })
  return { transport, end: () => transport.close() }
}

/** An error with the reasons under it: `fetch failed` alone helps nobody. */
const reasons = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const under = error.cause === undefined ? '' : reasons(error.cause)
  return under === '' || error.message.includes(under) ? error.message : `${error.message}: ${under}`
}

/** Never throws. Waits at most `timeoutMs` for the connection and `listTimeoutMs` for the tools. */
export const connectLive = async (server: Server, version: string): Promise<Live> => {
  if (server.kind === 'http' && server.perCaller)
    return { server: server.name, ok: true, unasked: 'what it offers depends on who asks' }
  let way: Way | undefined
  try {
    way = await (server.kind === 'http' ? http(server) : stdio(server))
    const { Client } = await import('@modelcontextprotocol/client')
    // Some servers offer only what their clients can answer.
    const capabilities = Object.fromEntries(server.client.map((feature) => [feature, {}]))
    const versionNegotiation = negotiation(server)
    const client = new Client({ name: 'mcp-gateway', version }, { versionNegotiation, capabilities })
    await client.connect(way.transport, { timeout: server.timeoutMs })
    const { tools } = client.getServerCapabilities()?.tools
      ? await client.listTools({}, { timeout: server.listTimeoutMs })
      : { tools: [] }
    return {
      server: server.name,
      ok: true,
      protocolVersion: client.getNegotiatedProtocolVersion() ?? 'unknown',
      tools: tools.map(({ name, annotations }) => ({ own: name, definition: { annotations } })),
    }
  } catch (error) {
    return { server: server.name, ok: false, error: reasons(error) }
  } finally {
    await way?.end()
  }
}
