/** A caller's token for one of a server's own (RFC 8693), asked for once and kept until it expires. */
import { dropOldest } from '../bounded.ts'
import type { Secret } from '../registry/model.ts'
import { type NotIssued, TOKEN_EXCHANGE, type TokenEndpoint } from './token-endpoint.ts'

/** Whose token is exchanged. */
export interface Subject {
  /** The same for tokens that say the same of the same caller: these share what was exchanged. */
  readonly key: string
  /** Absent: nobody is authenticated. */
  readonly token: string | undefined
  /** When the token ends, in ms since the epoch; undefined: it does not say. */
  readonly expiresMs: number | undefined
}

/** `status` is what the client is told. */
export type Exchanged =
  | { readonly ok: true; readonly token: Secret }
  | { readonly ok: false; readonly status: 401; readonly reason: 'no-token' | 'bad-token'; readonly detail: string }
  | { readonly ok: false; readonly status: 403; readonly reason: 'exchange-refused'; readonly detail: string }
  | { readonly ok: false; readonly status: 502; readonly reason: 'exchange-failed'; readonly detail: string }

export interface Exchange {
  /** Never rejects. Those that ask for the same at once are given the same answer. */
  exchange(subject: Subject): Promise<Exchanged>
  /** The server does not take it any more. */
  forget(subject: Subject): void
  /** How many tokens are kept. */
  readonly size: number
}

interface Options {
  readonly ask: TokenEndpoint
  /** Ms since the epoch. */
  readonly now: () => number
  /** Tokens kept at most; those used longest ago go first. Default: 4096. */
  readonly most?: number
}

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
/** A token whose end nobody knows is kept for so long. */
const UNKNOWN_LIFE_MS = 60_000
/** So much of its life, and no more than that, is left to the way to the server. */
const SPARE_PART = 0.2
const MOST_SPARE_MS = 30_000

export const exchanger = ({ ask, now, most = 4096 }: Options): Exchange => {
  /** In the order in which they were used. */
  const kept = new Map<string, { readonly token: Secret; readonly untilMs: number }>()
  const asking = new Map<string, Promise<Exchanged>>()

  const keep = (key: string, token: Secret, lifeMs = UNKNOWN_LIFE_MS): void => {
    kept.set(key, { token, untilMs: now() + lifeMs - Math.min(lifeMs * SPARE_PART, MOST_SPARE_MS) })
    dropOldest(kept, most)
  }
  const obtain = async (key: string, token: string): Promise<Exchanged> => {
    const answer = await ask(TOKEN_EXCHANGE, {
      subject_token: token,
      subject_token_type: ACCESS_TOKEN,
      requested_token_type: ACCESS_TOKEN,
    })
    if (!answer.ok) return refusal(answer)
    keep(key, answer.token, answer.lifeMs)
    return { ok: true, token: answer.token }
  }

  return {
    exchange({ key, token, expiresMs }) {
      if (token === undefined) return Promise.resolve(withoutToken)
      const known = kept.get(key)
      kept.delete(key)
      if (known !== undefined && known.untilMs > now()) {
        kept.set(key, known)
        return Promise.resolve({ ok: true, token: known.token })
      }
      if (expiresMs !== undefined && expiresMs <= now()) return Promise.resolve(expired)
      // One token is never asked for with another: it may be worth more.
      const one = `${key} ${token}`
      const under = asking.get(one)
      if (under !== undefined) return under
      const made = obtain(key, token).finally(() => asking.delete(one))
      asking.set(one, made)
      return made
    },
    forget({ key }) {
      kept.delete(key)
    },
    get size() {
      return kept.size
    },
  }
}

const withoutToken: Exchanged = {
  ok: false,
  status: 401,
  reason: 'no-token',
  detail: 'a token for this server is made from the one of whoever asks',
}
const expired: Exchanged = { ok: false, status: 401, reason: 'bad-token', detail: 'it has expired' }

/** The caller's token is not good any more. */
const ABOUT_TOKEN: ReadonlySet<string> = new Set(['invalid_grant', 'invalid_token'])
/** The caller may not have one (RFC 8693 2.2.2: `invalid_request` also says that policy does not accept the token). */
const ABOUT_CALLER: ReadonlySet<string> = new Set([
  'invalid_request',
  'invalid_target',
  'invalid_scope',
  'access_denied',
])

/** Whatever else is wrong is between the endpoint and the gateway. */
const refusal = ({ error = '', detail }: NotIssued): Exchanged =>
  ABOUT_TOKEN.has(error)
    ? { ok: false, status: 401, reason: 'bad-token', detail }
    : ABOUT_CALLER.has(error)
      ? { ok: false, status: 403, reason: 'exchange-refused', detail }
      : { ok: false, status: 502, reason: 'exchange-failed', detail }
