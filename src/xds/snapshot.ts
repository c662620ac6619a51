/** All resources at one moment, packed and versioned: an immutable value. */
import { createHash } from 'node:crypto'
import type { Place } from '../registry/model.ts'
import { violations } from './field-rules.ts'
import { XDS } from './names.ts'
import { type Message, pack, type Value } from './pack.ts'
import type { Resource, Resources } from './resource.ts'
import { CLUSTER, EXTENSION, LISTENER, messageName, ROUTES, SECRET, TYPE_URLS, type TypeUrl } from './type-url.ts'

export interface Entry {
  /** A hash of the bytes: equal bytes are never sent twice. For a certificate, of all the bytes it is used with. */
  readonly version: string
  readonly bytes: Uint8Array
  readonly place?: Place
  readonly path?: string
  /** What Envoy's field rules would refuse. Such an entry is never sent. */
  readonly fault?: string
  /** The same for an Envoy of this version that knows HTTP filters of these types. */
  readonly fitted?: (filterTypes: readonly string[], version: string) => Entry
}

export interface Snapshot {
  readonly version: string
  /** Type URL → name → entry. */
  readonly types: ReadonlyMap<string, ReadonlyMap<string, Entry>>
}

const hash = (...parts: readonly (string | Uint8Array)[]): string => {
  const sum = createHash('sha256')
  for (const part of parts) sum.update(part)
  return sum.digest('hex').slice(0, 16)
}

const entry = (type: TypeUrl, resource: Resource, companions: readonly Uint8Array[]): Entry => {
  const { message, place, path, fitted } = resource
  const bytes = pack(messageName(type), message)
  const faults = violations(messageName(type), message)
  return {
    version: hash(bytes, ...companions),
    bytes,
    ...(place === undefined ? {} : { place }),
    ...(path === undefined ? {} : { path }),
    ...(faults.length === 0 ? {} : { fault: faults.join('; ') }),
    ...(fitted === undefined ? {} : { fitted: (...envoy) => entry(type, { message: fitted(...envoy) }, []) }),
  }
}

/**
 * Envoy builds a TLS context once it has all certificates of a server, and refuses the one that came last for a fault of
 * any. So when one of them is mended, all of them count as new.
 */
const companions = (type: TypeUrl, { message, path }: Resource, list: readonly Resource[]): readonly Uint8Array[] =>
  type !== SECRET || path === undefined || message['generic_secret'] !== undefined
    ? []
    : list
        .filter((other) => other.path === path && other.message['generic_secret'] === undefined)
        .map((other) => pack(messageName(type), other.message))

const nameOf = ({ name }: Message): string => (typeof name === 'string' ? name : '')

/** Throws when two resources of a type have the same name: Envoy would refuse both and everything beside them. */
const entries = (type: TypeUrl, list: readonly Resource[]): ReadonlyMap<string, Entry> => {
  const result = new Map<string, Entry>()
  for (const resource of list) {
    // Envoy files a resource under its message's own name, so the name is taken from there and nowhere else.
    const name = nameOf(resource.message)
    if (name === '') throw new TypeError(`a ${messageName(type)} without a name`)
    if (result.has(name)) throw new Error(`two ${messageName(type)} are named ${name}`)
    result.set(name, entry(type, resource, companions(type, resource, list)))
  }
  return result
}

/** Packs, checks and versions. Throws on our own bugs only: a bad value in a registry becomes an entry's fault. */
export const snapshot = (resources: Resources): Snapshot => {
  const types = new Map<string, ReadonlyMap<string, Entry>>(
    TYPE_URLS.map((type) => [type, entries(type, resources[type])]),
  )
  const versions = [...types].flatMap(([type, named]) =>
    [...named].map(([name, { version }]) => `${type} ${name} ${version}\n`).sort(),
  )
  return { version: hash(...versions), types }
}

/** As one Envoy is given it: its slots take filters of the types that it knows, and fields of its version, no others. */
export const fitted = (snapshot: Snapshot, filterTypes: readonly string[], version = ''): Snapshot => {
  const fit = (type: TypeUrl) =>
    new Map(
      [...(snapshot.types.get(type) ?? [])].map(
        ([name, entry]) => [name, entry.fitted?.(filterTypes, version) ?? entry] as const,
      ),
    )
  const types = new Map(snapshot.types)
  for (const type of [LISTENER, EXTENSION] as const) types.set(type, fit(type))
  return { ...snapshot, types }
}

type Reference = readonly [TypeUrl, string]

const isMessage = (value: Value | undefined): value is Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

const children = (value: Value | undefined): readonly Message[] =>
  Array.isArray(value) ? value.flatMap(children) : isMessage(value) ? [value] : []

/** The names of other resources in a message. The bootstrap's own cluster is always there. */
const references = (message: Message): readonly Reference[] => {
  const { name, route, cluster_name, route_config_name, sds_config, config_discovery, clusters } = message
  const own: readonly (readonly [TypeUrl, Value | undefined, boolean])[] = [
    ...children(route).map((action) => [CLUSTER, action['cluster'], true] as const),
    [CLUSTER, cluster_name, message['endpoints'] === undefined],
    [ROUTES, route_config_name, true],
    [SECRET, name, sds_config !== undefined],
    [EXTENSION, name, config_discovery !== undefined],
    ...children(clusters).map((member) => [CLUSTER, member['name'], true] as const),
  ]
  return [
    ...own.flatMap(([type, value, counts]) => (counts && typeof value === 'string' ? [[type, value] as const] : [])),
    ...Object.values(message).flatMap((value) => children(value).flatMap(references)),
  ]
}

/** References that lead nowhere, as `from → to`; empty: the resources are closed. */
export const dangling = (resources: Resources, outside: readonly Resource[] = []): readonly string[] => {
  const names = new Set(TYPE_URLS.flatMap((type) => resources[type].map(({ message }) => `${type} ${nameOf(message)}`)))
  names.add(`${CLUSTER} ${XDS}`)
  return [...TYPE_URLS.flatMap((type) => resources[type]), ...outside].flatMap(({ message }) =>
    references(message)
      .filter(([type, name]) => !names.has(`${type} ${name}`))
      .map(([type, name]) => `${nameOf(message)} → ${messageName(type)} ${name}`),
  )
}
