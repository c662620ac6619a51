/** What a row is to the one decision: itself, or for a template all that it could be. */
import type { Kind, MethodName } from '../mcp/methods.ts'
import type { Asker } from '../policy/asker.ts'
import { judge, OWN_METHOD, type Verdict } from '../policy/judge.ts'
import type { Policy } from '../policy/policy.ts'
import type { Thing } from '../policy/thing.ts'
import type { Row, TemplateRow } from './routing-table.ts'
import { templateParts } from './uri-template.ts'

/** No pattern has it: only `*` matches. */
const ANYTHING = '\uffff'

/** A template with something in the place of everything variable in it. */
const placeholder = (template: string): string =>
  templateParts(template)
    ?.map((part) => ('literal' in part ? part.literal : ANYTHING))
    .join('') ?? template

const placeholders = new WeakMap<TemplateRow, Thing>()

const thingOf = (row: Row | TemplateRow): Thing => {
  if (!('parts' in row)) return row
  const known = placeholders.get(row)
  if (known !== undefined) return known
  const { exposed, own, server, hints } = row
  const made = { exposed: placeholder(exposed), own: placeholder(own), server, hints }
  placeholders.set(row, made)
  return made
}

/** Whether a method may be used on what a row stands for. */
export const verdictOn = (
  policy: Policy,
  asker: Asker,
  method: MethodName,
  kind: Kind,
  row: Row | TemplateRow,
): Verdict => judge(policy, asker, method, kind, thingOf(row))

/** Whether a list shows it: what it shows can be used. */
export const isShown = (policy: Policy, asker: Asker, kind: Kind, row: Row | TemplateRow): boolean =>
  verdictOn(policy, asker, OWN_METHOD[kind], kind, row).allowed
