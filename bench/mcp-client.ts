/** As much of an MCP client as the bench needs: sessions, single requests, streams; and one that needs no session. */
import { Agent, type Dispatcher } from 'undici'
import { type Caller, CLIENT_INFO, headersOf, paramsOf, VERSIONS } from './caller.ts'

/** Who a client says it is: with elicitation its calls take the broker path. */
export type Capabilities = '{}' | '{"elicitation":{}}'

/** Something that speaks MCP at an address. */
export interface Endpoint {
  readonly port: number
  readonly path: string
}

export interface Client {
  /** The response's text. `tool`: what the stateless era repeats in a header. */
  request(method: string, params: string, tool?: string): Promise<string>
  /** Says that it will not come again, where there is a session to end. */
  end(): Promise<void>
  /** Ends its connections; a session lives on. */
  hangUp(): Promise<void>
}

export interface Session extends Client {
  readonly id: string
  /** A stream for what the server says by itself; resolves once it is open. */
  listen(): Promise<void>
}

/** Requests of one client over connections of its own. */
const connect = ({ port, path }: Endpoint) => {
  const agent = new Agent({ pipelining: 1, headersTimeout: 30_000, bodyTimeout: 0 })
  const origin = `http://127.0.0.1:${port}`
  let nextId = 0
  const send = (
    method: 'POST' | 'GET' | 'DELETE',
    headers: Record<string, string>,
    body: string | null = null,
  ): Promise<Dispatcher.ResponseData> => agent.request({ origin, path, method, headers, body })
  const ask = async (caller: Caller, method: string, params: string, tool?: string) => {
    const body = `{"jsonrpc":"2.0","id":${++nextId},"method":"${method}","params":${paramsOf(caller, params)}}`
    const response = await send('POST', headersOf(caller, method, tool), body)
    const text = await response.body.text()
    if (response.statusCode !== 200) throw new Error(`${method}: ${response.statusCode} ${text}`)
    return { response, text }
  }
  return { send, ask, hangUp: () => agent.destroy() }
}

/** Connects anew, initializes and says so. */
export const openSession = async (endpoint: Endpoint, capabilities: Capabilities, token?: string): Promise<Session> => {
  const access = token === undefined ? {} : { token }
  const { send, ask, hangUp } = connect(endpoint)
  const opened = await ask(
    { era: 'stateful', session: '', ...access },
    'initialize',
    `{"protocolVersion":"${VERSIONS.stateful}","capabilities":${capabilities},"clientInfo":${CLIENT_INFO}}`,
  )
  const id = String(opened.response.headers['mcp-session-id'])
  const caller: Caller = { era: 'stateful', session: id, ...access }
  const initialized = 'notifications/initialized'
  const said = await send('POST', headersOf(caller, initialized), `{"jsonrpc":"2.0","method":"${initialized}"}`)
  await said.body.dump()
  const session = { 'mcp-session-id': id, 'mcp-protocol-version': VERSIONS.stateful }
  return {
    id,
    request: async (method, params) => (await ask(caller, method, params)).text,
    async listen() {
      const { statusCode, body } = await send('GET', { ...session, accept: 'text/event-stream' })
      if (statusCode !== 200) throw new Error(`GET: ${statusCode}`)
      body.on('error', () => undefined).resume()
    },
    async end() {
      await (await send('DELETE', session)).body.dump()
    },
    hangUp,
  }
}

/** Connects anew and asks whom it speaks to. */
export const discover = async (endpoint: Endpoint): Promise<Client> => {
  const { ask, hangUp } = connect(endpoint)
  const caller: Caller = { era: 'stateless' }
  await ask(caller, 'server/discover', '{}')
  return {
    request: async (method, params, tool) => (await ask(caller, method, params, tool)).text,
    end: async () => undefined,
    hangUp,
  }
}
