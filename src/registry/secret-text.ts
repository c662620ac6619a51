/** A secret, from the registry's own text or from the file it names. */
import type { Inspection } from './inspection.ts'
import type { Path } from './place.ts'
import type { WrittenSecret } from './schema.ts'

/** Never empty; undefined once its problem is reported. */
export const secretText = (inspection: Inspection, path: Path, written: WrittenSecret): string | undefined => {
  const here = typeof written === 'string' ? path : [...path, 'file']
  const found = typeof written === 'string' ? written : inspection.read(here, written.file)?.replace(/[\r\n]+$/, '')
  if (found === '') return inspection.error(here, typeof written === 'string' ? 'is empty' : 'the file is empty')
  return found
}
