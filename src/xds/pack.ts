/** Messages written as in Envoy's YAML → protobuf bytes and back, strictly: an unknown type, field or value throws. */
import protobuf from 'protobufjs'
import { messageType } from './proto-types.ts'

/** What may stand in a message: as in Envoy's YAML, durations are `1.5s`, wrappers their value, an Any carries `@type`. */
export type Value = string | number | boolean | null | Uint8Array | readonly Value[] | Message
export interface Message {
  readonly [field: string]: Value | undefined
}

const URL_PREFIX = 'type.googleapis.com/'

/** A message that travels as an Any. */
export const any = (type: string, message: Message = {}): Message => ({ '@type': URL_PREFIX + type, ...message })

/** A message's bytes; equal messages give equal bytes, whatever the order of their keys. */
export const pack = (type: string, message: Message): Uint8Array => encode(messageType(type), message, type)

/** The message in some bytes, in the shape `pack` takes. Fields outside our slice are left out. */
export const unpack = (type: string, bytes: Uint8Array): Message => {
  const descriptor = messageType(type)
  return decoded(descriptor, descriptor.decode(bytes))
}

const encode = (type: protobuf.Type, message: unknown, path: string): Uint8Array =>
  type.encode(type.create(wireObject(type, message, path))).finish()

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

type Wire = Record<string, unknown>

const wireObject = (type: protobuf.Type, message: unknown, path: string): Wire => {
  const special = toWire[type.fullName]
  if (special !== undefined) return special(message, path)
  if (!isObject(message)) throw new TypeError(`${path}: not a message`)
  const wire: Wire = {}
  const chosen = new Map<string, string>()
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined) continue
    const field = type.fields[name]
    if (field === undefined) throw new TypeError(`${path}: ${type.fullName} has no field ${name}`)
    if (field.partOf !== null) {
      const other = chosen.get(field.partOf.name)
      if (other !== undefined) throw new TypeError(`${path}: ${other} and ${name} exclude each other`)
      chosen.set(field.partOf.name, name)
    }
    wire[name] = wireField(field, value, `${path}.${name}`)
  }
  return wire
}

const wireField = (field: protobuf.Field, value: unknown, path: string): unknown => {
  if (field instanceof protobuf.MapField) {
    if (!isObject(value)) throw new TypeError(`${path}: not a map`)
    const keys = Object.keys(value).sort()
    return Object.fromEntries(keys.map((key) => [key, wireValue(field, value[key], `${path}[${key}]`)]))
  }
  if (!field.repeated) return wireValue(field, value, path)
  if (!Array.isArray(value)) throw new TypeError(`${path}: not a list`)
  return value.map((item, index) => wireValue(field, item, `${path}[${index}]`))
}

const integers: Readonly<Record<string, readonly [number, number]>> = {
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
}

const wireValue = (field: protobuf.Field, value: unknown, path: string): unknown => {
  const { resolvedType } = field
  if (resolvedType instanceof protobuf.Type) return wireObject(resolvedType, value, path)
  if (resolvedType instanceof protobuf.Enum) {
    const number = typeof value === 'string' ? resolvedType.values[value] : undefined
    if (number === undefined) throw new TypeError(`${path}: ${String(value)} is not one of ${resolvedType.fullName}`)
    return number
  }
  const range = integers[field.type]
  const fits =
    range !== undefined
      ? typeof value === 'number' && Number.isInteger(value) && value >= range[0] && value <= range[1]
      : field.type === 'bytes'
        ? value instanceof Uint8Array
        : field.type === 'double' || field.type === 'float'
          ? typeof value === 'number'
          : field.type === 'bool'
            ? typeof value === 'boolean'
            : field.type === 'string' && typeof value === 'string'
  if (!fits) throw new TypeError(`${path}: not a ${field.type}`)
  return value
}

/** `1.5s` → seconds and nanoseconds; throws when it is no duration. */
export const duration = (value: unknown, path = 'duration'): { seconds: number; nanos: number } => {
  const match = typeof value === 'string' ? /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(value) : null
  if (match === null) throw new TypeError(`${path}: not a duration`)
  const sign = match[1] === '-' ? -1 : 1
  return { seconds: sign * Number(match[2]), nanos: sign * Number((match[3] ?? '').padEnd(9, '0')) }
}

/** Milliseconds as Envoy writes durations. */
export const milliseconds = (ms: number): string => `${ms / 1000}s`

const jsonValue = (value: unknown, path: string): Wire => {
  if (value === null) return { nullValue: 0 }
  if (typeof value === 'number') return { numberValue: value }
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (Array.isArray(value)) return { listValue: { values: value.map((item) => jsonValue(item, path)) } }
  if (isObject(value)) return { structValue: jsonStruct(value, path) }
  throw new TypeError(`${path}: not JSON`)
}

const jsonStruct = (value: unknown, path: string): Wire => {
  if (!isObject(value)) throw new TypeError(`${path}: not a JSON object`)
  const keys = Object.keys(value).filter((key) => value[key] !== undefined)
  return { fields: Object.fromEntries(keys.sort().map((key) => [key, jsonValue(value[key], `${path}.${key}`)])) }
}

