/** An ext_proc server that does what a request's own headers ask for; the control plane's tests need no better one. */
import * as grpc from '@grpc/grpc-js'
import { CLUSTER } from '../../src/mcp/headers.ts'
import { JWT_METADATA, JWT_PAYLOAD } from '../../src/xds/names.ts'
import { type Message, pack, unpack, type Value } from '../../src/xds/pack.ts'

const fields = (value: Value | undefined): Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? Object.fromEntries(Object.entries(value))
    : {}

type Headers = ReadonlyMap<string, string>

/** The subject of the token that Envoy says it verified. */
const subjectOf = (request: Message): string | undefined => {
  const { filter_metadata: all } = fields(request['metadata_context'])
  const { sub } = fields(fields(fields(all)[JWT_METADATA])[JWT_PAYLOAD])
  return typeof sub === 'string' ? sub : undefined
}

const headersOf = (request: Message): Headers => {
  const { headers } = fields(fields(request['request_headers'])['headers'])
  const list = Array.isArray(headers) ? headers : []
  return new Map(
    list.map((header: Value) => {
      const { key, raw_value: raw } = fields(header)
      return [typeof key === 'string' ? key : '', raw instanceof Uint8Array ? Buffer.from(raw).toString() : ''] as const
    }),
  )
}

const wanted = (sent: Headers, subject: string | undefined): Message => {
  const set = (key: string, text: string): Message => ({
    header: { key, raw_value: Buffer.from(text) },
    append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
  })
  const path = sent.get('want-path')
  const cluster = sent.get('want-cluster')
  return {
    header_mutation: {
      set_headers: [
        ...(cluster === undefined ? [] : [set(CLUSTER, cluster)]),
        ...(path === undefined ? [] : [set(':path', path)]),
        ...(subject === undefined ? [] : [set('seen-subject', subject)]),
      ],
      remove_headers: [...sent.keys()].filter((name) => name.startsWith('want-') || name.startsWith('x-envoy-')),
    },
    clear_route_cache: true,
  }
}

/**
 * What a client may ask for in its own headers. `want-cluster`: where to go; `want-path`: at which path; `want-id`: the raw
 * JSON-RPC id to publish; `want-limits`: more to publish, an object as JSON; `want-body`: decide when the body is there; `want-close`: end without a word.
 */
const serve = (call: grpc.ServerDuplexStream<Message, Message>) => {
  let sent: Headers = new Map()
  let subject: string | undefined
  call.on('data', (request: Message) => {
    const atBody = request['request_body'] !== undefined
    if (!atBody) {
      sent = headersOf(request)
      subject = subjectOf(request)
    }
    if (sent.has('want-close')) return call.end()
    if (!atBody && sent.has('want-body')) return void call.write({ request_headers: {} })
    const id = sent.get('want-id')
    call.write({
      ...(atBody
        ? { request_body: { response: wanted(sent, subject) } }
        : {
            request_headers: { response: wanted(sent, subject) },
            mode_override: { response_header_mode: 'SKIP', request_body_mode: 'NONE' },
          }),
      dynamic_metadata: {
        'mcp.gateway': {
          method: 'tools/call',
          server: 'somewhere',
          path: 'direct',
          ...(id === undefined ? {} : { id }),
          ...JSON.parse(sent.get('want-limits') ?? '{}'),
        },
      },
    })
    call.end()
  })
  call.on('error', () => {})
}

const PACKAGE = 'envoy.service.ext_proc.v3'
const service = {
  Process: {
    path: `/${PACKAGE}.ExternalProcessor/Process`,
    requestStream: true,
    responseStream: true,
    requestSerialize: (message: Message) => Buffer.from(pack(`${PACKAGE}.ProcessingRequest`, message)),
    requestDeserialize: (bytes: Buffer) => unpack(`${PACKAGE}.ProcessingRequest`, bytes),
    responseSerialize: (message: Message) => Buffer.from(pack(`${PACKAGE}.ProcessingResponse`, message)),
    responseDeserialize: (bytes: Buffer) => unpack(`${PACKAGE}.ProcessingResponse`, bytes),
  },
} as const

export const serveObedientProcessor = async (socketPath: string): Promise<AsyncDisposable> => {
  const server = new grpc.Server()
  server.addService(service, { Process: serve })
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
  })
  return { [Symbol.asyncDispose]: async () => server.forceShutdown() }
}
