/** Differences from a lock as lines for a person: what was approved with a minus, what is offered now with a plus. */
import type { Change, FieldChange } from '../catalog/lock-diff.ts'
import { paint, printable } from './terminal.ts'

const signs = { added: '+', removed: '-', changed: '~' } as const
const styles = { added: 'green', removed: 'red', changed: 'yellow' } as const

/** Undefined: there is nothing to say. */
export const changeText = (changes: readonly Change[]): string | undefined =>
  changes.length === 0
    ? undefined
    : changes.flatMap((change) => [headline(change), ...change.fields.flatMap(field)]).join('\n')

const headline = ({ what, of, server, own, name, admitted, suspicious }: Change): string => {
  const whose = of === 'tool' ? `${shown(name)} (${shown(own)} of ${server})` : `instructions of ${server}`
  const note = suspicious ?? (admitted === true ? 'shown: the server has auto: additive' : undefined)
  return `${paint(styles[what], `${signs[what]} ${whose} ${what}`)}${note === undefined ? '' : `: ${shown(note)}`}`
}

const field = (change: FieldChange): readonly string[] => {
  const before = lines(change.before)
  const after = lines(change.after)
  let same = 0
  while (same < before.length && same < after.length && before[same] === after[same]) same++
  let tail = 0
  while (tail < Math.min(before.length, after.length) - same && before.at(-1 - tail) === after.at(-1 - tail)) tail++
  const middle = (all: readonly string[]): readonly string[] => all.slice(same, all.length - tail)
  return [
    `    ${shown(change.path)}`,
    ...middle(before).map((line) => paint('red', `      - ${line}`)),
    ...middle(after).map((line) => paint('green', `      + ${line}`)),
  ]
}

/** A text line by line, anything else as indented JSON. */
const lines = (value: unknown): readonly string[] => {
  if (value === undefined) return []
  return (typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)).split('\n').map(shown)
}

/** Characters that cannot be seen are shown by their number, so that two texts that differ also look different. */
const shown = (text: string): string =>
  printable(
    text.replaceAll(/[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\r]/gu, (hidden) => {
      return `<U+${(hidden.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`
    }),
  )
