/** The parts of an HTTP request that the broker reads. */
import type { IncomingMessage } from 'node:http'
import * as header from '../mcp/headers.ts'

/** Without the query. */
export const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?', 1)[0] ?? ''

/** A header, all of it. */
export const one = (req: IncomingMessage, name: string): string | undefined => {
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

/** The `Mcp-Param-…` headers. */
export const paramsOf = (req: IncomingMessage): ReadonlyMap<string, string> =>
  new Map(
    Object.keys(req.headers).flatMap((name) => {
      const value = name.startsWith(header.MCP_PARAM_PREFIX) ? one(req, name) : undefined
      return value === undefined ? [] : [[name.slice(header.MCP_PARAM_PREFIX.length), value]]
    }),
  )

/** The trace context, which goes wherever the request goes. */
export const traceOf = (req: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    [header.TRACEPARENT, header.TRACESTATE, header.BAGGAGE].flatMap((name) => {
      const value = one(req, name)
      return value === undefined ? [] : [[name, value]]
    }),
  )

/** The whole body, or undefined once it is larger than `most` bytes. */
export const readBody = (req: IncomingMessage, most: number): Promise<Buffer | undefined> =>
  new Promise((resolve, reject) => {
    // It may have gone while its token was verified.
    if (req.destroyed && !req.complete) reject(new Error('the client went away'))
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= most) chunks.push(chunk)
      else {
        chunks.length = 0
        resolve(undefined)
      }
    })
    req.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)))
    req.on('error', reject)
    req.on('aborted', () => reject(new Error('the client went away')))
  })
