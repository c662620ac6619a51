/** The API as a running Envoy has it: read from the protobuf descriptors that lie in its binary. */
import { readFile } from 'node:fs/promises'
import protobuf from 'protobufjs'
import descriptor, { type IDescriptorProto, type IFileDescriptorProto } from 'protobufjs/ext/descriptor/index.js'

const SUFFIX = Buffer.from('.proto')
/** A FileDescriptorProto begins with its name; another name begins the next file. */
const NAME_TAG = 0x0a
const LAST_FIELD = 14

/** Where the file that starts at `start` ends: files lie one after the other, or before zeros. */
const endOf = (binary: Buffer, start: number): number => {
  const reader = protobuf.Reader.create(binary)
  reader.pos = start + 2 + (binary[start + 1] ?? 0)
  for (;;) {
    const at = reader.pos
    const tag = reader.uint32()
    const [number, wire] = [tag >>> 3, tag & 7]
    if (number <= 1 || number > LAST_FIELD || (wire !== 2 && wire !== 0)) return at
    reader.skipType(wire)
  }
}

const scalar = (type: unknown): string => String(type).replace('TYPE_', '').toLowerCase()

/** Fields of one message and of those inside it, each as text such as `repeated string = 2`. */
const fieldsOf = (message: IDescriptorProto, prefix: string, into: Map<string, string>) => {
  const name = `${prefix}.${message.name}`
  const kind = ({ type, typeName }: NonNullable<IDescriptorProto['field']>[number]): string =>
    typeName === undefined || typeName === '' ? scalar(type) : typeName
  for (const field of message.field ?? []) {
    const entry = message.nestedType?.find(
      (nested) => nested.options?.mapEntry === true && `${name}.${nested.name}` === field.typeName?.replace(/^\./, ''),
    )
    const [key, value] = entry?.field ?? []
    const repeated = String(field.label) === 'LABEL_REPEATED' ? 'repeated ' : ''
    const type = key && value ? `map<${kind(key)}, ${kind(value)}>` : `${repeated}${kind(field)}`
    into.set(`${name}.${field.name}`, `${type} = ${field.number}`)
  }
  for (const nested of message.nestedType ?? []) fieldsOf(nested, name, into)
}

/** Field's full name → its type and number, of the given files. */
export const envoyFields = async (
  binaryPath: string,
  files: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> => {
  const binary = await readFile(binaryPath)
  const found = new Map<string, Buffer>()
  for (let at = binary.indexOf(SUFFIX); at >= 0; at = binary.indexOf(SUFFIX, at + 1)) {
    const end = at + SUFFIX.length
    for (let length = SUFFIX.length + 1; length < 128; length += 1) {
      const start = end - length - 2
      if (start < 0 || binary[start] !== NAME_TAG || binary[start + 1] !== length) continue
      const name = binary.toString('latin1', start + 2, end)
      if (!files.has(name)) continue
      const bytes = binary.subarray(start, endOf(binary, start))
      // The name stands in every file that imports it, too; a file is more than its name.
      if (bytes.length > (found.get(name)?.length ?? length + 2)) found.set(name, bytes)
    }
  }
  const fields = new Map<string, string>()
  for (const bytes of found.values()) {
    const { FileDescriptorProto } = descriptor
    const file: IFileDescriptorProto = FileDescriptorProto.toObject(FileDescriptorProto.decode(bytes), {
      enums: String,
    })
    for (const message of file.messageType ?? []) fieldsOf(message, file.package ?? '', fields)
  }
  return fields
}
