/** Where a key stands in a registry's text, for problems that are found long after it was read. */
import { isMap, isScalar, type Node } from 'yaml'
import type { Place } from './model.ts'
import { placesOf } from './place.ts'
import { readSyntax } from './syntax.ts'

/** Of the deepest key of the path, such as `gateway.listen`, that is there; else the text's start. */
export const keyPlace = (text: string, path: string): Place => {
  let node: Node | null | undefined = readSyntax(text).document?.contents
  let offset = 0
  for (const step of path.split('.')) {
    const pair = isMap<unknown, Node>(node)
      ? node.items.find(({ key }) => isScalar(key) && key.value === step)
      : undefined
    if (pair === undefined) break
    if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset
    node = pair.value
  }
  return placesOf(text)(offset)
}
