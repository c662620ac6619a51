/** A real OpenID provider on loopback: registers clients, logs people in without asking, issues JWTs for the resource asked for. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
// @ts-expect-error -- the package comes without types; what is used of it is written down below
import Untyped from 'oidc-provider'
import { type SigningKey, signingKey } from './tokens.ts'

/** Somebody who can log in, and what tokens then say of them. */
export interface Account {
  /** What they agree to; a client gets of it what it asks for. */
  scopes?: readonly string[]
  /** Beside the usual claims, such as Keycloak's `resource_access`. */
  readonly claims?: Readonly<Record<string, unknown>>
}

export interface IdentityProvider extends AsyncDisposable {
  readonly issuer: string
  /** Which of its keys signs. */
  readonly key: SigningKey
  /** By `sub`; the `login_hint` of an authorization request says who it is. */
  readonly accounts: Map<string, Account>
  /** Paths it was asked for, without queries. */
  readonly asked: readonly string[]
  /** From now on another key signs, and only that one is published. */
  rotate(): Promise<void>
  /** While down, it answers nothing but 503. */
  down: boolean
}

interface Interaction {
  readonly params: Readonly<Record<string, unknown>>
}

interface Grant {
  addOIDCScope(scope: string): void
  addResourceScope(resource: string, scope: string): void
  rejectResourceScope(resource: string, scope: string): void
  save(): Promise<string>
}

interface Provider {
  readonly Grant: new (of: { readonly accountId: string; readonly clientId: unknown }) => Grant
  callback(): (req: IncomingMessage, res: ServerResponse) => Promise<void>
  interactionDetails(req: IncomingMessage, res: ServerResponse): Promise<Interaction>
  interactionFinished(req: IncomingMessage, res: ServerResponse, result: unknown): Promise<void>
}

const Provider: new (issuer: string, configuration: unknown) => Provider = Untyped

export interface IdentityProviderOptions {
  readonly port?: number
  /** Every scope it knows for the resources it issues tokens for. */
  readonly scopes?: readonly string[]
  readonly down?: boolean
}

export const startIdentityProvider = async (options: IdentityProviderOptions = {}): Promise<IdentityProvider> => {
  const { scopes = [] } = options
  const accounts = new Map<string, Account>()
  const asked: string[] = []
  let key = await signingKey('RS256')
  let down = options.down ?? false
  const server = createServer((req, res) => {
    asked.push((req.url ?? '').replace(/\?.*/, ''))
    if (down) return void res.writeHead(503).end()
    const answered = req.url?.startsWith('/interaction/') === true ? interact(req, res) : callback(req, res)
    answered.catch((error: unknown) => res.writeHead(500).end(String(error)))
  })
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const made = (): Provider =>
    new Provider(issuer, {
      jwks: { keys: [key.jwk] },
      scopes: ['openid', 'offline_access', ...scopes],
      features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          useGrantedResource: () => true,
          getResourceServerInfo: (_context: unknown, resource: string) => ({
            scope: scopes.join(' '),
            audience: resource,
            accessTokenTTL: 300,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: key.alg } },
          }),
        },
      },
      interactions: { url: (_context: unknown, { uid }: { readonly uid: string }) => `/interaction/${uid}` },
      findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
      extraTokenClaims: (_context: unknown, { accountId }: { readonly accountId: string }) =>
        accounts.get(accountId)?.claims ?? {},
      cookies: { keys: ['for tests'] },
      clientDefaults: { id_token_signed_response_alg: key.alg },
      ttl: { Session: 600, Grant: 600, Interaction: 600, IdToken: 600 },
    })
  let provider = made()
  let callback = provider.callback()

  /** Logs in whom the request hints at, and agrees to what they agree to. */
  const interact = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const { params } = await provider.interactionDetails(req, res)
    const [accountId, resource] = [String(params['login_hint']), String(params['resource'])]
    const agreed = accounts.get(accountId)?.scopes ?? []
    const grant = new provider.Grant({ accountId, clientId: params['client_id'] })
    grant.addOIDCScope(['openid', 'offline_access', ...scopes].join(' '))
    for (const scope of scopes) {
      if (agreed.includes(scope)) grant.addResourceScope(resource, scope)
      else grant.rejectResourceScope(resource, scope)
    }
    const grantId = await grant.save()
    await provider.interactionFinished(req, res, { login: { accountId }, consent: { grantId } })
  }

  return {
    issuer,
    accounts,
    asked,
    get key() {
      return key
    },
    get down() {
      return down
    },
    set down(now) {
      down = now
    },
    async rotate() {
      key = await signingKey('RS256')
      provider = made()
      callback = provider.callback()
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
