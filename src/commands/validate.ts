/** `mcp-gateway validate`: every problem of a registry at once, and with `--live` whether its servers and the issuer answer. */

import { Command } from 'commander'
import type { KnownTools } from '../catalog/offer.ts'
import type { Problem, Registry } from '../registry/model.ts'
import { version } from '../version.ts'
import { exitCode } from './exit-code.ts'
import type { Live } from './live.ts'
import type { LiveKeys } from './live-keys.ts'
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

const liveLine = (live: Live): string => {
  if (!live.ok) return `${paint('red', '✗')} ${live.server}: ${printable(live.error)}`
  if ('unasked' in live) return `${paint('yellow', '–')} ${live.server}: not asked, ${live.unasked}`
  const { length } = live.tools
  return `${paint('green', '✓')} ${live.server}: ${length} ${length === 1 ? 'tool' : 'tools'}, protocol ${live.protocolVersion}`
}

const keysLine = ({ issuer, ok, keys, error }: LiveKeys): string =>
  ok
    ? `${paint('green', '✓')} gateway.auth: ${keys} ${keys === 1 ? 'key' : 'keys'} of ${printable(issuer)}`
    : `${paint('red', '✗')} gateway.auth: no keys of ${printable(issuer)}: ${printable(error ?? '')}`

const flat = (registry: string, { severity, file = registry, place, path, message, hint }: Problem) => ({
  severity,
  file,
  ...place,
  path,
  message,
  ...(hint === undefined ? {} : { hint }),
})

const summary = (file: string, { servers, tests }: Registry, unanswered: number): string => {
  const enabled = servers.filter((server) => server.enabled).length
  const off = servers.length - enabled
  return [
    `${file}: ${enabled} ${enabled === 1 ? 'server' : 'servers'}`,
    ...(off === 0 ? [] : [`${off} disabled`]),
    ...(tests.length === 0 ? [] : [`${tests.length} ${tests.length === 1 ? 'test' : 'tests'} passed`]),
    unanswered === 0 ? 'fine' : 'no problem in the file itself',
  ].join(', ')
}

/** Undefined: no server was asked. */
const toolsIn = (reached: readonly Live[]): KnownTools | undefined =>
  reached.length === 0
    ? undefined
    : new Map(reached.flatMap((live) => ('tools' in live ? [[live.server, live.tools] as const] : [])))

const asJson = (live: Live) => ('tools' in live ? { ...live, tools: live.tools.map(({ own }) => own) } : live)

export const validate = (): Command =>
  new Command('validate')
    .description('problems of a registry, each with its place, and its tests; exit code 1 when there are errors')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option(
      '--live',
      "also connect to every enabled server, and ask for the issuer's keys; exit code 3 when one does not answer",
    )
    .option('--json', 'for programs')
    .action(async (file: string, { json = false, live = false }: ValidateOptions) => {
      const { loadRegistry } = await import('../load-registry.ts')
      const result = loadRegistry({ file, overrides: {} })
      const reached = result.ok && live ? await connectAll(result.registry) : []
      const auth = result.ok && live ? result.registry.gateway.auth : undefined
      const keys = auth === undefined ? undefined : await (await import('./live-keys.ts')).liveKeys(auth)
      const unanswered = [...reached, ...(keys === undefined ? [] : [keys])].filter((one) => !one.ok).length
      const { policyProblems } = await import('./policy-problems.ts')
      const found = result.ok ? await policyProblems(result.registry, toolsIn(reached)) : []
      const problems = [...(result.ok ? result.warnings : result.problems), ...found]
      const ok = result.ok && !found.some(({ severity }) => severity === 'error')
      if (!json && problems.length > 0) complain(result.format(problems))
      if (json) {
        const servers = live ? { servers: reached.map(asJson) } : {}
        const said = { ok, problems: problems.map((one) => flat(file, one)), ...servers, ...(keys && { auth: keys }) }
        print(JSON.stringify(said, undefined, 2))
      } else if (result.ok) {
        const asked = [...(keys === undefined ? [] : [keysLine(keys)]), ...reached.map(liveLine)]
        print([...asked, ...(ok ? [summary(file, result.registry, unanswered)] : [])].join('\n'))
      }
      if (!ok) process.exitCode = exitCode.bad
      else if (unanswered > 0) process.exitCode = exitCode.unreachable
    })
