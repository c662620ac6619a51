/** Who is behind a request to the broker, and what those are told who show no token, or one that does not suffice. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Caller } from '../clients/caller.ts'
import { CLIENT_ADDRESS } from '../mcp/headers.ts'
import type { Era } from '../mcp/versions.ts'
import { ANYBODY, type Principal } from '../policy/principal.ts'

export type Identified =
  | {
      readonly ok: true
      readonly principal: Principal
      /** What was verified; absent while nobody is authenticated. */
      readonly token?: string
    }
  | { readonly ok: false; readonly reason: 'no-token' | 'bad-token' | 'no-keys'; readonly detail: string }

/** What a challenge says beside where the token comes from (RFC 6750 3, RFC 9728 5.1). */
export interface Challenged {
  readonly error?: 'invalid_token' | 'insufficient_scope'
  /** All that the operation needs. */
  readonly scopes?: readonly string[]
}

/** Asked anew for each request. */
export interface Identification {
  /** `authorization`: the header's value as sent; `view`: empty at the gateway's own address. */
  readonly identify: (authorization: string | undefined, view: string) => Identified | Promise<Identified>
  /** The RFC 9728 document served at this path, as JSON text; undefined: there is none. */
  readonly metadata: (path: string) => string | undefined
  /** The value of `WWW-Authenticate`. */
  readonly challenge: (view: string, said: Challenged) => string
}

/** No tokens: everybody is one. */
export const everybody: Identification = {
  identify: () => ({ ok: true, principal: ANYBODY }),
  metadata: () => undefined,
  challenge: () => 'Bearer',
}

interface From {
  readonly headers: IncomingHttpHeaders
  readonly identified: Extract<Identified, { ok: true }>
  readonly view: string
  readonly era: Era
}

/** Whom one request comes from. */
export const callerOf = ({ headers, identified: { principal, token }, view, era }: From): Caller => ({
  principal,
  view,
  era,
  address: one(headers[CLIENT_ADDRESS]) ?? '',
  header: (name) => one(headers[name]),
  ...(token !== undefined && { token }),
})

const one = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value
