/** What a listed tool says of itself beside its name. */
import { PARAM_KEYWORD } from '../mcp/headers.ts'
import { isObject, members, stringOf } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { type ParamHeader, readParamHeaders } from '../mcp/param-headers.ts'
import { statefulTool } from '../translation/tool.ts'
import type { Item } from './server-catalogue.ts'

export interface Traits {
  /** `readOnly=true,destructive=unspecified,…` */
  readonly hints: string
  /** The arguments that stateless requests repeat as headers; none when the schema is wrong about them. */
  readonly params: readonly ParamHeader[]
  /** Why stateless clients would refuse the tool; they must, when its server takes such headers. */
  readonly badParams: string | undefined
  /** Whether it says that it may, or must, be called as a task. Undefined: it says nothing about tasks. */
  readonly taskSupport: 'required' | 'other' | undefined
  /** Something in it is beyond stateful clients. */
  readonly onlyStateless: boolean
}

/** Read once, since every change of any list merges them all again. */
export const traitsOf = (item: Item): Traits => {
  const known = traits.get(item)
  if (known !== undefined) return known
  const { json } = item
  const said = members(json)
  const params = readParamHeaders(json, said.get('inputSchema'))
  const read: Traits = {
    hints: hintsOf(json, said.get('annotations')),
    params: params.ok ? params.params : [],
    badParams: params.ok ? undefined : `the tool's ${PARAM_KEYWORD} is invalid: ${params.why}`,
    taskSupport: taskSupportOf(json, said.get('execution')),
    onlyStateless: statefulTool(json) !== json,
  }
  traits.set(item, read)
  return read
}
const traits = new WeakMap<Item, Traits>()

const taskSupportOf = (json: Buffer, execution: Span | undefined): Traits['taskSupport'] => {
  const support = execution === undefined ? undefined : members(json, execution).get('taskSupport')
  if (support === undefined) return undefined
  return stringOf(json, support) === 'required' ? 'required' : 'other'
}

const hints = [
  ['readOnly', 'readOnlyHint'],
  ['destructive', 'destructiveHint'],
  ['idempotent', 'idempotentHint'],
  ['openWorld', 'openWorldHint'],
] as const

/** The tool's annotations as one header value; what it does not say is `unspecified`. */
const hintsOf = (json: Buffer, annotations: Span | undefined): string => {
  const said = isObject(json, annotations) ? members(json, annotations) : new Map<string, never>()
  return hintsFrom((key) => {
    const span = said.get(key)
    return span === undefined ? '' : json.toString('latin1', span.start, span.end)
  })
}

/** `said`: the JSON text of an annotation; empty: it is not there. */
export const hintsFrom = (said: (key: string) => string): string =>
  hints
    .map(([short, key]) => {
      const text = said(key)
      return `${short}=${text === 'true' || text === 'false' ? text : 'unspecified'}`
    })
    .join(',')
