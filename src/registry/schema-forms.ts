/** The forms of single values in a registry: each is read from the text it was written as. */
import { z } from 'zod'
import { readAddress } from './address.ts'
import { readCount } from './count.ts'
import { readDuration } from './duration.ts'
import type { Form } from './form.ts'
import { readRate } from './rate.ts'
import { readBodySize } from './size.ts'

/** A text with a meaning. The reason it has none becomes the problem's message and hint. */
export const text = <T>(read: (text: string) => Form<T>) =>
  z.string().transform((written, context): T => {
    const form = read(written)
    if (form.ok) return form.value
    context.addIssue({ code: 'custom', message: form.message, params: { hint: form.hint } })
    return z.NEVER
  })

/** For editors only: the form itself, or anything with a variable in it. */
const orVariable = (pattern: string): string => `^(?:${pattern})$|\\$\\{`

export const address = text(readAddress).meta({
  id: 'address',
  description: 'An IP address and a port: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`. Port 0 takes a free one.',
  pattern: orVariable('.+:\\d+'),
})
export const duration = text(readDuration).meta({
  id: 'duration',
  description: 'A number and a unit (`ms`, `s`, `m`, `h`), such as `30s`; more than 0, at most `24h`.',
  pattern: orVariable('\\d+(?:\\.\\d+)?(?:ms|s|m|h)'),
})
export const size = text(readBodySize).meta({
  id: 'size',
  description: 'A number and a unit (`B`, `KiB`, `MiB`), such as `4MiB`.',
  pattern: orVariable('\\d+(?:\\.\\d+)?(?:B|KiB|MiB)'),
})
export const count = text(readCount).meta({
  id: 'count',
  description: 'A whole number.',
  type: ['integer', 'string'],
  pattern: orVariable('\\d+'),
})
export const flag = z.stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive' }).meta({
  id: 'flag',
  description: '`true` or `false`.',
  type: ['boolean', 'string'],
  pattern: orVariable('true|false'),
})
export const path = z.string().meta({ id: 'path', description: "A file's path, relative to the registry file." })
export const secret = z.union([z.string(), z.strictObject({ file: path.describe('The file it is read from.') })]).meta({
  id: 'secret',
  description:
    'A text, best given by a variable (`"${NAME}"`), or `{ file: path }`; line ends at the end of the file are trimmed.',
})
export const word = z.string().meta({
  id: 'text',
  description: 'Any text. Numbers and `true` or `false` are taken as they are written.',
  type: ['string', 'number', 'boolean'],
})
export const pattern = z.string().meta({
  id: 'pattern',
  description: 'A whole name, in which `*` stands for any characters, none included. Case counts.',
})
export const rate = text(readRate).meta({
  id: 'rate',
  description: 'So many in so long: a whole number, a slash and a unit (`ms`, `s`, `m`, `h`), such as `10/s`.',
  pattern: orVariable('\\d+/(?:ms|s|m|h)'),
})
export const patterns = z.union([pattern, z.array(pattern)]).meta({
  id: 'patterns',
  description: 'One pattern or a list of them.',
})
export const words = z.union([word, z.array(word)]).meta({
  id: 'texts',
  description: 'One text or a list of them.',
})
