/** Which era a request belongs to, and what is wrong with one of the stateless era before anybody looks its name up. */
import { decodeHeaderValue } from './header-value.ts'
import { isObject, members, stringOf } from './json-text.ts'
import { isLogLevel } from './log-levels.ts'
import type { Message, Span } from './message.ts'
import { META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION } from './meta-keys.ts'
import { isMethodOf, type Method, methods } from './methods.ts'
import type { StatelessRefusal } from './refusal.ts'
import type { RequestHead } from './request-head.ts'
import { TASKS_EXTENSION } from './task-id.ts'
import { type Era, isStateless, STATEFUL_VERSIONS } from './versions.ts'

export interface StatelessFault {
  readonly reason: StatelessRefusal
  /** What is wrong, in words. */
  readonly detail: string
  /** The revision that the client asked for and we do not speak. */
  readonly requested?: string
}

/**
 * The body decides (2026-07-28 versioning, backward compatibility): a `_meta` version is stateless, `initialize` without
 * one stateful. The header decides for the rest, newer than anything stateful; an older one that we do not know is the
 * stateful era's to refuse.
 */
export const eraOf = (head: Pick<RequestHead, 'protocolVersion'>, message: Message): Era => {
  if (message.metaProtocolVersion !== undefined) return 'stateless'
  return message.method === 'initialize' ? 'stateful' : eraOfVersion(head.protocolVersion)
}

/** What the version header alone says. Revisions are dates: their order is that of their texts. */
export const eraOfVersion = (version: string | undefined): Era =>
  version !== undefined && version > STATEFUL_VERSIONS[0] ? 'stateless' : 'stateful'

/**
 * The first fault of a stateless message: a response at all, versions that disagree, `_meta`, the revision, then the
 * standard headers (2026-07-28 basic/index `_meta`; streamable-http, server validation). Only requests must have any of
 * these; a notification must not contradict itself.
 */
export const statelessFault = (head: RequestHead, message: Message, bytes: Buffer): StatelessFault | undefined => {
  if (message.kind === 'response') {
    return { reason: 'response-refused', detail: 'clients send requests and notifications, never responses' }
  }
  return versionFault(head, message, bytes) ?? headerFault(head, message, bytes)
}

const versionFault = (
  { protocolVersion: header }: RequestHead,
  message: Message,
  bytes: Buffer,
): StatelessFault | undefined => {
  const said = stringIn(bytes, message.metaProtocolVersion)
  if (said !== undefined && header !== undefined && said !== header) {
    return mismatch(`MCP-Protocol-Version is ${quoted(header)}, the body says ${quoted(said)}`)
  }
  // What another revision wants of `_meta` is not ours to say.
  if (message.metaProtocolVersion === undefined && header !== undefined && !isStateless(header)) return unknown(header)
  const wrong = message.kind === 'request' ? metaFault(message, bytes) : versionKind(message, bytes)
  if (wrong !== undefined) return { reason: 'bad-meta', detail: wrong }
  if (said !== undefined && !isStateless(said)) return unknown(said)
  return message.kind === 'request' && header === undefined ? mismatch('MCP-Protocol-Version is missing') : undefined
}

/** What `_meta` lacks, or has of another kind. */
const metaFault = (message: Message, bytes: Buffer): string | undefined => {
  const { meta, metaProtocolVersion, metaClientCapabilities, metaClientInfo, metaLogLevel } = message
  if (meta === undefined) return '_meta is missing'
  if (!isObject(bytes, meta)) return '_meta is not an object'
  if (metaProtocolVersion === undefined) return `_meta has no ${META_PROTOCOL_VERSION}`
  if (metaClientCapabilities === undefined) return `_meta has no ${META_CLIENT_CAPABILITIES}`
  return (
    versionKind(message, bytes) ??
    capabilitiesKind(metaClientCapabilities, bytes) ??
    infoKind(metaClientInfo, bytes) ??
    levelKind(metaLogLevel, bytes)
  )
}

const versionKind = ({ metaProtocolVersion }: Message, bytes: Buffer): string | undefined =>
  metaProtocolVersion !== undefined && stringIn(bytes, metaProtocolVersion) === undefined
    ? `${META_PROTOCOL_VERSION} is not a string`
    : undefined

