/** Compares what came with what was expected of it, and says where the two part. */

/** After it, an expected list allows for more. */
const MORE = '...'

/**
 * Every difference, with its place. Of an object only the expected members count; a list must have the expected elements and
 * no others, unless it ends in `...`; a string between slashes is a regular expression.
 */
export const differences = (actual: unknown, expected: unknown, place = '$'): readonly string[] => {
  const differs = [`${place}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual) ?? 'nothing'}`]
  if (typeof expected === 'string') {
    const pattern = /^\/(.+)\/$/s.exec(expected)?.[1]
    const fits = pattern === undefined ? actual === expected : new RegExp(pattern).test(asText(actual))
    return fits ? [] : differs
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return differs
    const open = expected.at(-1) === MORE
    const elements: unknown[] = open ? expected.slice(0, -1) : expected
    const enough = open ? actual.length >= elements.length : actual.length === elements.length
    const count = enough ? [] : [`${place}: expected ${elements.length} elements, got ${actual.length}`]
    return [...count, ...elements.flatMap((element, at) => differences(actual[at], element, `${place}[${at}]`))]
  }
  if (typeof expected === 'object' && expected !== null) {
    if (typeof actual !== 'object' || actual === null) return differs
    const members = new Map<string, unknown>(Object.entries(actual))
    return Object.entries(expected).flatMap(([key, value]) => differences(members.get(key), value, `${place}.${key}`))
  }
  return actual === expected ? [] : differs
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
