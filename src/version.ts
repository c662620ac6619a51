/** The version of the package. */
import { readFileSync } from 'node:fs'

const packageJson: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

const versionIn = (value: unknown): string =>
  typeof value === 'object' && value !== null && 'version' in value ? String(value.version) : 'unknown'

export const version = versionIn(packageJson)
