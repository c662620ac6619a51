/** An MCP client without any SDK: it sends exactly the bytes it is told to, and shows exactly what came back. */
import type { Reply, RequestOptions } from './http-request.ts'
import { request } from './http-request.ts'
import { RpcError } from './mcp-script.ts'
import type { JsonObject, Message } from './raw-json.ts'
import { rawMember } from './raw-json.ts'
import { waitingRoom } from './waiting-room.ts'

export type { Reply } from './http-request.ts'
export { request } from './http-request.ts'
export { stateless } from './stateless-client.ts'

/** What a client answers when a server asks: a result (or its JSON text); undefined: it stays silent. */
export type Answers = Readonly<
  Record<string, (asked: Message) => JsonObject | string | undefined | Promise<JsonObject | string | undefined>>
>

export interface ClientOptions {
  readonly capabilities?: JsonObject
  readonly protocolVersion?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly answers?: Answers
  readonly clientInfo?: JsonObject
  readonly tls?: RequestOptions['tls']
}

/** A message a server sent on its own account, and the stream it came on: a POST's answer or the GET stream. */
export interface Heard {
  readonly message: Message
  readonly on: 'post' | 'get'
}

export interface Answered {
  /** The answer to the request: it has `result` or `error`. */
  readonly message: Message
  readonly reply: Reply
}

type Sending = Omit<RequestOptions, 'body' | 'tls'> & {
  /** JSON text; default: a string no other request of this client has. */
  readonly id?: string
  /** The whole body, exactly so; `id` must then say which id it contains. */
  readonly raw?: string
}

export interface RawClient extends AsyncDisposable {
  readonly url: string
  readonly sessionId: string | undefined
  /** The answer to `initialize`. */
  readonly initialized: Message
  /** Headers of every request, after `initialize`. */
  readonly headers: Readonly<Record<string, string>>
  /** Requests and notifications of servers, in the order they came. */
  readonly heard: Heard[]
  /** The first that came, or will, and fits. */
  next(fits: (heard: Heard) => boolean): Promise<Heard>
  post(body: string | Uint8Array, options?: Omit<Sending, 'id' | 'raw'>): Promise<Reply>
  /** Sends a request and waits for its answer. `params`: an object or its JSON text. */
  send(method: string, params?: JsonObject | string, sending?: Sending): Promise<Answered>
  notify(method: string, params?: JsonObject | string): Promise<Reply>
  /** `tools/call`; answers with the message. */
  call(name: string, args?: JsonObject | string, sending?: Sending): Promise<Message>
  /** Every item on all pages. */
  list(method: string, key: string): Promise<readonly JsonObject[]>
  /** The names of all tools, in order. */
  tools(): Promise<readonly string[]>
  /** Opens the GET stream; resolves when its headers are there. */
  stream(headers?: Readonly<Record<string, string>>): Promise<Stream>
  delete(): Promise<Reply>
}

export interface Stream {
  readonly status: number
  /** Comments: keep-alives. */
  readonly comments: readonly string[]
  /** How it ended: the server's doing resolves, a broken connection rejects. */
  readonly ended: Promise<Reply>
  close(): void
}

export const ACCEPT = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

