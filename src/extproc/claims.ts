/** The claims of a token that Envoy has verified, as its filter leaves them in a request's metadata. */
import protobuf from 'protobufjs/minimal.js'
import type { Claims } from '../policy/principal.ts'
import type { Json } from '../registry/model.ts'
import { double, endOfNext, long, varint } from './wire.ts'

const { Reader } = protobuf
type Reader = protobuf.Reader

/** Only filters write metadata, never a client. The second is what this one is told to put a token's payload under. */
const JWT_AUTHN = 'envoy.filters.http.jwt_authn'
const PAYLOAD = 'jwt'

/** Where a verified token's payload lies in the bytes of an envoy.config.core.v3.Metadata; undefined: none was verified. */
export const payloadIn = (metadata: Buffer): Buffer | undefined => {
  const reader = Reader.create(metadata)
  const filter = valueOf(reader, reader.len, JWT_AUTHN)
  const end = filter === undefined ? undefined : valueOf(reader, filter, PAYLOAD)
  return end === undefined ? undefined : metadata.subarray(reader.pos, end)
}

/** What a payload says, a google.protobuf.Value with an object in it. Throws on bytes that are none. */
export const claimsOf = (payload: Buffer): Claims | undefined => {
  const reader = Reader.create(payload)
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    if (tag === long(5)) return struct(reader, endOfNext(reader))
    reader.skipType(tag & 7)
  }
  return undefined
}

/** Goes to the value of a key, in the map that is a message's first field; its end, or undefined when there is none. */
const valueOf = (reader: Reader, end: number, wanted: string): number | undefined => {
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag !== long(1)) {
      reader.skipType(tag & 7)
      continue
    }
    const next = endOfNext(reader)
    if (key(reader) === wanted && reader.uint32() === long(2)) return endOfNext(reader)
    reader.pos = next
  }
  return undefined
}

/** An entry of a map is its key, then its value. */
const key = (reader: Reader): string | undefined => (reader.uint32() === long(1) ? reader.string() : undefined)

const value = (reader: Reader, end: number): Json => {
  let json: Json = null
  while (reader.pos < end) {
    const tag = reader.uint32()
    switch (tag) {
      case double(2):
        json = reader.double()
        break
      case long(3):
        json = reader.string()
        break
      case varint(4):
        json = reader.bool()
        break
      case long(5):
        json = struct(reader, endOfNext(reader))
        break
      case long(6):
        json = list(reader, endOfNext(reader))
        break
      default:
        reader.skipType(tag & 7)
    }
  }
  return json
}

/** A claim may be called `__proto__`: it is a member like another. */
const struct = (reader: Reader, end: number): Claims => {
  const members: [string, Json][] = []
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag !== long(1)) {
      reader.skipType(tag & 7)
      continue
    }
    const next = endOfNext(reader)
    const name = key(reader)
    if (name !== undefined && reader.pos < next && reader.uint32() === long(2)) {
      members.push([name, value(reader, endOfNext(reader))])
    }
    reader.pos = next
  }
  return Object.fromEntries(members)
}

const list = (reader: Reader, end: number): readonly Json[] => {
  const items: Json[] = []
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag === long(1)) items.push(value(reader, endOfNext(reader)))
    else reader.skipType(tag & 7)
  }
  return items
}
