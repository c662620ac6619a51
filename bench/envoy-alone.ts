/** What the gateway is compared with: the same Envoy, one worker, one plain route to the server. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cores, startPinned, stop, type Tree, treeOf } from './processes.ts'

/** A port nobody listened at a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })

/** JSON is YAML. */
const bootstrap = (port: number, upstream: number): unknown => ({
  static_resources: {
    listeners: [
      {
        name: 'plain',
        address: address(port),
        filter_chains: [
          {
            filters: [
              {
                name: 'envoy.filters.network.http_connection_manager',
                typed_config: {
                  '@type':
                    'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                  stat_prefix: 'plain',
                  route_config: {
                    name: 'plain',
                    virtual_hosts: [
                      {
                        name: 'mcp',
                        domains: ['*'],
                        routes: [{ match: { prefix: '/' }, route: { cluster: 'server', timeout: '0s' } }],
                      },
                    ],
                  },
                  http_filters: [
                    {
                      name: 'envoy.filters.http.router',
                      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
                    },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
    clusters: [
      {
        name: 'server',
        type: 'STATIC',
        connect_timeout: '5s',
        load_assignment: {
          cluster_name: 'server',
          endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream) } }] }],
        },
      },
    ],
  },
})

export interface EnvoyAlone extends AsyncDisposable {
  readonly port: number
  readonly tree: Tree
}

export const startEnvoyAlone = async (cores: Cores, binary: string, upstream: number): Promise<EnvoyAlone> => {
  const directory = await mkdtemp(join(tmpdir(), 'bench-'))
  const port = await freePort()
  const config = join(directory, 'envoy.json')
  await writeFile(config, JSON.stringify(bootstrap(port, upstream)))
  const args = ['--config-path', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error']
  const child = startPinned(cores.measured, binary, args, ['ignore', 'ignore', 'inherit'])
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error('the plain Envoy ended')
    await sleep(20)
  }
  return {
    port,
    tree: treeOf(child.pid ?? -1),
    async [Symbol.asyncDispose]() {
      await stop(child)
      await rm(directory, { recursive: true, force: true })
    },
  }
}
