/** A stateful client's request as a stateless server takes it. */
import type { Message } from '../mcp/message.ts'
import * as meta from '../mcp/meta-keys.ts'
import { changeObject } from './object-edits.ts'

/** All raw JSON, except `version` and `logLevel`. */
export interface StatelessOptions {
  readonly id: string
  readonly version: string
  readonly capabilities: string
  readonly clientInfo: string
  readonly logLevel?: string
  readonly inputResponses?: string
  readonly requestState?: string
}

/** With all that a stateless request says of itself. Whatever the client wrote there itself is replaced: it is not its to say. */
export const statelessRequest = (bytes: Buffer, _message: Message, o: StatelessOptions): Buffer =>
  changeObject(bytes, {
    id: o.id,
    params: {
      within: {
        task: undefined, // no server here offers tasks, and then the request is an ordinary one
        inputResponses: o.inputResponses,
        requestState: o.requestState,
        _meta: {
          within: {
            [meta.META_PROTOCOL_VERSION]: JSON.stringify(o.version),
            [meta.META_CLIENT_CAPABILITIES]: o.capabilities,
            [meta.META_CLIENT_INFO]: o.clientInfo,
            [meta.META_LOG_LEVEL]: o.logLevel === undefined ? undefined : JSON.stringify(o.logLevel),
          },
        },
      },
    },
  })
