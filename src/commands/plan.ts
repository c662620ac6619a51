/** `mcp-gateway plan`: what an edited registry would change at the gateway that runs, before it is put in place. */
import { resolve } from 'node:path'
import { Command } from 'commander'
import type { Loaded } from '../load-registry.ts'
import type { Address, Registry } from '../registry/model.ts'
import { exitCode } from './exit-code.ts'
import { address } from './gateway-options.ts'
import type { Difference, PlanChanges, SampleChange, Side } from './plan-changes.ts'
import { DEFAULT_NODE, defaultRunDirectory } from './run-directory.ts'
import { complain, paint, print, printable } from './terminal.ts'

interface PlanOptions {
  readonly against?: string
  readonly admin?: Address
  readonly json?: boolean
}

type Good = Extract<Loaded, { ok: true }>

/** Undefined, with its problems told and the exit code set, when it is bad. */
const load = async (file: string): Promise<Good | undefined> => {
  const { loadRegistry } = await import('../load-registry.ts')
  const loaded = loadRegistry({ file, overrides: {} })
  if (loaded.text !== '') complain(loaded.text)
  if (loaded.ok) return loaded
  process.exitCode = exitCode.bad
  return undefined
}

/** The registry in force, as a file; undefined, with the reason told, when there is none to read. */
const inForce = async (file: string, next: Good, { against, admin }: PlanOptions): Promise<Good | undefined> => {
  if (against !== undefined) return await load(against)
  const { askStatus } = await import('./running-gateway.ts')
  const { registry } = await askStatus(admin ?? next.registry.gateway.admin, file)
  const before = await load(registry.file)
  if (before === undefined || before.version === registry.version) return before
  complain(
    `the gateway does not run ${registry.file} as it is now; give the registry it does run with --against, such as the last committed one`,
  )
  process.exitCode = exitCode.bad
  return undefined
}

const sideOf = async (registry: Registry): Promise<Side> => {
  const { resources } = await import('../xds/resources.ts')
  const { runPaths } = await import('../xds/run-paths.ts')
  const { snapshot } = await import('../xds/snapshot.ts')
  const { systemCa } = await import('../xds/system-ca.ts')
  const run = runPaths(resolve(defaultRunDirectory()), DEFAULT_NODE)
  return { registry, snapshot: snapshot(resources(registry, run, systemCa())) }
}

const lines = (title: string, { added, removed }: Difference, changed: readonly string[] = []): readonly string[] =>
  added.length + removed.length + changed.length === 0
    ? []
    : [
        paint('bold', title),
        ...added.map((one) => paint('green', `  + ${printable(one)}`)),
        ...changed.map((one) => paint('yellow', `  ~ ${printable(one)}`)),
        ...removed.map((one) => paint('red', `  - ${printable(one)}`)),
      ]

const sampleLines = ({ test, added, removed, confirmed, unconfirmed }: SampleChange): readonly string[] => [
  ...lines(`who is like "${printable(test)}" may call`, { added, removed }, [
    ...confirmed.map((tool) => `${tool}: now a human has to confirm it`),
    ...unconfirmed.map((tool) => `${tool}: no human has to confirm it any more`),
  ]),
]

const asText = (
  servers: string,
  restart: readonly string[],
  { tools, rules, samples, resources, unknown }: PlanChanges,
): string => {
  const said = [
    ...(servers === '' ? [] : [`${paint('bold', 'servers')}: ${servers}`]),
    ...(restart.length === 0
      ? []
      : [paint('yellow', `needs a restart, and is refused without one: ${restart.join(', ')}`)]),
    ...lines('rules', rules),
    ...lines('tools', tools),
    ...samples.flatMap(sampleLines),
    ...lines("Envoy's resources", resources, resources.changed),
    ...unknown.map((name) => paint('dim', `the tools of ${name} are not known before it runs`)),
  ]
  return said.length === 0 ? 'nothing would change' : said.join('\n')
}

export const plan = (): Command =>
  new Command('plan')
    .description('what an edited registry would change; exit code 1 when a test of its tests: would fail')
    .argument('[file]', 'the edited registry', 'registry.yaml')
    .option('--against <file>', 'the registry as it is now; default: the file that the running gateway has')
    .option('--admin <host:port>', 'ask the gateway there', address)
    .option('--json', 'for programs')
    .action(async (file: string, options: PlanOptions) => {
      const next = await load(file)
      if (next === undefined) return
      const before = await inForce(file, next, options)
      if (before === undefined) return
      const { askDefinitions } = await import('./running-gateway.ts')
      const { knownTools } = await import('../catalog/offer.ts')
      const { restartNeeded, whatChanged } = await import('../load-registry.ts')
      const { planChanges } = await import('./plan-changes.ts')
      const known = knownTools(await askDefinitions(options.admin ?? before.registry.gateway.admin, file))
      const changes = planChanges(await sideOf(before.registry), await sideOf(next.registry), known)
      const servers = whatChanged(before.registry, next.registry)
      const restart = restartNeeded(before.registry, next.registry, next.source).map(({ path }) => path)
      const { policyProblems } = await import('./policy-problems.ts')
      const problems = await policyProblems(next.registry, known)
      const failing = problems.filter(({ severity }) => severity === 'error')
      const warnings = problems.filter(({ severity }) => severity === 'warning')
      if (options.json === true)
        print(JSON.stringify({ servers, restart, ...changes, failing, warnings }, undefined, 2))
      else {
        print(asText(servers, restart, changes))
        if (problems.length > 0) complain(next.format(problems))
      }
      if (failing.length > 0) process.exitCode = exitCode.bad
    })
