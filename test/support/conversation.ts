/** An example's folder as a value, and its conversation held through a running gateway. */
import { cp, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Test } from 'tap'
import type { ConversationClient } from './conversation-client.ts'
import { conversationClient } from './conversation-client.ts'
import type { Conversation, Line } from './conversation-file.ts'
import { conversationFile } from './conversation-file.ts'
import type { ConversationServer } from './conversation-server.ts'
import { tokensOf } from './conversation-tokens.ts'
import { UNREAD, waysIn } from './conversation-ways.ts'
import type { GatewayUnderTest } from './gateway.ts'
import { eventually } from './gateway.ts'
import type { Reply } from './http-request.ts'
import type { Received } from './mcp-script.ts'
import type { McpServer } from './mcp-server.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject } from './raw-json.ts'
import { differences } from './subset.ts'

export interface Example {
  /** The folder's name. */
  readonly name: string
  readonly directory: string
  readonly conversation: Conversation
  /** Where a file lies that the registry or the conversation names, relative or as the registry makes it absolute. */
  readonly fileOf: (name: string) => string
}

/** Its parts that are no files for a server or the registry. */
const PARTS = ['registry.yaml', 'envoy.yaml', 'conversation.yaml', 'README.md']

export const readExample = (directory: string): Example => {
  const conversation = conversationFile(path.join(directory, 'conversation.yaml'))
  return {
    name: path.basename(directory),
    directory,
    conversation,
    fileOf: (name) => path.resolve(directory, conversation.files[path.basename(name)] ?? name),
  }
}

/** The variable of the registry that holds the address of a server. */
export const urlVariable = (server: string): string => `${server.toUpperCase().replaceAll('-', '_')}_URL`

/** The variable of the registry that holds the host and port of a server. */
export const addressVariable = (server: string): string => urlVariable(server).replace(/URL$/, 'ADDRESS')

/** Puts the example's files beside the gateway's registry, saves its registry there, and talks. */
export const play = async (
  t: Test,
  gateway: GatewayUnderTest,
  example: Example,
  registry: string,
  servers: ReadonlyMap<string, ConversationServer>,
): Promise<void> => {
  const { lines, files, initialized } = example.conversation
  const skipped = new Set(PARTS.map((part) => path.join(example.directory, part)))
  await cp(example.directory, gateway.dir, { recursive: true, filter: (file) => !skipped.has(file) })
  for (const name of Object.keys(files)) await cp(example.fileOf(name), path.join(gateway.dir, name))
  const tokens = await tokensOf(example.conversation)
  for (const [name, content] of tokens.files) await writeFile(path.join(gateway.dir, name), content)
  await gateway.edit(registry)
  await gateway.settled()

  const clients = new Map<string, ConversationClient>()
  for (const line of lines) {
    const { era, as, at } = line
    if (clients.has(speakerOf(line))) continue
    const token = as === undefined ? undefined : tokens.of.get(as)
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const url = at === undefined ? gateway.url : `${gateway.url}/${at}`
    const client = await conversationClient(era, { url, headers }, example.conversation)
    clients.set(speakerOf(line), client)
    if (client.initialized === undefined) continue
    t.same(differences(client.initialized.result, initialized), [], 'initialize', { got: client.initialized.raw })
  }
  const before = waysIn(gateway.log()).length
  for (const line of lines) await t.test(titleOf(line), (t) => say(t, clients.get(speakerOf(line)), servers, line))

  await t.test('every line took its way', async (t) => {
    // Envoy writes its access log once a second.
    const taken = await eventually('the access log', gateway.child, async () => {
      const ways = waysIn(gateway.log()).slice(before)
      return ways.length < lines.length ? undefined : ways
    })
    t.same(
      taken,
      lines.map((line) => (line.via === 'envoy' ? UNREAD : `${line.era} ${methodOf(line)} via ${line.via}`)),
    )
  })
  for (const client of clients.values()) await client.leave()
  if (tokens.of.size > 0) {
    await t.test('no server has seen a token', async (t) => {
      const seen = [...servers.values()].flatMap(({ scripted }) => scripted?.received ?? [])
      const shownTo = seen.filter((request) => isTokenIn(request, [...tokens.of.values()]))
      t.ok(seen.length > 0)
      t.same(shownTo, [])
    })
  }
}

const isTokenIn = ({ headers, text }: Received, tokens: readonly string[]): boolean => {
  const all = `${JSON.stringify(headers)} ${text}`
  return tokens.some((token) => all.includes(token))
}

/** One client each: of an era, with somebody's token, at a view. */
const speakerOf = ({ era, as = '', at = '' }: Line): string => `${era} ${as} ${at}`

