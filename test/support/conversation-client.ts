/** A client of either era as a conversation needs it: it says a line and tells all that came of it. */
import type { Era } from '../../src/mcp/versions.ts'
import type { Conversation, Line } from './conversation-file.ts'
import type { Reply } from './http-request.ts'
import { connect } from './raw-client.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject } from './raw-json.ts'
import { stateless } from './stateless-client.ts'

export interface Said {
  /** The answer. */
  readonly message: Message
  readonly reply: Reply
  /** What came before it on the request's own stream. */
  readonly heard: readonly Message[]
}

export interface ConversationClient {
  /** What the gateway said about itself when the client came; a stateless one does not ask. */
  readonly initialized: Message | undefined
  say(method: string, params: JsonObject, line: Line): Promise<Said>
  leave(): Promise<void>
}

/** Where a client speaks, and what all its requests carry. */
export interface Speaking {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export const conversationClient = (
  era: Era,
  speaking: Speaking,
  conversation: Conversation,
): Promise<ConversationClient> =>
  era === 'stateful' ? statefulClient(speaking, conversation) : Promise.resolve(statelessClient(speaking, conversation))

const statefulClient = async (speaking: Speaking, conversation: Conversation): Promise<ConversationClient> => {
  const { capabilities, answers } = conversation
  const client = await connect(speaking.url, {
    headers: speaking.headers,
    capabilities,
    answers: Object.fromEntries(Object.entries(answers).map(([method, answer]) => [method, () => answer])),
  })
  return {
    initialized: client.initialized,
    say: async (method, params, { headers }) => {
      const before = client.heard.length
      const { message, reply } = await client.send(method, params, { headers })
      const heard = client.heard.slice(before).flatMap(({ message: one, on }) => (on === 'post' ? [one] : []))
      return { message, reply, heard }
    },
    leave: async () => {
      await client.delete()
      await client[Symbol.asyncDispose]()
    },
  }
}

/** What a result asked, and what the client is to send along with its answers. */
interface Asked {
  readonly keys: readonly string[]
  readonly state: JsonObject
}

const statelessClient = (speaking: Speaking, conversation: Conversation): ConversationClient => {
  const client = stateless({ ...speaking, capabilities: conversation.capabilities })
  let asked: Asked = { keys: [], state: {} }
  return {
    initialized: undefined,
    say: async (method, params, { headers, answering, capabilities }) => {
      const answers = answering === undefined ? {} : inputOf(asked, answering)
      const reply = await client.request(
        method,
        { ...params, ...answers },
        { headers, ...(capabilities === undefined ? {} : { capabilities }) },
      )
      const { message, notifications: heard } = reply
      if (message === undefined) throw new Error(`${method}: HTTP ${reply.status} ${reply.text}`)
      asked = askedBy(message) ?? asked
      return { message, reply, heard }
    },
    leave: async () => client[Symbol.asyncDispose](),
  }
}

const askedBy = ({ result = {} }: Message): Asked | undefined => {
  const { resultType, inputRequests, requestState } = result
  if (resultType !== 'input_required') return undefined
  return { keys: Object.keys(asObject(inputRequests)), state: requestState === undefined ? {} : { requestState } }
}

const inputOf = ({ keys, state }: Asked, answers: readonly JsonObject[]): JsonObject => {
  if (keys.length !== answers.length) throw new Error(`${answers.length} answers to ${keys.length} questions`)
  return { inputResponses: Object.fromEntries(keys.map((key, at) => [key, answers[at]])), ...state }
}
