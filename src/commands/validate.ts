/** `mcp-gateway validate`: every problem of a registry at once, and with `--live` whether its servers answer. */
import { Command } from 'commander'
import type { Problem, Registry } from '../registry/model.ts'
import { version } from '../version.ts'
import { exitCode } from './exit-code.ts'
import type { Live } from './live.ts'
import { complain, paint, print, printable } from './terminal.ts'

interface ValidateOptions {
  readonly json?: boolean
  readonly live?: boolean
}

/** All servers at once: one that hangs costs its own timeout, no more. */
const connectAll = async ({ servers }: Registry): Promise<readonly Live[]> => {
  const { connectLive } = await import('./live.ts')
  return Promise.all(servers.filter(({ enabled }) => enabled).map((server) => connectLive(server, version)))
}

const liveLine = (live: Live): string =>
  live.ok
    ? `${paint('green', '✓')} ${live.server}: ${live.tools.length} tools, protocol ${live.protocolVersion}`
    : `${paint('red', '✗')} ${live.server}: ${printable(live.error)}`

const flat = (registry: string, { severity, file = registry, place, path, message, hint }: Problem) => ({
  severity,
  file,
  ...place,
  path,
  message,
  ...(hint === undefined ? {} : { hint }),
})

const summary = (file: string, registry: Registry): string => {
  const enabled = registry.servers.filter((server) => server.enabled).length
  const off = registry.servers.length - enabled
  return `${file}: ${enabled} ${enabled === 1 ? 'server' : 'servers'}${off === 0 ? '' : `, ${off} disabled`}, fine`
}

export const validate = (): Command =>
  new Command('validate')
    .description('problems of a registry, each with its place; exit code 1 when there are errors')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--live', 'also connect to every enabled server; exit code 3 when one does not answer')
    .option('--json', 'for programs')
    .action(async (file: string, { json = false, live = false }: ValidateOptions) => {
      const { loadRegistry } = await import('../load-registry.ts')
      const result = loadRegistry({ file, overrides: {} })
      const problems = result.ok ? result.warnings : result.problems
      if (!json && result.text !== '') complain(result.text)
      const reached = result.ok && live ? await connectAll(result.registry) : []
      if (json) {
        const servers = live ? { servers: reached } : {}
        print(
          JSON.stringify({ ok: result.ok, problems: problems.map((one) => flat(file, one)), ...servers }, undefined, 2),
        )
      } else if (result.ok) print([...reached.map(liveLine), summary(file, result.registry)].join('\n'))
      if (!result.ok) process.exitCode = exitCode.bad
      else if (reached.some(({ ok }) => !ok)) process.exitCode = exitCode.unreachable
    })
