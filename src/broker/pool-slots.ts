/** The places of the pool: which session is free for whom, which is given up for another, which has been idle for too long. */
import { randomBytes } from 'node:crypto'
import type { Caller } from '../clients/caller.ts'
import { callerKey } from '../clients/caller-key.ts'
import { ClientState } from '../clients/client-session.ts'
import { STATEFUL_VERSIONS } from '../mcp/versions.ts'
import type { PoolOptions } from '../registry/model.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import type { Declared } from './declared.ts'

/** One session at a server, which the upstream opens with the first call. No id leads to it. */
export interface PoolSlot {
  readonly key: string
  readonly upstream: Upstream
  readonly client: ClientState
}

export interface PoolSlots {
  /** A free session for this principal, in this view, and what its client declared, the latest used first; undefined: all are in use. */
  take(upstream: Upstream, caller: Caller, declared: Declared): PoolSlot | undefined
  /** Its call ended as calls do: it is free again. */
  give(slot: PoolSlot): void
  /** It is not used again. Resolves when its server has been told. */
  end(slot: PoolSlot): Promise<void>
  /** Ends those that were free for too long. */
  sweep(): void
  all(): Iterable<PoolSlot>
  readonly size: number
}

export const poolSlots = (options: { readonly limits: () => PoolOptions; readonly now: () => number }): PoolSlots => {
  const { limits, now } = options
  const slots = new Set<PoolSlot>()
  /** Free since when, in ms since the epoch; in the order in which they became free. */
  const free = new Map<PoolSlot, number>()

  const make = (key: string, upstream: Upstream, caller: Caller, declared: Declared): PoolSlot => {
    const { principal, view } = caller
    const nowMs = now()
    const claims = {
      ...declared,
      key: randomBytes(16).toString('base64url'),
      createdMs: nowMs,
      protocolVersion: STATEFUL_VERSIONS[0],
      principal: principal.key,
      view,
    }
    const client = new ClientState({ claims, servers: new Map(), directCalls: new Map(), lastUsedMs: nowMs })
    client.caller = caller
    const slot = { key, upstream, client }
    slots.add(slot)
    return slot
  }
  const self: PoolSlots = {
    take(upstream, caller, declared) {
      const { clientName, clientVersion, capabilities } = declared
      const key = JSON.stringify([
        callerKey(upstream.server, caller),
        caller.view,
        capabilities,
        clientName,
        clientVersion,
      ])
      const freeHere = [...free.keys()].filter((slot) => slot.upstream === upstream)
      const again = freeHere.findLast((slot) => slot.key === key)
      if (again !== undefined) {
        free.delete(again)
        again.client.caller = caller
        return again
      }
      const held = [...slots].filter((slot) => slot.upstream === upstream).length
      if (held < limits().size) return make(key, upstream, caller, declared)
      const [oldest] = freeHere
      if (oldest === undefined) return undefined
      void self.end(oldest)
      return make(key, upstream, caller, declared)
    },
    give(slot) {
      if (slots.has(slot)) free.set(slot, now())
    },
    async end(slot) {
      free.delete(slot)
      if (!slots.delete(slot)) return
      const { client, upstream } = slot
      // What is still being opened for it is closed again.
      client.left = true
      await upstream.leave(client)
      client.session.servers.clear()
    },
    sweep() {
      const before = now() - limits().idleMs
      for (const [slot, sinceMs] of free) if (sinceMs < before) void self.end(slot)
    },
    all: () => slots,
    get size() {
      return slots.size
    },
  }
  return self
}
