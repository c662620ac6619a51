/** Policy of the operator's own: Envoy's filters, passed on as they are written, and the clusters they call. */
import { meantHint } from './did-you-mean.ts'
import type { Inspection } from './inspection.ts'
import { jsonMap } from './json.ts'
import type { PolicyCluster, PolicyFilter } from './model.ts'
import { keyText, type Path } from './place.ts'
import type { ClusterSheet, FilterSheet } from './schema.ts'
import { upstreamTls } from './upstream-tls.ts'

/** The listener has so many places for them. It never changes, so neither does their number. */
export const MOST_FILTERS = 8

/** Whether scalars keep the kind they were written as: Envoy takes `true` for a flag, not the text; so do rules of claims. */
export const isVerbatim = ([section, key, third, part]: Path): boolean =>
  (section === 'gateway' && key === 'filters' && part === 'typed_config') || (section === 'tests' && third === 'claims')

export const policyFilters = (
  inspection: Inspection,
  sheets: readonly FilterSheet[],
  clusters: readonly string[],
): readonly PolicyFilter[] => {
  const path = ['gateway', 'filters']
  if (sheets.length > MOST_FILTERS) {
    const hint = `there is room for ${MOST_FILTERS}; a composite filter holds more than one`
    inspection.errorAtKey([...path, MOST_FILTERS], 'this is one filter too many', hint)
  }
  return sheets.map((sheet, index) => policyFilter(inspection, [...path, index], sheet, clusters))
}

const policyFilter = (
  inspection: Inspection,
  path: Path,
  { name, typed_config: { '@type': type, ...written } }: FilterSheet,
  clusters: readonly string[],
): PolicyFilter => {
  const place = inspection.keyPlace(path)
  const here = [...path, 'typed_config']
  if (name === '') inspection.error([...path, 'name'], 'must not be empty')
  if (!/^[a-z0-9.-]+\/[A-Za-z0-9_.]+$/.test(type)) {
    const hint = 'such as type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC'
    inspection.error([...here, '@type'], 'must be the URL of a type', hint)
  }
  for (const [at, called] of calledClusters(written, here)) {
    if (clusters.includes(called)) continue
    const hint = meantHint(called, clusters) ?? 'add it there'
    inspection.warning(at, 'no cluster in gateway.clusters has this name', hint)
  }
  return { name, place, type, config: jsonMap(written) }
}

/** Under these keys Envoy's filters name clusters. */
const CLUSTER_KEYS: ReadonlySet<string> = new Set(['cluster', 'cluster_name', 'clusterName'])

const calledClusters = (value: unknown, path: Path): readonly (readonly [Path, string])[] => {
  if (Array.isArray(value)) return value.flatMap((item, index) => calledClusters(item, [...path, index]))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    CLUSTER_KEYS.has(key) && typeof inner === 'string'
      ? [[[...path, key], inner] as const]
      : calledClusters(inner, [...path, key]),
  )
}

export const policyClusters = (
  inspection: Inspection,
  sheets: Readonly<Record<string, ClusterSheet>>,
): readonly PolicyCluster[] =>
  Object.entries(sheets).map(([name, { address, http2, tls }]) => {
    const path = ['gateway', 'clusters', name]
    if (!/^[a-z][a-z0-9-]*$/.test(name)) {
      const message = `"${keyText(name)}" is not a cluster name: lower-case letters, digits and hyphens, a letter first`
      inspection.errorAtKey(path, message)
    }
    return {
      name,
      place: inspection.keyPlace(path),
      ...address,
      http2,
      ...(tls === undefined ? {} : { tls: upstreamTls(inspection, [...path, 'tls'], tls) }),
    }
  })
