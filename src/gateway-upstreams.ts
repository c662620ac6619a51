/** How each server of the registry is reached: over Envoy's inner listener, or as a child of ours. */
import { randomBytes } from 'node:crypto'
import type { MakeUpstream } from './broker/broker.ts'
import { ownId } from './broker/handshake.ts'
import { httpUpstream } from './broker/http-upstream.ts'
import type { InnerClient } from './broker/inner-client.ts'
import { sseUpstream } from './broker/sse-upstream.ts'
import { spawnStdio, type StdioLog } from './broker/stdio-process.ts'
import { stdioUpstream } from './broker/stdio-upstream.ts'
import type { SessionTable } from './sessions/session-table.ts'
import { version } from './version.ts'

interface Means {
  readonly inner: InnerClient
  readonly sessions: SessionTable
  readonly log: StdioLog
  /** The environment that children inherit a little of. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly onRestart: (server: string) => void
}

export const makeUpstreams = ({ inner, sessions, log, env, onRestart }: Means): MakeUpstream => {
  let count = 0
  // Nobody can guess an id of ours and have an answer of a server mistaken for one.
  const salt = randomBytes(9).toString('base64url')
  const nextId = (): string => ownId(salt, ++count)
  return (server, events) => {
    if (server.kind === 'http') {
      const upstream = server.transport === 'sse' ? sseUpstream : httpUpstream
      return upstream({ server, client: inner, nextId }, sessions, version, events)
    }
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
