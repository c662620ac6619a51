/** The word somebody probably meant. */

/** Edits between two words: insert, delete, replace, or swap two neighbours (optimal string alignment). */
const distance = (a: string, b: string): number => {
  const row = (): number[] => Array.from({ length: b.length + 1 }, () => 0)
  let older = row()
  let previous = row().map((_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const current = row()
    current[0] = i
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      current[j] = Math.min(
        (previous[j] ?? 0) + 1,
        (current[j - 1] ?? 0) + 1,
        (previous[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (older[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    older = previous
    previous = current
  }
  return previous[b.length] ?? 0
}

/** The nearest candidate, when at most a third of the word would have to change. */
export const didYouMean = (word: string, candidates: Iterable<string>): string | undefined => {
  if (word.length > 40) return undefined
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_]/g, '')
  let best: { readonly candidate: string; readonly edits: number } | undefined
  for (const candidate of candidates) {
    const edits = distance(plain(word), plain(candidate))
    if (
      edits <= Math.max(1, Math.floor(candidate.length / 3)) &&
      edits < candidate.length &&
      edits < (best?.edits ?? Infinity)
    ) {
      best = { candidate, edits }
    }
  }
  return best?.candidate
}

/** The same as a hint. */
export const meantHint = (word: string, candidates: Iterable<string>): string | undefined => {
  const near = didYouMean(word, candidates)
  return near === undefined ? undefined : `did you mean "${near}"?`
}
