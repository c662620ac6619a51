/** Requests to one server with what it is to be shown of whoever they are for: forwarded headers, a token made for it. */

import type { Caller } from '../clients/caller.ts'
import { forwardedTo } from '../clients/caller-key.ts'
import type { HttpServer } from '../registry/model.ts'
import type { InnerClient, InnerRequest } from './inner-client.ts'
import { type Failure, failed } from './upstream.ts'

/** Why a request was not sent: there is nothing to show. */
export class NotShown extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.detail)
    this.failure = failure
  }
}

type Token =
  | { readonly ok: true; readonly token: { reveal(): string } }
  | { readonly ok: false; readonly reason: Failure['reason']; readonly detail: string }

/** Where the tokens of servers with `exchange` come from. */
export interface Tokens {
  /** For a caller, or for the gateway itself. Never rejects. */
  tokenFor(server: HttpServer, caller: Caller | undefined): Promise<Token>
  /** The server answered 401 to what it was shown. */
  refused(server: HttpServer, caller: Caller | undefined): void
}

/** `server`: the entry as it is now. */
export const shownClient = (inner: InnerClient, server: () => HttpServer, tokens: Tokens): InnerClient => ({
  start(request, events) {
    const entry = server()
    const { as } = request
    const forwarded = as === undefined ? {} : forwardedTo(entry, as)
    const send = (authorization: Readonly<Record<string, string>>): (() => void) => {
      const headers = { ...forwarded, ...request.headers, ...authorization }
      const watched = {
        ...events,
        head(status: number, received: Parameters<typeof events.head>[1]) {
          if (status === 401) tokens.refused(entry, as)
          events.head(status, received)
        },
      }
      return inner.start({ ...request, headers } satisfies InnerRequest, watched)
    }
    if (entry.exchange === undefined) return send({})
    let stop: (() => void) | undefined
    let stopped = false
    void tokens.tokenFor(entry, as).then((token) => {
      if (stopped) return
      if (token.ok) stop = send({ authorization: `Bearer ${token.token.reveal()}` })
      else events.error(new NotShown(failed(token.reason, token.detail)))
    })
    return () => {
      stopped = true
      stop?.()
    }
  },
  close: () => inner.close(),
})
