/** The `subscriptions/listen` streams of the scripted MCP server. */
import type { ServerResponse } from 'node:http'
import type { Answering } from './mcp-answering.ts'
import type { Listening, Received, Script } from './mcp-script.ts'
import { meta } from './mcp-stateless.ts'
import type { JsonObject } from './raw-json.ts'
import { asObject } from './raw-json.ts'

export interface Listens {
  readonly open: readonly Listening[]
  /** Acknowledges and leaves the stream open. */
  accept(id: string, received: Received, res: ServerResponse, answer: Answering): void
  /** Sends it on every stream that asked for it; returns how many that are. */
  notify(method: string, params?: JsonObject): number
}

/** `changed` is called when one has opened or closed. */
export const listens = (script: Script, changed: () => void): Listens => {
  const open: Listening[] = []
  return {
    open,
    accept: (id, received, res, answer) => {
      const filter = script.grants(asObject(received.message?.params?.['notifications']))
      const stamp = `{${JSON.stringify(meta('subscriptionId'))}:${id}}`
      const listening: Listening = {
        id,
        received,
        filter,
        notify: (method, params = {}) => answer.event(stamped(method, stamp, params)),
        end: () => answer.result(id, `{"resultType":"complete","_meta":${stamp}}`),
        cut: () => res.destroy(),
      }
      open.push(listening)
      res.once('close', () => {
        open.splice(open.indexOf(listening), 1)
        changed()
      })
      answer.event(stamped('notifications/subscriptions/acknowledged', stamp, { notifications: filter }))
      // An answer to this request is always a stream, also of a server that otherwise answers as JSON.
      changed()
    },
    notify: (method, params) => {
      const told = open.filter(({ filter }) => wanted(filter, method, params))
      for (const listening of told) listening.notify(method, params)
      return told.length
    },
  }
}

const stamped = (method: string, meta: string, params: JsonObject): string => {
  const rest = JSON.stringify(params).slice(1)
  return `{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":{"_meta":${meta}${rest === '}' ? '' : ','}${rest}}`
}

const wanted = (filter: JsonObject, method: string, params: JsonObject = {}): boolean => {
  const list = /^notifications\/(\w+)\/list_changed$/.exec(method)?.[1]
  if (list !== undefined) return filter[`${list}ListChanged`] === true
  const taskIds = filter['taskIds']
  if (method === 'notifications/tasks') return Array.isArray(taskIds) && taskIds.includes(params['taskId'])
  const uris = filter['resourceSubscriptions']
  return method === 'notifications/resources/updated' && Array.isArray(uris) && uris.includes(params['uri'])
}
