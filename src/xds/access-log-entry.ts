/** Envoy's access log entries as it streams them to us, read for metrics and audit; once per request, so nothing is built twice. */
import protobuf from 'protobufjs'
import { METADATA } from './names.ts'
import { messageType } from './proto-types.ts'

export interface AccessLogEntry {
  /** When the request began, ms since the epoch. */
  readonly startMs: number
  /** HTTP's; empty for one that is none of the usual. */
  readonly verb: string
  /** Empty when it was refused before it had one. */
  readonly requestId: string
  readonly durationMs: number
  readonly status: number
  /** Envoy's response flags by their names in the API, such as `no_healthy_upstream`. */
  readonly flags: readonly string[]
  readonly details: string
  /** What ext_proc and the broker published about the request: method, server, tool, path, era … */
  readonly metadata: Readonly<Record<string, string | number | boolean>>
}

interface Entry {
  startMs: number
  verb: string
  requestId: string
  durationMs: number
  status: number
  readonly flags: string[]
  details: string
  readonly metadata: Record<string, string | number | boolean>
}

type Read<Into> = (reader: protobuf.Reader, into: Into) => void

const readFields = <Into>(
  reader: protobuf.Reader,
  end: number,
  reads: readonly (Read<Into> | undefined)[],
  into: Into,
) => {
  while (reader.pos < end) {
    const tag = reader.uint32()
    const read = reads[tag >>> 3]
    if (read === undefined) reader.skipType(tag & 7)
    else read(reader, into)
  }
}

/** Field names → a table by field number, from the descriptor. */
const byNumber = <Into>(
  type: string,
  reads: Readonly<Record<string, Read<Into>>>,
): readonly (Read<Into> | undefined)[] => {
  const table: (Read<Into> | undefined)[] = []
  for (const [name, read] of Object.entries(reads)) {
    const field = messageType(type).fields[name]
    if (field === undefined) throw new Error(`${type} has no field ${name}`)
    table[field.id] = read
  }
  return table
}

/** Reads an embedded message; its other fields are skipped. */
const message = <Into>(type: string, reads: Readonly<Record<string, Read<Into>>>): Read<Into> => {
  const table = byNumber(type, reads)
  return (reader, into) => {
    const length = reader.uint32()
    readFields(reader, reader.pos + length, table, into)
  }
}

/** A map's entries are messages of a key (1) and a value (2). */
const mapEntry = <Into>(value: (key: string) => Read<Into> | undefined): Read<Into> => {
  return (reader, into) => {
    const length = reader.uint32()
    const end = reader.pos + length
    let key = ''
    while (reader.pos < end) {
      const tag = reader.uint32()
      const read = tag >>> 3 === 2 ? value(key) : undefined
      if (tag >>> 3 === 1) key = reader.string()
      else if (read === undefined) reader.skipType(tag & 7)
      else read(reader, into)
    }
  }
}

const duration = message<Entry>('google.protobuf.Duration', {
  seconds: (reader, entry) => {
    entry.durationMs += Number(reader.int64()) * 1000
  },
  nanos: (reader, entry) => {
    entry.durationMs += reader.int32() / 1e6
  },
})

const startTime = message<Entry>('google.protobuf.Timestamp', {
  seconds: (reader, entry) => {
    entry.startMs += Number(reader.int64()) * 1000
  },
  nanos: (reader, entry) => {
    entry.startMs += Math.floor(reader.int32() / 1e6)
  },
})

/** By their numbers in the API. */
const VERBS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']

const flags = message<Entry>(
  'envoy.data.accesslog.v3.ResponseFlags',
  Object.fromEntries(
    messageType('envoy.data.accesslog.v3.ResponseFlags')
      .fieldsArray.filter(({ type }) => type === 'bool')
      .map(({ name }): [string, Read<Entry>] => [
        name,
        (reader, entry) => {
          if (reader.bool()) entry.flags.push(name)
        },
      ]),
  ),
)

interface Item {
  readonly metadata: Entry['metadata']
  readonly key: string
}

/** Of the values only the plain ones: lists and objects are no use as labels. */
const jsonValue = message<Item>('google.protobuf.Value', {
  numberValue: (reader, { metadata, key }) => {
    metadata[key] = reader.double()
  },
  stringValue: (reader, { metadata, key }) => {
    metadata[key] = reader.string()
  },
  boolValue: (reader, { metadata, key }) => {
    metadata[key] = reader.bool()
  },
})

const struct = message<Entry>('google.protobuf.Struct', {
  fields: mapEntry(
    (key) =>
      (reader, { metadata }) =>
        jsonValue(reader, { metadata, key }),
  ),
})

const logEntry = message<Entry>('envoy.data.accesslog.v3.HTTPAccessLogEntry', {
  common_properties: message('envoy.data.accesslog.v3.AccessLogCommon', {
    start_time: startTime,
    duration,
    response_flags: flags,
    metadata: message('envoy.config.core.v3.Metadata', {
      filter_metadata: mapEntry((namespace) => (namespace === METADATA ? struct : undefined)),
    }),
  }),
  request: message('envoy.data.accesslog.v3.HTTPRequestProperties', {
    request_method: (reader, entry) => {
      entry.verb = VERBS[reader.int32()] ?? ''
    },
    request_id: (reader, entry) => {
      entry.requestId = reader.string()
    },
  }),
  response: message('envoy.data.accesslog.v3.HTTPResponseProperties', {
    response_code: message('google.protobuf.UInt32Value', {
      value: (reader, entry) => {
        entry.status = reader.uint32()
      },
    }),
    response_code_details: (reader, entry) => {
      entry.details = reader.string()
    },
  }),
})

const logEntries = message<AccessLogEntry[]>(
  'envoy.service.accesslog.v3.StreamAccessLogsMessage.HTTPAccessLogEntries',
  {
    log_entry: (reader, entries) => {
      const entry: Entry = {
        startMs: 0,
        verb: '',
        requestId: '',
        durationMs: 0,
        status: 0,
        flags: [],
        details: '',
        metadata: {},
      }
      logEntry(reader, entry)
      entries.push(entry)
    },
  },
)

const stream = byNumber<AccessLogEntry[]>('envoy.service.accesslog.v3.StreamAccessLogsMessage', {
  http_logs: logEntries,
})

/** The entries in a StreamAccessLogsMessage's bytes. */
export const accessLogEntries = (bytes: Uint8Array): readonly AccessLogEntry[] => {
  const entries: AccessLogEntry[] = []
  const reader = protobuf.Reader.create(bytes)
  readFields(reader, reader.len, stream, entries)
  return entries
}
