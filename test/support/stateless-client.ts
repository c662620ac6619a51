/** A client of the stateless era without any SDK: requests that say everything themselves, and listen streams. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Reply, RequestOptions } from './http-request.ts'
import { request } from './http-request.ts'
import { meta } from './mcp-stateless.ts'
import type { Answers } from './raw-client.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { asObject, message, rawMember } from './raw-json.ts'
import { waitingRoom } from './waiting-room.ts'

export interface StatelessOptions {
  readonly url: string
  readonly capabilities?: JsonObject
  readonly clientInfo?: JsonObject
  readonly protocolVersion?: string
  readonly headers?: Readonly<Record<string, string>>
  /** What `complete` answers when a result asks. */
  readonly answers?: Answers
  readonly tls?: RequestOptions['tls']
}

/** Of one request; what stands here wins over what the client would send by itself. */
export interface StatelessSending {
  /** JSON text; default: a string no other request of this client has. */
  readonly id?: string
  /** Undefined leaves one out that would be sent. Names in lower case. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly capabilities?: JsonObject
  readonly protocolVersion?: string
  readonly logLevel?: string
  /** JSON text. */
  readonly progressToken?: string
  /** More members of `_meta`; undefined takes one out. Whole keys. */
  readonly meta?: JsonObject
  /** The whole body, exactly so; `id` must then say which id it contains. */
  readonly raw?: string
  readonly signal?: AbortSignal
  readonly fresh?: boolean
  readonly onMessage?: (message: Message) => void
  readonly onHeaders?: (status: number, headers: IncomingHttpHeaders) => void
}

export interface StatelessReply extends Reply {
  /** The answer to the request; undefined when none with its id came, and none with the id null. */
  readonly message: Message | undefined
  /** What came before it. */
  readonly notifications: readonly Message[]
}

export interface ListenStream {
  readonly status: number
  /** JSON text. */
  readonly id: string
  /** All that has come; first of all the acknowledgement, or the refusal. */
  readonly heard: readonly Message[]
  readonly comments: readonly string[]
  /** The first that came, or will, and fits. */
  next(fits: (message: Message) => boolean): Promise<Message>
  /** How it ended: the server's doing resolves, a broken connection rejects. */
  readonly ended: Promise<Reply>
  close(): void
}

export interface StatelessClient extends AsyncDisposable {
  readonly url: string
  /** `params`: an object or its JSON text; `_meta` is added unless the text has one. */
  request(method: string, params?: JsonObject | string, sending?: StatelessSending): Promise<StatelessReply>
  /** `tools/call`; answers with the message and fails without one. */
  call(name: string, args?: JsonObject | string, sending?: StatelessSending): Promise<Message>
  /** Sends a request again and again, with what its results ask for, until one asks nothing; its message. */
  complete(method: string, params: JsonObject, sending?: StatelessSending): Promise<Message>
  /** Resolves with the first message or the end of the answer. */
  listen(filter: JsonObject, sending?: StatelessSending): Promise<ListenStream>
  /** The names of all tools, in order. */
  tools(): Promise<readonly string[]>
}

const NAMED: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

/** So often `complete` answers before it gives up. */
const ROUNDS = 20

/** A header's value as the era wants it: plain, or in the base64 form. */
export const sentinel = (text: string): string =>
  /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text)
    ? text
    : `=?base64?${Buffer.from(text).toString('base64')}?=`

