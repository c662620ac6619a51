/** A stateless server's answer, looked at before it goes on: whether it is one, and asks for nothing it may not ask for. */

import { isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { ClientFeature } from '../registry/model.ts'
import { mayNeedInput } from '../translation/stateless-methods.ts'
import { listedTask } from '../translation/task-ids.ts'
import { featureFor } from '../upstreams/questions.ts'
import { parseServerMessage } from '../upstreams/server-message.ts'
import type { Outcome } from '../upstreams/upstream.ts'

export type Judged =
  | { readonly ok: true; readonly status: number }
  | { readonly ok: false; readonly reason: 'server-invalid' | 'not-allowed'; readonly why: string }

/** Of what the client declared, the features that the server may use and those it was not told of. */
interface Features {
  readonly allowed: readonly ClientFeature[]
  readonly withheld: readonly ClientFeature[]
  /** Whether it may answer with a task. */
  readonly tasks: boolean
}

/** These come with HTTP 400 (2026-07-28 streamable-http), also when the server had begun a stream before it knew. */
const BAD_REQUESTS: ReadonlySet<string> = new Set(['-32020', '-32021', '-32022'])
const MISSING_CAPABILITY = '-32021'
/** The tasks extension, polymorphic results. A server may call the task it tells of by the same word. */
const MAY_BE_A_TASK: ReadonlySet<string> = new Set(['tools/call', 'tasks/get'])

export const judge = (
  method: string,
  id: string,
  { body, status }: Extract<Outcome, { kind: 'answered' }>,
  features: Features,
): Judged => {
  const message = parseServerMessage(body)
  if (message?.kind !== 'response') return invalid(`HTTP ${status} without a JSON-RPC response`)
  // The exchange says which request it answers: an id may be spelled another way, or be unreadable to the server.
  const addressed = message.id !== undefined && sameId(message.id, id)
  if (!addressed && message.id !== undefined && message.id !== 'null') return invalid('an answer to another request')
  const found = members(body)
  const error = found.get('error')
  const result = found.get('result')
  if (error !== undefined) return judgeError(body, error, status, features)
  if (!isObject(body, result)) return invalid('a result that is no object')
  if (!addressed) return invalid('a result without the id of the request')
  if (status !== 200) return invalid(`a result with HTTP ${status}`)
  return judgeResult(method, body, result, features)
}

/** Whether an error is one that a server of this era gives: not an error of the other era's transport, nor of something else. */
export const knowsEra = (body: Buffer): boolean => {
  const error = parseServerMessage(body)?.kind === 'response' ? members(body).get('error') : undefined
  const code = error === undefined ? undefined : members(body, error).get('code')
  return code !== undefined && !/^-320[01]\d$/.test(textOf(body, code))
}

const judgeError = (body: Buffer, error: Span, status: number, { withheld }: Features): Judged => {
  const said = members(body, error)
  const code = said.get('code')
  const text = code === undefined ? '' : textOf(body, code)
  const data = said.get('data')
  if (text === MISSING_CAPABILITY && data !== undefined) {
    const required = members(body, data).get('requiredCapabilities')
    const wanted = required === undefined ? undefined : members(body, required)
    const feature = withheld.find((one) => wanted?.has(one))
    // The client has it: telling it to declare what it declared would send it round in circles.
    if (feature !== undefined) return { ok: false, reason: 'not-allowed', why: feature }
  }
  return { ok: true, status: status === 200 && BAD_REQUESTS.has(text) ? 400 : status }
}

const judgeResult = (method: string, body: Buffer, result: Span, { allowed, tasks }: Features): Judged => {
  const found = members(body, result)
  const type = found.get('resultType')
  // Absent means complete (2026-07-28 basic, resultType).
  const said = type === undefined ? 'complete' : stringOf(body, type)
  const requests = found.get('inputRequests')
  const isTask = said === 'task' && tasks && MAY_BE_A_TASK.has(method)
  if (isTask && listedTask(body, result) === undefined) return invalid('a task without an id')
  // What a task wants to know stands in what is told of it.
  if (method === 'tasks/get' && (isTask || said === 'complete')) return judgeRequests(body, requests, allowed)
  if (isTask || said === 'complete') return { ok: true, status: 200 }
  if (said !== 'input_required' || !mayNeedInput(method)) return invalid(`resultType ${JSON.stringify(said)}`)
  if (requests === undefined && !found.has('requestState')) return invalid('input_required without any request')
  return judgeRequests(body, requests, allowed)
}

/** Whether a server may ask for all of this. */
export const judgeRequests = (body: Buffer, requests: Span | undefined, allowed: readonly ClientFeature[]): Judged => {
  for (const request of requests === undefined ? [] : members(body, requests).values()) {
    const span = members(body, request).get('method')
    const asked = span === undefined ? '' : stringOf(body, span)
    const feature = featureFor(asked)
    if (feature === undefined) return invalid(`an input request with the method ${JSON.stringify(asked)}`)
    if (!allowed.includes(feature)) return { ok: false, reason: 'not-allowed', why: asked }
  }
  return { ok: true, status: 200 }
}

const sameId = (one: string, other: string): boolean => one === other || JSON.parse(one) === JSON.parse(other)
const invalid = (why: string): Judged => ({ ok: false, reason: 'server-invalid', why })
