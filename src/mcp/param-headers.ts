/** The arguments that a tool's schema has repeated as headers (2026-07-28 streamable-http, custom headers). */
import { decimalText, sameNumber } from './decimal.ts'
import { decodeHeaderValue, encodeHeaderValue } from './header-value.ts'
import { MCP_PARAM_PREFIX, PARAM_KEYWORD } from './headers.ts'
import { members, stringOf, textOf } from './json-text.ts'
import type { Span } from './message.ts'
import { MAX_DEPTH } from './seen-keys.ts'

/** One argument, and the header that repeats it. */
export interface ParamHeader {
  /** As the schema spells it. */
  readonly header: string
  /** The same in lower case: what follows `mcp-param-`. */
  readonly key: string
  /** The keys that lead to it from the arguments. */
  readonly path: readonly string[]
  readonly type: 'string' | 'integer' | 'boolean'
}

export type ReadParamHeaders =
  | { readonly ok: true; readonly params: readonly ParamHeader[] }
  | { readonly ok: false; readonly why: string }

/** RFC 9110 5.6.2 */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const TYPES = ['string', 'integer', 'boolean'] as const

/** Keywords whose schemas are not reached by `properties` alone: one schema or a list, and a schema by name. */
const ELSEWHERE = [
  'items',
  'prefixItems',
  'additionalItems',
  'contains',
  'unevaluatedItems',
  'additionalProperties',
  'unevaluatedProperties',
  'propertyNames',
  'oneOf',
  'anyOf',
  'allOf',
  'not',
  'if',
  'then',
  'else',
  'contentSchema',
]
const ELSEWHERE_BY_NAME = ['patternProperties', 'dependentSchemas', 'dependencies', '$defs', 'definitions']

/** A schema within the input schema. `path` is undefined where no argument can be named. */
interface Place {
  readonly schema: unknown
  readonly path: readonly string[] | undefined
  /** The keyword that it stands under. */
  readonly under: string
}

/** What the input schema of a listed tool (valid JSON) asks for, or why clients must refuse the tool. */
export const readParamHeaders = (json: Buffer, inputSchema: Span | undefined): ReadParamHeaders => {
  const text = inputSchema === undefined ? '' : textOf(json, inputSchema)
  if (!text.includes(PARAM_KEYWORD) && !text.includes('\\u')) return { ok: true, params: [] }
  const params = new Map<string, ParamHeader>()
  const places: Place[] = [{ schema: JSON.parse(text), path: [], under: '' }]
  for (const place of places) {
    const { schema } = place
    if (!isRecord(schema)) continue
    if (Object.hasOwn(schema, PARAM_KEYWORD)) {
      const param = annotated(schema, place)
      if (typeof param === 'string') return { ok: false, why: param }
      const other = params.get(param.key)
      if (other !== undefined) {
        return { ok: false, why: `${name(other.path)} and ${name(param.path)} have the same header, ${param.header}` }
      }
      params.set(param.key, param)
    }
    for (const inner of within(schema, place.path)) places.push(inner)
  }
  return { ok: true, params: [...params.values()] }
}

const annotated = (schema: Readonly<Record<string, unknown>>, { path, under }: Place): ParamHeader | string => {
  if (path === undefined) return `a schema under ${JSON.stringify(under)} has ${PARAM_KEYWORD}; only properties may`
  if (path.length === 0) return `the schema itself has ${PARAM_KEYWORD}; only properties may`
  const { [PARAM_KEYWORD]: header } = schema
  if (typeof header !== 'string' || !TOKEN.test(header)) return `${name(path)} names no valid header`
  const type = typeOf(schema['type'])
  return type === undefined
    ? `${name(path)} must be a string, an integer or a boolean to have a header`
    : { header, key: header.toLowerCase(), path, type }
}

/** A type that also allows null stays a primitive one: null is the value that has no header. */
const typeOf = (type: unknown): ParamHeader['type'] | undefined => {
  const types: readonly unknown[] = Array.isArray(type) ? type : [type]
  const [one, ...more] = types.filter((each) => each !== 'null')
  return more.length > 0 ? undefined : TYPES.find((known) => known === one)
}

