/** Regular expressions inside CEL: known beforehand, and none that takes forever on a text of the client's choice. */
import type { ASTNode } from '@marcbachmann/cel-js'
import { bad, type Form, good } from './form.ts'

/** Whether an expression matches anything at all. CEL's own engine is linear, the one at hand is not. */
export const checkPatterns = (nodes: readonly ASTNode[]): Form<boolean> => {
  const calls = nodes.flatMap((node) => (node.op === 'rcall' && node.args[0] === 'matches' ? [node.args[2]] : []))
  for (const [pattern] of calls) {
    if (pattern?.op !== 'value' || typeof pattern.args !== 'string') return bad('matches needs a pattern in quotes')
    if (!isRegExp(pattern.args)) return bad('matches needs a regular expression')
    if (isAmbiguous(pattern.args)) {
      return bad(
        'the pattern of matches could take forever',
        'do not repeat a group that has choices or repetitions in it',
      )
    }
  }
  return good(calls.length > 0)
}

const isRegExp = (source: string): boolean => {
  try {
    new RegExp(source) // without flags, as the library does
    return true
  } catch {
    return false
  }
}

/** `(a+)+`, `(a|b)*`, `(a?b){2,}` and the like: more than one way to read the same text, each time round. */
const isAmbiguous = (source: string): boolean => {
  const plain = source
    .replaceAll(/\\./gsu, '_')
    .replaceAll(/\[[^\]]*\]/g, '_')
    .replaceAll(/\(\?(?:[:=!]|<[=!]|<\w+>)/g, '(')
  const open: boolean[] = []
  let hasChoices = false
  for (let index = 0; index < plain.length; index++) {
    const letter = plain[index] ?? ''
    const rest = plain.slice(index, index + 12)
    if (hasChoices && /^(?:[*+]|\{\d+,)/.test(rest)) return true
    hasChoices = false
    const choice = '*+?|{'.includes(letter)
    if (letter === '(') open.push(false)
    else if (letter === ')') hasChoices = open.pop() === true
    if ((choice || hasChoices) && open.length > 0) open[open.length - 1] = true
  }
  return false
}
