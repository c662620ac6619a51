/** The discovery messages on the wire ⇄ what the stream function takes and gives. */
import { type Message, pack, unpack, type Value } from './pack.ts'
import type { DeltaRequest, Send } from './stream.ts'

/** The node at the other end, from a stream's first request. */
export interface EnvoyNode {
  readonly id: string
  /** Such as `1.40.0`. */
  readonly version: string
  /** The path of its inner listener, when its bootstrap is ours. */
  readonly innerSocket?: string
  /** The types of the HTTP filters it knows. */
  readonly filterTypes: readonly string[]
}

const text = (value: Value | undefined): string => (typeof value === 'string' ? value : '')

const texts = (value: Value | undefined): readonly string[] => (Array.isArray(value) ? value.map(text) : [])

const message = (value: Value | undefined): Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? Object.fromEntries(Object.entries(value))
    : {}

/** Sorted: the order of an Envoy's list means nothing, and a listener that changes drains. */
const filterTypes = (extensions: Value | undefined): readonly string[] => {
  const known = Array.isArray(extensions) ? extensions.map(message) : []
  const types = known
    .filter(({ category, disabled }) => category === 'envoy.filters.http' && disabled !== true)
    .flatMap(({ type_urls }) => texts(type_urls))
  return [...new Set(types)].sort()
}

const envoyNode = (node: Message): EnvoyNode => {
  const semantic = message(message(node['user_agent_build_version'])['version'])
  const version = ['major_number', 'minor_number', 'patch'].map((part) => Number(semantic[part] ?? 0)).join('.')
  const innerSocket = text(message(node['metadata'])['inner'])
  return {
    id: text(node['id']),
    version,
    ...(innerSocket === '' ? {} : { innerSocket }),
    filterTypes: filterTypes(node['extensions']),
  }
}

/** A DeltaDiscoveryRequest's bytes, read. */
export const deltaRequest = (bytes: Uint8Array): { readonly request: DeltaRequest; readonly node?: EnvoyNode } => {
  const raw = unpack('envoy.service.discovery.v3.DeltaDiscoveryRequest', bytes)
  const node = raw['node'] === undefined ? undefined : envoyNode(message(raw['node']))
  const versions = Object.entries(message(raw['initial_resource_versions']))
  const request: DeltaRequest = {
    type: text(raw['type_url']),
    ...(node === undefined ? {} : { envoy: `${node.id} ${node.version}` }),
    subscribe: texts(raw['resource_names_subscribe']),
    unsubscribe: texts(raw['resource_names_unsubscribe']),
    initialVersions: new Map(versions.map(([name, version]) => [name, text(version)])),
    nonce: text(raw['response_nonce']),
    ...(raw['error_detail'] === undefined ? {} : { error: text(message(raw['error_detail'])['message']) }),
  }
  return { request, ...(node === undefined ? {} : { node }) }
}

/** A DeltaDiscoveryResponse's bytes; resources go out as the very bytes their versions are hashes of. */
export const deltaResponse = (send: Send, snapshotVersion: string): Uint8Array =>
  pack('envoy.service.discovery.v3.DeltaDiscoveryResponse', {
    system_version_info: snapshotVersion,
    resources: [...send.resources].map(([name, { version, bytes }]) => ({
      name,
      version,
      resource: { type_url: send.type, value: bytes },
    })),
    type_url: send.type,
    nonce: send.nonce,
    removed_resources: send.removed,
    control_plane: { identifier: 'mcp-gateway' },
  })
