/** The published MCP clients with a human in front of them, who says yes or no to what they show. */
import * as v2 from '@modelcontextprotocol/client'
import * as v1 from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { Era } from '../../src/mcp/versions.ts'

export type Action = 'accept' | 'decline' | 'cancel'

/** What the human does when shown this. */
export type Human = (shown: string) => Action | Promise<Action>

export interface ConfirmingClient extends AsyncDisposable {
  /** What the human was shown, in order. */
  readonly shown: readonly string[]
  call(name: string, args?: Record<string, unknown>): Promise<unknown>
  get(name: string, args?: Record<string, string>): Promise<unknown>
  read(uri: string): Promise<unknown>
}

type Headers = Readonly<Record<string, string>>

export interface ConfirmingMode {
  readonly era: Era
  /** Without a human it does not say that it can be asked. */
  readonly open: (url: string, human: Human | undefined, headers?: Headers) => Promise<ConfirmingClient>
}

const info = { name: 'confirming-client', version: '1.0.0' }
const capabilities = (human: Human | undefined) => (human === undefined ? {} : { capabilities: { elicitation: {} } })

const asking = (human: Human | undefined) => {
  const shown: string[] = []
  return {
    shown,
    answer: async ({ params }: { readonly params: { readonly message: string } }) => {
      shown.push(params.message)
      const action = (await human?.(params.message)) ?? 'cancel'
      return action === 'accept' ? { action, content: {} } : { action }
    },
  }
}

const openV1: ConfirmingMode['open'] = async (url, human, headers = {}) => {
  const client = new v1.Client(info, capabilities(human))
  const { shown, answer } = asking(human)
  if (human !== undefined) client.setRequestHandler(ElicitRequestSchema, answer)
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
  return {
    shown,
    call: (name, args = {}) => client.callTool({ name, arguments: args }),
    get: (name, args = {}) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    [Symbol.asyncDispose]: () => client.close(),
  }
}

const openV2 =
  (mode: v2.VersionNegotiationMode): ConfirmingMode['open'] =>
  async (url, human, headers = {}) => {
    const client = new v2.Client(info, { ...capabilities(human), versionNegotiation: { mode } })
    const { shown, answer } = asking(human)
    if (human !== undefined) client.setRequestHandler('elicitation/create', answer)
    await client.connect(new v2.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
    return {
      shown,
      call: (name, args = {}) => client.callTool({ name, arguments: args }),
      get: (name, args = {}) => client.getPrompt({ name, arguments: args }),
      read: (uri) => client.readResource({ uri }),
      [Symbol.asyncDispose]: () => client.close(),
    }
  }

export const confirmingClients: Readonly<Record<string, ConfirmingMode>> = {
  'v1 SDK': { era: 'stateful', open: openV1 },
  'v2 SDK, stateful': { era: 'stateful', open: openV2('legacy') },
  'v2 SDK, auto': { era: 'stateless', open: openV2('auto') },
  'v2 SDK, stateless': { era: 'stateless', open: openV2({ pin: '2026-07-28' }) },
}
