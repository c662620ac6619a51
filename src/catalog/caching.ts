/** How long, and for whom, what servers said may be kept (2026-07-28 caching). */
import { stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { Policy } from '../policy/policy.ts'
import type { CachePolicy } from '../registry/model.ts'

/** Nothing may be kept: also what a server means that says nothing. */
export const UNCACHED: CachePolicy = { ttlMs: 0, scope: 'private' }

/** The hints of a result, by its members; undefined without a usable `ttlMs`. A scope that is not `public` is private. */
export const cachingOf = (bytes: Buffer, result: ReadonlyMap<string, Span>): CachePolicy | undefined => {
  const ttl = result.get('ttlMs')
  if (ttl === undefined || !isNumber(bytes[ttl.start])) return undefined
  const ttlMs = Math.min(Math.max(0, Math.floor(Number(textOf(bytes, ttl)))), Number.MAX_SAFE_INTEGER)
  const scope = result.get('cacheScope')
  const isPublic = scope !== undefined && stringOf(bytes, scope) === 'public'
  return { ttlMs, scope: isPublic ? 'public' : 'private' }
}

/** What holds for all of them together: the least time, and private as soon as one is. Of nothing, nothing may be kept. */
export const strictest = (policies: readonly CachePolicy[]): CachePolicy =>
  policies.length === 0
    ? UNCACHED
    : {
        ttlMs: Math.min(...policies.map(({ ttlMs }) => ttlMs)),
        scope: policies.every(({ scope }) => scope === 'public') ? 'public' : 'private',
      }

/**
 * Whether an answer can be for anybody, if its server says so. Not where rules (`ruled`), tokens or a view had a say: somebody
 * else, or the same asker elsewhere, might get another one, or none.
 */
export const canBePublic = ({ authenticated }: Policy, view: string, ruled: boolean): boolean =>
  !authenticated && view === '' && !ruled

/** Whether a JSON value that starts so is a number. */
const isNumber = (first: number | undefined): boolean =>
  first === 0x2d || (first !== undefined && first >= 0x30 && first <= 0x39)
