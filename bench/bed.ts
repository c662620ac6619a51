/** What every measurement stands on: servers, load generator, the gateway's command and an Envoy, each on its core. */

import type { Era } from '../src/mcp/versions.ts'
import { startEnvoyAlone } from './envoy-alone.ts'
import { type Gateway, startGateway } from './gateway.ts'
import type { Capabilities, Endpoint } from './mcp-client.ts'
import type { Cores, Tree } from './processes.ts'
import type { Subject } from './subjects.ts'
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

/** One of those that are compared, up and running. */
export interface Contender extends Endpoint {
  readonly subject: Subject
  readonly tree: Tree
  readonly capabilities: Capabilities
  /** What the server's tool `echo` is called here. */
  readonly tool: string
}

export interface Contenders extends AsyncDisposable {
  readonly all: readonly Contender[]
  /** By the era of its server. */
  readonly gateways: Readonly<Record<Era, Gateway>>
}

/** See `mcp-server.ts` for its paths. */
const pathOf = (tools: number, name: string, era: Era): string =>
  `/${tools}/${name}/${era === 'stateful' ? 'mcp' : 'stateless'}`

/** A server with that many tools, as an entry of a registry. */
export const entry = (
  { servers }: Bed,
  tools: number,
  name: string,
  era: Era = 'stateful',
): { readonly url: string } => ({
  url: `http://127.0.0.1:${servers.port}${pathOf(tools, name, era)}`,
})

export const gatewayFor = (bed: Bed, servers: Readonly<Record<string, unknown>>): Promise<Gateway> =>
  startGateway({ ...bed, servers })

const TOOLS = 20

/** All in front of servers with 20 tools; a gateway for each era of theirs, one of which has nothing to do at a time. */
export const startContenders = async (bed: Bed): Promise<Contenders> => {
  const { servers, cores, envoy } = bed
  const alone = await startEnvoyAlone(cores, envoy, servers.port)
  const inFrontOf = async (era: Era): Promise<Gateway> => {
    const gateway = await gatewayFor(bed, { bench: entry(bed, TOOLS, 'bench', era) })
    await gateway.settled()
    return gateway
  }
  const gateways = { stateful: await inFrontOf('stateful'), stateless: await inFrontOf('stateless') }
  const unproxied = (era: Era) => ({
    port: servers.port,
    path: pathOf(TOOLS, 'bench', era),
    tree: { node: [], envoy: [] },
    capabilities: '{}' as const,
    tool: 'echo',
  })
  const plain = (era: Era) => ({ ...unproxied(era), port: alone.port, tree: alone.tree })
  const behind = ({ port, path, tree }: Gateway) => ({
    port,
    path,
    tree,
    capabilities: '{}' as const,
    tool: 'bench_echo',
  })
  return {
    gateways,
    all: [
      { subject: 'server', ...unproxied('stateful') },
      { subject: 'envoy', ...plain('stateful') },
      { subject: 'direct path', ...behind(gateways.stateful) },
      { subject: 'broker path', ...behind(gateways.stateful), capabilities: '{"elicitation":{}}' },
      { subject: 'to stateless', ...behind(gateways.stateless) },
      { subject: 'stateless server', ...unproxied('stateless') },
      { subject: 'stateless envoy', ...plain('stateless') },
      { subject: 'stateless direct path', ...behind(gateways.stateless) },
      { subject: 'to stateful', ...behind(gateways.stateful) },
    ],
    async [Symbol.asyncDispose]() {
      for (const each of [gateways.stateless, gateways.stateful, alone]) await each[Symbol.asyncDispose]()
    },
  }
}

/** The contenders from another one on in each round, so that none always follows the same neighbour. */
export const inTurn = <T>(all: readonly T[], round: number): readonly T[] => {
  const from = round % all.length
  return [...all.slice(from), ...all.slice(0, from)]
}
