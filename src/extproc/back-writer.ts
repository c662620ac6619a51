/** Writes protobuf from its end to its beginning: what is nested has been written, and so has its length, when its head is. */
import { long } from './wire.ts'

/** Longer texts are quicker in native code. */
const SHORT = 48

export class BackWriter {
  #buffer: Buffer
  /** Where what is written begins. */
  #at: number

  /** `room`: about as many bytes as are going to be written. */
  constructor(room: number) {
    this.#buffer = Buffer.allocUnsafe(room)
    this.#at = room
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#buffer.length - this.#at
  }

  /** A field of bytes, text or a message, whose content has been written since there were `length` bytes. */
  field(number: number, length: number): void {
    this.varint(this.length - length)
    this.varint(long(number))
  }

  text(number: number, value: string): void {
    const before = this.length
    if (value.length > SHORT || !this.#ascii(value)) {
      const size = Buffer.byteLength(value)
      this.#need(size)
      this.#at -= size
      this.#buffer.write(value, this.#at)
    }
    this.field(number, before)
  }

  bytes(number: number, value: Uint8Array): void {
    this.#need(value.length)
    this.#at -= value.length
    this.#buffer.set(value, this.#at)
    this.varint(value.length)
    this.varint(long(number))
  }

  /** At most 2³² − 1. */
  varint(value: number): void {
    this.#need(5)
    if (value < 0x80) {
      this.#buffer[--this.#at] = value
      return
    }
    const size = value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5
    this.#at -= size
    let rest = value
    let at = this.#at
    for (; rest > 0x7f; rest >>>= 7) this.#buffer[at++] = (rest & 0x7f) | 0x80
    this.#buffer[at] = rest
  }

  finish(): Buffer {
    return this.#buffer.subarray(this.#at)
  }

  /** False, and nothing written, when it is not all ASCII. */
  #ascii(value: string): boolean {
    this.#need(value.length)
    const start = this.#at - value.length
    for (let index = 0; index < value.length; index++) {
      const code = value.charCodeAt(index)
      if (code > 0x7f) return false
      this.#buffer[start + index] = code
    }
    this.#at = start
    return true
  }

  #need(size: number): void {
    if (this.#at >= size) return
    const written = this.finish()
    const larger = Buffer.allocUnsafe(2 * (this.#buffer.length + size))
    this.#at = larger.length - written.length
    larger.set(written, this.#at)
    this.#buffer = larger
  }
}
