/** An example's folder as a value, and its conversation held through a running gateway. */
import { cp } from 'node:fs/promises'
import path from 'node:path'
import type { Test } from 'tap'
import { conversationFile } from './conversation-file.ts'
import type { Conversation, Step } from './conversation-file.ts'
import type { ConversationServer } from './conversation-server.ts'
import type { GatewayUnderTest } from './gateway.ts'
import { eventually } from './gateway.ts'
import type { Reply } from './http-request.ts'
import type { McpServer } from './mcp-server.ts'
import type { RawClient } from './raw-client.ts'
import { connect } from './raw-client.ts'
import type { Message } from './raw-json.ts'
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

/** Puts the example's files beside the gateway's registry, saves its registry there, and talks. */
export const play = async (
  t: Test,
  gateway: GatewayUnderTest,
  example: Example,
  registry: string,
  servers: ReadonlyMap<string, ConversationServer>,
): Promise<void> => {
  const { steps, capabilities, answers, files, initialized } = example.conversation
  const skipped = new Set(PARTS.map((part) => path.join(example.directory, part)))
  await cp(example.directory, gateway.dir, { recursive: true, filter: (file) => !skipped.has(file) })
  for (const name of Object.keys(files)) await cp(example.fileOf(name), path.join(gateway.dir, name))
  await gateway.edit(registry)
  await gateway.settled()

  await using client = await connect(gateway.url, {
    capabilities,
    answers: Object.fromEntries(Object.entries(answers).map(([method, answer]) => [method, () => answer])),
  })
  t.same(differences(client.initialized.result, initialized), [], 'initialize', { got: client.initialized.raw })
  const before = waysIn(gateway.log()).length
  for (const step of steps) await t.test(titleOf(step), (t) => say(t, client, servers, step))

  await t.test('every line took its way', async (t) => {
    // Envoy writes its access log once a second.
    const taken = await eventually('the access log', gateway.child, async () => {
      const ways = waysIn(gateway.log()).slice(before)
      return ways.length < steps.length ? undefined : ways
    })
    t.same(
      taken,
      steps.map((step) => `${methodOf(step)} via ${step.via}`),
    )
  })
  await client.delete()
}

const LISTS = {
  tools: { method: 'tools/list', key: 'tools', name: 'name' },
  prompts: { method: 'prompts/list', key: 'prompts', name: 'name' },
  resources: { method: 'resources/list', key: 'resources', name: 'uri' },
  templates: { method: 'resources/templates/list', key: 'resourceTemplates', name: 'uriTemplate' },
} as const

const methodOf = ({ list, call, get, read, send = '' }: Step): string => {
  if (list !== undefined) return LISTS[list].method
  if (call !== undefined) return 'tools/call'
  if (get !== undefined) return 'prompts/get'
  return read === undefined ? send : 'resources/read'
}

const paramsOf = ({ list, call, get, read, with: given = {} }: Step) => {
  if (list !== undefined) return {}
  if (read !== undefined) return { uri: read }
  const name = call ?? get
  return name === undefined ? given : { name, arguments: given }
}

const titleOf = (step: Step): string => {
  const what = `${methodOf(step)} ${step.call ?? step.get ?? step.read ?? ''}`.trim()
  return step.shows === undefined ? what : `${step.shows} (${what})`
}

/** One line of the conversation. */
const say = async (
  t: Test,
  client: RawClient,
  servers: ReadonlyMap<string, ConversationServer>,
  step: Step,
): Promise<void> => {
  const scripted = [...servers].flatMap(([name, { scripted: one }]) =>
    one === undefined ? [] : [[name, one] as const],
  )
  const arrived = new Map(scripted.map(([name, { received }]) => [name, received.length]))
  const { message, reply } = await client.send(methodOf(step), paramsOf(step))
  t.equal(reply.status, 200, 'the HTTP status')
  answered(t, step, message)
  for (const secret of step.without) t.notOk(shown(reply).includes(secret), `"${secret}" is not in the answer`)
  for (const [name, wanted] of Object.entries(step.arrives)) {
    const server = servers.get(name)?.scripted
    if (server === undefined) throw new Error(`the conversation has no scripted server "${name}"`)
    t.same(closest(server, arrived.get(name) ?? 0, wanted), [], `what arrives at ${name}`)
  }
}

const answered = (t: Test, { list, names, text, result, error }: Step, message: Message): void => {
  const [got, wanted] =
    text !== undefined
      ? [textOf(message), text]
      : list !== undefined
        ? [namesOf(list, message), names]
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

const member = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? new Map<string, unknown>(Object.entries(value)).get(key) : undefined

const shown = ({ rawHeaders, text }: Reply): string => `${rawHeaders.join('\n')}\n${text}`

/** What of `wanted` is missing in the request that comes closest to it. */
const closest = ({ received }: McpServer, from: number, wanted: Conversation['answers'][string]): readonly string[] => {
  const requests = received.slice(from).map(({ headers, clientName, message }) => ({ ...message, headers, clientName }))
  const missing = requests.map((request) => differences(request, wanted))
  return missing.toSorted((a, b) => a.length - b.length)[0] ?? ['nothing arrived']
}

/** What we read of a line of Envoy's access log. */
interface LogLine {
  readonly verb?: string
  readonly method?: string
  /** Where the router sent it. */
  readonly cluster?: string
}

const WAYS: readonly (readonly [cluster: RegExp, way: string])[] = [
  [/^mcp\.broker$/, 'broker'],
  [/^direct\./, 'server '],
]

/** The way of each request in it, in order: `tools/call via server weather`. */
const waysIn = (log: string): readonly string[] =>
  log
    .split('\n')
    .slice(0, -1) // what follows the last newline is not complete
    .flatMap((line) => {
      const { verb, method, cluster = 'nowhere' }: LogLine = line.startsWith('{') ? JSON.parse(line) : {}
      const counts = verb === 'POST' && method !== undefined && !/^(initialize$|notifications\/)/.test(method)
      return counts ? [`${method} via ${WAYS.reduce((way, [from, to]) => way.replace(from, to), cluster)}`] : []
    })
