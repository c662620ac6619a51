/** What a request names: its row in the routing table, and where in the bytes the name stands. */
import { type RoutingTable, type Row, resourceRow, type TemplateRow } from '../catalog/routing-table.ts'
import { completed } from '../mcp/completed.ts'
import { stringOf } from '../mcp/json-text.ts'
import type { Message, Span } from '../mcp/message.ts'
import { type DirectMethod, type Kind, methods } from '../mcp/methods.ts'
import type { Era } from '../mcp/versions.ts'

/** Longest name or URI that is published, in bytes: it must fit a header. */
const MAX_NAME = 4096

export interface Found {
  readonly kind: Kind
  readonly row: Row | TemplateRow
  readonly at: Span
  readonly name: string
}

/** What only clients of the other era see is not there. */
export const lookUp = (
  table: RoutingTable,
  method: DirectMethod,
  era: Era,
  message: Message,
  bytes: Buffer,
): Found | undefined => {
  const { key, kind } = methods[method]
  return find(kind, era, message[key], bytes, (name) =>
    kind === 'resources' ? resourceRow(table, name) : table[kind].get(name),
  )
}

/** What is to be completed: a prompt's argument or a template's variable. */
export const lookUpCompleted = (table: RoutingTable, era: Era, message: Message, bytes: Buffer): Found | undefined => {
  const ref = completed(message, bytes)
  return ref?.kind === 'resources'
    ? find(
        'resources',
        era,
        ref.at,
        bytes,
        (uri) => table.templates.find(({ exposed }) => exposed === uri) ?? resourceRow(table, uri),
      )
    : find('prompts', era, ref?.at, bytes, (name) => table.prompts.get(name))
}

const find = (
  kind: Kind,
  era: Era,
  at: Span | undefined,
  bytes: Buffer,
  look: (name: string) => Row | TemplateRow | undefined,
): Found | undefined => {
  if (at === undefined) return undefined
  const name = stringOf(bytes, at)
  const row = look(name)
  return row === undefined || (row.only ?? era) !== era ? undefined : { kind, row, at, name }
}

/** However long it is as it was written: escapes hide nothing. What is longer counts against limits all the same. */
export const isPublishable = ({ name }: Found): boolean =>
  name.length <= MAX_NAME && Buffer.byteLength(name) <= MAX_NAME
