/** What it means when Envoy answered in a server's place, in words. */
import type { IncomingHttpHeaders } from 'node:http'
import { INNER_REPLY } from '../mcp/headers.ts'

/** Envoy's response flags that a way to a server can end with (configuration/observability/access_log/usage). */
const words: Readonly<Record<string, string>> = {
  UF: 'the connection failed',
  UH: 'its address could not be found',
  UC: 'the connection broke',
  UR: 'the server reset the connection',
  UPE: 'the server does not speak HTTP',
  UO: 'too many requests to it are under way',
  NC: 'Envoy does not know it yet',
  DF: 'its name could not be resolved',
}

/** Such as `the connection failed: Connection refused (Envoy: UF)`; undefined: the server answered itself. */
export const localReply = (headers: IncomingHttpHeaders): string | undefined => {
  const said = headers[INNER_REPLY]
  if (said === undefined) return undefined
  const [flags = '', details = ''] = String(said).split(' ')
  const flag = flags.split(',').find((one) => Object.hasOwn(words, one))
  // What the system or the TLS library said comes last, with underscores for spaces.
  const cause =
    /delayed_connect_error:_*([^|{}]+)/.exec(details)?.[1] ?? /TLS_error:.*:((?!TLS_)[A-Z_]{4,})/.exec(details)?.[1]
  const what = (flag === undefined ? undefined : words[flag]) ?? details.replaceAll('_', ' ')
  return `${what}${cause === undefined ? '' : `: ${cause.replaceAll('_', ' ').trim()}`} (Envoy: ${flags})`
}
