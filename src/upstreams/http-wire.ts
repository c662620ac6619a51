/** Stateless requests over HTTP: a POST each, which ends with its stream. */
import { post } from './http-exchange.ts'
import { type HttpEndpoint, MOST_ANSWER_BYTES } from './http-session.ts'
import type { StatelessWire } from './stateless-wire.ts'

export const httpWire = (endpoint: HttpEndpoint): StatelessWire => ({
  nextId: () => endpoint.nextId(),
  async send(request) {
    const { outcome } = await post(endpoint.client, {
      request: {
        server: endpoint.server.name,
        path: endpoint.server.endpoint.path,
        method: 'POST',
        headers: {
          ...request.headers,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
        body: request.body,
        as: request.as ?? endpoint.as?.(),
      },
      id: request.id,
      timeoutMs: request.timeoutMs,
      mostBytes: MOST_ANSWER_BYTES,
      waiting: () => false,
      onMessage(message) {
        // A server of this era makes no requests; one that does is not answered.
        if (message.kind === 'notification') request.onMessage(message)
      },
      signal: request.signal,
    })
    return outcome
  },
})
