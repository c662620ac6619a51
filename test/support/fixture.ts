/** One instance of the fixture: of a session in the stateful era, of a single request in the stateless one. */

import type { CacheHint, Tool } from '@modelcontextprotocol/server'
import { fromJsonSchema, McpServer, ProtocolError } from '@modelcontextprotocol/server'
import type { Era } from '../../src/mcp/versions.ts'
import { sealed } from './fixture-asking.ts'
import type { Surroundings } from './fixture-content.ts'
import { known, prompts, read, resources, says, template, text } from './fixture-content.ts'
import { regional, tools } from './fixture-tools.ts'

/** What all instances share. */
export interface Shared extends Omit<Surroundings, 'capabilities'> {
  /** Which lists have one more item than usual; it comes and goes with each change. */
  readonly longer: { tools: boolean; prompts: boolean }
}

const anything: Tool['inputSchema'] = { type: 'object' }
const regionalSchema = fromJsonSchema(regional)

const listed: CacheHint = { ttlMs: 60_000, cacheScope: 'public' }
const cacheHints = {
  'server/discover': listed,
  'tools/list': listed,
  'prompts/list': listed,
  'resources/list': listed,
  'resources/templates/list': listed,
  'resources/read': { ttlMs: 5_000, cacheScope: 'private' },
} as const

/** `subscribed` are the URIs this instance's client wants to hear of. */
export const fixture = (era: Era, shared: Shared): { readonly mcp: McpServer; readonly subscribed: Set<string> } => {
  const mcp = new McpServer(
    { name: 'conformance-fixture', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true },
        logging: {},
        completions: {},
      },
      instructions: 'Made for tests.',
      cacheHints,
      requestState: { verify: (state, ctx) => sealed.verify(state, ctx) },
    },
  )
  // The SDK compares `Mcp-Param-*` headers with the arguments of tools that it knows by itself; the handlers below are for all.
  mcp.registerTool('test_x_mcp_header', { inputSchema: regionalSchema }, () => says(text('unused')))
  const { server } = mcp
  const subscribed = new Set<string>()
  server.setRequestHandler('tools/list', () => ({
    tools: [
      ...Object.entries(tools).map(([name, { description, inputSchema = anything }]) => ({
        name,
        description,
        inputSchema,
      })),
      ...(shared.longer.tools ? [{ name: 'test_one_more', description: 'Comes and goes', inputSchema: anything }] : []),
    ],
  }))
  server.setRequestHandler('tools/call', async ({ params }, ctx) => {
    const { run } = known(tools, params.name, 'tool')
    try {
      const around: Surroundings = { ...shared, capabilities: { ...server.getClientCapabilities() } }
      return await run(params.arguments ?? {}, ctx, around)
    } catch (cause) {
      if (cause instanceof ProtocolError) throw cause
      return { isError: true, ...says(text(String(cause))) }
    }
  })
  server.setRequestHandler('prompts/list', () => ({
    prompts: [
      ...Object.entries(prompts).map(([name, { description, arguments: args = [] }]) => ({
        name,
        description,
        arguments: [...args],
      })),
      ...(shared.longer.prompts ? [{ name: 'test_one_more', description: 'Comes and goes' }] : []),
    ],
  }))
  server.setRequestHandler('prompts/get', ({ params }, ctx) =>
    known(prompts, params.name, 'prompt').get(params.arguments ?? {}, ctx),
  )
  server.setRequestHandler('resources/list', () => ({
    resources: Object.entries(resources).map(([uri, { name, description, mimeType }]) => ({
      uri,
      name,
      description,
      mimeType,
    })),
  }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [template] }))
  server.setRequestHandler('resources/read', ({ params }) => read(params.uri))
  server.setRequestHandler('completion/complete', ({ params }) => {
    const values = ['paris', 'park', 'party'].filter((word) => word.startsWith(params.argument.value))
    return { completion: { values, total: values.length, hasMore: false } }
  })
  if (era === 'stateful') {
    server.setRequestHandler('resources/subscribe', ({ params }) => {
      subscribed.add(params.uri)
      return {}
    })
    server.setRequestHandler('resources/unsubscribe', ({ params }) => {
      subscribed.delete(params.uri)
      return {}
    })
  }
  return { mcp, subscribed }
}