/** A feature declared with anything but an object would be read in two ways. */
const capabilitiesKind = (at: Span, bytes: Buffer): string | undefined => {
  if (!isObject(bytes, at)) return `${META_CLIENT_CAPABILITIES} is not an object`
  const declared = members(bytes, at)
  const wrong = FEATURES.find((feature) => {
    const value = declared.get(feature)
    return value !== undefined && !isObject(bytes, value)
  })
  return wrong === undefined ? undefined : `${META_CLIENT_CAPABILITIES} has a ${wrong} that is not an object`
}

const infoKind = (at: Span | undefined, bytes: Buffer): string | undefined => {
  if (at === undefined) return undefined
  const info = members(bytes, at)
  const complete = [info.get('name'), info.get('version')].every((each) => stringIn(bytes, each) !== undefined)
  return complete ? undefined : `${META_CLIENT_INFO} is not an object with a name and a version`
}

const levelKind = (at: Span | undefined, bytes: Buffer): string | undefined =>
  at === undefined || isLogLevel(stringIn(bytes, at) ?? '') ? undefined : `${META_LOG_LEVEL} is not a log level`

const headerFault = (
  { mcpMethod, mcpName }: RequestHead,
  message: Message,
  bytes: Buffer,
): StatelessFault | undefined => {
  const { kind, method } = message
  if (mcpMethod === undefined && kind === 'request') return mismatch('Mcp-Method is missing')
  if (mcpMethod !== undefined && mcpMethod !== method) {
    return mismatch(`Mcp-Method is ${quoted(mcpMethod)}, the body says ${quoted(method ?? '')}`)
  }
  const key = kind === 'request' && method !== undefined ? namedBy(method) : undefined
  if (key === undefined) return undefined
  const named = stringIn(bytes, message[key])
  // A request that names nothing is refused for that.
  if (mcpName === undefined) return named === undefined ? undefined : mismatch('Mcp-Name is missing')
  const name = decodeHeaderValue(mcpName)
  if (name === undefined) return mismatch('Mcp-Name is malformed')
  return name === named
    ? undefined
    : mismatch(`Mcp-Name is ${quoted(name)}, the body says ${named === undefined ? 'nothing' : quoted(named)}`)
}

/** The member of `params` that Mcp-Name repeats: of a method that has one. Completions have none. */
const namedBy = (method: string): 'name' | 'uri' | 'taskId' | undefined => {
  if (!isMethodOf('stateless', method)) return undefined
  const row: Method = methods[method]
  const key = row.by === 'one' && row.sent === 'request' ? row.key : undefined
  return key === 'name' || key === 'uri' || key === 'taskId' ? key : undefined
}

const FEATURES = ['elicitation', 'sampling', 'roots'] as const
/** What a server may ask of a client. */
export type Feature = (typeof FEATURES)[number]

/** What the client of this request declared that it can be asked for. */
export const declaredFeatures = (bytes: Buffer, { metaClientCapabilities }: Message): readonly Feature[] => {
  if (metaClientCapabilities === undefined) return []
  const declared = members(bytes, metaClientCapabilities)
  return FEATURES.filter((feature) => {
    const value = declared.get(feature)
    return isObject(bytes, value)
  })
}

/** Whether it takes tasks in place of results: it says so in every request. */
export const declaresTasks = (bytes: Buffer, { metaClientCapabilities }: Message): boolean => {
  if (metaClientCapabilities === undefined) return false
  const extensions = members(bytes, metaClientCapabilities).get('extensions')
  const tasks = extensions === undefined ? undefined : members(bytes, extensions).get(TASKS_EXTENSION)
  return isObject(bytes, tasks)
}

const mismatch = (detail: string): StatelessFault => ({ reason: 'header-mismatch', detail })
const unknown = (requested: string): StatelessFault => ({
  reason: 'unsupported-revision',
  detail: `the gateway does not speak ${quoted(requested)}`,
  requested,
})

const stringIn = (bytes: Buffer, at: Span | undefined): string | undefined =>
  at !== undefined && bytes[at.start] === 0x22 ? stringOf(bytes, at) : undefined
/** Short enough for a message. */
const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
