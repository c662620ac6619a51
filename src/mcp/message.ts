/** One JSON-RPC message as it was found in its bytes: spans, not copies. */
import type { BodyRefusal } from './refusal.ts'

/** A stretch of bytes; `end` is exclusive. */
export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * The one message of a body. `id` is the raw JSON text, byte for byte; `method` is decoded. Spans of strings include
 * the quotes and exist only when the value is a string, those of ids and tokens when it is a string or a number.
 */
export interface Message {
  readonly kind: 'request' | 'notification' | 'response'
  /** Undefined for notifications and for an error about a message whose id the sender could not read. */
  readonly id: string | undefined
  readonly method: string | undefined
  readonly params: Span | undefined
  /** `params.name` */
  readonly name: Span | undefined
  /** `params.uri` */
  readonly uri: Span | undefined
  /** `params.cursor` */
  readonly cursor: Span | undefined
  /** `params.requestId` */
  readonly requestId: Span | undefined
  /** `params.progressToken`, as notifications/progress carries it. */
  readonly progressToken: Span | undefined
  /** `params._meta` */
  readonly meta: Span | undefined
  /** `params._meta.progressToken` */
  readonly metaProgressToken: Span | undefined
  /** `params.ref.name` */
  readonly refName: Span | undefined
  /** `params.ref.uri` */
  readonly refUri: Span | undefined
  /** `params.arguments`, of any kind. */
  readonly arguments: Span | undefined
  /** `params.requestState` */
  readonly requestState: Span | undefined
  /** `params.inputResponses`, of any kind. */
  readonly inputResponses: Span | undefined
  /** `params.task`, of any kind. */
  readonly task: Span | undefined
  /** `params.taskId` */
  readonly taskId: Span | undefined
  /** `params._meta["io.modelcontextprotocol/…"]`, of any kind: what a stateless request says of itself. */
  readonly metaProtocolVersion: Span | undefined
  readonly metaClientCapabilities: Span | undefined
  readonly metaClientInfo: Span | undefined
  readonly metaLogLevel: Span | undefined
  readonly result: Span | undefined
  readonly error: Span | undefined
}

/** `id` is the raw text of the id when it could be read, so that the refusal can be addressed. */
export type Scan =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly reason: BodyRefusal; readonly id?: string }
