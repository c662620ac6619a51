/** The published MCP clients behind one face, so that one story can be played with each of them. */
import * as v2 from '@modelcontextprotocol/client'
import * as v1 from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import type { Era } from '../../src/mcp/versions.ts'
import type { PublishedClient } from './published-client.ts'
import { answers } from './published-client.ts'
import { waitingRoom } from './waiting-room.ts'

const info = { name: 'published-client', version: '1.0.0' }
const asking = { capabilities: { elicitation: {}, sampling: {}, roots: { listChanged: true } } }

/** The methods that both SDKs spell alike. */
type Alike = Pick<
  v2.Client,
  | 'callTool'
  | 'complete'
  | 'getPrompt'
  | 'listPrompts'
  | 'listResources'
  | 'listResourceTemplates'
  | 'listTools'
  | 'readResource'
>

const alike = (client: Alike | v1.Client) => ({
  tools: async () => (await client.listTools()).tools.map(({ name }) => name),
  call: (name: string, args: Record<string, unknown> = {}) => client.callTool({ name, arguments: args }),
  prompts: async () => (await client.listPrompts()).prompts.map(({ name }) => name),
  get: (name: string, args: Record<string, string> = {}) => client.getPrompt({ name, arguments: args }),
  resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
  read: (uri: string) => client.readResource({ uri }),
  templates: async () => (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
  complete: async (prompt: string, argument: string, value: string) => {
    const ref = { type: 'ref/prompt' as const, name: prompt }
    return (await client.complete({ ref, argument: { name: argument, value } })).completion.values
  },
})

/** Resolves `heard(uri)` when `tell(uri)` is called. */
const news = () => {
  const seen = new Set<string>()
  const { until, wake } = waitingRoom()
  return {
    heard: (uri: string) => until(() => (seen.has(uri) ? uri : undefined)),
    tell: (uri: string) => {
      seen.add(uri)
      wake()
    },
  }
}

/** `@modelcontextprotocol/sdk`, the first generation. `asked`: it declares that it can be asked things. */
export const sdkV1 = async (url: string, asked: boolean): Promise<PublishedClient> => {
  const client = new v1.Client(info, asked ? asking : {})
  if (asked) {
    client.setRequestHandler(ElicitRequestSchema, () => answers.elicitation)
    client.setRequestHandler(CreateMessageRequestSchema, () => answers.sampling)
    client.setRequestHandler(ListRootsRequestSchema, () => answers.roots)
  }
  const { heard, tell } = news()
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => tell(params.uri))
  const transport = new StreamableHTTPClientTransport(new URL(url))
  await client.connect(transport)
  return {
    ...alike(client),
    watch: async (uri) => {
      await client.subscribeResource({ uri })
      return { updated: heard(uri) }
    },
    follow: (name, args, onProgress, signal) =>
      client.callTool({ name, arguments: args }, undefined, {
        onprogress: ({ progress }) => onProgress(progress),
        ...(signal === undefined ? {} : { signal }),
      }),
    [Symbol.asyncDispose]: async () => {
      await transport.terminateSession()
      await client.close()
    },
  }
}

/** `@modelcontextprotocol/client`, the second; `mode`: how it finds out the era, or which it insists on. */
export const sdkV2 =
  (mode: v2.VersionNegotiationMode) =>
  async (url: string, asked: boolean): Promise<PublishedClient> => {
    const client = new v2.Client(info, { ...(asked ? asking : {}), versionNegotiation: { mode } })
    if (asked) {
      client.setRequestHandler('elicitation/create', () => answers.elicitation)
      client.setRequestHandler('sampling/createMessage', () => answers.sampling)
      client.setRequestHandler('roots/list', () => answers.roots)
    }
    const { heard, tell } = news()
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => tell(params.uri))
    const transport = new v2.StreamableHTTPClientTransport(new URL(url))
    await client.connect(transport)
    const stateless = client.getProtocolEra() === 'modern'
    return {
      ...alike(client),
      watch: async (uri) => {
        if (stateless) await client.listen({ resourceSubscriptions: [uri] })
        else await client.subscribeResource({ uri })
        return { updated: heard(uri) }
      },
      follow: (name, args, onProgress, signal) =>
        client.callTool(
          { name, arguments: args },
          { onprogress: ({ progress }) => onProgress(progress), ...(signal === undefined ? {} : { signal }) },
        ),
      [Symbol.asyncDispose]: async () => {
        if (!stateless) await transport.terminateSession()
        await client.close()
      },
    }
  }

/** A published client in one of its modes. */
export interface ClientMode {
  /** The eras it can speak, the one it prefers first. */
  readonly eras: readonly Era[]
  /** What it lets servers ask. */
  readonly asked: readonly ('elicitation' | 'roots' | 'sampling')[]
  open(url: string, asked: boolean): Promise<PublishedClient>
}

const everything = ['elicitation', 'sampling', 'roots'] as const

export const publishedClients: Readonly<Record<string, ClientMode>> = {
  'v1 SDK': { eras: ['stateful'], asked: everything, open: sdkV1 },
  'v2 SDK, stateful': { eras: ['stateful'], asked: everything, open: sdkV2('legacy') },
  'v2 SDK, auto': { eras: ['stateless', 'stateful'], asked: everything, open: sdkV2('auto') },
  'v2 SDK, stateless': { eras: ['stateless'], asked: everything, open: sdkV2({ pin: '2026-07-28' }) },
}
