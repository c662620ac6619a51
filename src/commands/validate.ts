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

const summary = (file: string, { servers, tests }: Registry): string => {
  const enabled = servers.filter((server) => server.enabled).length
  const off = servers.length - enabled
  return [
    `${file}: ${enabled} ${enabled === 1 ? 'server' : 'servers'}`,
    ...(off === 0 ? [] : [`${off} disabled`]),
    ...(tests.length === 0 ? [] : [`${tests.length} ${tests.length === 1 ? 'test' : 'tests'} passed`]),
    'fine',
  ].join(', ')
}

/** What the registry's tests and its rules say of the tools: of those that the servers have, as far as they were asked, or the lock. */
const policyProblems = async (registry: Registry, reached: readonly Live[]): Promise<readonly Problem[]> => {
  const { offers } = await import('../catalog/offer.ts')
  const { rulesWithoutTools, runPolicyTests } = await import('../policy/check.ts')
  const { namedTool } = await import('../policy/named-tool.ts')
  const { policyOf } = await import('../policy/policy.ts')
  const known = new Map(reached.flatMap((live) => (live.ok ? [[live.server, live.tools] as const] : [])))
  const all = offers(registry, known)
  const resolve = (name: string) => all.get(name) ?? namedTool(registry, name)
  return [
    ...runPolicyTests(registry, policyOf(registry), resolve, all.keys()),
    ...(reached.length === 0 ? [] : rulesWithoutTools(registry, (server) => known.get(server)?.map(({ own }) => own))),
  ]
}

const asJson = (live: Live) => (live.ok ? { ...live, tools: live.tools.map(({ own }) => own) } : live)

export const validate = (): Command =>
  new Command('validate')
    .description('problems of a registry, each with its place, and its tests; exit code 1 when there are errors')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--live', 'also connect to every enabled server; exit code 3 when one does not answer')
    .option('--json', 'for programs')
    .action(async (file: string, { json = false, live = false }: ValidateOptions) => {
      const { loadRegistry } = await import('../load-registry.ts')
      const result = loadRegistry({ file, overrides: {} })
      const reached = result.ok && live ? await connectAll(result.registry) : []
      const found = result.ok ? await policyProblems(result.registry, reached) : []
      const problems = [...(result.ok ? result.warnings : result.problems), ...found]
      const ok = result.ok && !found.some(({ severity }) => severity === 'error')
      if (!json && problems.length > 0) complain(result.format(problems))
      if (json) {
        const servers = live ? { servers: reached.map(asJson) } : {}
        print(JSON.stringify({ ok, problems: problems.map((one) => flat(file, one)), ...servers }, undefined, 2))
      } else if (result.ok)
        print([...reached.map(liveLine), ...(ok ? [summary(file, result.registry)] : [])].join('\n'))
      if (!ok) process.exitCode = exitCode.bad
      else if (reached.some((one) => !one.ok)) process.exitCode = exitCode.unreachable
    })
