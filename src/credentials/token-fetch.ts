/** HTTP to token endpoints: small answers, no redirects, and nothing of them that the gateway has no use for. */

import { Agent, request } from 'undici'
import { bytesWithin } from '../bounded.ts'

/** One POST of a form. Rejects when there is no answer. */
export type TokenFetch = (url: string, form: Form) => Promise<Response>

interface Form {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly signal: AbortSignal
}

/** Larger answers are none of a token endpoint. */
const MOST_BYTES = 256 * 1024

/** `ca`: the PEM certificates to trust; undefined: Node's own. */
export const tokenFetch = (ca: string | undefined): TokenFetch => {
  const dispatcher = new Agent({ connect: ca === undefined ? {} : { ca }, keepAliveTimeout: 10_000 })
  return async (url, { headers, body, signal }) => {
    const reply = await request(url, { method: 'POST', headers: { ...headers }, body, signal, dispatcher })
    const answer = await bytesWithin(reply.body, MOST_BYTES)
    if (answer === undefined) throw new Error(`its answer is larger than ${MOST_BYTES} bytes`)
    const type = reply.headers['content-type']
    // Without its challenges: what is wrong stands in the body.
    return new Response(withoutIdToken(answer), {
      status: reply.statusCode,
      headers: { 'content-type': Array.isArray(type) ? (type[0] ?? '') : (type ?? '') },
    })
  }
}

/** Who somebody is was settled long before; nobody reads it, so nobody has to verify it. */
const withoutIdToken = (body: Buffer): string => {
  const text = body.toString()
  try {
    return JSON.stringify(JSON.parse(text, (key, value: unknown) => (key === 'id_token' ? undefined : value)))
  } catch {
    return text
  }
}
