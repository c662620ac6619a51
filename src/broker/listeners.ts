/** The streams of stateless clients, as those see them who have something to tell. */

import type { Catalogue } from '../catalog/catalogue.ts'
import type { changedLists } from '../catalog/changed-lists.ts'
import type { Caller } from '../clients/caller.ts'
import type { Message } from '../mcp/message.ts'
import type { Reply } from './reply.ts'

/** Which of somebody's lists are other ones now. */
export type Changed = ReturnType<typeof changedLists>

export interface ListenRequest {
  /** Raw JSON. */
  readonly id: string
  readonly caller: Caller
  /** What is offered to the caller as the stream begins. */
  readonly offered: Catalogue
  readonly message: Message
  readonly bytes: Buffer
  readonly reply: Reply
}

export interface Listeners {
  /** Streams open now. */
  readonly size: number
  /** Answers `reply` fully; resolves when its stream is over. */
  open(request: ListenRequest): Promise<void>
  /** Of a principal, in whatever view. */
  countOf(principal: string): number
  /** Some lists are other ones now; which, depends on who asks. */
  announce(changed: Changed): void
  /** The same of what some callers are offered: `before` to those who were offered what all are, `offered` now. */
  offer(isMeant: (caller: Caller) => boolean, before: Catalogue, offered: (caller: Caller) => Promise<Catalogue>): void
  /** The registry, and with it some servers, are other ones now. */
  rewatch(): void
  /** Ends the streams of these callers. */
  end(isMeant: (caller: Caller) => boolean): void
  /** Ends every stream as a server should: with a result. */
  close(): void
}
