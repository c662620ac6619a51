/** One running gateway, case after case: each puts its own servers behind it by saving another registry. */
import type { Status } from '../../src/admin/status.ts'
import type { GatewayUnderTest } from './gateway.ts'
import type { Received } from './mcp-script.ts'
import type { McpServer } from './mcp-server.ts'
import type { ClientOptions, RawClient } from './raw-client.ts'
import { connect } from './raw-client.ts'

/** A server's entry without its URL, or a whole one. */
type Entry = Readonly<Record<string, unknown>>

/** A registry: YAML is also JSON, so that nothing has to be quoted by hand. One line per server. */
export const registry = (
  servers: Readonly<Record<string, Entry | readonly [McpServer, Entry]>>,
  more: Entry = {},
): string => {
  const entry = (one: Entry | readonly [McpServer, Entry]): string =>
    JSON.stringify(isHosted(one) ? { url: one[0].url, ...one[1] } : one)
  const lines = Object.entries(servers).map(([name, one]) => `  ${name}: ${entry(one)}`)
  const sections = Object.entries(more).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return [...sections, 'servers:', ...lines, ''].join('\n')
}

const isHosted = (one: Entry | readonly [McpServer, Entry]): one is readonly [McpServer, Entry] => Array.isArray(one)

/** Saves it and waits until every Envoy has it and every server has answered, failed or used up its time. */
export const play = async (gateway: GatewayUnderTest, text: string): Promise<Status> => {
  await gateway.edit(text)
  return gateway.settled()
}

export type Path = 'direct' | 'broker'

/** What decides the path of a client's calls: whether it declares something the server may ask for. */
const capabilities = { direct: {}, broker: { elicitation: {} } } as const

/** A client whose calls take this path. A session's first call always goes through the broker, so `warm` is called once. */
export const connectOn = async (
  path: Path,
  url: string,
  warm: readonly string[],
  options: ClientOptions = {},
): Promise<RawClient> => {
  const client = await connect(url, { ...options, capabilities: { ...capabilities[path], ...options.capabilities } })
  for (const name of warm) await client.call(name)
  return client
}

/** Which way a request came to a server: Envoy numbers what clients send, the broker's own requests have no number. */
export const pathOf = ({ headers }: Received): Path => (headers['x-request-id'] === undefined ? 'broker' : 'direct')

/** The value of one series in Prometheus text; 0 when there is none, as for a counter that was never raised. */
export const sample = (text: string, name: string, labels: Readonly<Record<string, string>> = {}): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)

/** A promise that others wait for, and the function that ends the wait. */
export const gate = (): { readonly opened: Promise<void>; readonly open: () => void } => {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
