/** The two listeners. Neither ever changes: a changed listener drains, and a drain cuts open streams. */
import { INNER_REPLY } from '../mcp/headers.ts'
import type { Gateway } from '../registry/model.ts'
import { accessLogs } from './access-log.ts'
import { earlyHeaderMutation, httpFilters, router } from './http-filters.ts'
import { localReplies } from './local-replies.ts'
import { EDGE, EDGE_CERTIFICATE, INNER } from './names.ts'
import { any, type Message } from './pack.ts'
import type { RunPaths } from './run-paths.ts'
import { secretReference } from './secret.ts'

const connectionManager = (name: string, options: Message): Message => ({
  name: 'envoy.filters.network.http_connection_manager',
  typed_config: any('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: name,
    rds: { config_source: { ads: {}, resource_api_version: 'V3' }, route_config_name: name },
    ...options,
  }),
})

const edgeConnections = (filterTypes: readonly string[]): Message =>
  connectionManager(EDGE, {
    codec_type: 'AUTO',
    http_filters: httpFilters(filterTypes),
    common_http_protocol_options: {
      idle_timeout: '900s',
      max_headers_count: 100,
      headers_with_underscores_action: 'DROP_HEADER',
    },
    http_protocol_options: { accept_http_10: false },
    http2_protocol_options: {
      max_concurrent_streams: 100,
      initial_stream_window_size: 65536,
      initial_connection_window_size: 1048576,
      connection_keepalive: { interval: '30s', timeout: '10s' },
    },
    server_name: 'mcp-gateway',
    server_header_transformation: 'OVERWRITE',
    max_request_headers_kb: 32,
    stream_idle_timeout: '0s', // each route has its own
    request_timeout: '60s', // to receive a request; a response may take as long as it likes
    request_headers_timeout: '10s',
    access_log: accessLogs,
    use_remote_address: true,
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'REJECT_REQUEST',
    local_reply_config: localReplies,
    early_header_mutation_extensions: [earlyHeaderMutation],
  })

const downstreamTls: Message = {
  name: 'envoy.transport_sockets.tls',
  typed_config: any('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
      tls_certificate_sds_secret_configs: [secretReference(EDGE_CERTIFICATE)],
      alpn_protocols: ['h2', 'http/1.1'],
    },
  }),
}

/** Where agents connect. `filterTypes`: those of the HTTP filters that the Envoy knows. The buffer limit is low because the route's request_body_buffer_limit can only raise it. */
export const edgeListener = ({ listen, tls }: Gateway, filterTypes: readonly string[] = []): Message => ({
  name: EDGE,
  address: { socket_address: { address: listen.host, port_value: listen.port } },
  filter_chains: [
    {
      name: EDGE,
      filters: [edgeConnections(filterTypes)],
      ...(tls === undefined ? {} : { transport_socket: downstreamTls, transport_socket_connect_timeout: '10s' }),
    },
  ],
  per_connection_buffer_limit_bytes: 65536,
})

/** Says which replies are Envoy's own: to the broker a server that answers 503 is up, one without a connection is not. */
const innerReplies: Message = {
  mappers: [
    {
      filter: {
        status_code_filter: { comparison: { op: 'GE', value: { default_value: 100, runtime_key: 'mcp.unused' } } },
      },
      headers_to_add: [
        {
          header: { key: INNER_REPLY, value: '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' },
          append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
        },
      ],
    },
  ],
}

/** Where the broker connects to reach servers. Static in the bootstrap, at a path of each Envoy's own. */
export const innerListener = (run: RunPaths): Message => ({
  name: INNER,
  address: { pipe: { path: run.inner, mode: 0o600 } },
  filter_chains: [
    {
      name: INNER,
      filters: [
        connectionManager(INNER, {
          http_filters: [router],
          server_header_transformation: 'PASS_THROUGH',
          stream_idle_timeout: '0s', // the broker has its own deadlines
          generate_request_id: false, // servers see what the broker sends and nothing else
          skip_xff_append: true,
          local_reply_config: innerReplies,
        }),
      ],
    },
  ],
})
