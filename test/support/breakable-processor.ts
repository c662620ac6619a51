/** An external processor that does exactly what it is told to, right or wrong: gRPC by hand over HTTP/2. */
import { once } from 'node:events'
import http2 from 'node:http2'

/** What it does when a message arrives. Bytes are sent as a message, as they are. */
export type Reaction =
  | Uint8Array
  /** Ends the stream in order, with this gRPC status. */
  | { readonly status: number }
  /** Closes the whole connection, as a kill does. */
  | 'die'
  /** Never does anything. */
  | 'hang'

export interface BreakableProcessor extends AsyncDisposable {
  /** One list of reactions for each message to come of one HTTP request: [first message, second, …]. */
  script: readonly (readonly Reaction[])[]
}

export const startBreakableProcessor = async (socketPath: string): Promise<BreakableProcessor> => {
  const sessions = new Set<http2.ServerHttp2Session>()
  const processor: BreakableProcessor = {
    script: [],
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
  const server = http2.createServer()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    session.on('error', () => {})
  })
  server.on('stream', (stream) => {
    let rest = Buffer.alloc(0)
    let message = 0
    stream.on('error', () => {})
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    let status = 0
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status) }))
    stream.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
        rest = rest.subarray(5 + rest.readUInt32BE(1))
        for (const reaction of processor.script[message++] ?? []) {
          if (reaction === 'hang') continue
          if (reaction === 'die') stream.session?.destroy()
          else if (reaction instanceof Uint8Array) stream.write(framed(reaction))
          else {
            status = reaction.status
            stream.end()
          }
        }
      }
    })
  })
  server.listen(socketPath)
  await once(server, 'listening')
  return processor
}

const framed = (message: Uint8Array): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}
