/** An answer that clients may keep for themselves only, though its server lets anybody have it (2026-07-28 caching). */
import { isObject, members, replaceSpans } from '../mcp/json-text.ts'
import { objectEdits } from '../translation/object-edits.ts'

export const madePrivate = (answer: Buffer): Buffer => {
  const result = members(answer).get('result')
  return isObject(answer, result) && members(answer, result).has('cacheScope')
    ? replaceSpans(answer, objectEdits(answer, result, { cacheScope: '"private"' }))
    : answer
}
