/** What every server says of its tools at the moment: the value behind `/definitions`, which a lock is compared with and made of. */
import type { Definition, Registry } from '../registry/model.ts'
import { instructionsOf, vetInstructions } from './approval.ts'
import { pinOf } from './definition.ts'
import { exposedName } from './exposed-name.ts'
import type { Item, ServerCatalogue } from './server-catalogue.ts'
import { suspicion } from './suspicious.ts'

export interface OfferedTool {
  /** The server's own name for it. */
  readonly own: string
  /** The name clients know it under. */
  readonly name: string
  /** Why it is never shown as it is; then its definition is left out: it may not be what it looks like. */
  readonly suspicious?: string | undefined
  readonly definition?: Definition | undefined
}

export interface OfferedServer {
  readonly name: string
  readonly prefix: string
  readonly auto?: 'additive' | undefined
  /** Whether its lists are known; those of a disabled server are not. */
  readonly answered: boolean
  /** Empty: it gives none. */
  readonly instructions: string
  /** Why they are never shown as they are. */
  readonly suspicious?: string | undefined
  /** Those that the registry selects. */
  readonly tools: readonly OfferedTool[]
  /** Those that it leaves out, by the server's own names: another registry may select them. */
  readonly others: readonly Omit<OfferedTool, 'name'>[]
}

/** `answer`: what a server of this name has said, if it has. */
export const definitions = (
  { servers }: Registry,
  answer: (server: string) => ServerCatalogue | undefined,
): { readonly servers: readonly OfferedServer[] } => ({
  servers: servers.map((server) => {
    const known = answer(server.name)
    const instructions = instructionsOf(known)
    const vetted = vetInstructions(undefined, server.name, instructions)
    return {
      name: server.name,
      prefix: server.prefix,
      ...(server.auto !== undefined && { auto: server.auto }),
      answered: known !== undefined,
      ...('withheld' in vetted ? { instructions: '', suspicious: vetted.withheld } : { instructions }),
      tools: (known?.tools ?? []).flatMap((item) => {
        const name = exposedName('tools', server, item.own)
        return name === undefined ? [] : [{ ...saidOf(item), name }]
      }),
      others: (known?.tools ?? [])
        .filter(({ own }) => exposedName('tools', server, own) === undefined)
        .map((item) => saidOf(item)),
    }
  }),
})

const saidOf = (item: Item): Omit<OfferedTool, 'name'> => {
  const suspicious = suspicion(item)
  return suspicious === undefined
    ? { own: item.own, definition: pinOf(item).definition }
    : { own: item.own, suspicious }
}
