/** What Envoy is otherwise given over xDS, written into its bootstrap: so that `--mode validate` sees all of it. */
import { bootstrap } from '../../src/xds/bootstrap.ts'
import { type Message, unpack, type Value } from '../../src/xds/pack.ts'
import { yamlText } from '../../src/xds/render.ts'
import type { RunPaths } from '../../src/xds/run-paths.ts'
import type { Snapshot } from '../../src/xds/snapshot.ts'
import {
  CLUSTER,
  EXTENSION,
  LISTENER,
  messageName,
  ROUTES,
  SECRET,
  TYPE_URLS,
  type TypeUrl,
} from '../../src/xds/type-url.ts'

/** YAML of a bootstrap with every resource of the snapshot in it, secrets and all: for Envoy's eyes only. */
export const staticEnvoy = (snapshot: Snapshot, run: RunPaths): string => {
  const sent = new Map<TypeUrl, ReadonlyMap<string, Message>>(
    TYPE_URLS.map((type) => {
      const entries = [...(snapshot.types.get(type) ?? [])]
      return [type, new Map(entries.map(([name, { bytes }]) => [name, unpack(messageName(type), bytes)]))]
    }),
  )
  const all = (type: TypeUrl): readonly Message[] => [...(sent.get(type)?.values() ?? [])]
  const one = (type: TypeUrl, name: unknown): Message => {
    const found = sent.get(type)?.get(String(name))
    if (found === undefined) throw new Error(`no ${messageName(type)} ${String(name)}`)
    return found
  }

  /** References to other resources become those resources. */
  const filled = (value: Value | undefined): Value | undefined => {
    if (Array.isArray(value)) return value.map((item) => filled(item) ?? null)
    if (!isMessage(value)) return value
    const { rds, config_discovery, sds_config, ...rest } = value
    if (sds_config !== undefined) return rest // a secret of that name is in the bootstrap
    if (config_discovery !== undefined) return filled(one(EXTENSION, rest['name']))
    const routes = isMessage(rds) ? { route_config: one(ROUTES, rds['route_config_name']) } : {}
    return mapped({ ...rest, ...routes }, filled)
  }

  const { dynamic_resources: _dynamic, static_resources, ...rest } = bootstrap({ nodeId: 'validate', run })
  const own = isMessage(static_resources) ? static_resources : {}
  return yamlText({
    ...rest,
    static_resources: mapped(
      {
        listeners: [...listOf(own['listeners']), ...all(LISTENER)],
        clusters: [...listOf(own['clusters']), ...all(CLUSTER)],
        secrets: all(SECRET),
      },
      filled,
    ),
  })
}

const isMessage = (value: Value | undefined): value is Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

const listOf = (value: Value | undefined): readonly Value[] => (Array.isArray(value) ? value : [])

const mapped = (message: Message, each: (value: Value | undefined) => Value | undefined): Message =>
  Object.fromEntries(Object.entries(message).map(([key, value]) => [key, each(value)]))
