/** The prompts and resources that the published conformance suite asks for, and what the fixture's tools are made of. */

import type {
  CallToolResult,
  ContentBlock,
  GetPromptResult,
  InputRequiredResult,
  PromptArgument,
  ReadResourceResult,
  ServerContext,
  Tool,
} from '@modelcontextprotocol/server'
import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import { answersTo, field, inWords } from './fixture-asking.ts'

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC'

export type Arguments = Readonly<Record<string, unknown>>

/** What a tool may know and do beyond its own call. */
export interface Surroundings {
  /** What the client declared that it can be asked. */
  readonly capabilities: Readonly<Record<string, unknown>>
  /** Changes a list of the server, and tells all clients. */
  readonly change: (list: 'tools' | 'prompts') => Promise<void>
  /** Tells those who subscribed to it. */
  readonly touch: (uri: string) => Promise<void>
  /** Remembers that a call was cancelled. */
  readonly abandon: (name: string) => void
}

export interface FixtureTool {
  readonly description: string
  readonly inputSchema?: Tool['inputSchema']
  readonly run: (
    args: Arguments,
    ctx: ServerContext,
    around: Surroundings,
  ) => CallToolResult | InputRequiredResult | Promise<CallToolResult | InputRequiredResult>
}

interface FixturePrompt {
  readonly description: string
  readonly arguments?: readonly PromptArgument[]
  readonly get: (args: Arguments, ctx: ServerContext) => GetPromptResult | InputRequiredResult
}

interface FixtureResource {
  readonly name: string
  readonly description: string
  readonly mimeType: string
  readonly content: { readonly text: string } | { readonly blob: string }
}

export const says = (...content: ContentBlock[]): CallToolResult => ({ content })
export const text = (value: string): ContentBlock => ({ type: 'text', text: value })
export const image: ContentBlock = { type: 'image', data: PNG, mimeType: 'image/png' }
/** A schema of one text that must be given. */
export const takes = (argument: string): Tool['inputSchema'] => ({
  type: 'object',
  properties: { [argument]: { type: 'string' } },
  required: [argument],
})

const user = (content: ContentBlock) => ({ role: 'user' as const, content })

export const prompts: Readonly<Record<string, FixturePrompt>> = {
  test_simple_prompt: {
    description: 'No arguments',
    get: () => ({ messages: [user(text('This is a simple prompt for testing.'))] }),
  },
  test_prompt_with_arguments: {
    description: 'Two arguments',
    arguments: [
      { name: 'arg1', description: 'The first', required: true },
      { name: 'arg2', description: 'The second', required: true },
    ],
    get: ({ arg1, arg2 }) => ({
      messages: [user(text(`Prompt with arguments: arg1='${String(arg1)}', arg2='${String(arg2)}'`))],
    }),
  },
  test_prompt_with_embedded_resource: {
    description: 'A resource within',
    arguments: [{ name: 'resourceUri', description: 'Which resource', required: true }],
    get: ({ resourceUri }) => ({
      messages: [
        user({
          type: 'resource',
          resource: {
            uri: String(resourceUri),
            mimeType: 'text/plain',
            text: 'Embedded resource content for testing.',
          },
        }),
        user(text('Please process the embedded resource above.')),
      ],
    }),
  },
  test_prompt_with_image: {
    description: 'An image within',
    get: () => ({ messages: [user(image), user(text('Please analyze the image above.'))] }),
  },
  test_input_required_result_prompt: {
    description: 'Asks the user what it is for',
    get: (_args, ctx) => {
      const asked = answersTo({ user_context: field('What context should the prompt use?', 'context') }, ctx)
      return 'asks' in asked ? asked.asks : { messages: [user(text(inWords(asked.answers['user_context'])))] }
    },
  },
}

export const resources: Readonly<Record<string, FixtureResource>> = {
  'test://static-text': {
    name: 'static-text',
    description: 'A text',
    mimeType: 'text/plain',
    content: { text: 'This is the content of the static text resource.' },
  },
  'test://static-binary': {
    name: 'static-binary',
    description: 'An image',
    mimeType: 'image/png',
    content: { blob: PNG },
  },
  'test://watched-resource': {
    name: 'watched-resource',
    description: 'One to subscribe to',
    mimeType: 'text/plain',
    content: { text: 'Watched resource content' },
  },
}
export const template = {
  uriTemplate: 'test://template/{id}/data',
  name: 'template',
  description: 'One resource for every id',
  mimeType: 'application/json',
}

export const read = (uri: string): ReadResourceResult => {
  const resource = own(resources, uri)
  if (resource !== undefined) return { contents: [{ uri, mimeType: resource.mimeType, ...resource.content }] }
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1]
  if (id === undefined) throw new ProtocolError(ProtocolErrorCode.ResourceNotFound, 'Resource not found', { uri })
  const data = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` })
  return { contents: [{ uri, mimeType: template.mimeType, text: data }] }
}

const own = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/** The entry of that name, or the error a client gets. */
export const known = <T>(table: Readonly<Record<string, T>>, key: string, what: string): T => {
  const found = own(table, key)
  if (found === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown ${what}: ${key}`)
  return found
}
