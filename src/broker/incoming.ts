/** One message of a client, of either era, and what it is answered with. */

import type { Caller } from '../clients/caller.ts'
import type { ClientState } from '../clients/client-session.ts'
import type { Message } from '../mcp/message.ts'
import type { RequestHead } from '../mcp/request-head.ts'
import type { Context } from './context.ts'
import type { Reply } from './reply.ts'

/** One message of a client in its session. */
export interface Incoming {
  readonly context: Context
  readonly client: ClientState
  readonly caller: Caller
  readonly message: Message
  readonly bytes: Buffer
  readonly reply: Reply
}

/** One message of a stateless client: all there is to know of it. */
export interface StatelessIncoming {
  readonly context: Context
  readonly caller: Caller
  readonly head: RequestHead
  /** The trace context's headers; names in lower case. */
  readonly trace: Readonly<Record<string, string>>
  readonly message: Message
  readonly bytes: Buffer
  readonly reply: Reply
}
