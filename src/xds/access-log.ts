/** The access log: JSON lines on Envoy's standard output, and the same entries to us for the metrics. */
import { METADATA, XDS } from './names.ts'
import { any, type Message } from './pack.ts'

const published = (key: string): string => `%DYNAMIC_METADATA(${METADATA}:${key})%`

const fields: Message = {
  ts: '%START_TIME%',
  id: '%REQ(X-REQUEST-ID)%',
  verb: '%REQ(:METHOD)%',
  status: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  details: '%RESPONSE_CODE_DETAILS%',
  dur_ms: '%DURATION%',
  rx: '%BYTES_RECEIVED%',
  tx: '%BYTES_SENT%',
  cluster: '%UPSTREAM_CLUSTER%',
  method: published('method'),
  server: published('server'),
  tool: published('tool'),
  path: published('path'),
  era: published('era'),
}

/** Both access loggers of the listener that agents connect to. */
export const accessLogs: readonly Message[] = [
  {
    name: 'envoy.access_loggers.stdout',
    typed_config: any('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', {
      log_format: { json_format: fields, omit_empty_values: true },
    }),
  },
  {
    name: 'envoy.access_loggers.http_grpc',
    typed_config: any('envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig', {
      common_config: {
        log_name: 'mcp_edge',
        grpc_service: { envoy_grpc: { cluster_name: XDS } },
        transport_api_version: 'V3',
        buffer_flush_interval: '1s',
        buffer_size_bytes: 65536,
      },
    }),
  },
]
