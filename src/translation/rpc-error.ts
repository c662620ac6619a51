/** The error of a response: read, and put into codes that the other era does not take for its own. */
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import type { Changes } from './object-edits.ts'

export interface RpcError {
  readonly code: number
  readonly message: string
  readonly data: Span | undefined
}

/** Undefined: no error object with an integer as its code. */
export const readError = (bytes: Buffer, error: Span): RpcError | undefined => {
  const found = members(bytes, error)
  const code = found.get('code')
  const message = found.get('message')
  const number = code === undefined ? Number.NaN : Number(textOf(bytes, code))
  if (code === undefined || bytes[code.start] === 0x22 || !Number.isSafeInteger(number)) return undefined
  return { code: number, message: message === undefined ? '' : stringOf(bytes, message), data: found.get('data') }
}

/** An error of the server that has no code in the client's era: an internal error, and what it was as data. */
export const asServerError = (bytes: Buffer, { code, data }: RpcError): Changes => ({
  code: '-32603',
  data: `{"reason":"server-error","code":${code}${data === undefined ? '' : `,"data":${textOf(bytes, data)}`}}`,
})
