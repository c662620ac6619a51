/** An Envoy as the management server's socket sees it: real gRPC, and it acknowledges only when it is told to. */
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'
import { z } from 'zod'
import type { DeltaRequest, Send } from '../../src/xds/stream.ts'
import { CLUSTER, EXTENSION, LISTENER, ROUTES } from '../../src/xds/type-url.ts'
import { adsClient } from './ads-client.ts'
import { waitingRoom } from './waiting-room.ts'

export interface AdsWire extends AsyncDisposable {
  /** Resolves with the next response of a type that is not acknowledged yet. */
  next(type: string): Promise<Send>
  /** Answers the response of a type that waits for it. */
  acknowledge(type: string): Promise<void>
  /** From now on everything is acknowledged as it comes, or, again, nothing. */
  obey(obedient: boolean): void
}

const definition = loader.loadSync('envoy/service/discovery/v3/ads.proto', { includeDirs: ['protos'], keepCase: true })
const service = definition['envoy.service.discovery.v3.AggregatedDiscoveryService']
if (service === undefined || 'format' in service || service['DeltaAggregatedResources'] === undefined)
  throw new Error('no such service')
const { path, requestSerialize, responseDeserialize } = service['DeltaAggregatedResources']

const response = z.object({
  type_url: z.string(),
  nonce: z.string(),
  resources: z
    .array(z.object({ name: z.string(), version: z.string(), resource: z.object({ value: z.instanceof(Uint8Array) }) }))
    .default([]),
  removed_resources: z.array(z.string()).default([]),
})

const received = (message: unknown): Send => {
  const { type_url, nonce, resources, removed_resources } = response.parse(message)
  return {
    kind: 'send',
    type: type_url,
    nonce,
    resources: new Map(resources.map(({ name, version, resource: { value: bytes } }) => [name, { version, bytes }])),
    removed: removed_resources,
  }
}

const wireRequest = (node: string, { type, envoy, subscribe, unsubscribe, nonce, error }: DeltaRequest): object => ({
  type_url: type,
  ...(envoy === undefined ? {} : { node: { id: node } }),
  resource_names_subscribe: subscribe,
  resource_names_unsubscribe: unsubscribe,
  response_nonce: nonce,
  ...(error === undefined ? {} : { error_detail: { code: 13, message: error } }),
})

/** The listener's places for filters of the operator's own. */
const slots = [1, 2, 3, 4, 5, 6, 7, 8].map((place) => `mcp_filter_${place}`)

/** Asks for what a gateway's Envoy asks for. */
export const connectAds = (socketPath: string, node: string): AdsWire => {
  const envoy = adsClient({
    envoy: node,
    wildcards: [CLUSTER, LISTENER],
    named: new Map([
      [ROUTES, new Set(['mcp_edge', 'mcp_inner'])],
      [EXTENSION, new Set(['mcp_jwt', 'mcp_ext_proc', 'mcp_limits', ...slots])],
    ]),
    bad: () => undefined,
  })
  const { until, wake } = waitingRoom()
  const waiting = new Map<string, Send>()
  let obedient = false
  const client = new grpc.Client(`unix:${socketPath}`, grpc.credentials.createInsecure())
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
  const answer = (send: Send): void => {
    waiting.delete(send.type)
    stream.write(wireRequest(node, envoy.receive(send)))
  }
  stream.on('error', () => {}) // its end, or that of the server
  stream.on('data', (message: unknown) => {
    const send = received(message)
    waiting.set(send.type, send)
    if (obedient) answer(send)
    else wake()
  })
  for (const request of envoy.connect()) stream.write(wireRequest(node, request))
  const next = (type: string): Promise<Send> => until(() => waiting.get(type))
  return {
    next,
    acknowledge: async (type) => answer(await next(type)),
    obey(now) {
      obedient = now
      if (now) for (const send of waiting.values()) answer(send)
    },
    async [Symbol.asyncDispose]() {
      stream.cancel()
      client.close()
    },
  }
}
