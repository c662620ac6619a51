/** `mcp-gateway tools`: the catalogue of the gateway that runs. */
import { Command } from 'commander'
import type { Address } from '../registry/model.ts'
import { address } from './gateway-options.ts'
import type { SeenStatus } from './running-gateway.ts'
import { complain, paint, print, printable, table } from './terminal.ts'

interface ToolsOptions {
  readonly admin?: Address
  readonly json?: boolean
}

const rowsOf = ({ tools, servers }: SeenStatus) => {
  const states = new Map(servers.map(({ name, state }) => [name, state]))
  return tools.map((tool) => ({ ...tool, state: states.get(tool.server) ?? 'unknown' }))
}

/** What is not in the table, and why. */
const notes = ({ servers }: SeenStatus): readonly string[] =>
  servers.flatMap(({ name, state, lastError, hidden }) => [
    ...(state === 'up' ? [] : [`${name} is ${state}${lastError === undefined ? '' : `: ${lastError}`}`]),
    ...hidden.map((item) => `${name}: ${item.name} is hidden: ${item.reason}`),
  ])

const asText = (status: SeenStatus): string =>
  table(
    ['TOOL', 'SERVER', "SERVER'S NAME", 'PATH', 'STATE'],
    rowsOf(status).map(({ name, server, own, path, state }) => [name, server, own, path, state]),
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
