/** What `up` says once it is ready: the URL, the servers, and how to connect a client. */
import type { ServerStatus, Status } from '../admin/status.ts'
import { paint, table } from './terminal.ts'

/** A client, where its setting goes, and the setting. */
const clients = (url: string): readonly (readonly [client: string, where: string, setting: string])[] => [
  ['Claude Code', '', `claude mcp add --transport http gateway ${url}`],
  ['VS Code', '.vscode/mcp.json', JSON.stringify({ servers: { gateway: { type: 'http', url } } })],
  ['Cursor', '~/.cursor/mcp.json', JSON.stringify({ mcpServers: { gateway: { url } } })],
  ['MCP Inspector', '', `npx @modelcontextprotocol/inspector --cli ${url} --transport http --method tools/list`],
]

const STATE_STYLES = { up: 'green', degraded: 'yellow', starting: 'yellow', down: 'red', disabled: 'dim' } as const

const isState = (text: string): text is ServerStatus['state'] => Object.hasOwn(STATE_STYLES, text)

/** One row per server. */
export const serverTable = (servers: readonly ServerStatus[]): string =>
  table(
    ['SERVER', 'STATE', 'TOOLS', 'PROMPTS', 'RESOURCES', 'PATH', ''],
    servers.map(({ name, state, tools, prompts, resources, templates, path, lastError }) => [
      name,
      state,
      String(tools),
      String(prompts),
      String(resources + templates),
      path,
      lastError ?? '',
    ]),
    (cell, column) => (column === 1 && isState(cell) ? paint(STATE_STYLES[cell], cell) : cell),
  )

const indented = (text: string, by: string): string =>
  text
    .split('\n')
    .map((line) => `${by}${line}`)
    .join('\n')

export const welcome = (ready: {
  readonly url: string
  readonly admin: string
  readonly file: string
  readonly status: Status
  /** Is somebody there to press Ctrl-C? */
  readonly interactive: boolean
}): string => {
  const { url, admin, status } = ready
  const settings = clients(url).map(
    ([client, where, setting]) => `${client.padEnd(15)}${where === '' ? '' : `${where}: `}${paint('bold', setting)}`,
  )
  const tools = status.tools.length
  return [
    `${paint('green', 'ready')}  MCP Gateway ${status.version} at ${paint('bold', url)}`,
    `       status page ${admin}`,
    '',
    indented(serverTable(status.servers), '  '),
    '',
    `  ${tools} ${tools === 1 ? 'tool' : 'tools'} in all (mcp-gateway tools lists them). Connect:`,
    '',
    indented(settings.join('\n'), '  '),
    '',
    `  Edit ${ready.file} and save: it is applied at once.${ready.interactive ? ' Ctrl-C ends everything.' : ''}`,
  ].join('\n')
}
