/** The chain of the audit log: each line carries the hash of the line before and its own, so that a change anywhere shows. */
import { createHash } from 'node:crypto'

/** What the first line of a chain follows. */
export const CHAIN_START = '0'.repeat(64)

export interface Chained {
  /** Newline included. */
  readonly line: string
  readonly hash: string
}

/** The next line: `body` is a JSON object that is not empty; the hash is of the line as it would be without its own. */
export const chained = (body: string, prev: string): Chained => {
  const hashed = `${body.slice(0, -1)},"prev":"${prev}"`
  const hash = createHash('sha256').update(`${hashed}}`).digest('hex')
  return { line: `${hashed},"hash":"${hash}"}\n`, hash }
}

/** How long `,"hash":"…"}` is. */
const OWN = 75
const LINKS = /,"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}$/
/** How much of a line's end holds both. */
const BOTH = 149

/** What a line says of its place; undefined: it is no line of an audit log. `intact`: its own hash is right. */
export const linksOf = (
  line: Buffer,
): { readonly prev: string; readonly hash: string; readonly intact: boolean } | undefined => {
  const [, prev, hash] = LINKS.exec(line.toString('latin1', Math.max(0, line.length - BOTH))) ?? []
  if (prev === undefined || hash === undefined) return undefined
  const own = createHash('sha256').update(line.subarray(0, -OWN)).update('}').digest('hex')
  return { prev, hash, intact: own === hash }
}

/** What is wrong with a line that ought to follow the one whose hash is `prev`; otherwise its own hash. */
export const follows = (prev: string, line: Buffer): { readonly hash: string } | { readonly wrong: string } => {
  const links = linksOf(line)
  if (links === undefined) return { wrong: 'this is no line of an audit log' }
  if (!links.intact) return { wrong: 'the line was changed: its hash is another' }
  if (links.prev === prev) return { hash: links.hash }
  return {
    wrong:
      prev === CHAIN_START
        ? 'the chain does not begin here: lines before it are missing'
        : 'this does not follow the line before: lines are missing, were added or stand in another order',
  }
}
