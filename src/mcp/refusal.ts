/** Every reason to refuse a client's request before anything is asked of a server; statuses and words live in the broker. */

/** What the body alone tells. */
export type BodyRefusal =
  | 'empty'
  | 'not-utf8'
  | 'byte-order-mark'
  | 'unparsable'
  | 'trailing'
  | 'batch'
  | 'duplicate-key'
  | 'case-variant'
  | 'too-deep'
  | 'not-jsonrpc'

/** What the request's head alone tells. */
export type HeadRefusal =
  | 'wrong-path'
  | 'unknown-view'
  | 'wrong-verb'
  | 'foreign-host'
  | 'foreign-origin'
  | 'content-type'
  | 'content-encoding'
  | 'not-acceptable'
  | 'too-large'
  | 'unsupported-version'
  | 'no-session-id'

/** What makes a request of the stateless era one that nobody may act on. */
export type StatelessRefusal = 'header-mismatch' | 'bad-meta' | 'unsupported-revision' | 'response-refused'

export type RefusalReason = BodyRefusal | HeadRefusal | StatelessRefusal
