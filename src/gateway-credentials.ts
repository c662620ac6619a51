/** What servers are shown, wired: token endpoints over the network, real time, the log. */
import { realClock } from './clock.ts'
import { type Credentials, credentials } from './credentials/credentials.ts'
import { tokenEndpoint } from './credentials/token-endpoint.ts'
import { tokenFetch } from './credentials/token-fetch.ts'
import { trusted } from './xds/system-ca.ts'

interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** `onChange`: there are other tokens, which Envoy has to get. */
export const gatewayCredentials = (log: Log, onChange: (server: string) => void): Credentials =>
  credentials({
    endpoint: (client) => tokenEndpoint(client, tokenFetch(trusted(client.ca))),
    ...realClock,
    onChange,
    onProblem: (server, reason) => log.warn('no token for a server can be had', { server, reason }),
  })
