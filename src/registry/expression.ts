/** CEL expressions: checked once against what rules may look at, then asked about every request. */
import { type ASTNode, TypeError as CheckError, Environment, EvaluationError, ParseError } from '@marcbachmann/cel-js'
import { checkPatterns } from './cel-pattern.ts'
import { didYouMean } from './did-you-mean.ts'
import { bad, type Form, good } from './form.ts'
import type { Expression, Facts, Json, Place } from './model.ts'

const fields = {
  tool: {
    name: 'string',
    annotations: { readOnlyHint: 'bool', destructiveHint: 'bool', idempotentHint: 'bool', openWorldHint: 'bool' },
  },
  prompt: { name: 'string' },
  resource: { uri: 'string' },
  server: { name: 'string', description: 'string' },
  request: { method: 'string', view: 'string', era: 'string', address: 'string' },
}

/** Far beyond what a rule needs; an expression is worked out for every item of every list. */
const limits = { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 500, maxMapEntries: 100, maxCallArguments: 8 }

const environment = Object.entries(fields).reduce(
  (made, [name, schema]) => made.registerVariable({ name, schema }),
  new Environment({ limits }).registerVariable('claims', 'map<string, dyn>'),
)

/** The only text of the client's own choice, in characters: matching may take the square of it. */
const LONGEST_MATCHED = 2_048

const variables = ['claims', ...Object.keys(fields)]
const words: readonly string[] = [
  ...variables,
  ...Object.values(fields).flatMap((each) => Object.keys(each)),
  ...Object.keys(fields.tool.annotations),
  ...environment.getDefinitions().functions.map(({ name }) => name),
]

/** What is wrong with it names words of the expression and a place inside it. */
export const compileExpression = (source: string, place: Place): Form<Expression> => {
  if (source.trim() === '') return bad('is empty')
  try {
    const ask = environment.parse(source)
    const { valid, type = 'dyn', error } = ask.check()
    if (!valid) return mistake(source, error)
    if (type !== 'bool' && type !== 'dyn') {
      return bad(`must be true or false, not of type ${type.replace('$', '')}`, 'compare it with something')
    }
    const nodes = everyNode(ask.ast)
    const patterns = checkPatterns(nodes)
    if (!patterns.ok) return patterns
    const answer = (facts: Facts): unknown => {
      if (patterns.value && (facts.resource?.uri.length ?? 0) > LONGEST_MATCHED) throw new RangeError()
      return ask({ ...facts, claims: celClaims(facts.claims) })
    }
    return good({
      source,
      place,
      ...looks(ask.ast),
      holds: (facts) => {
        try {
          return answer(facts) === true
        } catch {
          return false
        }
      },
      fault: (facts) => {
        try {
          return typeof answer(facts) === 'boolean' ? undefined : 'it is neither true nor false'
        } catch (error) {
          return faultText(error)
        }
      },
    })
  } catch (error) {
    return mistake(source, error)
  }
}

const mistake = (source: string, error: unknown): Form<never> => {
  if (!(error instanceof ParseError || error instanceof CheckError)) return bad('is not a CEL expression')
  const { code, summary, range } = error
  const before = source.slice(0, range?.start ?? 0)
  const lines = before.split('\n')
  const column = (lines.at(-1)?.length ?? 0) + 1
  const where = source.trim().includes('\n') ? `line ${lines.length}, column ${column}` : `column ${column}`
  return bad(`${plain(summary)}, at ${where} of the expression`, advice(code, summary) ?? habit(source, before.length))
}

const withoutArguments = 'arguments cannot be looked at: lists have none'

