/** Whether who made a task may still have what comes of it: as long as they may call its tool. */
import { type RoutingTable, toolOf } from '../catalog/routing-table.ts'
import { verdictOn } from '../catalog/thing.ts'
import { isUnruled } from '../catalog/visible.ts'
import type { Caller } from '../clients/caller.ts'
import type { Reply } from './reply.ts'
import type { Task } from './task-ids.ts'

/** A human who agreed to the call is not asked about its task. `reply`: whose record gets to know what allows it. */
export const mayHaveTask = (
  table: RoutingTable,
  caller: Caller,
  { server, tool }: Pick<Task, 'server' | 'tool'>,
  reply?: Reply,
): boolean => {
  if (isUnruled(table.policy, caller.view)) return true
  const row = toolOf(table, server, tool)
  if (row === undefined) return false
  const verdict = verdictOn(table.policy, caller, 'tools/call', 'tools', row)
  if (verdict.allowed) reply?.allowedBy(verdict.grounds)
  return verdict.allowed
}
