/** A client of event streams that shows each event as it came, and that can lose its connection. */

import type { SseEvent } from './event-stream.ts'
import type { Reply } from './http-request.ts'
import { request } from './http-request.ts'
import { waitingRoom } from './waiting-room.ts'

export interface Connection {
  readonly status: number
  /** So far, those without data too. */
  readonly events: readonly SseEvent[]
  /** The messages in them. */
  readonly data: readonly string[]
  /** The id of the latest. */
  readonly lastId: string
  /** The first event that came, or will, whose data contains this. */
  event(text: string): Promise<SseEvent>
  /** The whole answer, once the server has ended it. */
  readonly ended: Promise<Reply>
  /** Breaks it off. */
  cut(): void
}

/** Opens a connection of its own; a GET without a body. Resolves when its head is there. */
export const openEvents = (
  url: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const { until, wake } = waitingRoom()
    const events: SseEvent[] = []
    const abort = new AbortController()
    const ended = request(url, {
      fresh: true,
      headers: body === undefined ? { ...headers, accept: 'text/event-stream' } : headers,
      ...(body !== undefined && { body }),
      signal: abort.signal,
      onEvent: (event) => {
        events.push(event)
        wake()
      },
      onHeaders: (status) =>
        resolve({
          status,
          events,
          get data() {
            return events.flatMap(({ data }) => (data === '' ? [] : [data]))
          },
          get lastId() {
            return events.at(-1)?.id ?? ''
          },
          event: (text) => until(() => events.find(({ data }) => data.includes(text))),
          ended,
          cut: () => abort.abort(),
        }),
    })
    // Of a connection that was cut nobody wants to hear.
    ended.catch(reject)
  })
