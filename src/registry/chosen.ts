/** Which of a server's items are shown: the checks on include, exclude and rename. */
import type { Inspection } from './inspection.ts'
import type { Selection } from './model.ts'
import { type ItemKind, patternOddity } from './patterns.ts'
import type { Path } from './place.ts'
import type { SelectionSheet } from './schema.ts'
import { select } from './selection.ts'

/** What MCP allows in a name. */
const name = /^[A-Za-z0-9_.-]{1,128}$/
const uri = /^[A-Za-z][A-Za-z0-9+.-]*:[^\s\p{Cc}]+$/u

export const chosen = (inspection: Inspection, path: Path, sheet: SelectionSheet, kind: ItemKind): Selection => {
  const selection = { include: sheet.include, exclude: sheet.exclude, rename: new Map(Object.entries(sheet.rename)) }
  checkPatterns(inspection, path, selection, kind)
  checkRenames(inspection, path, selection, kind)
  return selection
}

const checkPatterns = (inspection: Inspection, path: Path, selection: Selection, kind: ItemKind): void => {
  const without = (exclude: readonly string[]): Selection => ({ include: ['*'], exclude, rename: new Map() })
  for (const list of ['include', 'exclude'] as const) {
    for (const [index, pattern] of selection[list].entries()) {
      const here = [...path, list, index]
      const oddity = patternOddity(pattern, kind)
      if (oddity !== undefined) inspection.warning(here, oddity.message, oddity.hint)
      else if (selection[list].indexOf(pattern) !== index) inspection.warning(here, 'this pattern stands here twice')
      else if (
        list === 'include' &&
        inspection.isWritten(here) &&
        select(without(selection.exclude), pattern) === undefined
      ) {
        inspection.warning(here, 'exclude hides all that it matches')
      }
    }
  }
}

const checkRenames = (inspection: Inspection, path: Path, selection: Selection, kind: ItemKind): void => {
  const taken = new Map<string, string>()
  for (const [own, target] of selection.rename) {
    const here = [...path, 'rename', own]
    if (kind === 'name' && own.includes('*')) {
      inspection.errorAtKey(here, 'rename takes whole names, not patterns')
    }
    if (!(kind === 'name' ? name : uri).test(target)) {
      const message = kind === 'name' ? 'must be a name' : 'must be a URI'
      const hint = kind === 'name' ? '1 to 128 of A-Z a-z 0-9 _ . -' : undefined
      inspection.error(here, message, hint)
      continue
    }
    const other = taken.get(target)
    if (other !== undefined) inspection.error(here, `"${other}" is renamed to the same`)
    taken.set(target, own)
    if (select(selection, own) === undefined) inspection.warning(here, 'it is not shown, so its new name is not either')
  }
}