/** Initializes a session and says `notifications/initialized`. Throws when the server refuses. */
export const connect = async (url: string, options: ClientOptions = {}): Promise<RawClient> => {
  const { capabilities = {}, protocolVersion = '2025-11-25', answers = {}, tls } = options
  const clientInfo = options.clientInfo ?? { name: 'raw-client', version: '1.0.0' }
  const secured = tls === undefined ? {} : { tls }
  const base = { ...ACCEPT, ...options.headers }
  const { until, wake } = waitingRoom()
  const heard: Heard[] = []
  const open = new Set<AbortController>()
  let ids = 0

  const first = await request(url, {
    ...secured,
    headers: base,
    body: `{"jsonrpc":"2.0","id":"initialize","method":"initialize","params":${JSON.stringify({ protocolVersion, capabilities, clientInfo })}}`,
  })
  const initialized = first.messages.find(({ id }) => id === 'initialize')
  if (initialized?.result === undefined) throw new Error(`initialize: HTTP ${first.status} ${first.text}`)
  const sessionId = first.headers['mcp-session-id']
  const headers = {
    ...base,
    'mcp-protocol-version': String(initialized.result['protocolVersion']),
    ...(typeof sessionId === 'string' ? { 'mcp-session-id': sessionId } : {}),
  }

  /** Answers a server's request over a POST of its own, as the protocol wants it. */
  const answer = async (asked: Message): Promise<void> => {
    const id = rawMember(asked.raw, 'id') ?? 'null'
    const handler = Object.hasOwn(answers, asked.method ?? '') ? answers[asked.method ?? ''] : undefined
    if (handler === undefined) return
    let said: string
    try {
      const result = await handler(asked)
      if (result === undefined) return
      said = `"result":${typeof result === 'string' ? result : JSON.stringify(result)}`
    } catch (error) {
      if (!(error instanceof RpcError)) throw error
      said = `"error":${JSON.stringify({ code: error.code, message: error.message, data: error.data })}`
    }
    const reply = await post(`{"jsonrpc":"2.0","id":${id},${said}}`)
    if (reply.status !== 202) throw new Error(`the answer to ${id}: HTTP ${reply.status} ${reply.text}`)
  }
  const hear = (on: Heard['on'], fail: (error: unknown) => void) => (message: Message) => {
    if (message.method === undefined) return
    heard.push({ message, on })
    wake()
    if (rawMember(message.raw, 'id') !== undefined) answer(message).catch(fail)
  }

  const post: RawClient['post'] = (body, sending = {}) =>
    new Promise((resolve, reject) => {
      request(url, {
        ...secured,
        ...sending,
        headers: { ...headers, ...sending.headers },
        body,
        onMessage: (message) => {
          sending.onMessage?.(message)
          hear('post', reject)(message)
        },
      }).then(resolve, reject)
    })

  const send: RawClient['send'] = async (method, params, { id, raw, ...sending } = {}) => {
    const own = id ?? JSON.stringify(`c-${++ids}`)
    const reply = await post(raw ?? rpc(own, method, params), sending)
    const message = reply.messages.find((one) => one.method === undefined && rawMember(one.raw, 'id') === own)
    if (message === undefined) throw new Error(`no answer to ${own}: HTTP ${reply.status} ${reply.text}`)
    return { message, reply }
  }

  const list: RawClient['list'] = async (method, key) => {
    const items: JsonObject[] = []
    const cursors = new Set<unknown>()
    for (let cursor: unknown; ; ) {
      const { message, reply } = await send(method, cursor === undefined ? {} : { cursor })
      const page = message.result?.[key]
      if (!Array.isArray(page)) throw new Error(`${method}: HTTP ${reply.status} ${reply.text}`)
      items.push(...page)
      cursor = message.result?.['nextCursor']
      if (cursor === undefined) return items
      if (cursors.has(cursor)) throw new Error(`${method}: the cursor ${JSON.stringify(cursor)} came twice`)
      cursors.add(cursor)
    }
  }

  await post('{"jsonrpc":"2.0","method":"notifications/initialized"}')
  return {
    url,
    sessionId: typeof sessionId === 'string' ? sessionId : undefined,
    initialized,
    headers,
    heard,
    next: (fits) => until(() => heard.find(fits)),
    post,
    send,
    notify: (method, params) => post(rpc(undefined, method, params)),
    call: async (name, args = {}, sending = {}) =>
      (
        await send(
          'tools/call',
          `{"name":${JSON.stringify(name)},"arguments":${typeof args === 'string' ? args : JSON.stringify(args)}}`,
          sending,
        )
      ).message,
    list,
    tools: async () => (await list('tools/list', 'tools')).map(({ name }) => String(name)),
    stream: (more = {}) =>
      new Promise((resolve, reject) => {
        const abort = new AbortController()
        const comments: string[] = []
        const ended = request(url, {
          ...secured,
          // A stream that stays open must not hold a connection that others wait for.
          fresh: true,
          headers: { ...headers, accept: 'text/event-stream', ...more },
          signal: abort.signal,
          onMessage: hear('get', reject),
          onComment: (text) => {
            comments.push(text)
            wake()
          },
          onHeaders: (status) => {
            open.add(abort)
            resolve({ status, comments, ended, close: () => abort.abort() })
          },
        })
        ended.catch(reject)
      }),
    delete: () => request(url, { ...secured, method: 'DELETE', headers }),
    [Symbol.asyncDispose]: async () => {
      for (const abort of open) abort.abort()
    },
  }
}

/** A JSON-RPC message; without an id, a notification. */
export const rpc = (id: string | undefined, method: string, params?: JsonObject | string): string => {
  const text = params === undefined || typeof params === 'string' ? params : JSON.stringify(params)
  return `{"jsonrpc":"2.0",${id === undefined ? '' : `"id":${id},`}"method":${JSON.stringify(method)}${text === undefined ? '' : `,"params":${text}`}}`
}
