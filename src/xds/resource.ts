/** What Envoy is given, each piece with where in the registry it comes from. */
import type { Place } from '../registry/model.ts'
import type { Message } from './pack.ts'
import type { TypeUrl } from './type-url.ts'

/** Without an origin it is the gateway's own. */
export interface Resource {
  readonly message: Message
  readonly place?: Place
  /** Such as `servers.weather`. */
  readonly path?: string
  /** The same for an Envoy of this version that knows HTTP filters of these types; absent: it is the same for each. */
  readonly fitted?: (filterTypes: readonly string[], version: string) => Message
}

export type Resources = Readonly<Record<TypeUrl, readonly Resource[]>>
