/** How each server of the registry is reached: over Envoy's inner listener, or as a child of ours. */
import { randomBytes } from 'node:crypto'
import type { Caller } from './clients/caller.ts'
import { authorityOf } from './clients/caller-key.ts'
import type { Credentials } from './credentials/credentials.ts'
import type { Subject } from './credentials/exchange.ts'
import type { HttpServer } from './registry/model.ts'
import type { SessionTable } from './sessions/session-table.ts'
import { callerUpstreams } from './upstreams/caller-upstreams.ts'
import { ownId } from './upstreams/handshake.ts'
import type { HttpEndpoint } from './upstreams/http-session.ts'
import { httpUpstream } from './upstreams/http-upstream.ts'
import type { InnerClient } from './upstreams/inner-client.ts'
import { shownClient, type Tokens } from './upstreams/shown-client.ts'
import { sseUpstream } from './upstreams/sse-upstream.ts'
import { type StdioLog, spawnStdio } from './upstreams/stdio-process.ts'
import { stdioUpstream } from './upstreams/stdio-upstream.ts'
import type { MakeUpstream, Upstream, UpstreamEvents } from './upstreams/upstream.ts'
import { version } from './version.ts'

interface Means {
  readonly inner: InnerClient
  readonly sessions: SessionTable
  /** What servers are shown. */
  readonly credentials: Pick<Credentials, 'tokenFor' | 'refused'>
  readonly log: StdioLog
  /** The environment that children inherit a little of. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly onRestart: (server: string) => void
}

export const makeUpstreams = ({ inner, sessions, credentials, log, env, onRestart }: Means): MakeUpstream => {
  let count = 0
  // Nobody can guess an id of ours and have an answer of a server mistaken for one.
  const salt = randomBytes(9).toString('base64url')
  const nextId = (): string => ownId(salt, ++count)
  const tokens: Tokens = {
    tokenFor: (server, caller) => credentials.tokenFor(server, caller === undefined ? undefined : subjectOf(caller)),
    refused: (server, caller) => credentials.refused(server, caller === undefined ? undefined : subjectOf(caller)),
  }
  const overHttp = (server: HttpServer, as: (() => Caller) | undefined, events: UpstreamEvents): Upstream => {
    const endpoint: HttpEndpoint = {
      server,
      client: shownClient(inner, () => endpoint.server, tokens),
      ...(as !== undefined && { as }),
      nextId,
    }
    const upstream = server.transport === 'sse' ? sseUpstream : httpUpstream
    return upstream(endpoint, sessions, version, events)
  }
  return (server, events) => {
    if (server.kind === 'http')
      return server.perCaller
        ? callerUpstreams({ server, make: overHttp, events })
        : overHttp(server, undefined, events)
    return stdioUpstream(
      server,
      (entry, onMessage, again) => {
        if (again) onRestart(entry.name)
        return spawnStdio({ ...entry, inherited: env, log, onMessage })
      },
      version,
      events,
    )
  }
}

const subjectOf = ({ principal, token }: Caller): Subject => {
  const { exp } = principal.claims
  return {
    key: authorityOf(principal),
    token,
    expiresMs: typeof exp === 'number' ? exp * 1000 : undefined,
  }
}
