/** The published MCP clients behind one face, so that one story can be played with each of them. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as v2 from '@modelcontextprotocol/client'
import * as v1 from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'

/** What a user does with a client. Results are as the client hands them out. */
export interface PublishedClient extends AsyncDisposable {
  tools(): Promise<readonly string[]>
  call(name: string, args?: Record<string, unknown>): Promise<unknown>
  prompts(): Promise<readonly string[]>
  get(name: string, args?: Record<string, string>): Promise<unknown>
  resources(): Promise<readonly string[]>
  read(uri: string): Promise<unknown>
  templates(): Promise<readonly string[]>
}

/** What these clients answer when a server asks. */
export const answers = {
  elicitation: { action: 'accept' as const, content: { username: 'ada', email: 'ada@example.com' } },
  sampling: { model: 'test-model', role: 'assistant' as const, content: { type: 'text' as const, text: 'forty-two' } },
  roots: { roots: [{ uri: 'file:///home/ada', name: 'home' }] },
}

const info = { name: 'published-client', version: '1.0.0' }
const asking = { capabilities: { elicitation: {}, sampling: {}, roots: { listChanged: true } } }

/** The methods that both SDKs spell alike. */
type Alike = Pick<
  v2.Client,
  'listTools' | 'callTool' | 'listPrompts' | 'getPrompt' | 'listResources' | 'readResource' | 'listResourceTemplates'
>

const alike = (client: Alike | v1.Client, close: () => Promise<void>): PublishedClient => ({
  tools: async () => (await client.listTools()).tools.map(({ name }) => name),
  call: (name, args = {}) => client.callTool({ name, arguments: args }),
  prompts: async () => (await client.listPrompts()).prompts.map(({ name }) => name),
  get: (name, args = {}) => client.getPrompt({ name, arguments: args }),
  resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
  read: (uri) => client.readResource({ uri }),
  templates: async () => (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
  [Symbol.asyncDispose]: close,
})

/** `@modelcontextprotocol/sdk`, the first generation. `asked`: it declares that it can be asked things. */
export const sdkV1 = async (url: string, asked: boolean): Promise<PublishedClient> => {
  const client = new v1.Client(info, asked ? asking : {})
  if (asked) {
    client.setRequestHandler(ElicitRequestSchema, () => answers.elicitation)
    client.setRequestHandler(CreateMessageRequestSchema, () => answers.sampling)
    client.setRequestHandler(ListRootsRequestSchema, () => answers.roots)
  }
  const transport = new StreamableHTTPClientTransport(new URL(url))
  await client.connect(transport)
  return alike(client, async () => {
    await transport.terminateSession()
    await client.close()
  })
}

/** `@modelcontextprotocol/client`, the second. */
export const sdkV2 = async (url: string, asked: boolean): Promise<PublishedClient> => {
  const client = new v2.Client(info, asked ? asking : {})
  if (asked) {
    client.setRequestHandler('elicitation/create', () => answers.elicitation)
    client.setRequestHandler('sampling/createMessage', () => answers.sampling)
    client.setRequestHandler('roots/list', () => answers.roots)
  }
  const transport = new v2.StreamableHTTPClientTransport(new URL(url))
  await client.connect(transport)
  return alike(client, async () => {
    await transport.terminateSession()
    await client.close()
  })
}

const launcher = new URL(
  '../../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js',
  import.meta.url,
)

/** The MCP Inspector's command line, a process for every request. */
export const inspector = (url: string): PublishedClient => {
  const run = async (method: string, ...args: string[]): Promise<Record<string, never>> => {
    const all = ['--cli', url, '--transport', 'http', '--format', 'json', '--method', method, ...args]
    const child = promisify(execFile)(process.execPath, [fileURLToPath(launcher), ...all], { timeout: 60_000 })
    child.child.stdin?.end()
    return JSON.parse((await child).stdout).result
  }
  const names = async (method: string, key: string, name: string): Promise<readonly string[]> => {
    const items: unknown = (await run(method))[key]
    if (!Array.isArray(items)) throw new Error(`${method}: no ${key}`)
    return items.map((item) => String(item[name]))
  }
  const pairs = (args: Record<string, string>) => Object.entries(args).map(([key, value]) => `${key}=${value}`)
  return {
    tools: () => names('tools/list', 'tools', 'name'),
    call: (name, args = {}) => run('tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args)),
    prompts: () => names('prompts/list', 'prompts', 'name'),
    get: (name, args = {}) =>
      run('prompts/get', '--prompt-name', name, ...pairs(args).flatMap((pair) => ['--prompt-args', pair])),
    resources: () => names('resources/list', 'resources', 'uri'),
    read: (uri) => run('resources/read', '--uri', uri),
    templates: () => names('resources/templates/list', 'resourceTemplates', 'uriTemplate'),
    [Symbol.asyncDispose]: async () => {},
  }
}
