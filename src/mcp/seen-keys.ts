/** Which keys the open objects have shown so far; knows a duplicate however it is spelt. */

/** Keys of one object that are compared in place before a set is made of them. */
const FEW = 8

/** How deep objects may lie in each other. */
export const MAX_DEPTH = 64

// One scratch for all scans: a scan never yields, so two never overlap.
const count = new Int32Array(MAX_DEPTH + 1)
const starts = new Int32Array((MAX_DEPTH + 1) * FEW)
const ends = new Int32Array((MAX_DEPTH + 1) * FEW)
const many: (Set<string> | undefined)[] = Array.from({ length: MAX_DEPTH + 1 }, () => undefined)

export const openObject = (depth: number): void => {
  count[depth] = 0
  many[depth] = undefined
}

/** Drops what the last scan left behind. */
export const forgetKeys = (): void => {
  many.fill(undefined)
}

/** The key of a literal with escapes; what no UTF-8 can carry is replaced as a lenient reader would, so that it collides. */
export const decodeKey = (bytes: Buffer, start: number, end: number): string => {
  const literal = bytes.toString('utf8', start - 1, end + 1)
  const key = String(JSON.parse(literal))
  return SURROGATE.test(literal) ? Buffer.from(key).toString() : key
}
const SURROGATE = /\\u[dD][89a-fA-F]/

/** True when the object at `depth` had the key already. `start` and `end` lie inside the quotes. */
export const seenBefore = (bytes: Buffer, depth: number, start: number, end: number, escaped: boolean): boolean => {
  const keys = count[depth] ?? 0
  let set = many[depth]
  if (set === undefined) {
    const base = depth * FEW
    if (!escaped && keys < FEW) {
      for (let i = base; i < base + keys; i++) if (same(bytes, starts[i] ?? 0, ends[i] ?? 0, start, end)) return true
      starts[base + keys] = start
      ends[base + keys] = end
      count[depth] = keys + 1
      return false
    }
    set = new Set()
    for (let i = base; i < base + keys; i++) set.add(bytes.toString('utf8', starts[i], ends[i]))
    many[depth] = set
  }
  const before = set.size
  set.add(escaped ? decodeKey(bytes, start, end) : bytes.toString('utf8', start, end))
  return set.size === before
}

const same = (bytes: Buffer, aStart: number, aEnd: number, bStart: number, bEnd: number): boolean => {
  const length = aEnd - aStart
  if (bEnd - bStart !== length) return false
  for (let i = 0; i < length; i++) if (bytes[aStart + i] !== bytes[bStart + i]) return false
  return true
}
