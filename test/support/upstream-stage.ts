/** An upstream of a real server, asked as the broker asks it; in Envoy's place a plain HTTP client goes straight there. */
import { randomBytes } from 'node:crypto'
import { Agent } from 'undici'
import { nobody } from '../../src/clients/caller.ts'
import { ClientState } from '../../src/clients/client-session.ts'
import type { MethodName } from '../../src/mcp/methods.ts'
import type { ParamHeader } from '../../src/mcp/param-headers.ts'
import { scan } from '../../src/mcp/scan.ts'
import type { ClientFeature, HttpServer } from '../../src/registry/model.ts'
import { sealer } from '../../src/sessions/session-id.ts'
import { sessionTable } from '../../src/sessions/session-table.ts'
import { httpUpstream } from '../../src/upstreams/http-upstream.ts'
import type { InnerClient } from '../../src/upstreams/inner-client.ts'
import type { ServerMessage } from '../../src/upstreams/server-message.ts'
import type { Outcome, StatelessCall, UpstreamCall } from '../../src/upstreams/upstream.ts'
import type { Message } from './raw-json.ts'
import { message as parsed } from './raw-json.ts'
import { httpServer } from './registry-value.ts'
import { waitingRoom } from './waiting-room.ts'

export type Heard = Exclude<ServerMessage, { kind: 'response' }>

/** How a call ended, and what was heard before. */
export interface Ended {
  readonly outcome: Outcome
  /** The response; undefined when there was none. */
  readonly response: Message | undefined
  readonly heard: readonly Message[]
}

/** What a client may add to a call. */
export interface Calling {
  readonly id?: string
  readonly client?: ClientState
  readonly params?: readonly ParamHeader[]
  /** Answers what the server asks: the JSON text of `"result":…` or `"error":…`; undefined: never. */
  readonly answer?: (question: Message) => string | undefined
  readonly signal?: AbortSignal
}

const plainClient = (origin: string): InnerClient => {
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0 })
  return {
    start({ path, method, headers, body }, events) {
      let done = false
      let abort: (() => void) | undefined
      agent.dispatch(
        { origin, path, method, headers: { ...headers }, body: body ?? null },
        {
          onRequestStart(controller) {
            abort = () => controller.abort(new Error('ended'))
            if (done) abort()
          },
          onResponseStart(_controller, status, received) {
            if (!done) events.head(status, received)
          },
          onResponseData(_controller, chunk) {
            if (!done) events.data(chunk)
          },
          onResponseEnd() {
            if (!done) events.end()
            done = true
          },
          onResponseError(_controller, error) {
            if (!done) events.error(error)
            done = true
          },
        },
      )
      return () => {
        done = true
        abort?.()
      }
    },
    close: () => agent.destroy(),
  }
}

export const upstreamOf = (url: string, changes: Partial<HttpServer> = {}) => {
  const inner = plainClient(new URL(url).origin)
  const table = sessionTable({ sealer: sealer(randomBytes(32)), idleMs: () => 3_600_000, now: Date.now })
  const { until, wake } = waitingRoom()
  /** Messages for clients outside any call. */
  const apart: { readonly client: ClientState; readonly message: Message }[] = []
  let ids = 0
  const upstream = httpUpstream(
    { server: httpServer('one', url, changes), client: inner, nextId: () => `"own-${++ids}"` },
    table,
    '1.0.0',
    {
      changed: wake,
      capped: () => undefined,
      shared: () => undefined,
      message(_upstream, client, { bytes }) {
        apart.push({ client, message: parsed(bytes.toString()) })
        wake()
      },
    },
  )
  const client = (features: readonly ClientFeature[] = []): ClientState =>
    new ClientState(
      table.begin({
        protocolVersion: '2025-11-25',
        capabilities: JSON.stringify(Object.fromEntries(features.map((feature) => [feature, {}]))),
        features,
        clientName: 'someone',
        clientVersion: '7',
        principal: '',
        view: '',
      }).session,
    )
  const ended = async (outcome: Promise<Outcome>, heard: readonly Message[]): Promise<Ended> => {
    const end = await outcome
    const response = end.kind === 'answered' && end.body.length > 0 ? parsed(end.body.toString()) : undefined
    return { outcome: end, response, heard }
  }
  /** A stateful client's request; `params` is JSON text. */
  const call = (method: MethodName, params: string, calling: Calling = {}): Promise<Ended> => {
    const { id = '1', client: by = client(), answer, signal = new AbortController().signal } = calling
    const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`)
    const scanned = scan(body)
    if (!scanned.ok) throw new Error(scanned.reason)
    const heard: Message[] = []
    const request: UpstreamCall = {
      client: by,
      method,
      row: { exposed: '', own: '', server: 'one', hints: '', params: calling.params ?? [] },
      id,
      body,
      progressToken: scanned.message.metaProgressToken,
      onMessage({ bytes }: Heard) {
        const message = parsed(bytes.toString())
        heard.push(message)
        wake()
        const said = message.id === undefined ? undefined : answer?.(message)
        if (said !== undefined)
          void upstream.tell(by, Buffer.from(`{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},${said}}`))
      },
      waiting: () => false,
      signal,
    }
    return ended(upstream.call(request), heard)
  }
  /** A stateless client's request, as it is. */
  const pass = (method: MethodName, body: string, more: Partial<StatelessCall> = {}): Promise<Ended> => {
    const heard: Message[] = []
    const request: StatelessCall = {
      caller: nobody,
      id: '1',
      method,
      body: Buffer.from(body),
      headers: {},
      onMessage: ({ bytes }) => {
        heard.push(parsed(bytes.toString()))
        wake()
      },
      signal: new AbortController().signal,
      ...more,
    }
    return ended(upstream.pass(request), heard)
  }
  return {
    upstream,
    table,
    client,
    call,
    pass,
    apart,
    /** Looks again whenever the upstream or a call has said something. */
    until,
    async [Symbol.asyncDispose]() {
      await upstream.close()
      await inner.close()
    },
  }
}
