/** Where `serve` and `bootstrap` meet when no directory is said: the same for every start of one user. */
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

export const defaultRunDirectory = (env: Readonly<Record<string, string | undefined>> = process.env): string => {
  const runtime = env['XDG_RUNTIME_DIR']
  return runtime === undefined || runtime === ''
    ? join(tmpdir(), `mcp-gateway-${userInfo().uid}`)
    : join(runtime, 'mcp-gateway')
}

/** The node id of an Envoy that was given none. */
export const DEFAULT_NODE = 'envoy'
