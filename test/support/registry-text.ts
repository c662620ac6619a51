/** Registries as texts: what is said about them, and that nothing written makes the parser throw. */
import fc from 'fast-check'
import { formatProblem } from '../../src/registry/format-problem.ts'
import type { Registry } from '../../src/registry/model.ts'
import type { ParseResult } from '../../src/registry/parse.ts'

/** Every problem as one line, without the file: `3:5: error: servers.a.url: must be …`. */
export const problemsOf = (result: ParseResult): readonly string[] =>
  (result.ok ? result.warnings : result.problems).map((problem) => formatProblem('', problem).slice(1))

export const registryIn = (result: ParseResult): Registry => {
  if (!result.ok) throw new Error(problemsOf(result).join('\n'))
  return result.registry
}

const scraps = fc.constantFrom(
  ...'servers gateway sessions a: url: command: credential: bearer: file: tools: include: rename: tls: ca: key: listen: '.split(
    ' ',
  ),
  ...'auth: issuer: access: allow: anyone roles: when: claims.x claims: views: limits: calls: 1/s oauth: token: tests: [{'.split(
    ' ',
  ),
  ...'timeout: ${TOKEN} ${NO} ${ $${ ${NO:-x} https://a.example.com/ 127.0.0.1:80 30s 1KiB true null __proto__ cert.pem'.split(
    ' ',
  ),
  ...'\n|\n  |\n    |: |- |{ | }|[|]|, |"|\'|&a |*a|*|!!str |<<: |? |#|\t|>-\n|---\n|...\n|%YAML 9\n|\r\n|\uFEFF|\0'.split(
    '|',
  ),
)

/** Random texts, and `texts` with something in them replaced: every problem has a place inside the file and is one line. */
export const neverThrows = (read: (text: string) => ParseResult, texts: readonly string[], numRuns: number): void => {
  const written = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(scraps, { maxLength: 40 }).map((parts) => parts.join('')),
    fc.tuple(fc.constantFrom(...texts), fc.nat(), fc.nat(20), scraps).map(([text, at, length, scrap]) => {
      const start = at % (text.length + 1)
      return text.slice(0, start) + scrap + text.slice(start + length)
    }),
  )
  fc.assert(
    fc.property(written, (text) => {
      const result = read(text)
      const lines = text.split('\n')
      for (const problem of result.ok ? result.warnings : result.problems) {
        const { line, column } = problem.place
        const length = lines[line - 1]?.length
        if (length === undefined || column < 1 || column > length + 1)
          throw new Error(formatProblem('outside', problem))
        if (formatProblem('file', problem).includes('\n')) throw new Error('more than one line')
        formatProblem('file', problem, text)
      }
      if (!result.ok && !result.problems.some(({ severity }) => severity === 'error'))
        throw new Error('refused without a reason')
    }),
    { numRuns },
  )
}
