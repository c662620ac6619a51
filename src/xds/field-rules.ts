/** The field rules that Envoy checks before it applies a message; one broken rule would reject a whole response. */

import protobuf from 'protobufjs'
import { isObject } from '../registry/json-object.ts'
import { duration, type Message } from './pack.ts'
import { messageType } from './proto-types.ts'

type Rule = (limit: unknown, value: unknown) => string | undefined

const number = (value: unknown): number => (typeof value === 'number' ? value : Number.NaN)
const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Nanoseconds, of a duration in either form: `1.5s` or {seconds, nanos}. */
const nanos = (value: unknown): number => {
  if (value === undefined) return Number.NaN // no comparison holds
  const form = typeof value === 'string' ? duration(value) : isObject(value) ? value : {}
  return Number(form['seconds'] ?? 0) * 1e9 + Number(form['nanos'] ?? 0)
}

const headerPattern: Readonly<Record<string, RegExp>> = {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly the three that end a header
  HTTP_HEADER_NAME: /^[^\0\n\r]+$/,
  HTTP_HEADER_VALUE: /^[^\0\n\r]*$/,
}

const required: Rule = (limit, value) => (limit === true && value === undefined ? 'a value is required' : undefined)

const lengthOf = (value: unknown): number =>
  typeof value === 'string' || Array.isArray(value) || value instanceof Uint8Array ? value.length : 0

const least: Rule = (limit, value) =>
  lengthOf(value) < number(limit) ? `needs at least ${number(limit)} of them` : undefined
const most: Rule = (limit, value) =>
  lengthOf(value) > number(limit) ? `has more than ${number(limit)} of them` : undefined

const ranges = (kind: string, measure: (value: unknown) => number): Readonly<Record<string, Rule>> => ({
  [`${kind}.gt`]: (limit, value) => (measure(value) <= measure(limit) ? 'is too small' : undefined),
  [`${kind}.gte`]: (limit, value) => (measure(value) < measure(limit) ? 'is too small' : undefined),
  [`${kind}.lt`]: (limit, value) => (measure(value) >= measure(limit) ? 'is too large' : undefined),
  [`${kind}.lte`]: (limit, value) => (measure(value) > measure(limit) ? 'is too large' : undefined),
})

/** One row per rule that our slice carries; a rule without a row throws when it is met, so none is passed over. */
const rules: Readonly<Record<string, Rule>> = {
  'message.required': required,
  'any.required': required,
  'duration.required': required,
  ...ranges('duration', nanos),
  ...ranges('double', number),
  ...ranges('uint32', number),
  ...ranges('uint64', number),
  ...ranges('int64', number),
  'enum.defined_only': () => undefined, // `pack` takes names only
  'enum.not_in': (_limit, value) => (value === undefined ? 'a value is required' : undefined),
  'bytes.min_len': least,
  'bytes.max_len': most,
  'bool.const': (limit, value) => (value === limit ? undefined : `is not ${String(limit)}`),
  'string.min_len': least,
  'string.pattern': (limit, value) =>
    new RegExp(text(limit)).test(text(value)) ? undefined : 'is not of the right form',
  'string.max_bytes': (limit, value) =>
    Buffer.byteLength(text(value)) > number(limit) ? `has more than ${number(limit)} bytes` : undefined,
  'string.well_known_regex': (limit, value) =>
    value !== undefined && headerPattern[text(limit)]?.test(text(value)) !== true
      ? 'has a character no header may have'
      : undefined,
  'string.strict': () => undefined, // always false in Envoy's API: the lenient patterns above
  'string.ignore_empty': () => undefined, // an absent value passes the pattern above
  'repeated.min_items': least,
  'repeated.max_items': most,
}

