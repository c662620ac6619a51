/** What every measurement stands on: servers, load generator, the gateway's command and an Envoy, each on its core. */
import { startEnvoyAlone } from './envoy-alone.ts'
import { type Gateway, startGateway } from './gateway.ts'
import type { Capabilities, Endpoint } from './mcp-client.ts'
import type { Cores, Tree } from './processes.ts'
import type { Subject } from './results.ts'
import type { Load, Servers } from './workers.ts'

export interface Bed {
  readonly cores: Cores
  readonly main: string
  readonly envoy: string
  readonly servers: Servers
  readonly load: Load
  /** Says on the terminal what goes on. */
  readonly say: (line: string) => void
}

/** One of the four that are compared, up and running. */
export interface Contender extends Endpoint {
  readonly subject: Subject
  readonly tree: Tree
  readonly capabilities: Capabilities
  /** What the server's tool `echo` is called here. */
  readonly tool: string
}

export interface Contenders extends AsyncDisposable {
  readonly all: readonly Contender[]
  readonly gateway: Gateway
}

/** A server with that many tools, as an entry of a registry. */
export const entry = ({ servers }: Bed, tools: number, name: string): unknown => ({
  url: `http://127.0.0.1:${servers.port}/${tools}/${name}/mcp`,
})

export const gatewayFor = (bed: Bed, servers: Readonly<Record<string, unknown>>): Promise<Gateway> =>
  startGateway({ ...bed, servers })

const TOOLS = 20

/** All four in front of one server with 20 tools. */
export const startContenders = async (bed: Bed): Promise<Contenders> => {
  const { servers, cores, envoy } = bed
  const path = `/${TOOLS}/bench/mcp`
  const alone = await startEnvoyAlone(cores, envoy, servers.port)
  const gateway = await gatewayFor(bed, { bench: entry(bed, TOOLS, 'bench') })
  await gateway.settled()
  const behind = { port: gateway.port, path: gateway.path, tree: gateway.tree, tool: 'bench_echo' }
  return {
    gateway,
    all: [
      {
        subject: 'server',
        port: servers.port,
        path,
        tree: { node: [], envoy: [] },
        capabilities: '{}',
        tool: 'echo',
      },
      { subject: 'envoy', port: alone.port, path, tree: alone.tree, capabilities: '{}', tool: 'echo' },
      { subject: 'direct path', ...behind, capabilities: '{}' },
      { subject: 'broker path', ...behind, capabilities: '{"elicitation":{}}' },
    ],
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]()
      await alone[Symbol.asyncDispose]()
    },
  }
}

/** The contenders from another one on in each round, so that none always follows the same neighbour. */
export const inTurn = <T>(all: readonly T[], round: number): readonly T[] => {
  const from = round % all.length
  return [...all.slice(from), ...all.slice(0, from)]
}
