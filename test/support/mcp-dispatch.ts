/** What the scripted MCP server does about each method. */
import type { Answer, Call, Script } from './mcp-script.ts'
import { RpcError, says } from './mcp-script.ts'
import type { JsonObject } from './raw-json.ts'

/** What of the server a method may see and change. */
export interface Served {
  readonly script: Script
  readonly executions: Map<string, number>
}

type Method = (served: Served, call: Call) => Answer | Promise<Answer>

export const dispatch = async (served: Served, call: Call): Promise<Answer> => {
  const method = call.received.message?.method ?? ''
  const known = { ...methods, ...(call.era === 'stateful' ? stateful : stateless) }
  const own = Object.hasOwn(served.script.methods, method) ? served.script.methods[method] : undefined
  if (own !== undefined) return await own(call)
  const run = Object.hasOwn(known, method) ? known[method] : undefined
  if (run === undefined) throw new RpcError(-32601, 'Method not found')
  return await run(served, call)
}

const parameter = (call: Call, name: string): string => String(call.received.message?.params?.[name])

const plain = (name: string) => ({ name, description: `What ${name} does`, inputSchema: { type: 'object' } })

const lists = {
  tools: ({ tools }) => tools.map(({ name, definition = plain(name) }) => definition),
  prompts: ({ prompts }) => prompts.map(({ name, definition = { name, description: `Prompt ${name}` } }) => definition),
  resources: ({ resources }) => resources.map(({ uri, definition = { uri, name: uri } }) => definition),
  resourceTemplates: ({ templates }) =>
    templates.map(({ uriTemplate, definition = { uriTemplate, name: uriTemplate } }) => definition),
} satisfies Record<string, (script: Script) => Answer[]>

/** A page of a list; cursors are positions. */
const page =
  (key: keyof typeof lists): Method =>
  ({ script }, call) => {
    const cursor = call.received.message?.params?.['cursor']
    const at = typeof cursor === 'string' ? Number(Buffer.from(cursor, 'base64url').toString()) : 0
    if (!Number.isSafeInteger(at)) throw new RpcError(-32602, 'Invalid cursor')
    const all: Answer[] = lists[key](script)
    const items =
      script.cursors === 'endless' && at >= all.length ? [plain(`endless_${at}`)] : all.slice(at, at + script.pageSize)
    const after = at + Math.max(items.length, 1)
    const next = { proper: after < all.length ? after : undefined, loop: 0, endless: after }[script.cursors]
    const texts = items.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
    const more = next === undefined ? '' : `,"nextCursor":"${Buffer.from(String(next)).toString('base64url')}"`
    return `{"${key}":[${texts.join(',')}]${more}}`
  }

/** Of both eras. */
const methods: Readonly<Record<string, Method>> = {
  'tools/list': page('tools'),
  'prompts/list': page('prompts'),
  'resources/list': page('resources'),
  'resources/templates/list': page('resourceTemplates'),
  'tools/call': async ({ script, executions }, call) => {
    const name = parameter(call, 'name')
    const tool = script.tools.find((one) => one.name === name)
    if (tool === undefined) throw new RpcError(-32602, `Unknown tool: ${name}`)
    executions.set(name, (executions.get(name) ?? 0) + 1)
    return (await tool.run?.(call)) ?? says(`${script.name}:${name}`)
  },
  'prompts/get': async ({ script }, call) => {
    const name = parameter(call, 'name')
    const prompt = script.prompts.find((one) => one.name === name)
    if (prompt === undefined) throw new RpcError(-32602, `Unknown prompt: ${name}`)
    const text = `${script.name}:${name}`
    return (await prompt.get?.(call)) ?? { messages: [{ role: 'user', content: { type: 'text', text } }] }
  },
  'resources/read': async ({ script }, call) => {
    const uri = parameter(call, 'uri')
    const resource = script.resources.find((one) => one.uri === uri)
    const template = script.templates.find(({ matches }) => matches.test(uri))
    if (resource === undefined && template === undefined) {
      throw new RpcError(call.era === 'stateful' ? -32002 : -32602, 'Resource not found', { uri })
    }
    const read = resource === undefined ? template?.read?.(uri, call) : resource.read?.(call)
    return (await read) ?? { contents: [{ uri, mimeType: 'text/plain', text: `${script.name}:${uri}` }] }
  },
  'completion/complete': ({ script }, call) => {
    const values = script.complete(call.received.message?.params ?? {})
    return { completion: { values, total: values.length, hasMore: false } }
  },
}

const stateful: Readonly<Record<string, Method>> = {
  ping: () => ({}),
  'resources/subscribe': (_, call) => {
    call.session?.subscriptions.add(parameter(call, 'uri'))
    return {}
  },
  'resources/unsubscribe': (_, call) => {
    call.session?.subscriptions.delete(parameter(call, 'uri'))
    return {}
  },
  'logging/setLevel': (_, call) => {
    if (call.session !== undefined) call.session.level = parameter(call, 'level')
    return {}
  },
}

const stateless: Readonly<Record<string, Method>> = {
  'server/discover': ({ script }) => ({
    supportedVersions: script.revisions,
    capabilities: script.capabilities ?? capabilitiesOf(script),
    ...(script.instructions === undefined ? {} : { instructions: script.instructions }),
  }),
}

/** What the server says it can do, unless its script says otherwise. */
export const capabilitiesOf = ({ prompts, resources, templates, stream }: Script): JsonObject => ({
  tools: { listChanged: stream },
  ...(prompts.length > 0 ? { prompts: { listChanged: stream } } : {}),
  ...(resources.length + templates.length > 0 ? { resources: { listChanged: stream, subscribe: stream } } : {}),
  logging: {},
  completions: {},
})
