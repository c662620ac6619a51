/** `mcp-gateway tools`: the catalogue of the gateway that runs. */
import { Command } from 'commander'
import type { Address } from '../registry/model.ts'
import { eraText } from './era-text.ts'
import { address } from './gateway-options.ts'
import type { SeenStatus } from './running-gateway.ts'
import { complain, paint, print, printable, table } from './terminal.ts'

interface ToolsOptions {
  readonly admin?: Address
  readonly json?: boolean
}

const rowsOf = ({ tools, servers }: SeenStatus) => {
  const known = new Map(servers.map((server) => [server.name, server]))
  return tools.map((tool) => {
    const server = known.get(tool.server)
    return { ...tool, eras: server?.era?.eras ?? [], state: server?.state ?? 'unknown' }
  })
}

/** What is not in the table, and why. */
const notes = ({ servers }: SeenStatus): readonly string[] =>
  servers.flatMap(({ name, state, lastError, hidden }) => [
    ...(state === 'up' ? [] : [`${name} is ${state}${lastError === undefined ? '' : `: ${lastError}`}`]),
    ...hidden.map((item) => `${name}: ${item.name} is hidden: ${item.reason}`),
  ])

const asText = (status: SeenStatus): string =>
  table(
    ['TOOL', 'SERVER', "SERVER'S NAME", 'ERA', 'STATEFUL CLIENTS', 'STATELESS CLIENTS', 'STATE'],
    rowsOf(status).map(({ name, server, own, eras, paths, state }) => [
      name,
      server,
      own,
      eraText(eras),
      paths?.stateful ?? '',
      paths?.stateless ?? '',
      state,
    ]),
    (cell, column) => (column === 0 ? paint('bold', cell) : cell),
  )

const asJson = (status: SeenStatus): string =>
  JSON.stringify({ url: status.url, tools: rowsOf(status), servers: status.servers }, undefined, 2)

const adminOf = async (file: string): Promise<Address | undefined> => {
  const { goodRegistry } = await import('./registry-file.ts')
  return goodRegistry(file)?.gateway.admin
}

export const tools = (): Command =>
  new Command('tools')
    .description('the tools of the running gateway: exposed name, server, path taken, state')
    .argument('[file]', 'the registry, for its admin address', 'registry.yaml')
    .option('--admin <host:port>', 'ask the gateway there; the file is not read then', address)
    .option('--json', 'for programs')
    .action(async (file: string, options: ToolsOptions) => {
      const admin = options.admin ?? (await adminOf(file))
      if (admin === undefined) return
      const { askStatus } = await import('./running-gateway.ts')
      const status = await askStatus(admin, file)
      print(options.json === true ? asJson(status) : asText(status))
      if (options.json !== true)
        for (const note of notes(status)) complain(paint('dim', printable(note), process.stderr))
    })
