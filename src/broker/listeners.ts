/** The streams of stateless clients, as those see them who have something to tell. */
import type { Message } from '../mcp/message.ts'
import type { ListKind } from './listen-messages.ts'
import type { Reply } from './reply.ts'

export interface ListenRequest {
  /** Raw JSON. */
  readonly id: string
  readonly message: Message
  readonly bytes: Buffer
  readonly reply: Reply
}

export interface Listeners {
  /** Streams open now. */
  readonly size: number
  /** Answers `reply` fully; resolves when its stream is over. */
  open(request: ListenRequest): Promise<void>
  /** The merged lists of these kinds are other ones now. */
  announce(kinds: readonly ListKind[]): void
  /** The registry, and with it some servers, are other ones now. */
  rewatch(): void
  /** Ends every stream as a server should: with a result. */
  close(): void
}
