/** A request that the scripted MCP server executes, in either era, as the script's handlers see it. */
import type { ServerResponse } from 'node:http'
import type { Era } from '../../src/mcp/versions.ts'
import type { Answering } from './mcp-answering.ts'
import type { Answer, Call, Received, Session } from './mcp-script.ts'
import { InputRequired } from './mcp-script.ts'
import { meta, metaOf } from './mcp-stateless.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject, message, rawMember } from './raw-json.ts'

/** What of the server a call needs. */
export interface Calling {
  readonly era: Era
  readonly received: Received
  /** JSON text. */
  readonly id: string
  readonly session: Session | undefined
  readonly answer: Answering
  readonly res: ServerResponse
  /** Aborted when the client cancels it. */
  readonly cancelled: AbortSignal
  /** The session's GET stream if one is open; or once one is. */
  readonly stream: () => Answering | undefined
  readonly streamOnce: () => Promise<Answering>
  /** Remembers who waits for the answer to a question of this id. */
  readonly expect: (id: string, answered: (message: Message) => void) => void
}

let questions = 0

export const callOf = (calling: Calling): Call => {
  const { era, received, id, session, answer, res, cancelled } = calling
  const { text, message } = received
  const token = rawMember(text, 'params', '_meta', 'progressToken')
  const told = metaOf(message)
  const requestState = message?.params?.['requestState']
  const responses = message?.params?.['inputResponses']
  const gone = new AbortController()
  res.once('close', () => gone.abort())
  const notify: Call['notify'] = (method, params) => answer.event(notification(method, params))
  return {
    received,
    id,
    era,
    meta: told,
    arguments: asObject(message?.params?.['arguments']),
    session,
    inputResponses: responses === undefined ? undefined : asObject(responses),
    requestState: typeof requestState === 'string' ? requestState : undefined,
    cancelled,
    disconnected: gone.signal,
    notify,
    progress: (progress, total) => {
      if (token === undefined) return
      const rest = total === undefined ? '' : `,"total":${total}`
      notify('notifications/progress', `{"progressToken":${token},"progress":${progress}${rest}}`)
    },
    log: (level, data) => {
      if (era === 'stateful' || meta('logLevel') in told) notify('notifications/message', { level, data })
    },
    ask: era === 'stateful' ? askNow(calling) : askByAnswering(text),
    cut: () => res.destroy(),
  }
}

/** A request to the client, whose answer comes over a POST of its own. */
const askNow =
  ({ answer, stream, streamOnce, expect }: Calling): Call['ask'] =>
  async (method, params, { id = JSON.stringify(`question-${++questions}`), over = 'call' } = {}) => {
    const chosen = await { call: () => answer, stream: streamOnce, 'stream at once': stream }[over]()
    return await new Promise((resolve) => {
      expect(id, resolve)
      chosen?.event(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${asText(params)}}`)
    })
  }

/** A question in the result; the answers to those before it have come back in the request's state. */
const askByAnswering = (text: string): Call['ask'] => {
  const state = message(text).params?.['requestState']
  const earlier = typeof state === 'string' ? Buffer.from(state, 'base64').toString() : '{}'
  let asked = 0
  return async (method, params, { id = JSON.stringify(`question-${++asked}`) } = {}) => {
    const key = String(JSON.parse(id))
    const result = rawMember(text, 'params', 'inputResponses', key) ?? rawMember(earlier, key)
    if (result !== undefined) return message(`{"jsonrpc":"2.0","id":${id},"result":${result}}`)
    const known = [...members(earlier), ...members(rawMember(text, 'params', 'inputResponses') ?? '{}')]
    const question = `{${JSON.stringify(key)}:{"method":${JSON.stringify(method)},"params":${asText(params)}}}`
    const saved = JSON.stringify(Buffer.from(`{${known.join(',')}}`).toString('base64'))
    throw new InputRequired(
      `{"resultType":"input_required","inputRequests":${question}${known.length === 0 ? '' : `,"requestState":${saved}`}}`,
    )
  }
}

/** An object's members as they stand in its text. */
const members = (json: string): string[] =>
  Object.keys(asObject(JSON.parse(json))).map((key) => `${JSON.stringify(key)}:${rawMember(json, key)}`)

const asText = (value: Answer): string => (typeof value === 'string' ? value : JSON.stringify(value))

export const notification = (method: string, params?: JsonObject | string): string =>
  `{"jsonrpc":"2.0","method":${JSON.stringify(method)}${params === undefined ? '' : `,"params":${asText(params)}`}}`
