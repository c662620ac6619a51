/** What has to be there before anything can be served: a registry without problems, an Envoy, free ports, a place for sockets. */
import { type FoundEnvoy, findEnvoy } from './envoy/find.ts'
import { claimPorts } from './envoy/ports.ts'
import { makeRunDir, type RunDir } from './envoy/run-dir.ts'
import type { GatewayEvent } from './gateway-event.ts'
import { type Loaded, loadRegistry, RegistryProblems } from './load-registry.ts'
import type { Address, Registry } from './registry/model.ts'
import { type RunPaths, runPaths } from './xds/run-paths.ts'

export const NODE = 'mcp-gateway'

interface Wanted {
  readonly file: string
  readonly overrides: { readonly listen?: string; readonly admin?: string }
  readonly envoy: 'supervised' | 'external'
  readonly envoyPath?: string
  readonly runDir?: string
  readonly log: { info(line: string): void }
  readonly onEvent: (event: GatewayEvent) => void
}

interface Ground {
  readonly first: Extract<Loaded, { ok: true }>
  /** Undefined: the operator's own connect by themselves. */
  readonly envoy: FoundEnvoy | undefined
  /** Where the edge really listens. */
  readonly edge: Address
  /** The registry with it. */
  readonly withPorts: (registry: Registry) => Registry
  readonly runDir: RunDir
  readonly run: RunPaths
}

/** Rejects with StartProblem or RegistryProblems. */
export const startingGround = async (options: Wanted): Promise<Ground> => {
  const { log, onEvent } = options
  const first = loadRegistry(options)
  if (!first.ok) throw new RegistryProblems(first.problems, first.text)
  const supervised = options.envoy === 'supervised'
  const envoy = supervised
    ? await findEnvoy({
        env: process.env,
        terminal: process.stderr.isTTY,
        say: (line) => log.info(line),
        ...(options.envoyPath !== undefined && { explicit: options.envoyPath }),
      })
    : undefined
  if (envoy?.warning !== undefined) onEvent({ kind: 'envoy', text: envoy.warning })
  if (first.warnings.length > 0) onEvent({ kind: 'warnings', problems: first.warnings, text: first.text })

  const { listen, admin } = first.registry.gateway
  const [edge = listen] = supervised
    ? await claimPorts([listen, admin])
    : await claimPorts([admin]).then(() => [listen])

  // An Envoy of the operator's may live in the same directory; its sockets are its own.
  const { ads, extProc, broker, ...envoys } = runPaths('', NODE)
  const runDir = await makeRunDir({
    sockets: [ads, extProc, broker, ...(supervised ? Object.values(envoys) : [])],
    env: process.env,
    ...(options.runDir !== undefined && { preferred: options.runDir }),
  })
  return {
    first,
    envoy,
    edge,
    withPorts: (registry) => ({ ...registry, gateway: { ...registry.gateway, listen: edge } }),
    runDir,
    run: runPaths(runDir.path, NODE),
  }
}
