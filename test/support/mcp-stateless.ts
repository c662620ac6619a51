/** What the scripted MCP server holds a stateless request to, and what it adds to a result in that era. */
import type { Era } from '../../src/mcp/versions.ts'
import { refusal } from './mcp-answering.ts'
import type { Answer, HttpAnswer, Received, Script } from './mcp-script.ts'
import { RpcError } from './mcp-script.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject, rawMember } from './raw-json.ts'

export const meta = (name: string): string => `io.modelcontextprotocol/${name}`

export const metaOf = (message: Message | undefined): JsonObject => asObject(message?.params?.['_meta'])

/** How a request introduces itself, whatever the server makes of it. */
export const eraOf = (headers: Received['headers'], message: Message | undefined): Era =>
  meta('protocolVersion') in metaOf(message) || String(headers['mcp-protocol-version'] ?? '') >= '2026'
    ? 'stateless'
    : 'stateful'

const HEADER_MISMATCH = -32020
const MISSING_CAPABILITY = -32021
const UNSUPPORTED_VERSION = -32022
const INVALID_PARAMS = -32602

/** The HTTP status of an error that is the whole answer. */
export const statusOf = ({ code }: RpcError): number => {
  if (code === -32601) return 404
  return [HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION].includes(code) ? 400 : 200
}

/** Why the request is refused before anything is done about it (2026-07-28 streamable-http, server validation). */
export const fault = ({ headers, text, message }: Received, script: Script): HttpAnswer | undefined => {
  const id = rawMember(text, 'id') ?? 'null'
  const refused = (code: number, why: string, data?: unknown) => refusal(400, id, new RpcError(code, why, data))
  if (message?.method === undefined) return refused(-32600, 'Responses are not accepted')
  if (message.id === undefined) return undefined
  const told = metaOf(message)
  const version = told[meta('protocolVersion')]
  const header = headers['mcp-protocol-version']
  if (version === undefined && header === undefined) {
    const requested = message.params?.['protocolVersion'] ?? '2025-03-26'
    return refused(UNSUPPORTED_VERSION, 'Unsupported protocol version', { supported: script.revisions, requested })
  }
  if (typeof version !== 'string' || typeof told[meta('clientCapabilities')] !== 'object') {
    return refused(INVALID_PARAMS, 'Invalid params: _meta does not tell the protocol version and the capabilities')
  }
  if (header !== version) return refused(HEADER_MISMATCH, `Header mismatch: MCP-Protocol-Version ${String(header)}`)
  if (!script.revisions.includes(version)) {
    const data = { supported: script.revisions, requested: version }
    return refused(UNSUPPORTED_VERSION, 'Unsupported protocol version', data)
  }
  const mismatch = [...standardHeaders(message), ...parameterHeaders(message, script)].find(
    ([name, body]) => !same(decoded(headers[name]), body),
  )
  if (mismatch === undefined) return undefined
  const [name, body] = mismatch
  return refused(HEADER_MISMATCH, `Header mismatch: ${name} ${String(headers[name])}, body ${JSON.stringify(body)}`)
}

/** A header's name, and what the body says. */
type Mirrored = readonly [name: string, body: unknown]

const nameKeys: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

const standardHeaders = ({ method = '', params }: Message): readonly Mirrored[] => {
  const key = nameKeys[method]
  return [['mcp-method', method], ...(key === undefined ? [] : ([['mcp-name', params?.[key]]] as const))]
}

const parameterHeaders = ({ method, params }: Message, script: Script): readonly Mirrored[] => {
  const tool = method === 'tools/call' ? script.tools.find(({ name }) => name === params?.['name']) : undefined
  const definition: unknown = typeof tool?.definition === 'string' ? JSON.parse(tool.definition) : tool?.definition
  return annotated(asObject(asObject(definition)['inputSchema']), asObject(params?.['arguments']))
}

const annotated = (schema: JsonObject, args: JsonObject): readonly Mirrored[] =>
  Object.entries(asObject(schema['properties'])).flatMap(([key, property]) => {
    const value = Object.hasOwn(args, key) ? args[key] : undefined
    const header = asObject(property)['x-mcp-header']
    const own: Mirrored[] =
      typeof header === 'string' ? [[`mcp-param-${header.toLowerCase()}`, value ?? undefined]] : []
    return [...own, ...annotated(asObject(property), asObject(value))]
  })

/** A header's text; undefined when it is not there, and when its base64 form is none. */
const decoded = (header: string | string[] | undefined): string | undefined => {
  const text = header === undefined ? undefined : String(header).trim()
  const encoded = /^=\?base64\?(.*)\?=$/.exec(text ?? '')?.[1]
  if (encoded === undefined) return text
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.toString('base64') === encoded ? bytes.toString() : undefined
}

const same = (header: string | undefined, body: unknown): boolean => {
  if (header === undefined || body === undefined) return header === body
  if (typeof body === 'number') return Number(header) === body
  return header === (typeof body === 'string' ? body : JSON.stringify(body))
}

const cacheable = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
])

/** A result as this era wants it; what it already says of itself stays as it is. */
export const stateless = (answer: Answer, method: string, script: Script): string => {
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer)
  const type = rawMember(text, 'resultType')
  const hints = cacheable.has(method) && (type ?? '"complete"') === '"complete"' ? (script.caching(method) ?? {}) : {}
  const added = {
    ...(type === undefined ? { resultType: 'complete' } : {}),
    ...Object.fromEntries(Object.entries(hints).filter(([key]) => rawMember(text, key) === undefined)),
    ...(rawMember(text, '_meta') === undefined
      ? { _meta: { [meta('serverInfo')]: { name: script.name, version: '1.0.0' } } }
      : {}),
  }
  const members = JSON.stringify(added).slice(1, -1)
  const rest = text.trim().slice(1)
  return members === '' ? text : `{${members}${/^\s*\}/.test(rest) ? '' : ','}${rest}`
}