const broken = (kind: string, limits: unknown, value: unknown): readonly string[] => {
  if (!isObject(limits)) throw new Error(`no such field rule: ${kind}`)
  return Object.entries(limits).flatMap(([name, limit]) => {
    if (name === 'items' && isObject(limit)) {
      const items: readonly unknown[] = Array.isArray(value) ? value : []
      return items.flatMap((item) => Object.entries(limit).flatMap(([inner, rest]) => broken(inner, rest, item)))
    }
    if (kind === 'map' && name === 'keys' && isObject(limit)) {
      const keys = isObject(value) ? Object.keys(value) : []
      return keys.flatMap((key) => Object.entries(limit).flatMap(([inner, rest]) => broken(inner, rest, key)))
    }
    const rule = rules[`${kind}.${name}`]
    if (rule === undefined) throw new Error(`no such field rule: ${kind}.${name}`)
    return rule(limit, value) ?? []
  })
}

/** An option's values, as protobufjs keeps parsed options: a list of {option: value}. */
const optionOf = (thing: protobuf.Field | protobuf.OneOf, option: string): readonly unknown[] => {
  const parsed: unknown = thing.parsedOptions
  if (!Array.isArray(parsed)) return []
  return parsed.flatMap((one) => (isObject(one) && one[option] !== undefined ? [one[option]] : []))
}

interface Checks {
  /** Oneofs of which one field must be there. */
  readonly choices: readonly protobuf.OneOf[]
  readonly fields: readonly { readonly field: protobuf.Field; readonly kind: string; readonly limits: unknown }[]
}

const known = new Map<protobuf.Type, Checks>()

/** What is to be checked of a message's own fields; looked up once per type. */
const checksOf = (type: protobuf.Type): Checks => {
  const found = known.get(type)
  if (found !== undefined) return found
  const checks: Checks = {
    choices: type.oneofsArray.filter((oneof) => optionOf(oneof, '(validate.required)').includes(true)),
    fields: type.fieldsArray.flatMap((field) =>
      optionOf(field, '(validate.rules)').flatMap((kinds) =>
        isObject(kinds) ? Object.entries(kinds).map(([kind, limits]) => ({ field, kind, limits })) : [],
      ),
    ),
  }
  known.set(type, checks)
  return checks
}

/** A field's value, or its items one by one, with where they stand. */
const items = (field: protobuf.Field, value: unknown, path: string): readonly (readonly [string, unknown])[] =>
  field instanceof protobuf.MapField && isObject(value)
    ? Object.entries(value).map(([key, item]) => [`${path}[${key}]`, item] as const)
    : Array.isArray(value)
      ? value.map((item: unknown, index) => [`${path}[${index}]`, item] as const)
      : [[path, value]]

const inside = (type: protobuf.Type, value: unknown, path: string): readonly string[] => {
  if (!isObject(value)) return []
  if (type.fullName === '.google.protobuf.Any') {
    const { '@type': url, ...message } = value
    return typeof url === 'string' ? violationsAt(messageType(url.slice(url.indexOf('/') + 1)), message, path) : []
  }
  return type.fullName.startsWith('.google.protobuf.') ? [] : violationsAt(type, value, path)
}

type Fields = Readonly<Record<string, unknown>>

const violationsAt = (type: protobuf.Type, message: Fields, path: string): readonly string[] => {
  const { choices, fields } = checksOf(type)
  return [
    ...choices
      .filter((oneof) => oneof.fieldsArray.every(({ name }) => message[name] === undefined))
      .map((oneof) => `${path}: one of ${oneof.fieldsArray.map(({ name }) => name).join(', ')} is required`),
    ...fields
      // A field of a oneof that was not chosen has nothing to break.
      .filter(({ field }) => field.partOf === null || message[field.name] !== undefined)
      .flatMap(({ field: { name }, kind, limits }) =>
        broken(kind, limits, message[name]).map((what) => `${path}.${name}: ${what}`),
      ),
    ...Object.entries(message).flatMap(([name, value]) => {
      const field = type.fields[name]
      const inner = field?.resolvedType
      if (field === undefined || !(inner instanceof protobuf.Type) || value === undefined) return []
      return items(field, value, `${path}.${name}`).flatMap(([where, item]) => inside(inner, item, where))
    }),
  ]
}

/** What Envoy's field rules would refuse in a message, one line each; empty: nothing. */
export const violations = (type: string, message: Message): readonly string[] =>
  violationsAt(messageType(type), message, type.slice(type.lastIndexOf('.') + 1))
