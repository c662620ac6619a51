/** A small OAuth authorization server on loopback: it signs callers' tokens, and answers at its token endpoint as it is told to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inSeconds, type SigningKey, signingKey } from './tokens.ts'
import { waitingRoom } from './waiting-room.ts'

/** A request for a token, as it arrived. */
export interface TokenRequest {
  readonly form: URLSearchParams
  readonly authorization: string | undefined
  /** Who it comes from, however it says so. */
  readonly client: string
  readonly secret: string | undefined
  readonly how: 'basic' | 'post' | 'none'
  /** Claims of the subject token; undefined without one. */
  readonly subject: { readonly sub?: string } | undefined
}

/** Any HTTP answer. A text is the body as it is. */
export interface TokenAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>> | string
}

export interface AuthorizationServer extends AsyncDisposable {
  readonly issuer: string
  /** The URL of its token endpoint. */
  readonly endpoint: string
  readonly requests: TokenRequest[]
  /** What it answers now; may be changed at any time. */
  answer: (request: TokenRequest) => TokenAnswer | Promise<TokenAnswer>
  /** A token of somebody's, for this audience. */
  tokenOf(sub: string, audience: string, claims?: Readonly<Record<string, unknown>>): Promise<string>
  /** Every token that it gave out, of whatever kind. */
  readonly given: Set<string>
  /** Looks again at each request, until there is something other than undefined. */
  until<T>(look: () => T | undefined): Promise<T>
}

/** The usual answer: a new token that names what it is for, and is worth so many seconds. */
export const granted =
  (life: number | undefined = 300) =>
  ({ form, client, subject }: TokenRequest): TokenAnswer => ({
    body: {
      access_token: ['token', subject?.sub ?? client, form.get('audience') ?? 'any', ++serial].join('.'),
      token_type: 'Bearer',
      ...(life !== undefined && { expires_in: life }),
      ...(subject !== undefined && { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }),
    },
  })
let serial = 0

export const refuses = (error: string, description?: string, status = 400): TokenAnswer => ({
  status,
  body: { error, ...(description !== undefined && { error_description: description }) },
})

/** What a JWT says; of anything else nothing is known. */
const claimsIn = (token: string | null): TokenRequest['subject'] => {
  const [, payload, signature] = token?.split('.') ?? []
  return payload === undefined || signature === undefined
    ? undefined
    : JSON.parse(Buffer.from(payload, 'base64url').toString())
}

const requestOf = async (req: IncomingMessage): Promise<TokenRequest> => {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(Buffer.from(chunk))
  const form = new URLSearchParams(Buffer.concat(chunks).toString())
  const { authorization } = req.headers
  const [user, password] = Buffer.from(authorization?.replace(/^Basic /, '') ?? '', 'base64')
    .toString()
    .split(':')
    .map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
  const posted = form.get('client_secret') ?? undefined
  return {
    form,
    authorization,
    client: authorization === undefined ? (form.get('client_id') ?? '') : (user ?? ''),
    secret: authorization === undefined ? posted : password,
    how: authorization !== undefined ? 'basic' : posted !== undefined ? 'post' : 'none',
    subject: claimsIn(form.get('subject_token')),
  }
}

export const startAuthorizationServer = async (): Promise<AuthorizationServer> => {
  const key: SigningKey = await signingKey('RS256')
  const { until, wake } = waitingRoom()
  const given = new Set<string>()
  const token = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const asked = await requestOf(req)
    self.requests.push(asked)
    const { status = 200, headers = {}, body } = await self.answer(asked)
    if (typeof body === 'object' && typeof body['access_token'] === 'string') given.add(body['access_token'])
    res.writeHead(status, { 'content-type': 'application/json', ...headers })
    res.end(typeof body === 'string' ? body : JSON.stringify(body))
    setImmediate(wake)
  }
  const server = createServer((req, res) => {
    const json = (value: unknown): void =>
      void res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (req.url === '/token') token(req, res).catch((error: unknown) => res.writeHead(500).end(String(error)))
    else if (req.url === '/jwks') json({ keys: [key.published] })
    else if (req.url === '/.well-known/openid-configuration')
      json({ issuer: self.issuer, jwks_uri: `${self.issuer}/jwks`, token_endpoint: self.endpoint })
    else res.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const self: AuthorizationServer = {
    issuer,
    endpoint: `${issuer}/token`,
    requests: [],
    answer: granted(),
    given,
    until,
    async tokenOf(sub, audience, claims = {}) {
      const made = await key.sign({
        iss: issuer,
        sub,
        aud: audience,
        azp: 'agent',
        iat: inSeconds(0),
        exp: inSeconds(600),
        ...claims,
      })
      given.add(made)
      return made
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return self
}
