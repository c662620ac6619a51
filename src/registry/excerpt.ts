/** A line of the registry for a terminal, with a caret; only what cannot be a secret is shown. */
import { isPair, isScalar, type Node, visit } from 'yaml'
import type { Place } from './model.ts'
import { readSyntax } from './syntax.ts'

/** Values of these keys, and items of lists under them, are never secret. */
const harmless: ReadonlySet<string> = new Set(
  [
    'listen admin open maxBody prefix include exclude client timeout listTimeout required enabled idle',
    'access tools prompts resources allow roles groups scopes subjects when confirm view allowed denied',
    'calls per concurrent streams body lists forward skew',
  ]
    .join(' ')
    .split(' '),
)

/** Undefined when the file cannot be told apart into keys and values. */
export const excerpt = (text: string, place: Place): string | undefined => {
  const { document, errors } = readSyntax(text)
  const lines = text.split('\n')
  const line = lines[place.line - 1]?.trimEnd()
  if (document === undefined || errors.length > 0 || line === undefined || line === '') return undefined
  const from = lines.slice(0, place.line - 1).reduce((sum, { length }) => sum + length + 1, 0)
  const shown = Array.from({ length: line.length }, (_, at) =>
    /[\s:{}[\],-]/.test(line[at] ?? '') ? (line[at] ?? '') : ' ',
  )
  let end = 0

  const put = (node: Node, visible: boolean): void => {
    const [nodeStart, nodeEnd] = node.range ?? [0, 0]
    for (let at = Math.max(0, nodeStart - from); at < Math.min(line.length, nodeEnd - from); at++) {
      shown[at] = visible ? (line[at] ?? '') : '·'
      end = Math.max(end, at + 1)
    }
  }
  visit(document, {
    Scalar: (position, node, ancestors) => {
      const owner = ancestors.findLast((ancestor) => isPair(ancestor))
      if (position !== 'key') {
        put(node, isPair(owner) && isScalar(owner.key) && harmless.has(String(owner.key.value)))
        return
      }
      // `{ bearer:s3cret }` without a space is a key without a value
      const value = isPair(owner) ? owner.value : null
      const alone = value === null || (isScalar(value) && value.source === '')
      put(node, !alone && /^[\w.-]{1,40}$/.test(String(node.source)))
    },
  })
  const comment = line.slice(end).search(/(?:^|\s)#/)
  const visible = comment === -1 ? shown : shown.slice(0, end + comment)
  return `${visible.join('').trimEnd()}\n${' '.repeat(place.column - 1)}^`
}
