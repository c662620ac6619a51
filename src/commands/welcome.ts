/** What `up` says once it is ready: the URL, the servers, and how to connect a client. */
import type { ServerStatus, Status } from '../admin/status.ts'
import { eraText } from './era-text.ts'
import { paint, printable, table } from './terminal.ts'

/** A client, where its setting goes, and the setting. */
const clients = (
  url: string,
  needToken: boolean,
): readonly (readonly [client: string, where: string, setting: string])[] => [
  ['Claude Code', '', `claude mcp add --transport http gateway ${url}`],
  ['VS Code', '.vscode/mcp.json', JSON.stringify({ servers: { gateway: { type: 'http', url } } })],
  ['Cursor', '~/.cursor/mcp.json', JSON.stringify({ mcpServers: { gateway: { url } } })],
  [
    'MCP Inspector',
    '',
    `npx @modelcontextprotocol/inspector --cli ${url} --transport http --method tools/list${
      needToken ? ' --header "Authorization: Bearer $TOKEN"' : ''
    }`,
  ],
]

const STATE_STYLES = { up: 'green', degraded: 'yellow', starting: 'yellow', down: 'red', disabled: 'dim' } as const

const isState = (text: string): text is ServerStatus['state'] => Object.hasOwn(STATE_STYLES, text)

/** One row per server. */
export const serverTable = (servers: readonly ServerStatus[]): string =>
  table(
    ['SERVER', 'STATE', 'TOOLS', 'PROMPTS', 'RESOURCES', 'ERA', ''],
    servers.map(({ name, state, tools, prompts, resources, templates, era, lastError }) => [
      name,
      state,
      String(tools),
      String(prompts),
      String(resources + templates),
      eraText(era?.eras ?? []),
      lastError ?? '',
    ]),
    (cell, column) => (column === 1 && isState(cell) ? paint(STATE_STYLES[cell], cell) : cell),
  )

const indented = (text: string, by: string): string =>
  text
    .split('\n')
    .map((line) => `${by}${line}`)
    .join('\n')

const MOST_EXAMPLES = 3

/** How many there are, and one of each server: the names tell how they are made. */
const toolCount = ({ tools }: Status): string => {
  const examples = tools
    .filter(({ server }, index) => tools.findIndex((other) => other.server === server) === index)
    .slice(0, MOST_EXAMPLES)
    .map(({ name }) => printable(name))
  const such = examples.length === 0 ? '' : `, such as ${examples.join(', ')}`
  return `${tools.length} ${tools.length === 1 ? 'tool' : 'tools'} in all${such}`
}

export const welcome = (ready: {
  readonly url: string
  readonly admin: string
  readonly file: string
  readonly status: Status
  /** Is somebody there to press Ctrl-C? */
  readonly interactive: boolean
}): string => {
  const { url, admin, status } = ready
  const settings = clients(url, status.auth !== undefined).map(
    ([client, where, setting]) => `${client.padEnd(15)}${where === '' ? '' : `${where}: `}${paint('bold', setting)}`,
  )
  return [
    `${paint('green', 'ready')}  MCP Gateway ${status.version} at ${paint('bold', url)}`,
    `       status page ${admin}`,
    ...(status.auth === undefined ? [] : [`       agents need a token of ${printable(status.auth.issuer)}`]),
    '',
    indented(serverTable(status.servers), '  '),
    '',
    `  ${toolCount(status)}; the status page shows all. Connect:`,
    '',
    indented(settings.join('\n'), '  '),
    '',
    `  Edit ${ready.file} and save: it is applied at once.${ready.interactive ? ' Ctrl-C ends everything.' : ''}`,
  ].join('\n')
}
