/** How a client calls itself, as one word for records. It says what it likes: nothing may be decided by it. */
import { members, stringOf } from './json-text.ts'
import type { Message } from './message.ts'

const MOST_CHARACTERS = 64

/** Such as `inspector/2.1.0`; empty when it has no name. */
export const clientName = (name: string, version: string): string => {
  const word = name.slice(0, MOST_CHARACTERS)
  return version === '' || word === '' ? word : `${word}/${version.slice(0, MOST_CHARACTERS)}`
}

/** By what a stateless request says of its client. */
export const clientIn = (bytes: Buffer, { metaClientInfo }: Message): string => {
  if (metaClientInfo === undefined) return ''
  const info = members(bytes, metaClientInfo)
  const text = (key: string): string => {
    const at = info.get(key)
    return at !== undefined && bytes[at.start] === 0x22 ? stringOf(bytes, at) : ''
  }
  return clientName(text('name'), text('version'))
}
