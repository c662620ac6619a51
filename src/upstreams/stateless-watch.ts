/** News of resources of a stateless server: a stream for those that somebody begins to watch at once, open while any is watched. */
import type { Introduction } from './handshake.ts'
import { type ResourceWatch, resourceWatch } from './resource-watch.ts'
import { updatedUri } from './server-message.ts'
import { subscribe } from './server-subscription.ts'
import type { StatelessWire } from './stateless-wire.ts'

interface Options {
  readonly wire: StatelessWire
  readonly as: () => Introduction
  /** Longest wait for the acknowledgement. */
  readonly timeoutMs: () => number
}

export interface StatelessWatch extends Pick<ResourceWatch, 'watch'> {
  close(): void
}

/** One stream, and which of the resources it was opened for are still watched. */
interface Stream {
  readonly watched: Set<string>
  readonly ending: AbortController
}

export const statelessWatch = ({ wire, as, timeoutMs }: Options): StatelessWatch => {
  const streams = new Set<Stream>()
  const release = (stream: Stream, uri: string): void => {
    if (!stream.watched.delete(uri) || stream.watched.size > 0) return
    streams.delete(stream)
    stream.ending.abort()
  }
  const watch = resourceWatch({
    async begin(uris) {
      const stream: Stream = { watched: new Set(uris), ending: new AbortController() }
      streams.add(stream)
      const granted = await subscribe({
        wire,
        as: as(),
        filter: { resourceSubscriptions: uris },
        timeoutMs: timeoutMs(),
        hear(message) {
          const uri = message.method === 'notifications/resources/updated' ? updatedUri(message) : undefined
          if (uri !== undefined) watch.changed(uri)
        },
        // What changed in between nobody will ever tell.
        again() {
          for (const uri of stream.watched) watch.changed(uri)
        },
        lost: () => undefined,
        signal: stream.ending.signal,
      })
      const agreed = uris.filter((uri) => granted?.resourceSubscriptions?.includes(uri) === true)
      for (const uri of uris) if (!agreed.includes(uri)) release(stream, uri)
      return agreed
    },
    end(uris) {
      for (const stream of streams) for (const uri of uris) release(stream, uri)
    },
  })
  return {
    watch: (uris, changed, signal) => watch.watch(uris, changed, signal),
    close() {
      for (const { ending } of streams) ending.abort()
    },
  }
}
