/** Serves Envoy's external processing API on a Unix socket. */

import grpc from '@grpc/grpc-js'
import { dropOldest } from '../bounded.ts'
import type { RoutingTable } from '../catalog/routing-table.ts'
import type { Edge } from '../mcp/request-head.ts'
import { sessionName } from '../sessions/session-name.ts'
import type { SessionLookup } from '../sessions/session-table.ts'
import { decodeRequest, encodeResponse } from './codec.ts'
import type { Decision } from './decide.ts'
import { type Effect, type Rules, type State, start, step } from './exchange.ts'
import { rememberPrincipals } from './principals.ts'
import type { ProcessingRequest, ProcessingResponse } from './processing.ts'

export interface ExtProcOptions {
  readonly socketPath: string
  /** Asked once per request. */
  readonly table: () => RoutingTable
  readonly sessions: SessionLookup
  readonly edge: Edge
  /** Where everything goes that does not go direct. */
  readonly brokerCluster: string
  /** Asked once per request: whether filters come next that decide on what bodies say. Default: never. */
  readonly everyBody?: () => boolean
  /** Told of faults of ours, which refuse the request. */
  readonly log: { error(message: string, fields?: Readonly<Record<string, unknown>>): void }
  /** A request begins; its id is the decision's. */
  readonly onRequest?: (decision: string) => void
  /** Every request whose body was read. */
  readonly onDecision?: (decision: Decision) => void
}

export interface ExtProcServer extends AsyncDisposable {
  readonly socketPath: string
}

type Call = grpc.ServerDuplexStream<ProcessingRequest, ProcessingResponse>

/** Exchanges in progress at its end are cut off, which Envoy answers with 503. Rejects when the socket cannot be bound. */
export const serveExtProc = async (options: ExtProcOptions): Promise<ExtProcServer> => {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  })
  const { table, sessions, edge, brokerCluster, everyBody = () => false } = options
  const principals = rememberPrincipals()
  const rules: Rules = { table, sessions, edge, brokerCluster, everyBody, principals, nameOf: sessionName }
  server.addService(service, { process: (call: Call) => converse(call, rules, options) })
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${options.socketPath}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
  })
  return {
    socketPath: options.socketPath,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}

const service = {
  process: {
    path: '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
    requestStream: true,
    responseStream: true,
    requestDeserialize: decodeRequest,
    requestSerialize: () => Buffer.alloc(0),
    responseSerialize: encodeResponse,
    responseDeserialize: (): ProcessingResponse => ({ to: 'response_headers' }),
  },
} satisfies grpc.ServiceDefinition

const converse = (call: Call, rules: Rules, options: ExtProcOptions): void => {
  let state: State = start
  const on = (event: Parameters<typeof step>[1]): void => {
    try {
      if (event.of === 'request_headers') options.onRequest?.(event.requestId)
      const [next, effects] = step(state, event, rules)
      state = next
      for (const effect of effects) perform(call, effect, options)
    } catch (error) {
      // Never destroy(): Envoy would wait for its whole message timeout.
      state = { at: 'done' }
      fail(call, grpc.status.INTERNAL, 'the decision failed')
      options.log.error('the decision failed', { error })
    }
  }
  call.on('data', on)
  call.on('end', () => on({ of: 'end' }))
  // A client that went away resets the stream; that is an end like another.
  call.on('error', () => {})
}

/** Calls in progress that one session may have remembered. */
const MAX_REMEMBERED = 256

const perform = (call: Call, effect: Effect, options: ExtProcOptions): void => {
  switch (effect.do) {
    case 'answer':
      call.write(effect.response)
      return
    case 'close':
      call.end()
      return
    case 'fail':
      fail(call, grpc.status.FAILED_PRECONDITION, effect.why)
      return
    case 'remember': {
      const { directCalls } = effect.session
      directCalls.set(effect.id, effect.server)
      dropOldest(directCalls, MAX_REMEMBERED)
      return
    }
    case 'report':
      options.onDecision?.(effect.decision)
      return
    default:
      effect satisfies never
  }
}

const fail = (call: Call, code: grpc.status, details: string): void => {
  call.emit('error', { code, details })
}
