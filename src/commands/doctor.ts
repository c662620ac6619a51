/** `mcp-gateway doctor`: what is missing on this machine, and how to mend it. */
import { Command } from 'commander'
import { exitCode } from './exit-code.ts'
import type { Finding } from './machine.ts'
import { paint, print, printable, type Style } from './terminal.ts'

interface DoctorOptions {
  readonly envoy?: string
  readonly json?: boolean
}

const MARKS: Readonly<Record<Finding['state'], readonly [mark: string, style: Style]>> = {
  fine: ['✓', 'green'],
  note: ['!', 'yellow'],
  missing: ['✗', 'red'],
}

const line = ({ name, state, found, mend }: Finding, width: number): string => {
  const [mark, style] = MARKS[state]
  const how =
    mend === undefined || mend === ''
      ? ''
      : `\n${mend
          .split('\n')
          .map((part) => `    ${part}`)
          .join('\n')}`
  return `${paint(style, mark)} ${name.padEnd(width)} ${printable(found)}${paint('dim', how)}`
}

const asText = (findings: readonly Finding[]): string => {
  const width = Math.max(...findings.map(({ name }) => name.length))
  return findings.map((finding) => line(finding, width)).join('\n')
}

/** Where a registry without `listen` and `admin` listens. */
const DEFAULTS = { listen: { host: '127.0.0.1', port: 8080 }, admin: { host: '127.0.0.1', port: 8081 } }

/** Everything that is looked at, in the order a start would stumble over it. */
const examine = async (file: string, envoyPath: string | undefined): Promise<readonly Finding[]> => {
  const look = await import('./machine.ts')
  const { registry, finding } = look.registryFile(file)
  const { listen, admin } = registry?.gateway ?? DEFAULTS
  const servers = registry?.servers ?? []
  const stdio = servers.flatMap((server) => (server.enabled && server.kind === 'stdio' ? [server] : []))
  return [
    look.node(process.version),
    ...(await look.envoy(envoyPath, process.env)),
    await look.cacheDirectory(process.env),
    await look.runDirectory(process.env),
    look.openFiles(await look.openFilesLimit()),
    finding,
    ...(await look.ports(listen, admin)),
    ...(await Promise.all(stdio.map((server) => look.command(server, process.env)))),
  ]
}

export const doctor = (): Command =>
  new Command('doctor')
    .description('what is missing on this machine and how to mend it')
    .argument('[file]', 'the registry, for its ports and commands', 'registry.yaml')
    .option('--envoy <path>', 'the Envoy you mean to run')
    .option('--json', 'for programs')
    .action(async (file: string, options: DoctorOptions) => {
      const findings = await examine(file, options.envoy)
      print(options.json === true ? JSON.stringify(findings, undefined, 2) : asText(findings))
      if (findings.some(({ state }) => state === 'missing')) process.exitCode = exitCode.unreachable
    })
