/** What a client says of itself, cut down to what servers can use: in initialize once, or in every request. */
import { isObject, members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { ClientFeature } from '../registry/model.ts'
import type { SessionClaims } from '../sessions/session-id.ts'
import { clientFeatures } from '../upstreams/questions.ts'

/** A session's id carries the capabilities; what no server could use is not worth its length. */
const MOST_CAPABILITY_BYTES = 512
const MOST_NAME_CHARACTERS = 64

export type Declared = Pick<SessionClaims, 'capabilities' | 'features' | 'clientName' | 'clientVersion'>

/** `capabilities` is where an object lies, `info` where a client's name and version are; of the features those in `among` count. */
export const declaredIn = (
  bytes: Buffer,
  capabilities: Span | undefined,
  info: Span | undefined,
  among: readonly ClientFeature[] = clientFeatures,
): Declared => {
  const declared = capabilities === undefined ? new Map<string, Span>() : members(bytes, capabilities)
  const features = clientFeatures.filter((feature) => among.includes(feature) && isObject(bytes, declared.get(feature)))
  const kept = features.map((feature) => `${JSON.stringify(feature)}:${short(bytes, declared.get(feature))}`)
  const about = info === undefined ? new Map<string, Span>() : members(bytes, info)
  const text = (key: string): string =>
    stringOf(bytes, about.get(key) ?? { start: 0, end: 0 }).slice(0, MOST_NAME_CHARACTERS)
  return {
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
