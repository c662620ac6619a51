/** Tells those who listen that their lists are other ones: each of what they are offered, and of nothing else. */
import type { Catalogue } from '../catalog/catalogue.ts'
import { changedLists, differentLists } from '../catalog/changed-lists.ts'
import type { Caller } from '../clients/caller.ts'
import type { ClientState } from '../clients/client-session.ts'
import type { Kind } from '../mcp/methods.ts'
import type { CallerCatalogues } from './caller-catalogues.ts'
import type { Listeners } from './listeners.ts'

interface Options {
  readonly clients: () => Iterable<ClientState>
  readonly listeners: Listeners
  readonly catalogues: CallerCatalogues
  readonly shared: () => Catalogue
}

export interface Announcer {
  /** The catalogue is another one. */
  changed(before: Catalogue, after: Catalogue): void
  /** What some callers alone are offered is. */
  changedFor(isMeant: (caller: Caller) => boolean): void
  /** A client goes on with another token, which may mean other claims. */
  moved(client: ClientState, before: Caller): void
}

export const announcer = ({ clients, listeners, catalogues, shared }: Options): Announcer => {
  const tell = (client: ClientState, kinds: readonly Kind[]): void => {
    for (const kind of kinds)
      client.send(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"}`))
  }
  /** `before`: what is offered to those who are offered what all are. */
  const offer = async (client: ClientState, before: Catalogue): Promise<void> => {
    const { caller, offered: known = before } = client
    const offered = await catalogues.of(caller)
    client.offered = offered
    tell(client, changedLists(known, offered)(caller))
  }
  const anew = async (client: ClientState, asker: Caller): Promise<void> => {
    const { caller, offered: known = shared() } = client
    const offered = await catalogues.of(caller)
    if (catalogues.differ) client.offered = offered
    tell(client, differentLists({ catalogue: known, asker }, { catalogue: offered, asker: caller }))
  }
  return {
    changed(before, after) {
      if (catalogues.differ) {
        for (const client of clients()) if (client.mayBeSent) void offer(client, before)
        listeners.offer(
          () => true,
          before,
          (caller) => catalogues.of(caller),
        )
        return
      }
      const changed = changedLists(before, after)
      for (const client of clients()) if (client.mayBeSent) tell(client, changed(client.caller))
      listeners.announce(changed)
    },
    changedFor(isMeant) {
      for (const client of clients()) if (client.mayBeSent && isMeant(client.caller)) void offer(client, shared())
      listeners.offer(isMeant, shared(), (caller) => catalogues.of(caller))
    },
    moved(client, before) {
      if (client.mayBeSent && before.principal !== client.caller.principal) void anew(client, before)
    },
  }
}