const within = (schema: Readonly<Record<string, unknown>>, path: Place['path']): readonly Place[] => [
  ...values(schema['properties']).map(([key, child]) => ({
    schema: child,
    // No request that lies deeper is read.
    path: path === undefined || path.length === MAX_DEPTH ? undefined : [...path, key],
    under: 'properties',
  })),
  ...ELSEWHERE.flatMap((under) =>
    [schema[under]].flat().map((child: unknown) => ({ schema: child, path: undefined, under })),
  ),
  ...ELSEWHERE_BY_NAME.flatMap((under) =>
    values(schema[under]).map(([, child]) => ({ schema: child, path: undefined, under })),
  ),
]

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const values = (value: unknown): [string, unknown][] => (isRecord(value) ? Object.entries(value) : [])
const name = (path: readonly string[]): string => JSON.stringify(path.join('.'))

/** What disagrees between the headers (rest of the name in lower case → value) and the arguments, in words. */
export const paramFault = (
  params: readonly ParamHeader[],
  sent: ReadonlyMap<string, string>,
  bytes: Buffer,
  argumentsSpan: Span | undefined,
): string | undefined => {
  const found = valuesOf(params, bytes, argumentsSpan)
  for (const param of params) {
    const wrong = disagreement(sent.get(param.key), bytes, found.get(param))
    if (wrong !== undefined) return `Mcp-Param-${param.header} ${wrong} ${name(param.path)}`
  }
  return undefined
}

const disagreement = (raw: string | undefined, bytes: Buffer, at: Span | undefined): string | undefined => {
  const value = at === undefined ? undefined : valueAt(bytes, at)
  if (value === undefined) return raw === undefined ? undefined : 'is sent without a value in the body for'
  if (raw === undefined) return 'is missing for'
  const text = decodeHeaderValue(raw)
  if (text === undefined) return 'is malformed for'
  const same = value.number ? sameNumber(text, value.text) : text === value.text
  return same ? undefined : 'differs from the body for'
}

/** The headers that repeat these arguments, for a request that we make ourselves. */
export const paramHeadersFor = (
  params: readonly ParamHeader[],
  bytes: Buffer,
  argumentsSpan: Span | undefined,
): Record<string, string> => {
  const found = valuesOf(params, bytes, argumentsSpan)
  return Object.fromEntries(
    params.flatMap((param) => {
      const at = found.get(param)
      const value = at === undefined ? undefined : valueAt(bytes, at)
      if (value === undefined) return []
      const text = value.number ? decimalText(value.text) : value.text
      return [[`${MCP_PARAM_PREFIX}${param.key}`, encodeHeaderValue(text)]]
    }),
  )
}

/** Where the values lie that the arguments have for the headers. */
const valuesOf = (
  params: readonly ParamHeader[],
  bytes: Buffer,
  argumentsSpan: Span | undefined,
): ReadonlyMap<ParamHeader, Span> => {
  const found = new Map<ParamHeader, Span>()
  const descend = (at: Span, wanted: readonly ParamHeader[], depth: number): void => {
    const here = members(bytes, at)
    for (const key of new Set(wanted.map(({ path }) => path[depth] ?? ''))) {
      const value = here.get(key)
      if (value === undefined) continue
      const along = wanted.filter(({ path }) => path[depth] === key)
      for (const param of along) if (param.path.length === depth + 1) found.set(param, value)
      const deeper = along.filter(({ path }) => path.length > depth + 1)
      if (deeper.length > 0) descend(value, deeper, depth + 1)
    }
  }
  if (params.length > 0 && argumentsSpan !== undefined) descend(argumentsSpan, params, 0)
  return found
}

/** A value as text; undefined for what no header stands for: null, an object, an array. */
const valueAt = (bytes: Buffer, at: Span): { readonly text: string; readonly number: boolean } | undefined => {
  switch (bytes[at.start]) {
    case 0x22:
      return { text: stringOf(bytes, at), number: false }
    case 0x74:
    case 0x66:
      return { text: textOf(bytes, at), number: false }
    case 0x6e:
    case 0x7b:
    case 0x5b:
      return undefined
    default:
      return { text: textOf(bytes, at), number: true }
  }
}