export const stateless = (options: StatelessOptions): StatelessClient => {
  const { url, answers = {}, tls } = options
  const secured = tls === undefined ? {} : { tls }
  const open = new Set<AbortController>()
  let ids = 0

  const prepare = (method: string, params: JsonObject | string, sending: StatelessSending) => {
    const id = sending.id ?? JSON.stringify(`s-${++ids}`)
    const protocolVersion = sending.protocolVersion ?? options.protocolVersion ?? '2026-07-28'
    const { _meta: given, ...others } = typeof params === 'string' ? {} : params
    const text = typeof params === 'string' ? params : JSON.stringify(others)
    const own: JsonObject = {
      [meta('protocolVersion')]: protocolVersion,
      [meta('clientCapabilities')]: sending.capabilities ?? options.capabilities ?? {},
      [meta('clientInfo')]: options.clientInfo ?? { name: 'raw-client', version: '1.0.0' },
      ...(sending.logLevel === undefined ? {} : { [meta('logLevel')]: sending.logLevel }),
      ...asObject(given),
      ...sending.meta,
    }
    const token = sending.progressToken === undefined ? '' : `,"progressToken":${sending.progressToken}`
    const told = `"_meta":${JSON.stringify(own).slice(0, -1)}${token}}`
    const body =
      sending.raw ?? `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${withMeta(text, told)}}`
    const name = message(body).params?.[NAMED[method] ?? '']
    const headers = {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': protocolVersion,
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': sentinel(name) } : {}),
      ...options.headers,
      ...sending.headers,
    }
    return { id, body, headers: sent(headers) }
  }

  const send: StatelessClient['request'] = async (method, params = {}, sending = {}) => {
    const { id, body, headers } = prepare(method, params, sending)
    const reply = await request(url, { ...secured, ...sending, headers, body })
    const answering = reply.messages.filter((one) => one.method === undefined)
    return {
      ...reply,
      message: answering.find(({ raw }) => [id, 'null', undefined].includes(rawMember(raw, 'id'))),
      notifications: reply.messages.filter((one) => one.method !== undefined),
    }
  }

  const answered = async (method: string, params: JsonObject | string, sending?: StatelessSending) => {
    const { message, status, text } = await send(method, params, sending)
    if (message === undefined) throw new Error(`${method}: HTTP ${status} ${text}`)
    return message
  }

  const complete = async (
    method: string,
    params: JsonObject,
    sending: StatelessSending,
    rounds: number,
  ): Promise<Message> => {
    const said = await answered(method, params, sending)
    if (said.result?.['resultType'] !== 'input_required') return said
    if (rounds === 0) throw new Error(`${method} asks without end: ${said.raw}`)
    const inputResponses: Record<string, unknown> = {}
    for (const [key, asked] of Object.entries(asObject(said.result['inputRequests']))) {
      const question = message(JSON.stringify(asked))
      const result = await answers[question.method ?? '']?.(question)
      if (result !== undefined) inputResponses[key] = typeof result === 'string' ? JSON.parse(result) : result
    }
    const { requestState } = said.result
    // A retry is a request of its own: never under the id of the one before.
    const { id: _used, ...rest } = sending
    return complete(method, { ...params, inputResponses, requestState }, rest, rounds - 1)
  }

  return {
    url,
    request: send,
    call: (name, args = {}, sending = {}) =>
      answered(
        'tools/call',
        `{"name":${JSON.stringify(name)},"arguments":${typeof args === 'string' ? args : JSON.stringify(args)}}`,
        sending,
      ),
    complete: (method, params, sending = {}) => complete(method, params, sending, ROUNDS),
    listen: (filter, sending = {}) =>
      new Promise((resolve, reject) => {
        const { id, body, headers } = prepare('subscriptions/listen', { notifications: filter }, sending)
        const abort = new AbortController()
        const { until, wake } = waitingRoom()
        const heard: Message[] = []
        const comments: string[] = []
        let status = 0
        const begun = (): void => {
          open.add(abort)
          const next: ListenStream['next'] = (fits) => until(() => heard.find(fits))
          resolve({ status, id, heard, comments, next, ended, close: () => abort.abort() })
        }
        const ended = request(url, {
          ...secured,
          fresh: true,
          headers,
          body,
          signal: abort.signal,
          onHeaders: (code) => {
            status = code
          },
          onMessage: (one) => {
            heard.push(one)
            wake()
            begun()
          },
          onComment: (text) => void comments.push(text),
        })
        ended.then(begun, reject)
      }),
    tools: async () => {
      const names: string[] = []
      for (let cursor: unknown; ; ) {
        const { result, raw } = await answered('tools/list', { cursor })
        const tools = result?.['tools']
        if (!Array.isArray(tools)) throw new Error(raw)
        names.push(...tools.map(({ name }) => String(name)))
        cursor = result?.['nextCursor']
        if (cursor === undefined) return names
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const abort of open) abort.abort()
    },
  }
}

/** The parameters with `_meta` in front; a text that has its own stays as it is. */
const withMeta = (params: string, told: string): string => {
  if (rawMember(params, '_meta') !== undefined) return params
  const rest = params.trim().slice(1)
  return `{${told}${/^\s*\}/.test(rest) ? '' : ','}${rest}`
}

/** Without those that are undefined. */
const sent = (headers: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
