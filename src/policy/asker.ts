/** Everything about a request that a decision may depend on, beside what it names. */
import type { Era } from '../mcp/versions.ts'
import type { Principal } from './principal.ts'

export interface Asker {
  readonly principal: Principal
  /** The view's name; empty: all of the gateway. */
  readonly view: string
  readonly era: Era
  /** The client's address, as Envoy sees it. */
  readonly address: string
}
