/** Every token that servers are shown: our own, kept fresh, and those made from callers' tokens. */
import { type Clock, within } from '../clock.ts'
import type { HttpServer, OAuthClient, Registry } from '../registry/model.ts'
import { Secret } from '../registry/model.ts'
import { type Exchange, type Exchanged, exchanger, type Subject } from './exchange.ts'
import { CLIENT_CREDENTIALS, type TokenEndpoint } from './token-endpoint.ts'
import { type TokenStatus, tokenSource } from './token-source.ts'

export interface Credentials {
  /** Takes the registry in force: sources begin, go on or end. */
  use(registry: Registry): void
  /**
   * Server → the value of its `authorization` header, where Envoy adds a token of our own. Only tokens that were asked for as
   * this registry says: one of another client is not shown to a server that only has the same name.
   */
  values(registry: Registry): ReadonlyMap<string, Secret>
  /** What a server with `exchange` is shown; without a subject a token of our own. Never rejects. */
  tokenFor(server: HttpServer, subject: Subject | undefined): Promise<Exchanged>
  /** The server answered 401 to what it was shown. */
  refused(server: HttpServer, subject: Subject | undefined): void
  /** Resolves when every token of our own was had or refused for the first time, or after so long. */
  ready(withinMs: number): Promise<void>
  /** Server → its token of our own. Holds no secret. */
  status(): ReadonlyMap<string, TokenStatus>
  close(): void
}

interface Options extends Clock {
  readonly endpoint: (client: OAuthClient) => TokenEndpoint
  /** `values` is another one, by this server's token. */
  readonly onChange: (server: string) => void
  /** Told once for each reason. */
  readonly onProblem: (server: string, problem: string) => void
}

interface Entry {
  readonly client: OAuthClient
  readonly source: ReturnType<typeof tokenSource> | undefined
  readonly exchange: Exchange | undefined
}

export const credentials = (options: Options): Credentials => {
  const { now, onChange } = options
  const entries = new Map<string, Entry>()

  const begin = (server: HttpServer, client: OAuthClient, before: Entry | undefined): Entry => {
    const ask = options.endpoint(client)
    const isShared = server.exchange === undefined
    const seed = before !== undefined && sameToken(before.client, client) ? before.source?.held : undefined
    return {
      client,
      // Where each caller is shown what is the caller's, there is nothing to ask in our own name.
      source:
        isShared || !server.perCaller
          ? tokenSource({
              ...options,
              ask: () => ask(CLIENT_CREDENTIALS, {}),
              onChange: () => {
                if (isShared) onChange(server.name)
              },
              onProblem: (problem) => options.onProblem(server.name, problem),
              seed,
            })
          : undefined,
      exchange: isShared ? undefined : exchanger({ ask, now }),
    }
  }

  /** What is there for a server, if it was asked for as this entry of it says. */
  const entryOf = ({ name }: HttpServer, client: OAuthClient | undefined): Entry | undefined => {
    const entry = entries.get(name)
    return entry !== undefined && client !== undefined && sameToken(entry.client, client) ? entry : undefined
  }

  return {
    use(registry) {
      const wanted = new Map<string, HttpServer>()
      for (const server of registry.servers)
        if (server.kind === 'http' && server.enabled && clientOf(server) !== undefined) wanted.set(server.name, server)
      for (const [name, entry] of entries) {
        if (wanted.has(name)) continue
        entry.source?.close()
        entries.delete(name)
      }
      for (const [name, server] of wanted) {
        const client = clientOf(server)
        const before = entries.get(name)
        if (client === undefined || (before !== undefined && same(before, server, client))) continue
        before?.source?.close()
        entries.set(name, begin(server, client, before))
      }
    },
    values: ({ servers }) =>
      new Map(
        servers.flatMap((server) => {
          const token = server.kind === 'http' ? entryOf(server, server.oauth)?.source?.token : undefined
          return token === undefined ? [] : [[server.name, new Secret(`Bearer ${token.reveal()}`)] as const]
        }),
      ),
    async tokenFor(server, subject) {
      const entry = entryOf(server, server.exchange)
      if (entry?.exchange === undefined) return unknown
      if (subject !== undefined) return await entry.exchange.exchange(subject)
      if (entry.source === undefined) return unknown
      const token = await entry.source.first()
      return typeof token === 'string'
        ? { ok: false, status: 502, reason: 'exchange-failed', detail: token }
        : { ok: true, token }
    },
    refused({ name }, subject) {
      const entry = entries.get(name)
      if (subject !== undefined) entry?.exchange?.forget(subject)
      if (subject === undefined || entry?.exchange === undefined) entry?.source?.renew()
    },
    async ready(withinMs) {
      const answered = Promise.all(
        [...entries.values()].flatMap(({ source }) => (source === undefined ? [] : [source.first()])),
      )
      await within(withinMs, answered, options)
    },
    status: () =>
      new Map([...entries].flatMap(([name, { source }]) => (source === undefined ? [] : [[name, source.status()]]))),
    close() {
      for (const { source } of entries.values()) source?.close()
      entries.clear()
    },
  }
}

const clientOf = ({ oauth, exchange }: HttpServer): OAuthClient | undefined => oauth ?? exchange

const unknown: Exchanged = {
  ok: false,
  status: 502,
  reason: 'exchange-failed',
  detail: 'the registry names no token endpoint for this',
}

/** What makes two the same at the endpoint: then a token of one is as good as one of the other. */
const asked = ({ token, client, scopes, audience, resource }: OAuthClient): string =>
  JSON.stringify([token, client, scopes, audience, resource])
const sameToken = (a: OAuthClient, b: OAuthClient): boolean => asked(a) === asked(b)

const same = ({ client, source, exchange }: Entry, server: HttpServer, next: OAuthClient): boolean =>
  sameToken(client, next) &&
  client.ca === next.ca &&
  client.secret?.reveal() === next.secret?.reveal() &&
  (exchange === undefined) === (server.exchange === undefined) &&
  (source === undefined) === (server.exchange !== undefined && server.perCaller)
