/** What the bench's servers answer in each era: JSON text, made once. */
import { VERSIONS } from './caller.ts'

/** The first tool of each. */
export const ECHO = 'echo'

/** A tool as servers really describe one, about 600 bytes. */
const definition = (index: number): unknown => ({
  name: index === 0 ? ECHO : `lookup_record_${index}`,
  title: `Look up record ${index}`,
  description:
    'Finds the record with the given key in the archive and returns its text. Use it when the user names a record ' +
    'or refers to one that was mentioned before.',
  inputSchema: {
    type: 'object',
    properties: {
      key: { type: 'string', description: 'The key of the record, such as a-1024' },
      pad: { type: 'string', description: 'Anything; it is not used' },
      limit: { type: 'integer', minimum: 1, maximum: 100, description: 'At most so many lines' },
    },
    required: ['key'],
  },
  annotations: { readOnlyHint: true, openWorldHint: false },
})

/** By the number of tools. */
const listOf = (more: object): ((count: number) => string) => {
  const lists = new Map<number, string>()
  return (count) => {
    const tools = (): string =>
      JSON.stringify({ ...more, tools: Array.from({ length: count }, (_, i) => definition(i)) })
    const list = lists.get(count) ?? tools()
    lists.set(count, list)
    return list
  }
}

const content = [{ type: 'text', text: 'done' }]
const cached = { resultType: 'complete', ttlMs: 60_000, cacheScope: 'public' }

export const stateful = {
  initialized: JSON.stringify({
    protocolVersion: VERSIONS.stateful,
    capabilities: { tools: { listChanged: true } },
    serverInfo: { name: 'bench', version: '1.0.0' },
  }),
  tools: listOf({}),
  called: JSON.stringify({ content }),
}

export const stateless = {
  discovered: JSON.stringify({ ...cached, supportedVersions: [VERSIONS.stateless], capabilities: { tools: {} } }),
  tools: listOf(cached),
  called: JSON.stringify({ resultType: 'complete', content }),
}
