/** What one principal may have under way at once, how large a request a server takes, and how often what only the broker knows of is called. */
import { buckets, shareOf } from '../catalog/buckets.ts'
import type { RoutingTable, Row } from '../catalog/routing-table.ts'
import type { Caller } from '../clients/caller.ts'
import { isDirect } from '../mcp/methods.ts'
import type { Limits } from '../registry/model.ts'
import { type CallRates, callRates } from './call-rates.ts'
import type { Reply } from './reply.ts'

export interface CallLimits {
  /** Runs a call if there is room for it; resolves when it is over, or refused. What is refused counts for nothing. */
  run(call: LimitedCall, work: () => Promise<void>): Promise<void>
}

export interface LimitedCall {
  readonly caller: Caller
  /** A name for the client's session; empty: it has none. */
  readonly session: string
  readonly table: RoutingTable
  readonly method: string
  readonly row: Row
  readonly bytes: Buffer
  readonly reply: Reply
  /** Raw JSON. */
  readonly id: string
}

/** `now`: ms. */
export const callLimits = (now: () => number = Date.now): CallLimits => {
  const rates = callRates(now)
  /** By principal, and by principal and server. */
  const underWay = new Map<string, number>()
  const change = (key: string, by: 1 | -1): void => {
    const count = (underWay.get(key) ?? 0) + by
    if (count === 0) underWay.delete(key)
    else underWay.set(key, count)
  }
  return {
    async run(call, work) {
      const { caller, table, row, bytes, reply, id } = call
      const { server } = row
      const own = table.servers.get(server)?.limits
      const most = own?.maxBody
      if (most !== undefined && bytes.length > most) {
        reply.refuse('too-large', id, { server, subject: `${server} takes ${most} bytes at most` })
        return
      }
      const { key } = caller.principal
      const counted = [
        { key: JSON.stringify([key]), limits: table.limits },
        { key: JSON.stringify([key, server]), limits: own },
      ].filter(({ limits }) => limits?.concurrent !== undefined)
      const isFull = ({ key: one, limits }: { readonly key: string; readonly limits: Limits | undefined }): boolean =>
        (underWay.get(one) ?? 0) >= (limits?.concurrent ?? Number.POSITIVE_INFINITY)
      if (counted.some(isFull)) {
        reply.refuse('too-many-calls', id, { server, subject: server })
        return
      }
      const retryAfterMs = take(rates, call)
      if (retryAfterMs !== undefined) {
        reply.refuse('rate-limited', id, { server, retryAfterMs })
        return
      }
      for (const { key: one } of counted) change(one, 1)
      try {
        await work()
      } finally {
        for (const { key: one } of counted) change(one, -1)
      }
    },
  }
}

/** Envoy has counted every other call: what a server offers one caller alone, ext_proc does not know. */
const take = (rates: CallRates, { caller, session, table, method, row }: LimitedCall): number | undefined => {
  if (table.servers.get(row.server)?.perCaller !== true) return undefined
  if (!isDirect(method) && method !== 'completion/complete') return undefined
  const whose = { subject: caller.principal.subject, session }
  return rates.take(
    buckets(table, method, row).map((bucket) => ({
      key: JSON.stringify([bucket.of, bucket.name, shareOf(bucket, whose)]),
      rate: bucket.rate,
    })),
  )
}
