/** What servers offer of tasks, which are two protocols: one of each era, and never translated. */
import { TASKS_EXTENSION } from '../mcp/task-id.ts'
import type { Era } from '../mcp/versions.ts'
import type { ServerCatalogue } from './server-catalogue.ts'

/** What the gateway offers of them. */
export interface Tasks {
  /** Undefined: no server has any. */
  readonly stateful: { readonly list: boolean; readonly cancel: boolean } | undefined
  /** Whether some server has the extension. */
  readonly stateless: boolean
}

const declared = {
  stateful: 'tasks.requests.tools.call',
  stateless: `extensions.${TASKS_EXTENSION}`,
} as const satisfies Record<Era, string>

type Answer = Pick<ServerCatalogue, 'eras' | 'capabilities'>

/** Whether clients of this era can have tasks at a server. */
export const offersTasks = (era: Era, { eras, capabilities }: Answer): boolean =>
  eras.includes(era) && capabilities.has(declared[era])

/** Whether its tasks can be listed. */
export const listsTasks = (answer: Answer): boolean =>
  offersTasks('stateful', answer) && answer.capabilities.has('tasks.list')

export const mergeTasks = (answers: readonly Answer[]): Tasks => {
  const offering = answers.filter((answer) => offersTasks('stateful', answer))
  return {
    stateful:
      offering.length === 0
        ? undefined
        : {
            list: offering.some(listsTasks),
            cancel: offering.some(({ capabilities }) => capabilities.has('tasks.cancel')),
          },
    stateless: answers.some((answer) => offersTasks('stateless', answer)),
  }
}
