/** What strangers can make more of than there is room for: kept, or read, up to a bound. */

/** Forgets what was put in first, once there is more than `most`; called after each one that is put in. */
export const dropOldest = <K>(kept: Map<K, unknown>, most: number): void => {
  if (kept.size <= most) return
  for (const oldest of kept.keys()) return void kept.delete(oldest)
}

/** All of it; undefined once it is larger than `most` bytes. */
export const bytesWithin = async (chunks: AsyncIterable<Uint8Array>, most: number): Promise<Buffer | undefined> => {
  const taken: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > most) return undefined
    taken.push(chunk)
  }
  return Buffer.concat(taken)
}
