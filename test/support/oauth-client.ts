/** What an MCP client's own OAuth flow needs of its application: it keeps what it is given, and follows redirects as a browser would. */
import type { OAuthClientProvider } from '@modelcontextprotocol/client'

type Saved<Save extends 'saveClientInformation' | 'saveDiscoveryState' | 'saveTokens'> = Parameters<
  NonNullable<OAuthClientProvider[Save]>
>[0]

export interface OAuthApplication {
  readonly provider: OAuthClientProvider
  /** What the browser came back with; there is something once the client has sent it away. */
  callback(): Promise<URLSearchParams>
  /** The access token of the moment. */
  token(): string
  /** Where the browser was sent, each time. */
  readonly authorizations: readonly URL[]
}

/** Nobody listens there: the browser stops before it. */
const REDIRECT = 'http://127.0.0.1:9/callback'
const MOST_REDIRECTS = 10

/** `account`: who sits in front of it. */
export const oauthApplication = (account: string): OAuthApplication => {
  const authorizations: URL[] = []
  let client: Saved<'saveClientInformation'> | undefined
  let tokens: Saved<'saveTokens'> | undefined
  let discovered: Saved<'saveDiscoveryState'> | undefined
  let verifier = ''
  let returned: Promise<URLSearchParams> | undefined
  return {
    provider: {
      redirectUrl: REDIRECT,
      clientMetadata: {
        client_name: 'published client',
        redirect_uris: [REDIRECT],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
      },
      clientInformation: () => client,
      saveClientInformation: (given) => void (client = given),
      tokens: () => tokens,
      saveTokens: (given) => void (tokens = given),
      saveCodeVerifier: (given) => void (verifier = given),
      codeVerifier: () => verifier,
      saveDiscoveryState: (given) => void (discovered = given),
      discoveryState: () => discovered,
      redirectToAuthorization: (url) => {
        authorizations.push(url)
        returned = browse(url, account)
        returned.catch(() => undefined) // whoever awaits it is told
      },
    },
    callback: () => returned ?? Promise.reject(new Error('nobody was asked to log in')),
    token: () => tokens?.access_token ?? '',
    authorizations,
  }
}

/** A browser without a past. */
const browse = async (from: URL, account: string): Promise<URLSearchParams> => {
  const cookies = new Map<string, string>()
  let url = new URL(from)
  url.searchParams.set('login_hint', account)
  for (let redirects = 0; redirects < MOST_REDIRECTS; redirects++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } })
    const text = await response.text()
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      cookies.set(name, value)
    }
    const location = response.headers.get('location')
    if (location === null) throw new Error(`${url.href} answered ${response.status}: ${text}`)
    url = new URL(location, url)
    if (url.href.startsWith(REDIRECT)) return url.searchParams
  }
  throw new Error(`${from.href} leads nowhere`)
}
