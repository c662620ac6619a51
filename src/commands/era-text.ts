/** A server's eras in one word. */
export const eraText = (eras: readonly string[]): string => (eras.length === 2 ? 'both' : (eras[0] ?? 'unknown'))
