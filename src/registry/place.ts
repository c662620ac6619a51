/** Offsets of a text as lines and columns, and paths as people write them. */
import type { Place } from './model.ts'

/** Where a value stands, as keys of maps and indexes of lists. */
export type Path = readonly (string | number)[]

/** Places of a text's offsets. An offset past the last visible character gives the place just after that one. */
export const placesOf = (text: string): ((offset: number) => Place) => {
  const lineStarts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lineStarts.push(at + 1)
  const end = text.trimEnd().length
  return (offset) => {
    const at = Math.max(0, Math.min(offset, end))
    let low = 0
    let high = lineStarts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((lineStarts[middle] ?? 0) <= at) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: at - (lineStarts[low] ?? 0) + 1 }
  }
}

/** For looking paths up; unlike `pathText`, no two paths share one. */
export const pathKey = (path: Path): string => JSON.stringify(path)

/** A key as messages show it. What follows a colon is left out: `{ bearer:s3cret }` without a space is one long key. */
export const keyText = (key: string): string => {
  const short = key.replace(/:.*/s, ':…')
  return short.length > 60 ? `${short.slice(0, 60)}…` : short
}

/** Such as `servers.weather.args[0]`; unusual keys are quoted. */
export const pathText = (path: Path): string =>
  path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`
      if (!/^[A-Za-z0-9_$-]+$/.test(step)) return `[${JSON.stringify(keyText(step))}]`
      return index === 0 ? keyText(step) : `.${keyText(step)}`
    })
    .join('')

export const before = (a: Place, b: Place): number => a.line - b.line || a.column - b.column
