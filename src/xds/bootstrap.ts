/** The bootstrap an Envoy starts with: where its management server is, its limits, and the broker's listener. */
import { grpcCluster } from './cluster.ts'
import { innerListener } from './listener.ts'
import { XDS } from './names.ts'
import { any, type Message } from './pack.ts'
import type { RunPaths } from './run-paths.ts'

export interface BootstrapOptions {
  readonly nodeId: string
  readonly run: RunPaths
  /** Heap at which Envoy stops accepting connections and requests. Default: 1 GiB. */
  readonly maxHeapBytes?: number
  /** Most connections of agents. Default: 20,000. */
  readonly maxConnections?: number
}

const FIXED_HEAP = 'envoy.resource_monitors.fixed_heap'

const heap = (threshold: number): Message => ({ name: FIXED_HEAP, threshold: { value: threshold } })

const overload = ({ maxHeapBytes = 2 ** 30, maxConnections = 20_000 }: BootstrapOptions): Message => ({
  refresh_interval: '0.25s',
  resource_monitors: [
    {
      name: FIXED_HEAP,
      typed_config: any('envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig', {
        max_heap_size_bytes: maxHeapBytes,
      }),
    },
    {
      name: 'envoy.resource_monitors.global_downstream_max_connections',
      typed_config: any('envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig', {
        max_active_downstream_connections: maxConnections,
      }),
    },
  ],
  actions: [
    { name: 'envoy.overload_actions.shrink_heap', triggers: [heap(0.9)] },
    { name: 'envoy.overload_actions.stop_accepting_requests', triggers: [heap(0.98)] },
  ],
  loadshed_points: [
    { name: 'envoy.load_shed_points.tcp_listener_accept', triggers: [heap(0.95)] },
    { name: 'envoy.load_shed_points.http_connection_manager_decode_headers', triggers: [heap(0.97)] },
  ],
})

const ads: Message = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' }

/** Statistics cost memory per cluster; these are the ones we read. */
const statistics: readonly Message[] = [
  ...[
    'server.',
    'listener_manager.',
    'cluster_manager.',
    'control_plane.',
    'extension_config_discovery.',
    'http.mcp_edge.',
    'http.mcp_inner.',
    'overload.',
    'cluster.mcp_ext_proc.',
  ].map((prefix) => ({ prefix })),
  {
    safe_regex: {
      regex: 'cluster\\.(mcp|direct)\\.[^.]+\\.upstream_(rq_(total|retry|timeout|[2-5]xx)|cx_(active|connect_fail))',
    },
  },
  { safe_regex: { regex: '.*\\.lua\\.errors' } },
]

/** As Envoy's YAML has it. */
export const bootstrap = (options: BootstrapOptions): Message => ({
  // The broker learns from the metadata where this Envoy's inner listener is.
  node: { id: options.nodeId, cluster: 'mcp-gateway', metadata: { inner: options.run.inner } },
  admin: { address: { pipe: { path: options.run.admin, mode: 0o600 } } },
  dynamic_resources: {
    lds_config: ads,
    cds_config: ads,
    ads_config: {
      api_type: 'DELTA_GRPC',
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [
        {
          envoy_grpc: {
            cluster_name: XDS,
            // One level up it would be accepted and ignored; the default waits up to 30 s.
            retry_policy: { retry_back_off: { base_interval: '0.25s', max_interval: '1s' } },
            max_receive_message_length: 64 * 1024 * 1024,
          },
        },
      ],
    },
  },
  static_resources: {
    listeners: [innerListener(options.run)],
    clusters: [grpcCluster(XDS, options.run.ads)],
  },
  layered_runtime: {
    layers: [
      {
        name: 'static',
        static_layer: {
          // Otherwise Envoy resets every finished ext_proc stream, and Node answers a thousand resets with GOAWAY.
          'envoy.reloadable_features.ext_proc_graceful_grpc_close': true,
        },
      },
    ],
  },
  overload_manager: overload(options),
  stats_config: { stats_matcher: { inclusion_list: { patterns: statistics } } },
})
