/** Envoy's processing messages from and to protobuf bytes, field by field: nothing is built that nobody reads. */
import protobuf from 'protobufjs/minimal.js'
import { MCP_METHOD, MCP_NAME, MCP_PARAM_PREFIX, PROTOCOL_VERSION, REQUEST_ID, SESSION_ID } from '../mcp/headers.ts'
import type { Fields, Metadata, Mutation, ProcessingRequest, ProcessingResponse } from './processing.ts'

// Field numbers are those of protos/envoy/service/ext_proc/v3/external_processor.proto and
// protos/envoy/config/core/v3/base.proto; a test holds them against those files.
const { Reader, Writer } = protobuf
type Reader = protobuf.Reader
type Writer = protobuf.Writer

const EMPTY = Buffer.alloc(0)

/** The tag of a field of bytes, text or a message; and of a number. */
const long = (field: number): number => (field << 3) | 2
const varint = (field: number): number => field << 3

/** Throws on bytes that are no protobuf. The body is a view into `bytes`. */
export const decodeRequest = (bytes: Buffer): ProcessingRequest => {
  const reader = Reader.create(bytes)
  let request: ProcessingRequest = { of: 'other' }
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    switch (tag) {
      case long(2):
        request = requestHeaders(reader, endOfNext(reader))
        break
      case long(3):
        reader.skipType(2)
        request = { of: 'response_headers' }
        break
      case long(4):
        request = requestBody(reader, endOfNext(reader))
        break
      default:
        reader.skipType(tag & 7)
    }
  }
  return request
}

const endOfNext = (reader: Reader): number => reader.uint32() + reader.pos

/** Header name → its place among the values that `RequestHead` is made of. */
const PLACES: ReadonlyMap<string, number> = new Map(
  [
    ':method',
    ':path',
    ':authority',
    'origin',
    'content-type',
    'content-encoding',
    'accept',
    'content-length',
    SESSION_ID,
    PROTOCOL_VERSION,
    REQUEST_ID,
    MCP_METHOD,
    MCP_NAME,
  ].map((name, index) => [name, index]),
)

/** What a header map is read into. */
interface Headers {
  readonly names: string[]
  readonly values: (string | undefined)[]
  /** Made when the first one comes. */
  params: Map<string, string> | undefined
}
const noParams: ReadonlyMap<string, string> = new Map()

const requestHeaders = (reader: Reader, end: number): ProcessingRequest => {
  const read: Headers = { names: [], values: Array.from({ length: PLACES.size }), params: undefined }
  let endOfStream = false
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag === long(1)) headerMap(reader, endOfNext(reader), read)
    else if (tag === varint(3)) endOfStream = reader.bool()
    else reader.skipType(tag & 7)
  }
  const [
    method,
    path,
    host,
    origin,
    contentType,
    contentEncoding,
    accept,
    contentLength,
    sessionId,
    protocolVersion,
    requestId,
    mcpMethod,
    mcpName,
  ] = read.values
  return {
    of: 'request_headers',
    names: read.names,
    endOfStream,
    requestId: requestId ?? '',
    head: {
      method,
      path,
      host,
      origin,
      contentType,
      contentEncoding,
      accept,
      contentLength,
      sessionId,
      protocolVersion,
      mcpMethod,
      mcpName,
      mcpParams: read.params ?? noParams,
    },
  }
}

const headerMap = (reader: Reader, end: number, read: Headers): void => {
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag === long(1)) header(reader, endOfNext(reader), read)
    else reader.skipType(tag & 7)
  }
}

const header = (reader: Reader, end: number, read: Headers): void => {
  let name = ''
  let value: Uint8Array = EMPTY
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag === long(1)) name = reader.string()
    else if (tag === long(2) || tag === long(3)) value = reader.bytes()
    else reader.skipType(tag & 7)
  }
  read.names.push(name)
  const place = PLACES.get(name)
  if (place !== undefined) read.values[place] = joined(read.values[place], value)
  else if (name.startsWith(MCP_PARAM_PREFIX)) {
    const key = name.slice(MCP_PARAM_PREFIX.length)
    read.params ??= new Map()
    read.params.set(key, joined(read.params.get(key), value))
  }
}

/** The same field twice is one field with a comma (RFC 9110 5.3): none of ours but Accept has one, so it is refused. */
const joined = (before: string | undefined, value: Uint8Array): string => {
  const text = buffer(value).toString('latin1')
  return before === undefined ? text : `${before}, ${text}`
}

const requestBody = (reader: Reader, end: number): ProcessingRequest => {
  let body: Uint8Array = EMPTY
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag === long(1)) body = reader.bytes()
    else reader.skipType(tag & 7)
  }
  return { of: 'request_body', body: buffer(body) }
}

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

/** An answer whose CommonResponse is empty: go on. */
const goOn = (field: number): Buffer =>
  buffer(Writer.create().uint32(long(field)).fork().uint32(long(1)).fork().ldelim().ldelim().finish())
const WANT_BODY = goOn(1)
const LET_RESPONSE_PASS = goOn(2)

/** ProcessingMode: response headers and all trailers SKIP, bodies NONE (which is 0). */
const NOTHING_MORE = [2, 5, 6]
  .reduce((writer, field) => writer.uint32(varint(field)).int32(2), Writer.create())
  .finish()

export const encodeResponse = (response: ProcessingResponse): Buffer => {
  if (response.to === 'response_headers') return LET_RESPONSE_PASS
  if (response.to === 'request_headers' && response.next === 'body') return WANT_BODY
  const writer = Writer.create()
  writer.uint32(long(response.to === 'request_headers' ? 1 : 3)).fork()
  common(writer.uint32(long(1)).fork(), response.mutation)
  writer.ldelim().ldelim()
  struct(writer.uint32(long(8)).fork(), response.metadata)
  writer.ldelim()
  if (response.to === 'request_headers') writer.uint32(long(9)).bytes(NOTHING_MORE)
  return buffer(writer.finish())
}

/** CommonResponse: header_mutation, body_mutation, clear_route_cache. */
const common = (writer: Writer, { set, remove, body }: Mutation): void => {
  writer.uint32(long(2)).fork()
  for (const [name, value] of set) {
    writer.uint32(long(1)).fork().uint32(long(1)).fork()
    // raw_value, because Envoy ignores `value` here
    writer.uint32(long(1)).string(name).uint32(long(3)).string(value)
    // OVERWRITE_IF_EXISTS_OR_ADD
    writer.ldelim().uint32(varint(3)).int32(2).ldelim()
  }
  for (const name of remove) writer.uint32(long(2)).string(name)
  writer.ldelim()
  if (body !== undefined) writer.uint32(long(3)).fork().uint32(long(1)).bytes(body).ldelim()
  writer.uint32(varint(5)).bool(true)
}

/** google.protobuf.Struct of strings and structs. */
const struct = (writer: Writer, fields: Metadata | Fields): void => {
  for (const key of Object.keys(fields)) {
    const value = fields[key] ?? ''
    writer.uint32(long(1)).fork().uint32(long(1)).string(key).uint32(long(2)).fork()
    if (typeof value === 'string') writer.uint32(long(3)).string(value)
    else {
      writer.uint32(long(5)).fork()
      struct(writer, value)
      writer.ldelim()
    }
    writer.ldelim().ldelim()
  }
}
