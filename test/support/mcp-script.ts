/** What the scripted MCP server can be told to be and to do. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Era } from '../../src/mcp/versions.ts'
import type { SseStyle } from './event-stream.ts'
import type { JsonObject, Message } from './raw-json.ts'

/** A request as it arrived. */
export interface Received {
  readonly http: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The body's text. */
  readonly text: string
  /** The body as a message; undefined when there was none. */
  readonly message: Message | undefined
  /** What it looks like: stateless when its `_meta` names a revision, or its version header one of the stateless era. */
  readonly era: Era
  /** Common name of the client's certificate. */
  readonly clientName: string | undefined
  /** Counts the connections from 1: requests with the same number came over the same one. */
  readonly connection: number
}

/** A session with one client. */
export interface Session {
  readonly id: string
  readonly protocolVersion: string
  readonly capabilities: JsonObject
  readonly clientInfo: JsonObject
  readonly subscriptions: Set<string>
  level: string | undefined
}

/** What a handler answers with: an object, or the exact JSON text. */
export type Answer = JsonObject | string

export type Over = 'call' | 'stream' | 'stream at once'

/** A tool call, prompt or read that is being executed. */
export interface Call {
  readonly received: Received
  /** The request's id as it was written. */
  readonly id: string
  readonly arguments: JsonObject
  /** The era the server answers it in. */
  readonly era: Era
  /** `params._meta` */
  readonly meta: JsonObject
  /** Always undefined in the stateless era. */
  readonly session: Session | undefined
  /** Of a request that is sent again with what the server asked for. */
  readonly inputResponses: JsonObject | undefined
  readonly requestState: string | undefined
  /** Aborted by `notifications/cancelled`; in the stateless era, when the client closes the stream. */
  readonly cancelled: AbortSignal
  /** Aborted when the connection closes before the answer. */
  readonly disconnected: AbortSignal
  /** Sends a notification on this call's stream; the answer will be an event of it. */
  notify(method: string, params?: Answer): void
  /** Reports progress, if the client asked for it. */
  progress(progress: number, total?: number): void
  /** Logs; in the stateless era only when the request asks for logs (of any level). */
  log(level: string, data: unknown): void
  /**
   * Asks the client; resolves with its answer. `id`: JSON text. `over`: the call's stream (default), the GET stream once
   * there is one, or the GET stream at once: then the question is lost when none is open, as happens with real servers.
   * In the stateless era it answers with `input_required` and the tool is run again, from its beginning, with the client's
   * next request: then it resolves. `id` is the question's key; earlier answers travel in the request state.
   */
  ask(method: string, params: Answer, how?: { readonly id?: string; readonly over?: Over }): Promise<Message>
  /** Breaks the connection off without an answer. */
  cut(): void
}

/** Throw it to answer with a JSON-RPC error. */
export class RpcError extends Error {
  readonly code: number
  readonly data: unknown
  constructor(code: number, message: string, data?: unknown) {
    super(message)
    this.code = code
    this.data = data
  }
}

/** Throw it to answer a stateless request with this result: `ask` does. */
export class InputRequired extends Error {
  readonly answer: Answer
  constructor(answer: Answer) {
    super('input required')
    this.answer = answer
  }
}

/** Throw it, or answer with it from `refuse`, for an HTTP answer of any kind. */
export class HttpAnswer extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: string
  constructor(status: number, headers: Readonly<Record<string, string | string[]>> = {}, body = '') {
    super(`HTTP ${status}`)
    this.status = status
    this.headers = headers
    this.body = body
  }
}

export interface Tool {
  readonly name: string
  /** The exact entry of `tools/list`; default: a plain one made from the name. */
  readonly definition?: Answer
  /** Default: answers `server:tool`. */
  readonly run?: (call: Call) => Answer | Promise<Answer>
}

export interface Prompt {
  readonly name: string
  readonly definition?: Answer
  readonly get?: (call: Call) => Answer | Promise<Answer>
}

export interface Resource {
  readonly uri: string
  readonly definition?: Answer
  readonly read?: (call: Call) => Answer | Promise<Answer>
}

export interface Template {
  readonly uriTemplate: string
  readonly definition?: Answer
  /** Answers for every URI that the pattern matches. */
  readonly matches: RegExp
  readonly read?: (uri: string, call: Call) => Answer | Promise<Answer>
}

