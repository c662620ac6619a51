/** The two gRPC services Envoy calls, with our own codecs: resources go out as packed bytes, log entries come in read. */
import * as grpc from '@grpc/grpc-js'
import { type AccessLogEntry, accessLogEntries } from './access-log-entry.ts'
import { deltaRequest } from './discovery.ts'

export type Incoming = ReturnType<typeof deltaRequest>

export type AdsCall = grpc.ServerDuplexStream<Incoming, Uint8Array>
export type AccessLogCall = grpc.ServerReadableStream<readonly AccessLogEntry[], object>

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const notAClient = (): never => {
  throw new Error('only the server side of this service is spoken here')
}

export const adsService = {
  DeltaAggregatedResources: {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
    requestStream: true,
    responseStream: true,
    requestSerialize: notAClient,
    requestDeserialize: deltaRequest,
    responseSerialize: buffer,
    responseDeserialize: notAClient,
  },
} as const

export const accessLogService = {
  StreamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
    requestSerialize: notAClient,
    requestDeserialize: accessLogEntries,
    responseSerialize: () => Buffer.alloc(0),
    responseDeserialize: notAClient,
  },
} as const

/** After a restart an Envoy's first request lists every resource it has: thousands pass gRPC's default of 4 MiB. */
const channelOptions: grpc.ServerOptions = {
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.max_send_message_length': -1,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 5_000,
}

export interface Handlers {
  readonly ads: (call: AdsCall) => void
  readonly accessLogs: (call: AccessLogCall) => void
}

/** Listens on a Unix socket; rejects when it cannot be had. */
export const listen = async (socketPath: string, handlers: Handlers): Promise<grpc.Server> => {
  const server = new grpc.Server(channelOptions)
  server.addService(adsService, { DeltaAggregatedResources: handlers.ads })
  server.addService(accessLogService, { StreamAccessLogs: handlers.accessLogs })
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
  })
  return server
}
