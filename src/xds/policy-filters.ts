/** The operator's own filters, one in each slot of the listener, passed on without a look inside. */
import { isObject } from '../registry/json-object.ts'
import type { PolicyFilter } from '../registry/model.ts'
import { MOST_FILTERS } from '../registry/policy.ts'
import { filterSlot } from './names.ts'
import { noFilter } from './no-filter.ts'
import { any, type Message } from './pack.ts'
import type { Resource } from './resource.ts'

/** Whoever copies from Envoy's documentation may have wrapped it already. */
const wrapped = ({ type, config }: PolicyFilter): Message =>
  /\/(?:xds\.type\.v3|udpa\.type\.v1)\.TypedStruct$/.test(type) && isObject(config['value'])
    ? { type_url: config['type_url'], value: config['value'] }
    : { type_url: type, value: config }

/** Every slot's configuration; a slot without one would keep the listener closed. */
export const policyFilters = (filters: readonly PolicyFilter[]): readonly Resource[] =>
  Array.from({ length: MOST_FILTERS }, (_, index): Resource => {
    const name = filterSlot(index)
    const filter = filters[index]
    if (filter === undefined) return { message: { name, typed_config: noFilter } }
    return {
      message: { name, typed_config: any('xds.type.v3.TypedStruct', wrapped(filter)) },
      place: filter.place,
      path: `gateway.filters[${index}]`,
    }
  })
