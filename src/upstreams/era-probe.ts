/** What a server's answers say about the era it speaks. */
import { cachingOf } from '../catalog/caching.ts'
import { capabilityNames } from '../catalog/server-catalogue.ts'
import { elements, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { readError } from '../translation/rpc-error.ts'
import type { Initialized } from './handshake.ts'
import { parseServerMessage } from './server-message.ts'
import { REVISION } from './stateless-wire.ts'
import type { Outcome } from './upstream.ts'

/** What an answer to `server/discover` says. `unclear`: nothing about the era. `other`: stateless, but not as we speak it. */
export type DiscoverVerdict =
  | { readonly speaks: 'stateless'; readonly initialized: Initialized }
  | { readonly speaks: 'stateful' | 'unclear' | 'other'; readonly why: string }

const HEADER_MISMATCH = -32020
const MISSING_CAPABILITY = -32021
const UNSUPPORTED_VERSION = -32022
/** Codes that only servers of the stateless era give (2026-07-28 basic, error codes). */
const STATELESS_CODES: ReadonlySet<number> = new Set([HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION])

/**
 * The verdict (2026-07-28 versioning and streamable-http, backward compatibility). An answer that anybody could have given on
 * the way (a refused credential, a server error, silence) says nothing; whatever else is no answer of the stateless era is
 * one of a stateful server.
 */
export const judgeDiscover = (outcome: Outcome): DiscoverVerdict => {
  if (outcome.kind === 'failed') return { speaks: 'unclear', why: outcome.detail }
  const { status, body } = outcome
  if (status >= 500) return { speaks: 'unclear', why: `HTTP ${status}` }
  const message = parseServerMessage(body)
  if (message?.kind !== 'response') return { speaks: 'stateful', why: `HTTP ${status} without a JSON-RPC response` }
  const found = members(body)
  const result = found.get('result')
  if (result !== undefined) return judgeResult(body, result)
  const error = errorOf(body)
  if (error === undefined) return { speaks: 'stateful', why: `HTTP ${status}` }
  if (error.code === UNSUPPORTED_VERSION) {
    const supported = error.data === undefined ? undefined : members(body, error.data).get('supported')
    return ofVersions(supported === undefined ? [] : texts(body, supported))
  }
  return { speaks: STATELESS_CODES.has(error.code) ? 'other' : 'stateful', why: `${error.code} ${error.message}` }
}

const judgeResult = (body: Buffer, result: Span): DiscoverVerdict => {
  const found = members(body, result)
  const supported = found.get('supportedVersions')
  const capabilities = found.get('capabilities')
  const instructions = found.get('instructions')
  if (supported === undefined) return { speaks: 'stateful', why: 'its result has no supportedVersions' }
  const versions = texts(body, supported)
  if (!versions.includes(REVISION)) return ofVersions(versions)
  return {
    speaks: 'stateless',
    initialized: {
      protocolVersion: REVISION,
      capabilities: capabilityNames(capabilities === undefined ? {} : JSON.parse(textOf(body, capabilities))),
      instructions: instructions === undefined ? undefined : stringOf(body, instructions),
      caching: cachingOf(body, found),
    },
  }
}

/** A server that knows `server/discover`, and whose revisions are not ours. Revisions are dates. */
const ofVersions = (versions: readonly string[]): DiscoverVerdict => {
  const stateful = versions.length > 0 && versions.every((version) => version < REVISION)
  const why = `the server speaks ${versions.length === 0 ? 'an unknown revision' : versions.join(', ')}`
  return { speaks: stateful ? 'stateful' : 'other', why }
}

/** An answer to a request of the stateless era that a server of that era would not give: it was not carried out. */
export const deniesStateless = (outcome: Outcome): boolean => {
  if (outcome.kind === 'failed' || ![400, 404, 405].includes(outcome.status)) return false
  if (parseServerMessage(outcome.body)?.kind !== 'response') return true
  const code = errorOf(outcome.body)?.code
  // Of a session that is missing or unknown, or whatever else such servers say to what they do not understand.
  return code === undefined || code === -32600 || (code <= -32000 && code >= -32019)
}

/** An answer to a request of the stateful era that only a server of the other era would give: it was not carried out. */
export const deniesStateful = (outcome: Outcome): boolean => {
  if (outcome.kind === 'failed' || outcome.status === 200) return false
  if (parseServerMessage(outcome.body)?.kind !== 'response') return false
  const error = errorOf(outcome.body)
  if (error === undefined) return false
  return STATELESS_CODES.has(error.code) || (error.code === -32602 && /_meta|modelcontextprotocol/.test(error.message))
}

const errorOf = (body: Buffer): ReturnType<typeof readError> => {
  const error = members(body).get('error')
  return error === undefined ? undefined : readError(body, error)
}
const texts = (body: Buffer, array: Span): readonly string[] =>
  elements(body, array).map((span) => stringOf(body, span))