/** Everything may be changed while the server runs. */
export interface Script {
  name: string
  /** What it speaks. `both`: every request is answered in the era it comes in. */
  era: Era | 'both'
  /** The revisions of the stateless era that it knows. */
  revisions: readonly string[]
  /** What the results that clients may keep say about that, by method; spread into each. Undefined: nothing is said. */
  caching: (method: string) => JsonObject | undefined
  /** What it grants of the filter of a `subscriptions/listen`. */
  grants: (filter: JsonObject) => JsonObject
  tools: readonly Tool[]
  prompts: readonly Prompt[]
  resources: readonly Resource[]
  templates: readonly Template[]
  pageSize: number
  /** `loop`: the second page's cursor is the first's. `endless`: there is always another page, with new items. */
  cursors: 'proper' | 'loop' | 'endless'
  /** Answers as event streams; false: as JSON. */
  sse: SseStyle | boolean
  /** Whether it has sessions. */
  sessions: boolean
  /** How it answers to a session it does not know (any more). */
  dead: { readonly status: number; readonly code: number; readonly text: string }
  /** The first is its own choice. */
  protocolVersions: readonly string[]
  /** Default: what the rest of the script needs. */
  capabilities: JsonObject | undefined
  instructions: string | undefined
  /** Offers a stream on GET, and `subscriptions/listen`; false: 405, and 404. */
  stream: boolean
  /** A header it insists on; without it, 401. */
  credential: { readonly header: string; readonly value: string } | undefined
  /** Awaited before anything else is done about a request: delays, hangs. */
  before: ((received: Received) => void | Promise<void>) | undefined
  /** An HTTP answer in place of the server's own. */
  refuse: ((received: Received) => HttpAnswer | undefined) | undefined
  /** Methods it has beside the usual ones. */
  methods: Readonly<Record<string, (call: Call) => Answer | Promise<Answer>>>
  /** Values for an argument that is being typed. */
  complete: (params: JsonObject) => readonly string[]
}

/** A `subscriptions/listen` of a client that is still open. */
export interface Listening {
  /** The request's id as it was written, which is also the subscription's. */
  readonly id: string
  readonly received: Received
  /** What was granted. */
  readonly filter: JsonObject
  /** Sends a notification with the subscription's id, whether it was asked for or not. */
  notify(method: string, params?: JsonObject): void
  /** The empty complete result, as a server says goodbye. */
  end(): void
  /** Breaks the connection off. */
  cut(): void
}

/** The result that asks a stateless client. `requests`: key → `{ method, params }`. */
export const inputRequired = (requests: JsonObject | undefined, requestState?: string): JsonObject => ({
  resultType: 'input_required',
  ...(requests === undefined ? {} : { inputRequests: requests }),
  ...(requestState === undefined ? {} : { requestState }),
})

/** A result of one text. */
export const says = (text: string): JsonObject => ({ content: [{ type: 'text', text }] })

/** Never resolves. */
export const never = (): Promise<never> => new Promise(() => {})

/** Tools to look at what arrives and at what comes back. */
export const standardTools: readonly Tool[] = [
  { name: 'echo', run: ({ arguments: { text } }) => says(String(text)) },
  { name: 'raw', run: ({ received }) => says(received.text) },
  { name: 'headers', run: ({ received }) => says(JSON.stringify(received.headers)) },
  { name: 'session', run: ({ session }) => says(session?.id ?? 'none') },
  { name: 'big', run: ({ arguments: { bytes } }) => says('x'.repeat(Number(bytes))) },
  {
    name: 'odd',
    run: () =>
      '{"content":[{"type":"text","text":"odd"}],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x-unknown":[ 1 ],"_meta":{"k":1e2}}',
  },
]

/** A well-behaved server's script, but for what is given. */
export const scriptOf = (given: Partial<Script>): Script => ({
  name: 'fixture',
  era: 'stateful',
  revisions: ['2026-07-28'],
  caching: () => ({ ttlMs: 0, cacheScope: 'private' }),
  grants: (filter) => filter,
  tools: standardTools,
  prompts: [],
  resources: [],
  templates: [],
  pageSize: 1000,
  cursors: 'proper',
  sse: false,
  sessions: true,
  dead: { status: 404, code: -32001, text: 'Session not found' },
  protocolVersions: ['2025-11-25', '2025-06-18', '2025-03-26'],
  capabilities: undefined,
  instructions: undefined,
  stream: true,
  credential: undefined,
  before: undefined,
  refuse: undefined,
  methods: {},
  complete: ({ argument }) => [JSON.stringify(argument)],
  ...given,
})
