/** The name that clients see an item under: chosen and renamed by the registry, then prefixed. */
import type { Selection, Server } from '../registry/model.ts'
import { select } from '../registry/selection.ts'
import type { ItemKind } from './server-catalogue.ts'

/** Undefined: the registry leaves the item out. */
export const exposedName = (kind: ItemKind, server: Server, own: string): string | undefined => {
  if (kind === 'tools' || kind === 'prompts') {
    const name = select(server[kind], own)
    return name === undefined ? undefined : server.prefix + name
  }
  const uri = select(withoutRename(server.resources), own)
  return uri === undefined ? undefined : server.resources.prefix ? `${server.name}+${uri}` : uri
}

const unrenamed = new WeakMap<Selection, Selection>()
const withoutRename = (selection: Selection): Selection => {
  const known = unrenamed.get(selection)
  if (known !== undefined) return known
  const made: Selection = { include: selection.include, exclude: selection.exclude, rename: new Map() }
  unrenamed.set(selection, made)
  return made
}