const advice = (code: string, summary: string): string | undefined => {
  if (code === 'no_such_key' && /\b(arguments|args|params|body)$/.test(summary)) return withoutArguments
  if (code === 'unknown_variable' && /\b(arguments|args|params|body)$/.test(summary)) return withoutArguments
  if (code === 'no_such_key' || code === 'unknown_variable' || code === 'no_matching_overload') {
    const word = /(\w+)(?:\(.*)?'?$/.exec(summary)?.[1] ?? ''
    const near = didYouMean(word, code === 'unknown_variable' ? variables : words)
    if (near !== undefined && near !== word) return `did you mean "${near}"?`
  }
  return code === 'unknown_variable' ? `there are ${variables.join(', ')}` : undefined
}

/** What other languages write, where CEL stumbled over it or just behind it. */
const habit = (source: string, at: number): string | undefined => {
  if (/^=(?!=)/.test(source.slice(at))) return 'equal is =='
  return /\b(and|or|not)\b/i.test(source.slice(Math.max(0, at - 4), at + 4))
    ? 'and is &&, or is ||, not is !'
    : undefined
}

/** The library's words, which start with a capital here and there; `$tool` is how it calls the type of `tool`. */
const plain = (summary: string): string =>
  `${summary.slice(0, 1).toLowerCase()}${summary.slice(1)}`.replaceAll('$', '').replace('EOF', 'the end')

const faultText = (error: unknown): string => {
  if (error instanceof RangeError) return 'the URI is too long to be matched'
  if (!(error instanceof EvaluationError)) return 'it cannot be worked out'
  const [, absent] = error.code === 'unknown_variable' ? (/: (\w+)$/.exec(error.summary) ?? []) : []
  return absent === undefined ? plain(error.summary) : `there is no ${absent} here`
}

const converted = new WeakMap<object, Readonly<Record<string, unknown>>>()

/** JSON knows one kind of number; CEL's whole numbers are another kind than its fractions. */
const celClaims = (claims: Facts['claims']): Readonly<Record<string, unknown>> => {
  const known = converted.get(claims)
  if (known !== undefined) return known
  const made = celMap(claims)
  converted.set(claims, made)
  return made
}

const celMap = (map: Facts['claims']): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(map).map(([key, value]) => [key, celValue(value)]))

const celValue = (value: Json): unknown => {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof value !== 'object' || value === null) return value
  return isList(value) ? value.map(celValue) : celMap(value)
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)

const facets = ['address', 'method', 'era', 'view'] as const

/** What an expression can depend on: more than it does where a macro's variable has the name of one of ours. */
const looks = (root: ASTNode): Pick<Expression, 'looksAt' | 'claims'> => {
  const looksAt = new Set<(typeof facets)[number]>()
  const claims = new Set<string>()
  let anyClaim = false
  const note = (variable: string, key: string | undefined): void => {
    if (variable === 'request') {
      for (const facet of facets) if (key === undefined || key === facet) looksAt.add(facet)
    }
    if (variable !== 'claims') return
    if (key === undefined) anyClaim = true
    else claims.add(key)
  }
  const visit = (node: ASTNode): void => {
    if (node.op === 'id') return note(node.args, undefined)
    if (node.op === '.' || node.op === '[]') {
      const [target, step] = node.args
      const key = typeof step === 'string' ? step : literal(step)
      if (target.op === 'id' && key !== undefined) return note(target.args, key)
    }
    if (node.op === 'in') {
      const [element, container] = node.args
      const key = literal(element)
      if (container.op === 'id' && key !== undefined) return note(container.args, key)
    }
    for (const inner of nodesIn(node.args)) visit(inner)
  }
  visit(root)
  return { looksAt, claims: anyClaim ? 'any' : claims }
}

const everyNode = (node: ASTNode): readonly ASTNode[] => [node, ...nodesIn(node.args).flatMap(everyNode)]

const literal = (node: ASTNode): string | undefined =>
  node.op === 'value' && typeof node.args === 'string' ? node.args : undefined

const nodesIn = (args: unknown): readonly ASTNode[] => {
  if (Array.isArray(args)) return args.flatMap(nodesIn)
  return isNode(args) ? [args] : []
}

const isNode = (value: unknown): value is ASTNode => typeof value === 'object' && value !== null && 'op' in value
