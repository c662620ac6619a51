/** One client of either era on either path, asked the same way: what it is shown, and what it gets for what it asks. */
import type { Era } from '../../src/mcp/versions.ts'
import { connect } from './raw-client.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject } from './raw-json.ts'
import type { Path } from './stage.ts'
import { stateless } from './stateless-client.ts'

export interface Got {
  readonly status: number
  readonly challenge: string | undefined
  readonly retryAfter: string | undefined
  readonly message: Message
}

export interface AskingClient extends AsyncDisposable {
  readonly era: Era
  ask(method: string, params: JsonObject): Promise<Got>
  /** The names of all items on one page: the lists here are short. */
  list(method: string): Promise<readonly string[]>
  /** Asks to be told of changes of these resources; resolves with those it will be told of. */
  watch(uris: readonly string[]): Promise<readonly string[]>
}

/** What each list's items are in and called by. */
const LISTS: Readonly<Record<string, readonly [key: string, name: string]>> = {
  'tools/list': ['tools', 'name'],
  'prompts/list': ['prompts', 'name'],
  'resources/list': ['resources', 'uri'],
  'resources/templates/list': ['resourceTemplates', 'uriTemplate'],
}

const namesIn = (method: string, { result, raw }: Message): readonly string[] => {
  const [key = '', name = ''] = LISTS[method] ?? []
  const items = result?.[key]
  if (!Array.isArray(items)) throw new Error(`${method}: ${raw}`)
  return items.map((item) => String(asObject(item)[name]))
}

/** What decides the path, where servers may ask for elicitation and nothing else. */
const capabilities: Readonly<Record<Era, Readonly<Record<Path, JsonObject>>>> = {
  stateful: { direct: {}, broker: { elicitation: {} } },
  stateless: { direct: {}, broker: { sampling: {} } },
}

export const askingClient = async (
  url: string,
  era: Era,
  path: Path,
  headers: Readonly<Record<string, string>> = {},
): Promise<AskingClient> => {
  const declared = { capabilities: capabilities[era][path], headers }
  return era === 'stateful' ? await statefulOne(url, declared) : statelessOne(url, declared)
}

interface Declared {
  readonly capabilities: JsonObject
  readonly headers: Readonly<Record<string, string>>
}

const challengeIn = (headers: Readonly<Record<string, string | string[] | undefined>>): string | undefined => {
  const value = headers['www-authenticate']
  return typeof value === 'string' ? value : undefined
}

const statefulOne = async (url: string, declared: Declared): Promise<AskingClient> => {
  const client = await connect(url, declared)
  const ask: AskingClient['ask'] = async (method, params) => {
    const { message, reply } = await client.send(method, params)
    return {
      status: reply.status,
      challenge: challengeIn(reply.headers),
      retryAfter: reply.headers['retry-after'],
      message,
    }
  }
  return {
    era: 'stateful',
    ask,
    list: async (method) => namesIn(method, (await ask(method, {})).message),
    async watch(uris) {
      const told: string[] = []
      for (const uri of uris)
        if ((await ask('resources/subscribe', { uri })).message.result !== undefined) told.push(uri)
      return told
    },
    async [Symbol.asyncDispose]() {
      await client.delete()
      await client[Symbol.asyncDispose]()
    },
  }
}

const statelessOne = (url: string, declared: Declared): AskingClient => {
  const client = stateless({ url, ...declared })
  const ask: AskingClient['ask'] = async (method, params) => {
    const { message, status, text, headers } = await client.request(method, params)
    if (message === undefined) throw new Error(`${method}: HTTP ${status} ${text}`)
    return { status, challenge: challengeIn(headers), retryAfter: headers['retry-after'], message }
  }
  return {
    era: 'stateless',
    ask,
    list: async (method) => namesIn(method, (await ask(method, {})).message),
    async watch(uris) {
      const stream = await client.listen({ resourceSubscriptions: uris, toolsListChanged: true })
      const [first] = stream.heard
      stream.close()
      await stream.ended.catch(() => undefined)
      const granted = asObject(first?.params?.['notifications'])['resourceSubscriptions'] ?? []
      if (!Array.isArray(granted)) throw new Error(first?.raw)
      return granted.map(String)
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}
