/** Filters for tests: some that write down what they see of a request, and the server that another one asks. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import grpc from '@grpc/grpc-js'
import type { JsonObject } from './raw-json.ts'

const API = 'type.googleapis.com/envoy.extensions.filters.http'

export const lua = (inline_code: string): JsonObject => ({
  name: 'script',
  typed_config: { '@type': `${API}.lua.v3.Lua`, default_source_code: { inline_string: inline_code } },
})

/** Copies all that is published about a request into headers of its answer: `header-…`, `gateway-…` and `mcp-…`. */
export const mirror = lua(`
  function envoy_on_request(handle)
    local metadata = handle:streamInfo():dynamicMetadata()
    for name, value in pairs(handle:headers()) do
      if string.sub(name, 1, 6) == "x-mcp-" then metadata:set("seen", "header-" .. string.sub(name, 7), value) end
    end
    for key, value in pairs(metadata:get("mcp.gateway") or {}) do metadata:set("seen", "gateway-" .. key, value) end
    local mcp = metadata:get("envoy.filters.http.mcp") or {}
    if mcp.method then metadata:set("seen", "mcp-method", mcp.method) end
    for key, value in pairs(mcp.params or {}) do metadata:set("seen", "mcp-params-" .. key, value) end
  end
  function envoy_on_response(handle)
    local seen = handle:streamInfo():dynamicMetadata():get("seen") or {}
    for key, value in pairs(seen) do handle:headers():add("seen-" .. key, value) end
  end
`)

/** Adds its mark to those of the filters before it. */
export const mark = (sign: number): JsonObject =>
  lua(`
  function envoy_on_request(handle)
    local metadata = handle:streamInfo():dynamicMetadata()
    metadata:set("marks", "all", ((metadata:get("marks") or {}).all or "") .. "${sign}")
  end
  function envoy_on_response(handle)
    handle:headers():replace("marks", handle:streamInfo():dynamicMetadata():get("marks").all)
  end
`)

/** Refuses one tool, by the server's own name. */
export const deny = (tool: string): JsonObject => ({
  name: 'deny',
  typed_config: {
    '@type': `${API}.rbac.v3.RBAC`,
    rules: {
      action: 'DENY',
      policies: {
        'a "quoted" one': {
          permissions: [{ header: { name: 'x-mcp-toolname', string_match: { exact: tool } } }],
          principals: [{ any: true }],
        },
      },
    },
  },
})

/** Asks the cluster `policy`. */
export const ask: JsonObject = {
  name: 'ask',
  typed_config: {
    '@type': `${API}.ext_authz.v3.ExtAuthz`,
    http_service: { server_uri: { uri: 'http://policy', cluster: 'policy', timeout: '2s' } },
    allowed_headers: { patterns: [{ prefix: 'x-mcp-' }] },
  },
}

/** The same over gRPC, with what the gateway published. */
export const askOverGrpc: JsonObject = {
  name: 'ask',
  typed_config: {
    '@type': `${API}.ext_authz.v3.ExtAuthz`,
    transport_api_version: 'V3',
    grpc_service: { envoy_grpc: { cluster_name: 'policy' }, timeout: '2s' },
    metadata_context_namespaces: ['mcp.gateway', 'envoy.filters.http.mcp'],
  },
}

export interface PolicyServer extends AsyncDisposable {
  readonly port: number
  /** The headers it was asked with. */
  readonly asked: http.IncomingHttpHeaders[]
}

export type Protocol = 'http1' | 'http2' | 'http1 over TLS' | 'http2 over TLS'

const pem = (name: string): string => readFileSync(new URL(`certs/${name}`, import.meta.url), 'utf8')

/** Lets pass what has a token, and refuses everything else with a challenge and words of its own. */
export const servePolicy = async (protocol: Protocol): Promise<PolicyServer> => {
  const asked: http.IncomingHttpHeaders[] = []
  const decide = (
    request: http.IncomingMessage | http2.Http2ServerRequest,
    response: http.ServerResponse | http2.Http2ServerResponse,
  ): void => {
    asked.push(request.headers)
    request.resume()
    const known = request.headers.authorization === 'Bearer known'
    response.writeHead(known ? 200 : 401, known ? {} : { 'www-authenticate': 'Bearer' })
    response.end(known ? '' : 'who are "you"?')
  }
  const tls = { cert: pem('server.pem'), key: pem('server.key') }
  const server = {
    http1: () => http.createServer(decide),
    http2: () => http2.createServer(decide),
    'http1 over TLS': () => https.createServer(tls, decide),
    'http2 over TLS': () => http2.createSecureServer(tls, decide),
  }[protocol]()
  const connections = new Set<{ destroy(): void }>()
  server.on('connection', (connection: { destroy(): void }) => connections.add(connection))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    asked,
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.destroy()
      server.close()
    },
  }
}

export interface GrpcPolicyServer extends AsyncDisposable {
  readonly port: number
  /** The bytes of each question, as text. */
  readonly asked: string[]
}

/** PERMISSION_DENIED in a CheckResponse; an empty one says OK. */
const DENIED = Buffer.from([0x0a, 0x02, 0x08, 0x07])

/** Refuses what a word stands in, wherever it stands. */
export const serveGrpcPolicy = async (word: string): Promise<GrpcPolicyServer> => {
  const asked: string[] = []
  const server = new grpc.Server()
  const check = {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes: Buffer) => bytes.toString('latin1'),
    requestSerialize: (text: string) => Buffer.from(text, 'latin1'),
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  }
  const answer: grpc.handleUnaryCall<string, Buffer> = ({ request }, reply) => {
    asked.push(request)
    reply(null, request.includes(word) ? DENIED : Buffer.alloc(0))
  }
  server.addService({ check }, { check: answer })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return {
    port,
    asked,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}
