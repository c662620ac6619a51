/** The field rules that Envoy checks before it applies a message; one broken rule would reject a whole response. */
import protobuf from 'protobufjs'
import { duration, type Message } from './pack.ts'
import { messageType } from './proto-types.ts'

type Rule = (limit: unknown, value: unknown) => string | undefined

const number = (value: unknown): number => (typeof value === 'number' ? value : Number.NaN)
const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Nanoseconds, of a duration in either form: `1.5s` or {seconds, nanos}. */
const nanos = (value: unknown): number => {
  const form = typeof value === 'string' ? duration(value) : isRecord(value) ? value : {}
  return Number(form['seconds'] ?? 0) * 1e9 + Number(form['nanos'] ?? 0)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const present = (limit: unknown, value: unknown) =>
  limit === true && value === undefined ? 'value is required' : undefined

const headerPattern: Readonly<Record<string, RegExp>> = {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly the three that end a header
  HTTP_HEADER_NAME: /^[^\0\n\r]+$/,
  HTTP_HEADER_VALUE: /^[^\0\n\r]*$/,
}

/** One row per rule that our slice carries; a rule without a row throws when it is met, so none is passed over. */
const rules: Readonly<Record<string, Rule>> = {
  'message.required': present,
  'duration.required': present,
  'duration.gt': (limit, value) =>
    value !== undefined && nanos(value) <= nanos(limit) ? 'value is too small' : undefined,
  'duration.gte': (limit, value) =>
    value !== undefined && nanos(value) < nanos(limit) ? 'value is too small' : undefined,
  'duration.lte': (limit, value) =>
    value !== undefined && nanos(value) > nanos(limit) ? 'value is too large' : undefined,
  'double.gte': (limit, value) => (number(value) < number(limit) ? 'value is too small' : undefined),
  'double.lte': (limit, value) => (number(value) > number(limit) ? 'value is too large' : undefined),
  'uint32.lte': (limit, value) => (number(value) > number(limit) ? 'value is too large' : undefined),
  'enum.defined_only': () => undefined, // `pack` takes names only
  'enum.not_in': (_limit, value) => (value === undefined ? 'value is required' : undefined),
  'string.min_len': (limit, value) =>
    text(value).length < number(limit) ? `needs at least ${number(limit)} characters` : undefined,
  'string.max_bytes': (limit, value) =>
    Buffer.byteLength(text(value)) > number(limit) ? `has more than ${number(limit)} bytes` : undefined,
  'string.well_known_regex': (limit, value) =>
    value !== undefined && headerPattern[text(limit)]?.test(text(value)) !== true
      ? 'has a character no header may have'
      : undefined,
  'string.strict': () => undefined, // always false in Envoy's API: the lenient patterns above
  'string.ignore_empty': () => undefined, // an absent value passes the pattern above
  'repeated.min_items': (limit, value) =>
    (Array.isArray(value) ? value.length : 0) < number(limit) ? `needs at least ${number(limit)} items` : undefined,
}

const broken = (kind: string, limits: unknown, value: unknown): readonly string[] => {
  if (!isRecord(limits)) throw new Error(`no such field rule: ${kind}`)
  return Object.entries(limits).flatMap(([name, limit]) => {
    if (name === 'items' && isRecord(limit)) {
      const items: readonly unknown[] = Array.isArray(value) ? value : []
      return items.flatMap((item) => Object.entries(limit).flatMap(([inner, rest]) => broken(inner, rest, item)))
    }
    const rule = rules[`${kind}.${name}`]
    if (rule === undefined) throw new Error(`no such field rule: ${kind}.${name}`)
    return rule(limit, value) ?? []
  })
}

/** A field's rules, as protobufjs keeps parsed options: a list of {'(validate.rules)': {kind: limits}}. */
const rulesOf = (field: protobuf.Field | protobuf.OneOf, option: string): readonly unknown[] => {
  const parsed: unknown = field.parsedOptions
  if (!Array.isArray(parsed)) return []
  return parsed.flatMap((one) => (isRecord(one) && one[option] !== undefined ? [one[option]] : []))
}

const inside = (type: protobuf.Type | protobuf.Enum | null, value: unknown, path: string): readonly string[] => {
  if (!(type instanceof protobuf.Type) || !isRecord(value)) return []
  if (type.fullName === '.google.protobuf.Any') {
    const { '@type': url, ...message } = value
    return typeof url === 'string' ? violationsAt(messageType(url.slice(url.indexOf('/') + 1)), message, path) : []
  }
  return type.fullName.startsWith('.google.protobuf.') ? [] : violationsAt(type, value, path)
}

const violationsAt = (
  type: protobuf.Type,
  message: Readonly<Record<string, unknown>>,
  path: string,
): readonly string[] => [
  ...type.oneofsArray.flatMap((oneof) =>
    rulesOf(oneof, '(validate.required)').includes(true) &&
    oneof.fieldsArray.every((field) => message[field.name] === undefined)
      ? [`${path}: one of ${oneof.fieldsArray.map((field) => field.name).join(', ')} is required`]
      : [],
  ),
  ...type.fieldsArray.flatMap((field) => {
    const value = message[field.name]
    const at = `${path}.${field.name}`
    const own = rulesOf(field, '(validate.rules)').flatMap((kinds) =>
      // A field of a oneof that was not chosen has nothing to break.
      !isRecord(kinds) || (field.partOf !== null && value === undefined)
        ? []
        : Object.entries(kinds).flatMap(([kind, limits]) =>
            broken(kind, limits, value).map((what) => `${at}: ${what}`),
          ),
    )
    const children: readonly (readonly [string, unknown])[] =
      field instanceof protobuf.MapField && isRecord(value)
        ? Object.entries(value).map(([key, item]) => [`${at}[${key}]`, item] as const)
        : Array.isArray(value)
          ? value.map((item: unknown, index) => [`${at}[${index}]`, item] as const)
          : [[at, value]]
    return [...own, ...children.flatMap(([where, child]) => inside(field.resolvedType, child, where))]
  }),
]

/** What Envoy's field rules would refuse in a message, one line each; empty: nothing. */
export const violations = (type: string, message: Message): readonly string[] =>
  violationsAt(messageType(type), message, type.slice(type.lastIndexOf('.') + 1))
