/** The gateway's own pages over a merged list: the size is ours, the cursor belongs to one state of one list. */
import { createHash } from 'node:crypto'
import type { MergedList } from '../catalog/catalogue.ts'

/** Items in a page. Many clients never ask for a second page, so it is a large one. */
const PAGE_ITEMS = 1000

interface Page {
  /** A JSON array. */
  readonly items: Buffer
  readonly nextCursor: string | undefined
}

/** The page a cursor leads to; undefined: no such cursor, or the list has changed under it and paging must start again. */
export const pageOf = (list: MergedList, cursor: string | undefined): Page | undefined => {
  if (cursor === undefined && list.items.length <= PAGE_ITEMS) return { items: list.whole, nextCursor: undefined }
  const mark = markOf(list)
  const from = cursor === undefined ? 0 : positionOf(cursor, mark)
  if (from === undefined || (from > 0 && from >= list.items.length)) return undefined
  const to = from + PAGE_ITEMS
  const joined = Buffer.concat(list.items.slice(from, to).flatMap((item) => [COMMA, item]))
  const items = Buffer.concat([OPEN, joined.subarray(1), CLOSE])
  return { items, nextCursor: to < list.items.length ? `${mark}.${to}` : undefined }
}

const OPEN = Buffer.from('[')
const CLOSE = Buffer.from(']')
const COMMA = Buffer.from(',')

const positionOf = (cursor: string, mark: string): number | undefined => {
  const found = /^([\w-]{12})\.([1-9]\d{0,8})$/.exec(cursor)
  return found !== null && found[1] === mark ? Number(found[2]) : undefined
}

const marks = new WeakMap<MergedList, string>()
const markOf = (list: MergedList): string => {
  const known = marks.get(list)
  if (known !== undefined) return known
  const made = createHash('sha256').update(list.whole).digest('base64url').slice(0, 12)
  marks.set(list, made)
  return made
}
