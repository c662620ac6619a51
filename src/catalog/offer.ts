/** What a registry makes of the tools that servers are known to have: exposed names, and what is withheld. */
import type { Thing } from '../policy/thing.ts'
import type { Definition, Registry, Server } from '../registry/model.ts'
import { unapprovedPin } from './approval.ts'
import { membersOf, pinned } from './definition.ts'
import type { OfferedServer } from './definitions.ts'
import { exposedName } from './exposed-name.ts'
import { hintsFrom } from './traits.ts'

/** A tool that clients may see, as far as they may use it. */
export interface Offer extends Thing {
  /** Why nobody sees it at the moment. */
  readonly withheld?: string
}

/** A tool of which little may be known: from a lock, or from the server itself. */
export interface KnownTool {
  readonly own: string
  readonly suspicious?: string | undefined
  readonly definition?: Definition | undefined
}

/** Server's name → its tools. */
export type KnownTools = ReadonlyMap<string, readonly KnownTool[]>

export const knownTools = (servers: readonly OfferedServer[]): KnownTools =>
  new Map(servers.filter(({ answered }) => answered).map(({ name, tools, others }) => [name, [...tools, ...others]]))

/** In the registry's order, then each server's; a name that is taken already is left out. */
export const offers = (registry: Registry, known: KnownTools): ReadonlyMap<string, Offer> => {
  const made = new Map<string, Offer>()
  for (const server of registry.servers) {
    if (!server.enabled) continue
    for (const tool of known.get(server.name) ?? []) {
      const exposed = exposedName('tools', server, tool.own)
      if (exposed === undefined || made.has(exposed)) continue
      const withheld = whyWithheld(registry, server, tool)
      made.set(exposed, {
        exposed,
        own: tool.own,
        server: server.name,
        hints: hintsIn(tool.definition?.annotations),
        ...(withheld !== undefined && { withheld }),
      })
    }
  }
  return made
}

const whyWithheld = (
  { lock }: Registry,
  server: Server,
  { own, suspicious, definition }: KnownTool,
): string | undefined =>
  suspicious ??
  (lock === undefined || definition === undefined
    ? undefined
    : unapprovedPin(lock, server, own, pinned(own, definition)))

const hintsIn = (annotations: unknown): string => {
  const said = new Map(membersOf(annotations))
  return hintsFrom((key) => String(said.get(key)))
}