const wrapper = (type: string) => {
  const field = new protobuf.Field('value', 1, type)
  return (value: unknown, path: string): Wire => ({ value: wireValue(field, value, path) })
}

const toWire: Readonly<Record<string, (value: unknown, path: string) => Wire>> = {
  '.google.protobuf.Any': (value, path) => {
    if (!isObject(value)) throw new TypeError(`${path}: not an Any`)
    const { '@type': url, ...message } = value
    if (url === undefined && typeof value['type_url'] === 'string' && value['value'] instanceof Uint8Array)
      return { type_url: value['type_url'], value: value['value'] } // packed already
    if (typeof url !== 'string' || !url.startsWith(URL_PREFIX)) throw new TypeError(`${path}: an Any without @type`)
    return { type_url: url, value: encode(messageType(url.slice(URL_PREFIX.length)), message, path) }
  },
  '.google.protobuf.Duration': duration,
  '.google.protobuf.Struct': jsonStruct,
  '.google.protobuf.Value': jsonValue,
  '.google.protobuf.BoolValue': wrapper('bool'),
  '.google.protobuf.StringValue': wrapper('string'),
  '.google.protobuf.DoubleValue': wrapper('double'),
  '.google.protobuf.UInt32Value': wrapper('uint32'),
  '.google.protobuf.UInt64Value': wrapper('uint64'),
}

/** The fields that are present, in the order our slice declares them. */
const decoded = (type: protobuf.Type, message: object): Message => {
  const present = new Map<string, unknown>(Object.entries(message))
  const result: Record<string, Value> = {}
  for (const field of type.fieldsArray) {
    const value = present.get(field.name)
    if (value !== undefined && !isEmpty(field, value)) result[field.name] = decodedField(field, value)
  }
  return result
}

/** On the wire an empty list or map is the same as none. */
const isEmpty = (field: protobuf.Field, value: unknown): boolean =>
  Array.isArray(value) ? value.length === 0 : field.map && isObject(value) && Object.keys(value).length === 0

const decodedField = (field: protobuf.Field, value: unknown): Value => {
  if (field instanceof protobuf.MapField && isObject(value))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodedValue(field, item)]))
  return Array.isArray(value) ? value.map((item) => decodedValue(field, item)) : decodedValue(field, value)
}

const decodedValue = (field: protobuf.Field, value: unknown): Value => {
  const { resolvedType } = field
  if (resolvedType instanceof protobuf.Enum && typeof value === 'number')
    return resolvedType.valuesById[value] ?? String(value)
  if (resolvedType instanceof protobuf.Type && isObject(value)) {
    const special = fromWire[resolvedType.fullName]
    return special === undefined ? decoded(resolvedType, value) : special(value)
  }
  return plain(value)
}

/** A scalar as decoded: 64-bit integers come as objects that know their number. */
const plain = (value: unknown): Value => {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  if (value instanceof Uint8Array) return value
  return Number(value)
}

const structJson = (struct: Readonly<Record<string, unknown>>): Message => {
  const fields = isObject(struct['fields']) ? struct['fields'] : {}
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, valueJson(value)]))
}

const valueJson = (value: unknown): Value => {
  if (!isObject(value)) return null
  for (const [kind, inner] of Object.entries(value)) {
    if (kind === 'nullValue') return null
    if (kind === 'structValue') return isObject(inner) ? structJson(inner) : {}
    if (kind === 'listValue')
      return isObject(inner) && Array.isArray(inner['values']) ? inner['values'].map(valueJson) : []
    return plain(inner)
  }
  return null
}

const unwrapped =
  (fallback: Value) =>
  (value: Readonly<Record<string, unknown>>): Value =>
    Object.hasOwn(value, 'value') ? plain(value['value']) : fallback

const fromWire: Readonly<Record<string, (value: Readonly<Record<string, unknown>>) => Value>> = {
  '.google.protobuf.Any': (value) => {
    const url = String(value['type_url'])
    const bytes = value['value'] instanceof Uint8Array ? value['value'] : new Uint8Array()
    return { '@type': url, ...unpack(url.slice(URL_PREFIX.length), bytes) }
  },
  '.google.protobuf.Duration': (value) => {
    const nanos = Math.round(Number(value['nanos'] ?? 0))
    const fraction = nanos === 0 ? '' : `.${String(Math.abs(nanos)).padStart(9, '0').replace(/0+$/, '')}`
    return `${Number(value['seconds'] ?? 0)}${fraction}s`
  },
  '.google.protobuf.Struct': structJson,
  '.google.protobuf.Value': valueJson,
  '.google.protobuf.BoolValue': unwrapped(false),
  '.google.protobuf.StringValue': unwrapped(''),
  '.google.protobuf.DoubleValue': unwrapped(0),
  '.google.protobuf.UInt32Value': unwrapped(0),
  '.google.protobuf.UInt64Value': unwrapped(0),
}
