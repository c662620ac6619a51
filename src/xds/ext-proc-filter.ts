/** The ext_proc filter's configuration, delivered over ECDS. */
import { EXT_PROC, JWT_METADATA, MCP_METADATA, METADATA } from './names.ts'
import { any, type Message } from './pack.ts'

/** Requests only: what may not pass in a response is removed by filters that need no processor. */
export const extProcFilter: Message = {
  name: EXT_PROC,
  typed_config: any('envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor', {
    grpc_service: { envoy_grpc: { cluster_name: EXT_PROC } },
    failure_mode_allow: false,
    processing_mode: {
      request_header_mode: 'SEND',
      response_header_mode: 'SKIP',
      request_body_mode: 'BUFFERED', // the only mode in which a body's answer can change headers and the route
      response_body_mode: 'NONE',
      request_trailer_mode: 'SKIP',
      response_trailer_mode: 'SKIP',
    },
    message_timeout: '1s',
    stat_prefix: 'mcp',
    // Host stays, :path may change, x-envoy-* may be removed.
    mutation_rules: { allow_all_routing: false, allow_envoy: true, disallow_is_error: true },
    allow_mode_override: true,
    allowed_override_modes: [
      { request_header_mode: 'SEND', response_header_mode: 'SKIP', request_body_mode: 'NONE' },
      {
        request_header_mode: 'SEND',
        response_header_mode: 'SKIP',
        request_body_mode: 'NONE',
        request_trailer_mode: 'SKIP',
        response_trailer_mode: 'SKIP',
      },
    ],
    metadata_options: {
      forwarding_namespaces: { untyped: [JWT_METADATA] },
      receiving_namespaces: { untyped: [METADATA, MCP_METADATA] },
    },
    status_on_error: { code: 'ServiceUnavailable' },
  }),
}
