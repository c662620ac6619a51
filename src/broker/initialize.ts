/** The gateway's own answer to initialize: what the servers can do together, and a sealed session. */
import type { Catalogue } from '../catalog/catalogue.ts'
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { negotiate } from '../mcp/versions.ts'
import type { ClientFeature } from '../registry/model.ts'
import type { SessionClaims } from '../sessions/session-id.ts'

const FEATURES: readonly ClientFeature[] = ['elicitation', 'sampling', 'roots']
/** The id carries the capabilities; what no server could use is not worth its length. */
const MOST_CAPABILITY_BYTES = 512
const MOST_NAME_CHARACTERS = 64

/** What a client's initialize declares; undefined: its params are not MCP's. */
export const parseInitialize = (
  bytes: Buffer,
  params: Span | undefined,
): Omit<SessionClaims, 'key' | 'createdMs'> | undefined => {
  if (params === undefined) return undefined
  const found = members(bytes, params)
  const version = found.get('protocolVersion')
  const declared = found.get('capabilities')
  if (
    version === undefined ||
    bytes[version.start] !== 0x22 ||
    declared === undefined ||
    bytes[declared.start] !== 0x7b
  )
    return undefined
  const capabilities = members(bytes, declared)
  const features = FEATURES.filter((feature) => bytes[capabilities.get(feature)?.start ?? -1] === 0x7b)
  const kept = features.map((feature) => `${JSON.stringify(feature)}:${short(bytes, capabilities.get(feature))}`)
  const info = found.get('clientInfo')
  const about = info === undefined ? new Map<string, Span>() : members(bytes, info)
  const text = (key: string): string =>
    stringOf(bytes, about.get(key) ?? { start: 0, end: 0 }).slice(0, MOST_NAME_CHARACTERS)
  return {
    protocolVersion: negotiate(stringOf(bytes, version)),
    capabilities: `{${kept.join(',')}}`,
    features,
    clientName: text('name'),
    clientVersion: text('version'),
  }
}

const short = (bytes: Buffer, span: Span | undefined): string => {
  const text = span === undefined ? '{}' : textOf(bytes, span)
  return text.length > MOST_CAPABILITY_BYTES ? '{}' : text
}

/** The result, as JSON text. */
export const initializeResult = (catalogue: Catalogue, protocolVersion: string, version: string): string =>
  JSON.stringify({
    protocolVersion,
    capabilities: catalogue.capabilities,
    serverInfo: { name: 'mcp-gateway', title: 'MCP Gateway', version },
    ...(catalogue.instructions !== undefined && { instructions: catalogue.instructions }),
  })
