/** As much of an MCP client as the bench needs: sessions, single requests, streams. */
import { Agent, type Dispatcher } from 'undici'

/** Who a client says it is: with elicitation its calls take the broker path. */
export type Capabilities = '{}' | '{"elicitation":{}}'

/** Something that speaks MCP at an address. */
export interface Endpoint {
  readonly port: number
  readonly path: string
}

export interface Session {
  readonly id: string
  request(method: string, params: string): Promise<string>
  /** A stream for what the server says by itself; resolves once it is open. */
  listen(): Promise<void>
  end(): Promise<void>
  /** Ends its connections; the session lives on. */
  hangUp(): Promise<void>
}

const VERSION = '2025-11-25'
const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

/** Connects anew, initializes and says so. */
export const openSession = async ({ port, path }: Endpoint, capabilities: Capabilities): Promise<Session> => {
  const agent = new Agent({ pipelining: 1, headersTimeout: 30_000, bodyTimeout: 0 })
  const origin = `http://127.0.0.1:${port}`
  let nextId = 0
  let id = ''
  const post = async (body: string): Promise<Dispatcher.ResponseData> =>
    agent.request({
      origin,
      path,
      method: 'POST',
      headers: { ...headers, ...(id !== '' && { 'mcp-session-id': id, 'mcp-protocol-version': VERSION }) },
      body,
    })
  const ask = async (method: string, params: string): Promise<readonly [Dispatcher.ResponseData, string]> => {
    const response = await post(`{"jsonrpc":"2.0","id":${++nextId},"method":"${method}","params":${params}}`)
    const text = await response.body.text()
    if (response.statusCode !== 200) throw new Error(`${method}: ${response.statusCode} ${text}`)
    return [response, text]
  }
  const [opened] = await ask(
    'initialize',
    `{"protocolVersion":"${VERSION}","capabilities":${capabilities},"clientInfo":{"name":"bench","version":"1"}}`,
  )
  id = String(opened.headers['mcp-session-id'])
  await (await post('{"jsonrpc":"2.0","method":"notifications/initialized"}')).body.dump()
  const session = { 'mcp-session-id': id, 'mcp-protocol-version': VERSION }
  return {
    id,
    async request(method, params) {
      return (await ask(method, params))[1]
    },
    async listen() {
      const { statusCode, body } = await agent.request({
        origin,
        path,
        method: 'GET',
        headers: { ...session, accept: 'text/event-stream' },
      })
      if (statusCode !== 200) throw new Error(`GET: ${statusCode}`)
      body.on('error', () => undefined).resume()
    },
    async end() {
      await (await agent.request({ origin, path, method: 'DELETE', headers: session })).body.dump()
    },
    hangUp: () => agent.destroy(),
  }
}
