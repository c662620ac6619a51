/** Names of tasks as stateless clients get them: each says whose it is, so that it is good for nobody else. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { isUnruled } from '../catalog/visible.ts'
import type { Caller } from '../clients/caller.ts'
import { exposedTaskId, parseTaskId } from '../mcp/task-id.ts'
import type { Policy } from '../policy/policy.ts'

/** A task at its server. */
export interface Task {
  readonly server: string
  /** What was called, in the server's own words; empty: everybody may call everything. */
  readonly tool: string
  /** The server's own id for it. */
  readonly own: string
}

export interface TaskIds {
  /** The same for the same caller, in the same view. */
  exposed(caller: Caller, task: Task): string
  /** Undefined: it is no task of this caller, in this view. */
  open(caller: Caller, exposed: string): Task | undefined
}

/** `key` is a secret. `policy`: as it is now; while it says nothing and everybody is one, ids are the servers' own. */
export const taskIds = (key: Uint8Array, policy: () => Policy): TaskIds => {
  const isBound = ({ principal, view }: Caller): boolean => principal.key !== '' || !isUnruled(policy(), view)
  const mark = ({ principal, view }: Caller, { server, tool, own }: Task): string =>
    createHmac('sha256', key)
      .update(JSON.stringify(['mcp-gateway task 1', principal.key, view, server, tool, own]))
      .digest('base64url')
      .slice(0, MARK)
  return {
    exposed(caller, task) {
      const { server, tool, own } = task
      if (!isBound(caller)) return exposedTaskId(server, own)
      return exposedTaskId(
        server,
        exposedTaskId(`${Buffer.from(tool).toString('base64url')}.${mark(caller, task)}`, own),
      )
    },
    open(caller, exposed) {
      const named = parseTaskId(exposed)
      if (named === undefined || !isBound(caller)) return named && { ...named, tool: '' }
      const bound = parseTaskId(named.own)
      const [, tool = '', said = ''] = BINDING.exec(bound?.server ?? '') ?? []
      if (bound === undefined || said === '') return undefined
      const task = { server: named.server, tool: Buffer.from(tool, 'base64url').toString(), own: bound.own }
      return timingSafeEqual(Buffer.from(said), Buffer.from(mark(caller, task))) ? task : undefined
    },
  }
}

/** Characters of base64url: 128 bits and a little. */
const MARK = 22
const BINDING = /^([\w-]*)\.([\w-]{22})$/
