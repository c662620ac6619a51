/** Who asks, wired: the issuer's keys over the network, real time, the log, and what the broker asks about identity. */
import { realClock } from './clock.ts'
import { type Authenticator, authenticator, type Identified } from './identity/authenticator.ts'
import { fetchJson } from './identity/fetch-json.ts'
import { type Challenge, challenge, resourceMetadata } from './identity/resource-metadata.ts'
import type { Registry } from './registry/model.ts'
import { trusted } from './xds/system-ca.ts'

interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface GatewayIdentity extends Omit<Authenticator, 'identify' | 'missed'> {
  /** What the broker asks about whoever asks it. */
  readonly asked: {
    readonly identify: (authorization: string | undefined, view: string) => Promise<Identified>
    /** The RFC 9728 document at this path; undefined: none. */
    readonly metadata: (path: string) => string | undefined
    /** The value of `WWW-Authenticate`. */
    readonly challenge: (view: string, said: Challenge) => string
  }
  /** Envoy refused a request with these response code details. */
  refused(details: string): void
}

/** Of a token that names a key Envoy was not given. */
const UNKNOWN_KEY = /^jwt_authn_access_denied\{Jwks_doesn't_have_key/

/** `registry`: the one in force. `onChange`: there are other keys, which Envoy has to get. */
export const gatewayIdentity = (registry: () => Registry, log: Log, onChange: () => void): GatewayIdentity => {
  const who = authenticator(registry().gateway.auth, {
    fetching: (ca) => fetchJson(trusted(ca)),
    ...realClock,
    onChange: () => {
      log.info('the keys of gateway.auth have changed')
      onChange()
    },
    onProblem: (problem) => log.warn('the keys of gateway.auth cannot be had', { reason: problem }),
  })
  return {
    ...who,
    asked: {
      identify: (authorization, view) => who.identify(authorization, view),
      metadata: (path) => resourceMetadata(registry(), path),
      challenge: (view, said) => challenge(registry(), view, said),
    },
    refused: (details) => {
      if (UNKNOWN_KEY.test(details)) who.missed()
    },
  }
}
