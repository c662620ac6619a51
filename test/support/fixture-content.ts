/** The tools, prompts and resources that the published conformance suite asks for. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type {
  CallToolResult,
  ContentBlock,
  ElicitRequestFormParams,
  GetPromptResult,
  PromptArgument,
  ReadResourceResult,
  ServerContext,
  Tool,
} from '@modelcontextprotocol/server'

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC'
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=='

type Arguments = Readonly<Record<string, unknown>>

interface FixtureTool {
  readonly description: string
  readonly inputSchema?: Tool['inputSchema']
  readonly run: (args: Arguments, ctx: ServerContext) => CallToolResult | Promise<CallToolResult>
}

interface FixturePrompt {
  readonly description: string
  readonly arguments?: readonly PromptArgument[]
  readonly get: (args: Arguments) => GetPromptResult
}

interface FixtureResource {
  readonly name: string
  readonly description: string
  readonly mimeType: string
  readonly content: { readonly text: string } | { readonly blob: string }
}

export const says = (...content: ContentBlock[]): CallToolResult => ({ content })
export const text = (value: string): ContentBlock => ({ type: 'text', text: value })
const image: ContentBlock = { type: 'image', data: PNG, mimeType: 'image/png' }
const asks = (argument: string): Tool['inputSchema'] => ({
  type: 'object',
  properties: { [argument]: { type: 'string' } },
  required: [argument],
})

/** A tool that shows the user a form and tells what came of it. */
const form = (
  description: string,
  label: string,
  message: (args: Arguments) => string,
  requestedSchema: ElicitRequestFormParams['requestedSchema'],
): FixtureTool => ({
  description,
  run: async (args, ctx) => {
    // `send` asks on the call's own stream; `elicitInput` would use the GET stream, and lose the question if none is open.
    const params = { message: message(args), requestedSchema }
    const { action, content } = await ctx.mcpReq.send({ method: 'elicitation/create', params })
    return says(text(`${label}: action=${action}, content=${JSON.stringify(content ?? {})}`))
  },
})

const options = ['option1', 'option2', 'option3']
const titled = (noun: string) =>
  ['First', 'Second', 'Third'].map((nth, at) => ({ const: `value${at + 1}`, title: `${nth} ${noun}` }))

export const tools: Readonly<Record<string, FixtureTool>> = {
  test_simple_text: {
    description: 'Answers with a text',
    run: () => says(text('This is a simple text response for testing.')),
  },
  test_image_content: { description: 'Answers with an image', run: () => says(image) },
  test_audio_content: {
    description: 'Answers with a sound',
    run: () => says({ type: 'audio', data: WAV, mimeType: 'audio/wav' }),
  },
  test_embedded_resource: {
    description: 'Answers with a resource',
    run: () =>
      says({
        type: 'resource',
        resource: {
          uri: 'test://embedded-resource',
          mimeType: 'text/plain',
          text: 'This is an embedded resource content.',
        },
      }),
  },
  test_multiple_content_types: {
    description: 'Answers with a text, an image and a resource',
    run: () =>
      says(text('Multiple content types test:'), image, {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: JSON.stringify({ test: 'data', value: 123 }),
        },
      }),
  },
  test_error_handling: {
    description: 'Always fails',
    run: () => ({ isError: true, ...says(text('This tool intentionally returns an error for testing')) }),
  },
  test_tool_with_logging: {
    description: 'Logs three lines while it runs',
    run: async (_args, { mcpReq }) => {
      for (const [at, line] of ['execution started', 'processing data', 'execution completed'].entries()) {
        if (at > 0) await sleep(50)
        await mcpReq.log('info', `Tool ${line}`)
      }
      return says(text('Logged three lines'))
    },
  },
  test_tool_with_progress: {
    description: 'Reports its progress in three steps',
    run: async (_args, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (const progress of [0, 50, 100]) {
        if (progress > 0) await sleep(50)
        if (progressToken === undefined) continue
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } })
      }
      return says(text('Made progress'))
    },
  },
  test_sampling: {
    description: "Asks the client's model",
    inputSchema: asks('prompt'),
    run: async ({ prompt }, { mcpReq }) => {
      const messages = [{ role: 'user', content: { type: 'text', text: String(prompt) } }]
      const { content } = await mcpReq.send({ method: 'sampling/createMessage', params: { messages, maxTokens: 100 } })
      const [block] = [content].flat()
      return says(text(`LLM response: ${block?.type === 'text' ? block.text : JSON.stringify(content)}`))
    },
  },
  test_roots: {
    description: 'Asks the client for its roots',
    run: async (_args, { mcpReq }) => {
      const { roots } = await mcpReq.send({ method: 'roots/list' })
      return says(text(`Roots: ${roots.map(({ uri }) => uri).join(', ')}`))
    },
  },
  test_elicitation: {
    ...form('Asks the user for a name and an address', 'User response', ({ message }) => String(message), {
      type: 'object',
      properties: {
        username: { type: 'string', description: "User's response" },
        email: { type: 'string', description: "User's email address" },
      },
      required: ['username', 'email'],
    }),
    inputSchema: asks('message'),
  },
  test_elicitation_sep1034_defaults: form(
    'Asks the user with a default for every kind of value',
    'Elicitation completed',
    () => 'Please check the defaults',
    {
      type: 'object',
      properties: {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      },
    },
  ),
  test_elicitation_sep1330_enums: form(
    'Asks the user with every kind of choice',
    'Elicitation completed',
    () => 'Please choose',
    {
      type: 'object',
      properties: {
        untitledSingle: { type: 'string', enum: options },
        titledSingle: { type: 'string', oneOf: titled('Option') },
        legacyEnum: {
          type: 'string',
          enum: ['opt1', 'opt2', 'opt3'],
          enumNames: ['Option One', 'Option Two', 'Option Three'],
        },
        untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
        titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
      },
    },
  ),
  test_reconnection: {
    description: 'Closes its stream before it answers: the client comes back for the answer',
    run: async (_args, { http }) => {
      http?.closeSSE?.()
      await sleep(50)
      return says(text('Answered after the stream was closed'))
    },
  },
  json_schema_2020_12_tool: {
    description: 'Its schema uses the keywords that proxies tend to lose',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's keyword
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    run: (args) => says(text(JSON.stringify(args))),
  },
}

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
