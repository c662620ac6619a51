/** Whether what a server says now is what was approved: the lock beside the registry decides, when there is one. */
import type { Lock, Server, ToolPin } from '../registry/model.ts'
import { canonical, FIELDS, pinOf } from './definition.ts'
import type { Item, ServerCatalogue } from './server-catalogue.ts'
import { hiddenCharacter } from './suspicious.ts'

/** Why a tool is not shown before somebody approves it; undefined: it may be. */
export const unapproved = (lock: Lock | undefined, server: Server, item: Item): string | undefined => {
  return lock === undefined ? undefined : unapprovedPin(lock, server, item.own, pinOf(item))
}

/** The same of what is known of a tool otherwise. */
export const unapprovedPin = (
  lock: Lock,
  server: Pick<Server, 'name' | 'auto'>,
  own: string,
  now: ToolPin,
): string | undefined => {
  const pin = lock.get(server.name)?.tools.get(own)
  if (pin === undefined) return server.auto === 'additive' ? undefined : 'it is not in mcp.lock'
  if (now.sha256 === pin.sha256) return undefined
  const differ = FIELDS.filter((field) => canonical(now.definition[field]) !== canonical(pin.definition[field]))
  return `its ${differ.join(' and ')} ${differ.length === 1 ? 'differs' : 'differ'} from mcp.lock`
}

/** As they are pinned: white space around them means nothing. Empty: the server gives none. */
export const instructionsOf = (answer: ServerCatalogue | undefined): string => answer?.instructions?.trim() ?? ''

/** What clients are told of a server's instructions, or why they are not; new tools may come by themselves, new words may not. */
export const vetInstructions = (
  lock: Lock | undefined,
  server: string,
  text: string,
): { readonly told: string } | { readonly withheld: string } => {
  const character = hiddenCharacter(text)
  if (character !== undefined)
    return { withheld: `they hold ${character}, which cannot be seen or changes what is seen` }
  if (lock === undefined || text === '' || (lock.get(server)?.instructions ?? '') === text) return { told: text }
  const known = lock.get(server)?.instructions !== undefined
  return { withheld: known ? 'they differ from mcp.lock' : 'they are not in mcp.lock' }
}
