/** A YAML document → texts, lists and maps with variables replaced; where each stands is noted in the inspection. */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type Pair, type Scalar } from 'yaml'
import type { Inspection } from './inspection.ts'
import { type Environment, interpolate, usesVariable } from './interpolate.ts'
import type { Place } from './model.ts'
import { keyText, type Path } from './place.ts'
import { type Unquoted, unquotedVariable } from './syntax.ts'

/** Stands where something was written that could not be read; its problem is reported already. */
export const unreadable = Symbol('unreadable')

/** Numbers and booleans stay the text they were written as: `args: [--port, 8080]` means what it says. Except what is verbatim. */
export type Value =
  | string
  | number
  | boolean
  | null
  | typeof unreadable
  | readonly Value[]
  | { readonly [key: string]: Value }

/** Deeper than any registry; the walk recurses. */
const deepest = 32
/** Nodes that may be reached through aliases: enough for shared lists, too few for a bomb. */
const aliasBudget = 10_000

export interface WrittenOptions {
  readonly unquoted: readonly Unquoted[]
  readonly placeOf: (offset: number) => Place
  readonly env: Environment
  readonly inspection: Inspection
  /** Whether scalars there keep the kind they were written as. */
  readonly isVerbatim: (path: Path) => boolean
}

export const readWritten = (document: Document, options: WrittenOptions): Value => {
  const { unquoted, placeOf, env, inspection, isVerbatim } = options
  const anchors = new Map<string, Node>()
  const open = new Set<Node>()
  let insideAliases = 0
  let budget = aliasBudget

  const start = (node: Node): Place => placeOf(node.range?.[0] ?? 0)
  const mended = (node: Node): Unquoted | undefined => {
    const [from, to] = node.range ?? [0, 0]
    return unquoted.find((variable) => variable.start < to && variable.end > from)
  }

  const wrong = (place: Place, path: Path, message: string, hint?: string): typeof unreadable => {
    inspection.errorAt(place, path, message, hint)
    return unreadable
  }

  const scalar = (node: Scalar, path: Path, key: Place): Value => {
    const broken = mended(node)
    const written = typeof node.value === 'string' ? node.value : node.value === null ? null : (node.source ?? null)
    const variable = broken !== undefined || (written !== null && usesVariable(written))
    inspection.note(path, { key, value: start(node), variable })
    if (broken !== undefined) {
      return wrong(placeOf(broken.start), path, unquotedVariable.message, unquotedVariable.hint)
    }
    if (written === null) return null
    if (isVerbatim(path) && isExact(node.value)) return node.value
    const form = interpolate(written, env)
    return form.ok ? form.value : wrong(start(node), path, form.message, form.hint)
  }

  const empty = (path: Path, place: Place): null => {
    inspection.note(path, { key: place, value: place, variable: false })
    return null
  }

  const keyOf = ({ key }: Pair, path: Path): { readonly text: string; readonly place: Place } | undefined => {
    const place = isNode(key) ? start(key) : inspection.keyPlace(path)
    const refuse = (message: string, hint?: string): undefined => inspection.errorAt(place, path, message, hint)
    if (!isScalar(key) || key.tag !== undefined) return refuse('a key must be a plain text')
    if (mended(key) !== undefined) return refuse('a variable cannot be a key')
    const text = typeof key.value === 'string' ? key.value : (key.source ?? '')
    if (text === '') return refuse('a key is missing before the ":"')
    if (text === '<<') return refuse('unknown key "<<"', 'merge keys are not supported; write the keys out')
    if (text === '__proto__') return refuse('unknown key "__proto__"')
    return { text, place }
  }

  const map = (items: readonly Pair[], path: Path, depth: number): Value => {
    const entries: [string, Value][] = []
    const lines = new Map<string, number>()
    for (const pair of items) {
      const key = keyOf(pair, path)
      if (key === undefined) continue
      const here = [...path, key.text]
      const first = lines.get(key.text)
      if (first !== undefined) {
        inspection.errorAt(key.place, here, `duplicate key "${keyText(key.text)}"`, `the first one is on line ${first}`)
        continue
      }
      lines.set(key.text, key.place.line)
      const value = isNode(pair.value) ? read(pair.value, here, key.place, depth + 1) : empty(here, key.place)
      entries.push([key.text, value])
    }
    return Object.fromEntries(entries)
  }

  const list = (items: readonly unknown[], path: Path, depth: number): Value =>
    items.map((item, index) => {
      const here = [...path, index]
      return isNode(item) ? read(item, here, start(item), depth + 1) : empty(here, inspection.keyPlace(path))
    })

  const read = (node: Node, path: Path, key: Place, depth: number): Value => {
    inspection.note(path, { key, value: start(node), variable: false })
    if (isAlias(node)) {
      const target = anchors.get(node.source)
      if (target === undefined)
        return wrong(
          start(node),
          path,
          'this alias has no anchor before it',
          'a text that starts with * must be in quotes',
        )
      if (open.has(target)) return wrong(start(node), path, 'this alias contains itself')
      insideAliases += 1
      const value = read(target, path, key, depth)
      insideAliases -= 1
      return value
    }
    if (insideAliases > 0) {
      budget -= 1
      if (budget === 0) return wrong(start(node), path, 'too many aliases')
      if (budget < 0) return unreadable
    }
    if (node.anchor !== undefined) anchors.set(node.anchor, node)
    if (node.tag !== undefined)
      return wrong(start(node), path, 'tags (!…) are not supported', 'a text is written in quotes')
    if (isScalar(node)) return scalar(node, path, key)
    if (depth > deepest) return wrong(start(node), path, 'nested too deeply')
    open.add(node)
    const value = isMap(node) ? map(node.items, path, depth) : isSeq(node) ? list(node.items, path, depth) : null
    open.delete(node)
    return value
  }

  return document.contents === null ? null : read(document.contents, [], placeOf(0), 0)
}

/** A larger number would be another one: its text is passed on, which Envoy takes for numbers too. */
const isExact = (value: unknown): value is number | boolean =>
  typeof value === 'boolean' ||
  (typeof value === 'number' && Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)))

const isNode = (value: unknown): value is Node => isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
