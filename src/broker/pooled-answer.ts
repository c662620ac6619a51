/** How a call at a stateful server is answered to its stateless client: what came of it, or what the server needs first. */
import { members, textOf } from '../mcp/json-text.ts'
import type { InputRequest } from '../translation/input-request.ts'
import { statelessResponse } from '../translation/stateless-response.ts'
import { parseServerMessage } from '../upstreams/server-message.ts'
import type { Outcome } from '../upstreams/upstream.ts'
import { gatewayInfo, resultMeta } from './gateway-info.ts'
import type { PooledRequest } from './pooled-request.ts'
import { maySeeUrls } from './pooled-request.ts'

/** A request for input as its raw key in `inputRequests` and what stands there. */
export type Asked = readonly [string, InputRequest]

/** Answers with requests for input. `state` is sealed. */
export const askForInput = (
  { reply, id }: PooledRequest,
  questions: readonly Asked[],
  state: string,
  version: string,
): void => {
  const requests = questions.map(([key, { json }]) => `${key}:${json}`).join(',')
  reply.result(
    id,
    `{"resultType":"input_required","inputRequests":{${requests}},"requestState":${JSON.stringify(state)},"_meta":${resultMeta(version)}}`,
  )
}

export interface AnswerOptions {
  /** The gateway's own. */
  readonly version: string
  /** Raw id of the request at the server. */
  readonly serverId: string
  /** There were requests before this one. */
  readonly resumed: boolean
  /** Seals a state for a request that is sent anew. */
  readonly sealAnew: () => string
}

/** Answers with what came of the call. */
export const answerPooled = (request: PooledRequest, outcome: Outcome, options: AnswerOptions): void => {
  const { upstream, method, reply, id } = request
  const { name, cache } = upstream.server
  const about = (detail: string) => ({ server: name, subject: `${name}: ${detail}` })
  if (outcome.kind === 'failed') {
    reply.refuse(outcome.reason, id, about(outcome.detail))
    return
  }
  const wrong = fault(outcome, options.serverId)
  if (wrong !== undefined) {
    reply.refuse('server-invalid', id, about(wrong))
    return
  }
  const translated = statelessResponse(method, outcome.body, {
    id,
    serverInfo: JSON.stringify(gatewayInfo(options.version)),
    // What input went into may not be kept (2026-07-28 caching).
    caching: options.resumed ? undefined : cache,
    label: `[${name}] `,
  })
  switch (translated.kind) {
    case 'response':
      reply.end(translated.bytes, isUnknownMethod(translated.bytes) ? 404 : 200)
      return
    case 'invalid':
      reply.refuse('server-invalid', id, about(translated.why))
      return
    case 'input':
      askForVisits(request, translated.requests, options)
      return
    default:
      translated satisfies never
  }
}

const fault = ({ status, body }: Extract<Outcome, { kind: 'answered' }>, serverId: string): string | undefined => {
  const message = parseServerMessage(body)
  if (message?.kind !== 'response') return `HTTP ${status} without a JSON-RPC response`
  const isOurs = message.id === serverId || message.id === undefined || message.id === 'null'
  return isOurs ? undefined : 'an answer to another request'
}

/** The server wants URLs visited; nothing waits there meanwhile. */
const askForVisits = (request: PooledRequest, visits: readonly InputRequest[], options: AnswerOptions): void => {
  const { upstream, reply, id } = request
  const { name, client } = upstream.server
  if (!client.includes('elicitation'))
    reply.refuse('not-allowed', id, { server: name, subject: `${name}: elicitation` })
  else if (maySeeUrls(request)) {
    const asked = visits.map((visit, at): Asked => [JSON.stringify(`${name}:url:${at + 1}`), visit])
    askForInput(request, asked, options.sealAnew(), options.version)
  } else
    reply.refuse('missing-capability', id, {
      server: name,
      subject: 'elicitation.url',
      extra: { requiredCapabilities: { elicitation: { url: {} } } },
    })
}

/** A method that the server does not have is none here either (2026-07-28 streamable-http, protocol version header). */
const isUnknownMethod = (response: Buffer): boolean => {
  const error = members(response).get('error')
  const code = error === undefined ? undefined : members(response, error).get('code')
  return code !== undefined && textOf(response, code) === '-32601'
}
