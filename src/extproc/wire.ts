/** Protobuf's wire format, as far as messages are read by hand. */
import type protobuf from 'protobufjs/minimal.js'

/** The tag of a field of bytes, text or a message; of a number; of a double. */
export const long = (field: number): number => (field << 3) | 2
export const varint = (field: number): number => field << 3
export const double = (field: number): number => (field << 3) | 1

/** Where the message that comes next ends. */
export const endOfNext = (reader: protobuf.Reader): number => reader.uint32() + reader.pos
