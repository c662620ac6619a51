/** Fetches one JSON document of an identity provider: in bounded time and size, and from nowhere but where it is said to be. */

import { Agent, type Dispatcher, request } from 'undici'
import { bytesWithin } from '../bounded.ts'
import { isLoopback } from '../registry/address.ts'

export type Fetched =
  | { readonly ok: true; readonly document: unknown }
  /** A sentence for a person, without the document's content. */
  | { readonly ok: false; readonly problem: string }

export interface FetchJson {
  /** `from`: the whole URL. Never rejects. */
  get(from: string): Promise<Fetched>
  close(): Promise<void>
}

/** Of the whole exchange, redirects included. */
const LIMIT_MS = 10_000
const MOST_BYTES = 512 * 1024
const MOST_REDIRECTS = 3

/** `ca`: the PEM certificates to trust; undefined: Node's own. */
export const fetchJson = (ca: string | undefined, limitMs = LIMIT_MS): FetchJson => {
  const agent = new Agent({ connect: { timeout: limitMs, ...(ca !== undefined && { ca }) } })
  return {
    async get(from) {
      const url = URL.canParse(from) ? new URL(from) : undefined
      if (url === undefined) return refused(`${from} is not a URL`)
      try {
        return await follow(agent, url, AbortSignal.timeout(limitMs))
      } catch (error) {
        return refused(`${from} cannot be fetched: ${reasonOf(error, limitMs)}`)
      }
    },
    close: () => agent.destroy(),
  }
}

const follow = async (dispatcher: Dispatcher, first: URL, signal: AbortSignal): Promise<Fetched> => {
  let url = first
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const unsafe = url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(hostOf(url)))
    if (unsafe) return refused(`${url.href} is not https, which anything beyond this machine has to be`)
    const { statusCode, headers, body } = await request(url, {
      dispatcher,
      signal,
      headers: { accept: 'application/json' },
    })
    const { location } = headers
    if (statusCode >= 300 && statusCode < 400 && typeof location === 'string' && URL.canParse(location, url.href)) {
      await body.dump()
      const next = new URL(location, url)
      if (next.origin !== first.origin) return refused(`${url.href} redirects elsewhere, to ${next.origin}`)
      url = next
      continue
    }
    if (statusCode !== 200) {
      await body.dump()
      return refused(`${url.href} answers ${statusCode}`)
    }
    const bytes = await bytesWithin(body, MOST_BYTES)
    if (bytes === undefined) return refused(`${url.href} is larger than ${MOST_BYTES} bytes`)
    return parsed(url, bytes.toString())
  }
  return refused(`${first.href} redirects more than ${MOST_REDIRECTS} times`)
}

const parsed = (url: URL, text: string): Fetched => {
  try {
    return { ok: true, document: JSON.parse(text) }
  } catch {
    return refused(`${url.href} is not JSON`)
  }
}

const refused = (problem: string): Fetched => ({ ok: false, problem })

const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '')

const reasonOf = (error: unknown, limitMs: number): string => {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no answer within ${limitMs / 1000} s`
  return error.message === '' && 'code' in error ? String(error.code) : error.message
}
