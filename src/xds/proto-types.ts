/** Our slice of Envoy's API, loaded once: protobuf type names → their descriptors. */
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'

const folder = fileURLToPath(new URL('../../protos/', import.meta.url))

/** The files that lead, by their imports, to all others; a message nobody imports (it travels in an Any) is listed here. */
const roots = [
  'envoy/config/bootstrap/v3/bootstrap.proto',
  'envoy/config/route/v3/route.proto',
  'envoy/config/overload/v3/overload.proto',
  'envoy/extensions/access_loggers/filters/cel/v3/cel.proto',
  'envoy/extensions/access_loggers/grpc/v3/als.proto',
  'envoy/extensions/access_loggers/stream/v3/stream.proto',
  'envoy/extensions/clusters/composite/v3/cluster.proto',
  'envoy/extensions/clusters/dns/v3/dns_cluster.proto',
  'envoy/extensions/filters/http/cors/v3/cors.proto',
  'envoy/extensions/filters/http/credential_injector/v3/credential_injector.proto',
  'envoy/extensions/filters/http/ext_proc/v3/ext_proc.proto',
  'envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto',
  'envoy/extensions/filters/http/header_to_metadata/v3/header_to_metadata.proto',
  'envoy/extensions/filters/http/jwt_authn/v3/config.proto',
  'envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto',
  'envoy/extensions/filters/http/lua/v3/lua.proto',
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/extensions/filters/http/router/v3/router.proto',
  'envoy/extensions/filters/http/upstream_codec/v3/upstream_codec.proto',
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
  'envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto',
  'envoy/extensions/http/injected_credentials/generic/v3/generic.proto',
  'envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto',
  'envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls.proto',
  'envoy/extensions/upstreams/http/v3/http_protocol_options.proto',
  'envoy/service/accesslog/v3/als.proto',
  'envoy/service/discovery/v3/ads.proto',
  'envoy/service/ext_proc/v3/external_processor.proto',
  'xds/type/v3/typed_struct.proto',
]

const root = new protobuf.Root()
// Google's well-known types come with protobufjs, everything else lies in our folder.
root.resolvePath = (_origin, target) => (protobuf.common.get(target) === null ? folder + target : target)
root.loadSync(roots, { keepCase: true })
root.resolveAll()

const known = new Map<string, protobuf.Type>()

/** The descriptor of a message, such as `envoy.config.cluster.v3.Cluster`; throws on a name that is not in the slice. */
export const messageType = (name: string): protobuf.Type => {
  const found = known.get(name)
  if (found !== undefined) return found
  const type = root.lookupType(name)
  known.set(name, type)
  return type
}

/** Every message of the slice. */
export const messageTypes = (): readonly protobuf.Type[] => {
  const inside = (namespace: protobuf.NamespaceBase): readonly protobuf.Type[] =>
    namespace.nestedArray.flatMap((child) => [
      ...(child instanceof protobuf.Type ? [child] : []),
      ...(child instanceof protobuf.Namespace ? inside(child) : []),
    ])
  return inside(root)
}
