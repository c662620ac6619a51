/** Envoy's processing messages from and to protobuf bytes, field by field: nothing is built that nobody reads. */
import protobuf from 'protobufjs/minimal.js'
import {
  AUTHORIZATION,
  CLIENT_ADDRESS,
  MCP_METHOD,
  MCP_NAME,
  MCP_PARAM_PREFIX,
  PROTOCOL_VERSION,
  REQUEST_ID,
  SESSION_ID,
} from '../mcp/headers.ts'
import { BackWriter } from './back-writer.ts'
import type { Fields, Metadata, Mutation, ProcessingRequest, ProcessingResponse } from './processing.ts'
import { endOfNext, long, varint } from './wire.ts'

// Field numbers are those of protos/envoy/service/ext_proc/v3/external_processor.proto and
// protos/envoy/config/core/v3/base.proto; a test holds them against those files.
const { Reader, Writer } = protobuf
type Reader = protobuf.Reader

const EMPTY = Buffer.alloc(0)

/** Throws on bytes that are no protobuf. The body is a view into `bytes`. */
export const decodeRequest = (bytes: Buffer): ProcessingRequest => {
  const reader = Reader.create(bytes)
  let request: ProcessingRequest = { of: 'other' }
  let head: Head | undefined
  let metadata: Buffer | undefined
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    switch (tag) {
      case long(2):
        request = head = requestHeaders(reader, endOfNext(reader))
        break
      case long(3):
        reader.skipType(2)
        request = { of: 'response_headers' }
        break
      case long(4):
        request = requestBody(reader, endOfNext(reader))
        break
      case long(8):
        metadata = buffer(reader.bytes())
        break
      default:
        reader.skipType(tag & 7)
    }
  }
  // It comes behind what it belongs to.
  if (head !== undefined) head.metadata = metadata
  return request
}

type Head = Omit<ProcessingRequest & { readonly of: 'request_headers' }, 'metadata'> & { metadata: Buffer | undefined }

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
    AUTHORIZATION,
    CLIENT_ADDRESS,
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

const requestHeaders = (reader: Reader, end: number): Head => {
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
    authorization,
    address,
  ] = read.values
  return {
    of: 'request_headers',
    names: read.names,
    endOfStream,
    requestId: requestId ?? '',
    address: address ?? '',
    authorization,
    metadata: undefined,
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

/** More than most answers need. */
const ROOM = 2048

export const encodeResponse = (response: ProcessingResponse): Buffer => {
  if (response.to === 'response_headers') return LET_RESPONSE_PASS
  if (response.to === 'request_headers' && response.next === 'body') return WANT_BODY
  const { to, mutation, metadata } = response
  // The last field first.
  const writer = new BackWriter(ROOM + (mutation.body?.length ?? 0))
  if (to === 'request_headers') writer.bytes(9, NOTHING_MORE)
  const behind = writer.length
  struct(writer, metadata)
  writer.field(8, behind)
  const before = writer.length
  common(writer, mutation)
  writer.field(1, before)
  writer.field(to === 'request_headers' ? 1 : 3, before)
  return writer.finish()
}

/** CommonResponse: header_mutation, body_mutation, clear_route_cache. */
const common = (writer: BackWriter, { set, remove, body }: Mutation): void => {
  writer.varint(1)
  writer.varint(varint(5))
  if (body !== undefined) {
    const behind = writer.length
    writer.bytes(1, body)
    writer.field(3, behind)
  }
  const behind = writer.length
  for (let index = remove.length - 1; index >= 0; index--) writer.text(2, remove[index] ?? '')
  for (let index = set.length - 1; index >= 0; index--) option(writer, set[index] ?? NONE)
  writer.field(2, behind)
}
const NONE = ['', ''] as const

/** HeaderValueOption: header, append_action. */
const option = (writer: BackWriter, [name, value]: readonly [string, string]): void => {
  const behind = writer.length
  // OVERWRITE_IF_EXISTS_OR_ADD
  writer.varint(2)
  writer.varint(varint(3))
  const before = writer.length
  // raw_value, because Envoy ignores `value` here
  writer.text(3, value)
  writer.text(1, name)
  writer.field(1, before)
  writer.field(1, behind)
}

/** google.protobuf.Struct of strings and structs. */
const struct = (writer: BackWriter, fields: Metadata | Fields): void => {
  for (const key of Object.keys(fields)) {
    const value = fields[key] ?? ''
    const behind = writer.length
    if (typeof value === 'string') writer.text(3, value)
    else {
      struct(writer, value)
      writer.field(5, behind)
    }
    writer.field(2, behind)
    writer.text(1, key)
    writer.field(1, behind)
  }
}
