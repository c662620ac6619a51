/** What the gateway says when it opens a session with a server: initialize, initialized, and what it declares. */
import { capabilityNames } from '../catalog/server-catalogue.ts'
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { CachePolicy, ClientFeature } from '../registry/model.ts'
import type { SessionClaims } from '../sessions/session-id.ts'
import { resultOf } from './server-message.ts'

/** The raw id of a request of ours. */
export const ownId = (salt: string, n: number): string => `"${salt}-${n}"`

/** A request of ours to a stateful server. `params` is JSON text. */
export const ownRequest = (id: string, method: string, params: string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}`)

/** What a server says of itself. */
export interface Initialized {
  readonly protocolVersion: string
  readonly capabilities: ReadonlySet<string>
  readonly instructions: string | undefined
  /** What it says about keeping this. */
  readonly caching: CachePolicy | undefined
}

/** On whose behalf a session is opened. `capabilities` is JSON text. */
export interface Introduction {
  readonly protocolVersion: string
  readonly capabilities: string
  readonly clientName: string
  readonly clientVersion: string
}

export const initializeBody = (id: string, as: Introduction): Buffer => {
  const info = JSON.stringify({ name: as.clientName, version: as.clientVersion })
  return Buffer.from(
    `{"jsonrpc":"2.0","id":${id},"method":"initialize","params":{"protocolVersion":${JSON.stringify(as.protocolVersion)},"capabilities":${as.capabilities},"clientInfo":${info}}}`,
  )
}

export const initializedBody = Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}')

/** The answer to initialize; a string says what is wrong with it. */
export const parseInitialized = (response: Buffer): Initialized | string => {
  const outcome = resultOf(response)
  if ('error' in outcome) return `initialize: ${outcome.error}`
  const found = members(response, outcome.result)
  const version = found.get('protocolVersion')
  if (version === undefined) return 'initialize: no protocolVersion in the result'
  const protocolVersion = stringOf(response, version)
  // Revisions are dates; a newer one than ours was not asked for and would be spoken wrongly.
  if (!/^20\d\d-\d\d-\d\d$/.test(protocolVersion) || protocolVersion > '2025-11-25')
    return `initialize: the server speaks ${protocolVersion}`
  const capabilities = found.get('capabilities')
  const instructions = found.get('instructions')
  return {
    protocolVersion,
    capabilities: capabilityNames(capabilities === undefined ? {} : JSON.parse(textOf(response, capabilities))),
    instructions: instructions === undefined ? undefined : stringOf(response, instructions),
    caching: undefined,
  }
}

/** How the gateway itself appears to a server whose lists it reads: with everything the server may ask of some client. */
export const ownIntroduction = (version: string, features: readonly ClientFeature[]): Introduction => ({
  protocolVersion: '2025-11-25',
  capabilities: JSON.stringify(Object.fromEntries(features.map((feature) => [feature, {}]))),
  clientName: 'mcp-gateway',
  clientVersion: version,
})

/** How a client's session appears to a server: what the client declared, as far as the server may use it. */
export const clientIntroduction = (claims: SessionClaims, features: readonly ClientFeature[]): Introduction => {
  const text = Buffer.from(claims.capabilities)
  const declared = members(text)
  const kept = features.flatMap((feature) => {
    const span = declared.get(feature)
    return span === undefined ? [] : [`${JSON.stringify(feature)}:${textOf(text, span)}`]
  })
  return {
    protocolVersion: claims.protocolVersion,
    capabilities: `{${kept.join(',')}}`,
    clientName: claims.clientName,
    clientVersion: claims.clientVersion,
  }
}
