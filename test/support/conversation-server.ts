/** Starts a server that a conversation.yaml describes. */
import { readFile } from 'node:fs/promises'
import { startChild } from './child.ts'
import type { Offered, Scripted, Served } from './conversation-file.ts'
import type { Answer, Call, Script } from './mcp-script.ts'
import { RpcError, says } from './mcp-script.ts'
import type { Hosting, McpServer } from './mcp-server.ts'
import { serveMcp } from './mcp-server.ts'

export interface ConversationServer extends AsyncDisposable {
  readonly url: string
  /** What arrives at a scripted one can be looked at. */
  readonly scripted?: McpServer
}

/** `directory`: the example's. `fileOf`: where a file that the conversation names lies. */
export const startServer = async (
  name: string,
  server: Served,
  directory: string,
  fileOf: (name: string) => string,
): Promise<ConversationServer> => {
  if ('run' in server) {
    const child = startChild(server.run, { cwd: directory, env: { PORT: '0', NODE_OPTIONS: '' } })
    const [url] = await child.says(/^http:\S+(?=\n)/m)
    return { url, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() }
  }
  const scripted = await serveMcp(scriptOf(name, server), await hosting(server, fileOf))
  return { url: scripted.url, scripted, [Symbol.asyncDispose]: () => scripted[Symbol.asyncDispose]() }
}

const hosting = async ({ tls }: Scripted, fileOf: (name: string) => string): Promise<Hosting> => {
  if (tls === undefined) return {}
  const pem = (file: string): Promise<string> => readFile(fileOf(file), 'utf8')
  const insisting = tls.clientCa === undefined ? {} : { ca: await pem(tls.clientCa), requestCert: true }
  return { tls: { cert: await pem(tls.cert), key: await pem(tls.key), ...insisting } }
}

/** What it answers with; undefined: what the server says by itself. */
const answering = (
  { answer, error, asks }: Offered,
  whole: (text: string) => Answer,
): ((call: Call) => Promise<Answer>) | undefined => {
  if (answer === undefined && error === undefined && asks.length === 0) return undefined
  return async (call) => {
    const told: string[] = []
    for (const { method, params } of asks) {
      const { result, error: refusal } = await call.ask(method, params)
      told.push(JSON.stringify(result ?? refusal))
    }
    if (error !== undefined) throw new RpcError(error.code, error.message)
    return typeof answer === 'object' ? answer : whole(answer ?? told.join('\n'))
  }
}

const scriptOf = (name: string, server: Scripted): Partial<Script> => ({
  name,
  era: server.era,
  caching: () => server.caching,
  instructions: server.instructions,
  credential: server.credential,
  tools: Object.entries(server.tools).map(([tool, { answer, error, asks, ...definition }]) => {
    const run = answering({ answer, error, asks }, says)
    return {
      name: tool,
      definition: { name: tool, inputSchema: { type: 'object' }, ...definition },
      ...(run === undefined ? {} : { run }),
    }
  }),
  prompts: Object.entries(server.prompts).map(([prompt, { answer, error, asks, ...definition }]) => {
    const get = answering({ answer, error, asks }, (text) => ({
      messages: [{ role: 'user', content: { type: 'text', text } }],
    }))
    return { name: prompt, definition: { name: prompt, ...definition }, ...(get === undefined ? {} : { get }) }
  }),
  resources: Object.entries(server.resources).map(([uri, { answer, error, asks, ...definition }]) => {
    const read = answering({ answer, error, asks }, (text) => ({ contents: [{ uri, mimeType: 'text/plain', text }] }))
    return { uri, definition: { uri, name: uri, ...definition }, ...(read === undefined ? {} : { read }) }
  }),
})
