/** Chunks of bytes in, whole lines out; how the chunks were cut makes no difference. */

const NEWLINE = 0x0a
const RETURN = 0x0d

export interface LineEvents {
  /** Without its line ending; never empty. */
  line(line: Buffer): void
  /** A line passed the limit and is dropped whole. */
  overlong?(): void
}

export interface LineSplitter {
  push(chunk: Buffer): void
  /** What came after the last newline is a line too. */
  end(): void
}

/** Lines longer than `limit` bytes are dropped without being kept. */
export const lineSplitter = (limit: number, events: LineEvents): LineSplitter => {
  let parts: Buffer[] = []
  let length = 0
  let dropping = false

  const take = (part: Buffer): void => {
    if (dropping) return
    length += part.length
    if (length <= limit) {
      parts.push(part)
      return
    }
    dropping = true
    parts = []
    events.overlong?.()
  }
  const finish = (): void => {
    const [only] = parts
    const whole = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
    const line = whole.at(-1) === RETURN ? whole.subarray(0, -1) : whole
    parts = []
    length = 0
    dropping = false
    if (line.length > 0) events.line(line)
  }
  return {
    push: (chunk) => {
      let from = 0
      for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
        take(chunk.subarray(from, at))
        finish()
        from = at + 1
      }
      if (from < chunk.length) take(chunk.subarray(from))
    },
    end: finish,
  }
}
