/** What an expression may know of a thing, whoever asks for it. */
import type { Kind } from '../mcp/methods.ts'
import type { Facts } from '../registry/model.ts'

export type Subject = Omit<Facts, 'claims' | 'request'>

/** `name`: as the patterns of the rules beside the expression mean it. */
export const subjectOf = (kind: Kind, name: string, hints: string, server: Facts['server']): Subject => {
  switch (kind) {
    case 'tools':
      return { tool: { name, annotations: annotationsOf(hints) }, server }
    case 'prompts':
      return { prompt: { name }, server }
    case 'resources':
      return { resource: { uri: name }, server }
    default:
      return kind satisfies never
  }
}

/** `readOnly=true,destructive=unspecified` → what the tool does say, under MCP's names. */
const annotationsOf = (hints: string): Readonly<Record<string, boolean>> =>
  Object.fromEntries(
    hints.split(',').flatMap((hint) => {
      const [key = '', said = ''] = hint.split('=')
      return said === 'true' || said === 'false' ? [[`${key}Hint`, said === 'true'] as const] : []
    }),
  )
