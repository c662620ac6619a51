/** A token endpoint as one of its clients sees it: a grant goes in, a bearer token comes out, or why there is none. */
import * as oauth from 'oauth4webapi'
import { type OAuthClient, Secret } from '../registry/model.ts'
import type { TokenFetch } from './token-fetch.ts'

export interface Issued {
  readonly ok: true
  readonly token: Secret
  /** Undefined: the endpoint does not say. */
  readonly lifeMs: number | undefined
}

export interface NotIssued {
  readonly ok: false
  /** As the endpoint names it (RFC 6749 5.2, RFC 8693 2.2.2); undefined: it gave no such answer. */
  readonly error: string | undefined
  /** In words, without anything that was sent. */
  readonly detail: string
}

/** Asks for a token by this grant. `parameters` holds what belongs to the grant alone. Never rejects. */
export type TokenEndpoint = (grant: string, parameters: Readonly<Record<string, string>>) => Promise<Issued | NotIssued>

export const CLIENT_CREDENTIALS = 'client_credentials'
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

const ANSWERS_WITHIN_MS = 10_000
const MOST_DETAIL = 200

export const tokenEndpoint = (client: OAuthClient, fetching: TokenFetch): TokenEndpoint => {
  const { token, secret, scopes, audience, resource } = client
  const server: oauth.AuthorizationServer = { issuer: new URL(token).origin, token_endpoint: token }
  const known: oauth.Client = { client_id: client.client }
  const about = {
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    ...(audience !== undefined && { audience }),
    ...(resource !== undefined && { resource }),
  }
  const ways: readonly oauth.ClientAuth[] =
    secret === undefined
      ? [oauth.None()]
      : [oauth.ClientSecretBasic(secret.reveal()), oauth.ClientSecretPost(secret.reveal())]
  /** The one that worked. */
  let [way = oauth.None()] = ways

  const ask = async (
    shown: oauth.ClientAuth,
    grant: string,
    parameters: Readonly<Record<string, string>>,
  ): Promise<Issued | NotIssued> => {
    const sent = [secret?.reveal(), parameters['subject_token']]
    try {
      const response = await oauth.genericTokenEndpointRequest(
        server,
        known,
        shown,
        grant,
        { ...about, ...parameters },
        {
          // The registry takes such an address only where it never leaves the machine.
          [oauth.allowInsecureRequests]: token.startsWith('http:'),
          [oauth.customFetch]: (url, { headers, body }) =>
            fetching(url, { headers, body: String(body), signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) }),
        },
      )
      if (response.status >= 500) return notIssued(undefined, `HTTP ${response.status}`, sent)
      const answer = await oauth.processGenericTokenEndpointResponse(server, known, response)
      if (answer.token_type !== 'bearer') return notIssued(undefined, 'its token is no bearer token', sent)
      if (!/^[\x21-\x7e]+$/.test(answer.access_token)) return notIssued(undefined, 'its token fits no header', sent)
      const lifeMs = answer.expires_in === undefined ? undefined : answer.expires_in * 1000
      return { ok: true, token: new Secret(answer.access_token), lifeMs }
    } catch (error) {
      if (error instanceof oauth.ResponseBodyError) {
        const { error: code, error_description: words } = error
        return notIssued(code, words === undefined ? code : `${code}: ${words}`, sent)
      }
      return notIssued(undefined, reasonOf(error), sent)
    }
  }

  return async (grant, parameters) => {
    const first = await ask(way, grant, parameters)
    const others = ways.filter((other) => other !== way)
    if (first.ok || first.error !== 'invalid_client') return first
    // Some endpoints know a client only by what stands in the body (RFC 6749 2.3.1).
    for (const other of others) {
      const again = await ask(other, grant, parameters)
      if (!again.ok && again.error === 'invalid_client') continue
      way = other
      return again
    }
    return first
  }
}

const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return 'there is no answer'
  if (error.name === 'TimeoutError') return `no answer within ${ANSWERS_WITHIN_MS} ms`
  const { cause } = error
  if (cause instanceof Response) return `HTTP ${cause.status}, and no answer of a token endpoint`
  return error.message === '' && 'code' in error ? String(error.code) : error.message
}

/** An endpoint may repeat what it was sent, to a log or to a client. */
const notIssued = (error: string | undefined, detail: string, sent: readonly (string | undefined)[]): NotIssued => {
  const without = sent.reduce<string>(
    (text, secret) => (secret === undefined || secret === '' ? text : text.replaceAll(secret, '[secret]')),
    detail,
  )
  return { ok: false, error, detail: without.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MOST_DETAIL) }
}
