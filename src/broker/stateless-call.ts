/** A stateless client's request that one server answers: handed on as it is where the eras agree, through the pool where not. */
import { isDirect } from '../mcp/methods.ts'
import { paramFault } from '../mcp/param-headers.ts'
import type { Era } from '../mcp/versions.ts'
import { type Target, targetOf } from './calls.ts'
import type { PooledRequest } from './pooled-request.ts'
import { pass } from './stateless-pass.ts'
import type { StatelessIncoming } from './incoming.ts'

/** Nobody is authenticated yet: all clients are one. */
const ANYBODY = ''

export interface StatelessRequest extends StatelessIncoming {
  readonly id: string
  readonly method: PooledRequest['method']
}

/** Looks its server up and delivers it there. */
export const call = async (request: StatelessRequest): Promise<void> => {
  const { context, head, message, bytes, reply, id, method } = request
  await context.settled()
  const { table } = context.catalogue()
  const target = targetOf(table, 'stateless', method, message, bytes)
  if ('refusal' in target) {
    const { refusal, subject } = target
    reply.refuse(refusal, id, {
      ...(subject !== undefined && { subject }),
      // 2026-07-28 resources, error handling.
      ...(refusal === 'unknown-resource' && { extra: { uri: subject } }),
    })
    return
  }
  const wrong = paramFault(target.row.params, head.mcpParams, bytes, message.arguments)
  if (wrong !== undefined) reply.refuse('header-mismatch', id, { subject: wrong })
  else await deliver(request, target)
}

/** Has the server answer, in whichever era it speaks. */
export const deliver = async (request: StatelessRequest, target: Target): Promise<void> => {
  const { context, message, bytes, reply, id, method } = request
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
  const named = { literal, own: row.own, inHeader: isDirect(method) }
  // A server that has just been found to speak the other era has run nothing yet.
  if (eras.has('stateless') && (await pass(upstream, request, named))) return
  await context.pool.run({ principal: ANYBODY, upstream, method, row, literal, message, bytes, reply, id })
}
