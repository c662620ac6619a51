/** A stateless client's request that one server answers: handed on as it is where the eras agree, through the pool where not. */
import { canBePublic } from '../catalog/caching.ts'
import { isDirect } from '../mcp/methods.ts'
import { paramFault } from '../mcp/param-headers.ts'
import type { Era } from '../mcp/versions.ts'
import { refuseTarget, type Target, targetOf } from './calls.ts'
import { answersConfirmation, confirmRequest } from './confirm-retry.ts'
import type { StatelessIncoming } from './incoming.ts'
import { madePrivate } from './made-private.ts'
import type { PooledRequest } from './pooled-request.ts'
import { pass } from './stateless-pass.ts'

export interface StatelessRequest extends StatelessIncoming {
  readonly id: string
  readonly method: PooledRequest['method']
}

/** Looks its server up and delivers it there. */
export const call = async (request: StatelessRequest): Promise<void> => {
  const { context, caller, head, message, bytes, reply, id, method } = request
  await context.settled()
  const { table } = await context.catalogueFor(caller)
  const target = targetOf(table, caller, method, message, bytes)
  if ('refusal' in target) {
    refuseTarget(reply, id, method, target)
    return
  }
  const { grounds } = target.verdict
  reply.allowedBy(grounds)
  const isCallers = table.servers.get(target.row.server)?.perCaller === true
  if (method === 'resources/read' && (isCallers || !canBePublic(table.policy, caller.view, grounds.length > 0)))
    reply.rewrite(madePrivate)
  const wrong = paramFault(target.row.params, head.mcpParams, bytes, message.arguments)
  if (wrong !== undefined) {
    reply.refuse('header-mismatch', id, { subject: wrong })
    return
  }
  const { row } = target
  reply.names(row.server, method, row.own)
  // Before a human's answer is used up: what they agree to must not be refused for want of room.
  await context.callLimits.run({ caller, session: '', table, method, row, bytes, reply, id }, async () => {
    const asked = target.verdict.confirm || answersConfirmation(message, bytes)
    const cleared = asked ? confirmRequest(request, target) : { request, target }
    if (cleared !== undefined) await deliver(cleared.request, cleared.target)
  })
}

/** Has the server answer, in whichever era it speaks. */
export const deliver = async (request: StatelessRequest, target: Pick<Target, 'row' | 'literal'>): Promise<void> => {
  const { context, caller, message, bytes, reply, id, method } = request
  const { row, literal } = target
  reply.names(row.server, method, row.own)
  await context.moved(row.server)
  const upstream = context.upstreams.get(row.server)
  if (upstream === undefined) {
    reply.refuse('server-down', id, { server: row.server, subject: row.server })
    return
  }
  const eras: ReadonlySet<Era> = new Set(
    upstream.era()?.eras ?? context.catalogue().table.servers.get(row.server)?.eras,
  )
  const named = { literal, own: row.own, inHeader: isDirect(method), tool: method === 'tools/call' ? row.own : '' }
  // A server that has just been found to speak the other era has run nothing yet.
  if (eras.has('stateless') && (await pass(upstream, request, named))) return
  await context.pool.run({ caller, upstream, method, row, literal, message, bytes, reply, id })
}
