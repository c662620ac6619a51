/** A stateless client's request to a server of its own era, and the answer back: byte for byte, but for names and what may not pass. */
import { offersTasks } from '../catalog/tasks.ts'
import { encodeHeaderValue } from '../mcp/header-value.ts'
import { MCP_METHOD, MCP_NAME, MCP_PARAM_PREFIX, PROTOCOL_VERSION } from '../mcp/headers.ts'
import { type Edit, replaceSpans, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { MethodName } from '../mcp/methods.ts'
import { declaredFeatures, declaresTasks } from '../mcp/stateless-request.ts'
import { TASKS_EXTENSION } from '../mcp/task-id.ts'
import { objectEdits } from '../translation/object-edits.ts'
import { renameInResponse } from '../translation/task-ids.ts'
import { clientFeatures } from '../upstreams/questions.ts'
import { isListChanged } from '../upstreams/server-message.ts'
import { forClient } from '../upstreams/task-names.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import type { StatelessIncoming } from './incoming.ts'
import { judge } from './stateless-answer.ts'

export interface PassedRequest extends StatelessIncoming {
  readonly id: string
  readonly method: MethodName<'stateless'>
}

/** What the request names: where its literal stands, and what the server calls it. */
export interface Named {
  readonly literal: Span
  readonly own: string
  /** Whether `Mcp-Name` repeats it. */
  readonly inHeader: boolean
  /** What the server calls the tool whose call may become a task, or has. */
  readonly tool: string
}

/** Whether a stateless client can have tasks there. */
export const offersTasksTo = (upstream: Upstream): boolean => {
  const catalogue = upstream.catalogue()
  return catalogue !== undefined && offersTasks('stateless', catalogue)
}

/** Answers the client; false, and nothing is done: the server speaks the other era. */
export const pass = async (upstream: Upstream, request: PassedRequest, named: Named): Promise<boolean> => {
  const { context, caller, message, bytes, reply, id, method } = request
  const { name, client } = upstream.server
  const rename = (own: string): string => context.taskIds.exposed(caller, { server: name, tool: named.tool, own })
  const declared = declaredFeatures(bytes, message)
  const withheld = clientFeatures.filter((feature) => !client.includes(feature))
  const tasks = declaresTasks(bytes, message) && offersTasksTo(upstream)
  const ending = new AbortController()
  reply.onClose(() => ending.abort())
  const outcome = await upstream.pass({
    caller: request.caller,
    id,
    method,
    body: replaceSpans(bytes, [...renamed(bytes, named), ...narrowed(request, withheld, tasks)]),
    headers: headersFor(request, named),
    signal: ending.signal,
    onMessage(notification) {
      // Changed lists are the gateway's to announce, once they are read.
      if (isListChanged(notification.method)) upstream.refresh()
      else reply.message(forClient(upstream, notification, rename))
    },
  })
  if (ending.signal.aborted) reply.abandon()
  else if (outcome.otherEra === true && upstream.era()?.eras.includes('stateless') !== true) return false
  else if (outcome.kind === 'failed')
    reply.refuse(outcome.reason, id, { server: name, subject: `${name}: ${outcome.detail}` })
  else {
    const allowed = declared.filter((feature) => client.includes(feature))
    const features = { allowed, withheld: declared.filter((feature) => withheld.includes(feature)), tasks }
    const judged = judge(method, id, outcome, features)
    const body = tasks ? renameInResponse(method, outcome.body, rename) : outcome.body
    if (judged.ok) reply.end(body, judged.status)
    else reply.refuse(judged.reason, id, { server: name, subject: `${name}: ${judged.why}` })
  }
  return true
}

const renamed = (bytes: Buffer, { literal, own }: Named): readonly Edit[] =>
  own === stringOf(bytes, literal) ? [] : [{ span: literal, with: JSON.stringify(own) }]

/** The capabilities without what the server may not make use of, and does not know. */
const narrowed = ({ bytes, message }: PassedRequest, withheld: readonly string[], tasks: boolean): readonly Edit[] =>
  message.metaClientCapabilities === undefined
    ? []
    : objectEdits(bytes, message.metaClientCapabilities, {
        ...Object.fromEntries(withheld.map((feature) => [feature, undefined])),
        ...(!tasks && { extensions: { within: { [TASKS_EXTENSION]: undefined } } }),
      })

/** What the client sent beside the body, the server's own name in it. What nobody here knows goes on as it came. */
const headersFor = ({ head, trace }: PassedRequest, { own, inHeader }: Named): Record<string, string> => ({
  ...trace,
  ...given(PROTOCOL_VERSION, head.protocolVersion),
  ...given(MCP_METHOD, head.mcpMethod),
  ...(inHeader && { [MCP_NAME]: encodeHeaderValue(own) }),
  ...Object.fromEntries([...head.mcpParams].map(([key, value]) => [`${MCP_PARAM_PREFIX}${key}`, value])),
})
const given = (name: string, value: string | undefined): Record<string, string> =>
  value === undefined ? {} : { [name]: value }