const LISTS = {
  tools: { method: 'tools/list', key: 'tools', name: 'name' },
  prompts: { method: 'prompts/list', key: 'prompts', name: 'name' },
  resources: { method: 'resources/list', key: 'resources', name: 'uri' },
  templates: { method: 'resources/templates/list', key: 'resourceTemplates', name: 'uriTemplate' },
} as const

const methodOf = ({ list, call, get, read, send = '' }: Line): string => {
  if (list !== undefined) return LISTS[list].method
  if (call !== undefined) return 'tools/call'
  if (get !== undefined) return 'prompts/get'
  return read === undefined ? send : 'resources/read'
}

const paramsOf = ({ list, call, get, read, with: given = {} }: Line): JsonObject => {
  if (list !== undefined) return {}
  if (read !== undefined) return { uri: read }
  const name = call ?? get
  return name === undefined ? given : { name, arguments: given }
}

const titleOf = (line: Line): string => {
  const what = `${methodOf(line)} ${line.call ?? line.get ?? line.read ?? ''}`.trim()
  const who = [line.as, line.era, line.at].filter((word) => word !== undefined).join(', ')
  const said = `${what}, ${who}`
  return line.shows === undefined ? said : `${line.shows} (${said})`
}

/** One line of the conversation. */
const say = async (
  t: Test,
  client: ConversationClient | undefined,
  servers: ReadonlyMap<string, ConversationServer>,
  line: Line,
): Promise<void> => {
  if (client === undefined) throw new Error(`no ${line.era} client`)
  const scripted = [...servers].flatMap(([name, { scripted: one }]) =>
    one === undefined ? [] : [[name, one] as const],
  )
  const arrived = new Map(scripted.map(([name, { received }]) => [name, received.length]))
  const { message, reply, heard } = await client.say(methodOf(line), paramsOf(line), line)
  t.equal(reply.status, line.status, 'the HTTP status')
  t.same(differences(reply.headers, line.carries), [], 'what the answer carries')
  answered(t, line, message)
  if (line.hears !== undefined) {
    t.same(differences(heard, line.hears), [], 'what is heard before', { got: heard.map(({ raw }) => raw) })
  }
  for (const secret of line.without) t.notOk(shown(reply).includes(secret), `"${secret}" is not in the answer`)
  for (const [name, wanted] of Object.entries(line.arrives)) {
    const server = servers.get(name)?.scripted
    if (server === undefined) throw new Error(`the conversation has no scripted server "${name}"`)
    const requests = arrivedSince(server, arrived.get(name) ?? 0)
    if (wanted !== null) t.same(closest(requests, wanted), [], `what arrives at ${name}`)
    else
      t.notOk(
        requests.some(({ method }) => method === methodOf(line)),
        `nothing arrives at ${name}`,
      )
  }
}

const answered = (t: Test, { list, names, text, result, error, asks }: Line, message: Message): void => {
  const [got, wanted] =
    text !== undefined
      ? [textOf(message), text]
      : list !== undefined
        ? [namesOf(list, message), names]
        : asks !== undefined
          ? [questionsOf(message), asks]
          : result !== undefined
            ? [message.result, result]
            : [message.error, error]
  t.same(differences(got, wanted), [], 'the answer', { got: message.raw })
}

/** The names on its one page. */
const namesOf = (list: keyof typeof LISTS, { result = {} }: Message): unknown => {
  const { key, name } = LISTS[list]
  const items = result[key]
  return result['nextCursor'] === undefined && Array.isArray(items) ? items.map((item) => member(item, name)) : result
}

/** All texts of a tool's contents, a prompt's messages or a resource, a line each. */
const textOf = ({ result = {} }: Message): string | undefined => {
  const { content, messages, contents } = result
  const items = [content, messages, contents].find(Array.isArray)
  return items?.map((item: unknown) => String(member(member(item, 'content') ?? item, 'text'))).join('\n')
}

/** What the client has to answer before it is told more; of any other answer, the answer. */
const questionsOf = ({ result = {}, error }: Message): unknown =>
  result['resultType'] === 'input_required' ? Object.values(asObject(result['inputRequests'])) : (error ?? result)

const member = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? new Map<string, unknown>(Object.entries(value)).get(key) : undefined

const shown = ({ rawHeaders, text }: Reply): string => `${rawHeaders.join('\n')}\n${text}`

/** What a server received after its first `from` requests, as `arrives` sees it. */
const arrivedSince = ({ received }: McpServer, from: number) =>
  received.slice(from).map(({ era, headers, clientName, message }) => ({ ...message, era, headers, clientName }))

/** What of `wanted` is missing in the request that comes closest to it. */
const closest = (requests: ReturnType<typeof arrivedSince>, wanted: JsonObject): readonly string[] => {
  const missing = requests.map((request) => differences(request, wanted))
  return missing.toSorted((a, b) => a.length - b.length)[0] ?? ['nothing arrived']
}
