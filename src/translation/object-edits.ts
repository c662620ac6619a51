/** Members of JSON objects set and taken out, at any depth; every byte outside them stays. */
import { type Edit, entries, isObject, replaceSpans } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'

/**
 * What becomes of a member: raw JSON is its new value, undefined takes it out. `within` changes an object in its place: one
 * that is missing is made when something is set in it, one that is emptied goes.
 */
export type Change = string | undefined | { readonly within: Changes }
export interface Changes {
  readonly [key: string]: Change
}

/** The text with its one object changed. */
export const changeObject = (bytes: Buffer, changes: Changes): Buffer =>
  replaceSpans(bytes, objectEdits(bytes, { start: 0, end: bytes.length }, changes))

/** A response with another id and its result or error, at `object`, changed; emptied or not, that stays. */
export const changeResponse = (response: Buffer, id: string, object: Span, changes: Changes): Buffer =>
  replaceSpans(response, [
    ...objectEdits(response, { start: 0, end: response.length }, { id }),
    ...objectEdits(response, object, changes),
  ])

/** The edits that change the object at `object`. Of a changed key that comes twice, the last stays: it is the one that counts. */
export const objectEdits = (bytes: Buffer, object: Span, changes: Changes): readonly Edit[] =>
  edit(bytes, object, changes).edits

const edit = (bytes: Buffer, object: Span, changes: Changes): { readonly edits: Edit[]; readonly emptied: boolean } => {
  const all = entries(bytes, object)
  const last = new Map(all.map((entry) => [entry.key, entry]))
  const edits: Edit[] = []
  const gone = new Set(all.filter((entry) => Object.hasOwn(changes, entry.key) && last.get(entry.key) !== entry))
  const added: string[] = []
  for (const [key, change] of Object.entries(changes)) {
    const entry = last.get(key)
    if (entry !== undefined && typeof change === 'object' && isObject(bytes, entry.value)) {
      const inner = edit(bytes, entry.value, change.within)
      if (inner.emptied) gone.add(entry)
      else edits.push(...inner.edits)
      continue
    }
    const value = typeof change === 'object' ? made(change.within) : change
    if (entry === undefined) {
      if (value !== undefined) added.push(`${JSON.stringify(key)}:${value}`)
    } else if (value !== undefined) edits.push({ span: entry.value, with: value })
    else if (change === undefined) gone.add(entry)
  }
  const kept = all.filter((entry) => !gone.has(entry))
  // What is followed by something that stays goes with the comma after it; what ends the object with the comma before it.
  const end = kept.at(-1)?.value.end
  for (const [at, entry] of all.entries()) {
    const next = all[at + 1]
    if (gone.has(entry) && next !== undefined && entry.start < (end ?? 0))
      edits.push({ span: { start: entry.start, end: next.start }, with: '' })
  }
  const from = end ?? all[0]?.start ?? bytes.indexOf('{', object.start) + 1
  const to = all.at(-1)?.value.end ?? from
  if (to > from || added.length > 0)
    edits.push({ span: { start: from, end: to }, with: (end === undefined ? [] : ['']).concat(added).join(',') })
  return { edits, emptied: gone.size > 0 && kept.length + added.length === 0 }
}

/** A new object of what is set in it. */
const made = (changes: Changes): string | undefined => {
  const members = Object.entries(changes).flatMap(([key, change]) => {
    const value = typeof change === 'object' ? made(change.within) : change
    return value === undefined ? [] : [`${JSON.stringify(key)}:${value}`]
  })
  return members.length === 0 ? undefined : `{${members.join(',')}}`
}
