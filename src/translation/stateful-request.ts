/** A stateless client's request as a stateful server takes it. */
import type { Message } from '../mcp/message.ts'
import * as meta from '../mcp/meta-keys.ts'
import { type Changes, changeObject } from './object-edits.ts'

/** `id` and `progressToken` are raw JSON, `name` is the server's own name or URI; what is absent stays as the client sent it. */
export interface StatefulEdits {
  readonly id?: string
  readonly name?: string
  readonly progressToken?: string
}

/** Without what only the stateless era gives a meaning to. A progress token is replaced, never added. */
export const statefulRequest = (bytes: Buffer, message: Message, { id, name, progressToken }: StatefulEdits): Buffer =>
  changeObject(bytes, {
    ...(id === undefined ? {} : { id }),
    params: {
      within: {
        ...(name === undefined ? {} : named(message, JSON.stringify(name))),
        inputResponses: undefined,
        requestState: undefined,
        task: undefined, // would start a task of the other era's kind, whose result nobody could fetch
        _meta: {
          within: {
            [meta.META_PROTOCOL_VERSION]: undefined,
            [meta.META_CLIENT_CAPABILITIES]: undefined,
            [meta.META_CLIENT_INFO]: undefined,
            [meta.META_LOG_LEVEL]: undefined,
            ...(progressToken === undefined || message.metaProgressToken === undefined ? {} : { progressToken }),
          },
        },
      },
    },
  })

/** The member that leads to the server, as `methods` has it. */
const named = ({ method, refUri }: Message, name: string): Changes => {
  switch (method) {
    case 'completion/complete':
      return { ref: { within: refUri === undefined ? { name } : { uri: name } } }
    case 'resources/read':
      return { uri: name }
    default:
      return { name }
  }
}
