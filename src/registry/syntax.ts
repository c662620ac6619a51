/** YAML text → a document and its syntax errors, in words that never repeat the file's values. */
import { type Document, type ErrorCode, parseDocument, type YAMLParseError } from 'yaml'

interface SyntaxProblem {
  readonly offset: number
  readonly message: string
  readonly hint?: string
}

/** An unquoted `${X}` inside `{ }` or `[ ]`, where YAML reads the brace as the start of a map. */
export interface Unquoted {
  readonly start: number
  readonly end: number
}

export const unquotedVariable = {
  message: 'a variable inside { } or [ ] must be quoted',
  hint: 'put the whole value in quotes, such as "${NAME}"',
}

export interface Syntax {
  readonly document: Document | undefined
  readonly errors: readonly SyntaxProblem[]
  readonly unquoted: readonly Unquoted[]
}

/** Messages of the parser that quote the file, or that speak to programmers, are replaced. */
const messages: Partial<Record<ErrorCode, { readonly message: string; readonly hint?: string }>> = {
  UNEXPECTED_TOKEN: {
    message: 'this does not belong here',
    hint: 'a text with special characters must be in quotes, all of it',
  },
  BAD_DQ_ESCAPE: { message: 'unknown escape sequence', hint: "inside '…' a backslash is just a backslash" },
  BAD_ALIAS: { message: 'a text cannot start with *', hint: 'put it in quotes, such as "*"' },
  BAD_SCALAR_START: { message: 'a text cannot start with this character', hint: 'put it in quotes' },
  BAD_DIRECTIVE: { message: 'unknown % directive' },
  TAG_RESOLVE_FAILED: { message: 'tags (!…) are not supported' },
  MULTIPLE_DOCS: { message: 'a registry is one YAML document', hint: 'remove the --- and what follows it' },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a second key on one line',
    hint: 'put it on a line of its own, or the value in quotes',
  },
  RESOURCE_EXHAUSTION: { message: 'nested too deeply' },
}

const syntaxProblem = ({ code, pos, message }: YAMLParseError): SyntaxProblem => ({
  offset: pos[0],
  ...(messages[code] ?? { message: `${message.slice(0, 1).toLowerCase()}${message.slice(1)}` }),
})

const parse = (text: string): Document | undefined => {
  try {
    return parseDocument(text, {
      prettyErrors: false,
      uniqueKeys: false,
      merge: false,
      version: '1.2',
      logLevel: 'error',
    })
  } catch {
    return undefined // the parser recurses, and a file may nest deeper than the stack
  }
}

const variable = /\$\{(?:[^{}\n]|\{[^{}\n]*\})*\}?/y

const unquotedAt = (text: string, offset: number): Unquoted | undefined => {
  if (text[offset] !== '{' || text[offset - 1] !== '$') return undefined
  variable.lastIndex = offset - 1
  const found = variable.exec(text)
  return found === null ? undefined : { start: offset - 1, end: variable.lastIndex }
}

/** Each round mends what the last one found, so that one unquoted variable does not hide the rest of the file. */
const rounds = 20

export const readSyntax = (original: string): Syntax => {
  const unquoted: Unquoted[] = []
  let text = original
  let document = parse(text)
  for (let round = 0; round < rounds && document !== undefined; round++) {
    const found = document.errors.flatMap(({ pos }) => unquotedAt(text, pos[0]) ?? [])
    if (found.length === 0) break
    for (const { start, end } of found) {
      if (unquoted.some((known) => known.start === start)) continue
      unquoted.push({ start, end })
      text = `${text.slice(0, start)}${'_'.repeat(end - start)}${text.slice(end)}` // same length: offsets stay
    }
    document = parse(text)
  }
  if (document === undefined) return { document, errors: [{ offset: 0, message: 'nested too deeply' }], unquoted }
  return { document, errors: document.errors.map(syntaxProblem), unquoted }
}
