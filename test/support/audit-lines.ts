/** The lines of an audit log that is being written: the last one may be half there, and is not one yet. */
import { readFile } from 'node:fs/promises'

export interface AuditLine {
  readonly id: string
  readonly decision: string
  readonly [key: string]: unknown
}

/** None while there is no file. */
export const auditLines = async (file: string): Promise<readonly AuditLine[]> => {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line): AuditLine => JSON.parse(line))
}
