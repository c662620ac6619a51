/** The tools that the published conformance suite asks for, and a few for tests of our own; those that ask the client are elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FixtureTool } from './fixture-content.ts'
import { image, says, takes, text } from './fixture-content.ts'
import { questions } from './fixture-questions.ts'

const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=='

/** `region` is repeated as a header by clients of the stateless era. */
export const regional = {
  type: 'object' as const,
  properties: { region: { type: 'string' as const, 'x-mcp-header': 'Region' } },
  required: ['region'],
}

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
  test_x_mcp_header: {
    description: 'An argument that is repeated as a header',
    inputSchema: regional,
    run: ({ region }) => says(text(`Region: ${String(region)}`)),
  },
  test_logging_tool: {
    description: 'Logs, if anybody wants to know',
    run: async (_args, { mcpReq }) => {
      await mcpReq.log('info', 'The tool was run')
      return says(text('Logged a line'))
    },
  },
  test_trigger_tool_change: {
    description: 'Changes the list of tools',
    run: async (_args, _ctx, { change }) => {
      await change('tools')
      return says(text('The tools have changed'))
    },
  },
  test_trigger_prompt_change: {
    description: 'Changes the list of prompts',
    run: async (_args, _ctx, { change }) => {
      await change('prompts')
      return says(text('The prompts have changed'))
    },
  },
  test_trigger_resource_change: {
    description: 'Tells the subscribers of a resource that it has changed',
    inputSchema: takes('uri'),
    run: async ({ uri }, _ctx, { touch }) => {
      await touch(String(uri))
      return says(text('The resource has changed'))
    },
  },
  test_wait: {
    description: 'Reports its progress once and works until it is cancelled',
    inputSchema: takes('name'),
    run: ({ name }, { mcpReq }, { abandon }) =>
      new Promise((resolve) => {
        mcpReq.signal.addEventListener('abort', () => {
          abandon(String(name))
          resolve(says(text('Cancelled')))
        })
        const progressToken = mcpReq._meta?.progressToken
        if (progressToken === undefined) return
        // Whoever cancels at once may have closed the stream already.
        mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } }).catch(() => {})
      }),
  },
  ...questions,
}
