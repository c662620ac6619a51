/** A real Envoy with the edge's own shape and nothing else: proof header, ext_proc, one server, the broker, an empty cluster. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export interface EdgeOptions {
  readonly envoy: string
  readonly extProcSocket: string
  /** Ports on loopback. */
  readonly server: number
  readonly broker: number
  /** HTTP filters before ext_proc. */
  readonly filters?: readonly object[]
  /** Members laid over the connection manager's configuration. */
  readonly hcm?: object
  /** Members laid over the ext_proc filter's configuration. */
  readonly extProc?: object
  /** Members laid over the ext_proc cluster. */
  readonly extProcCluster?: object
  readonly runtime?: object
}

export interface EdgeEnvoy extends AsyncDisposable {
  /** Where clients connect. */
  readonly port: number
  readonly pid: number
  /** A counter or gauge of Envoy's, by its full name. */
  stat(name: string): Promise<number>
}

const type = (name: string) => ({ '@type': `type.googleapis.com/envoy.${name}` })

const cluster = (name: string, address: object | undefined, http2: boolean, filters: readonly object[] = []) => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: {
    cluster_name: name,
    endpoints: address === undefined ? [] : [{ lb_endpoints: [{ endpoint: { address } }] }],
  },
  circuit_breakers: { thresholds: [{ max_requests: 100_000, max_pending_requests: 100_000, max_connections: 10_000 }] },
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      ...type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: http2 ? { http2_protocol_options: {} } : { http_protocol_options: {} },
      ...(http2 ? { common_http_protocol_options: { max_requests_per_connection: 900 } } : {}),
      ...(filters.length === 0
        ? {}
        : {
            http_filters: [
              ...filters,
              { name: 'codec', typed_config: type('extensions.filters.http.upstream_codec.v3.UpstreamCodec') },
            ],
          }),
    },
  },
})

const loopback = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
const headerMutation = (mutations: object) => ({
  name: 'header_mutation',
  typed_config: { ...type('extensions.filters.http.header_mutation.v3.HeaderMutation'), mutations },
})

const proof = (name: string, match: object) => ({
  name,
  match: { prefix: '/', headers: [{ name: 'x-mcp-cluster', string_match: match }] },
  request_headers_to_remove: ['x-mcp-cluster'],
  route: { cluster_header: 'x-mcp-cluster', timeout: '0s' },
})

const bootstrap = (options: EdgeOptions, admin: string) => ({
  admin: { address: { pipe: { path: admin, mode: 384 } } },
  layered_runtime: {
    layers: [
      {
        name: 'static',
        static_layer: options.runtime ?? { 'envoy.reloadable_features.ext_proc_graceful_grpc_close': true },
      },
    ],
  },
  static_resources: {
    clusters: [
      cluster('direct.one', loopback(options.server), false, [
        headerMutation({
          request_mutations: ['x-mcp-', 'x-forwarded-', 'x-envoy-'].map((prefix) => ({
            remove_on_match: { key_matcher: { prefix } },
          })),
          response_mutations: [{ remove: 'mcp-session-id' }],
        }),
      ]),
      cluster('mcp.broker', loopback(options.broker), false),
      cluster('mcp.closed', undefined, false),
      { ...cluster('ext_proc', { pipe: { path: options.extProcSocket } }, true), ...options.extProcCluster },
    ],
    listeners: [
      {
        name: 'edge',
        address: loopback(0),
        per_connection_buffer_limit_bytes: 65_536,
        filter_chains: [
          {
            filters: [
              {
                name: 'hcm',
                typed_config: {
                  ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
                  stat_prefix: 'edge',
                  early_header_mutation_extensions: [
                    {
                      name: 'strip',
                      typed_config: {
                        ...type('extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation'),
                        mutations: [{ remove_on_match: { key_matcher: { prefix: 'x-mcp-' } } }],
                      },
                    },
                  ],
                  http_filters: [
                    ...(options.filters ?? []),
                    {
                      name: 'ext_proc',
                      typed_config: {
                        ...type('extensions.filters.http.ext_proc.v3.ExternalProcessor'),
                        grpc_service: { envoy_grpc: { cluster_name: 'ext_proc' } },
                        failure_mode_allow: false,
                        status_on_error: { code: 'ServiceUnavailable' },
                        message_timeout: '1s',
                        allow_mode_override: true,
                        processing_mode: {
                          request_header_mode: 'SEND',
                          request_body_mode: 'BUFFERED',
                          response_header_mode: 'SKIP',
                          response_body_mode: 'NONE',
                          request_trailer_mode: 'SKIP',
                          response_trailer_mode: 'SKIP',
                        },
                        metadata_options: {
                          receiving_namespaces: { untyped: ['mcp.gateway', 'envoy.filters.http.mcp'] },
                        },
                        ...options.extProc,
                      },
                    },
                    { name: 'router', typed_config: type('extensions.filters.http.router.v3.Router') },
                  ],
                  ...options.hcm,
                  route_config: {
                    name: 'edge',
                    virtual_hosts: [
                      {
                        name: 'mcp',
                        domains: ['*'],
                        request_body_buffer_limit: 4_194_304,
                        response_headers_to_add: [
                          {
                            header: { key: 'x-saw', value: '%DYNAMIC_METADATA(mcp.gateway)%' },
                          },
                        ],
                        routes: [
                          proof('direct', { prefix: 'direct.' }),
                          proof('broker', { exact: 'mcp.broker' }),
                          { name: 'closed', match: { prefix: '/' }, route: { cluster: 'mcp.closed' } },
                        ],
                      },
                    ],
                  },
                },
              },
            ],
          },
        ],
      },
    ],
  },
})

const ask = async (socketPath: string, path: string): Promise<string> => {
  const [response] = await once(http.get({ socketPath, path, agent: false }), 'response')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return text
}

/** Resolves once Envoy serves; rejects with what it printed when it ends first. */
export const startEdgeEnvoy = async (options: EdgeOptions): Promise<EdgeEnvoy> => {
  const dir = await mkdtemp(join(tmpdir(), 'edge-'))
  const admin = join(dir, 'admin.sock')
  const file = join(dir, 'envoy.json')
  await writeFile(file, JSON.stringify(bootstrap(options, admin)))
  const child: ChildProcess = spawn(
    options.envoy,
    ['-c', file, '--concurrency', '1', '--use-dynamic-base-id', '--log-level', 'error'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let printed = ''
  child.stderr?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const ended = once(child, 'exit')
  let port = 0
  while (port === 0) {
    if (child.exitCode !== null) throw new Error(`envoy ended: ${printed}`)
    const text = await ask(admin, '/listeners?format=json').catch(() => '')
    port = Number(/"port_value":\s*(\d+)/.exec(text)?.[1] ?? 0)
    if (port === 0) await pause(10)
  }
  return {
    port,
    pid: child.pid ?? 0,
    async stat(name) {
      const text = await ask(admin, `/stats?filter=^${name.replaceAll('.', '\\.')}$`)
      return Number(/: (\d+)/.exec(text)?.[1] ?? 0)
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      await rm(dir, { recursive: true })
    },
  }
}
