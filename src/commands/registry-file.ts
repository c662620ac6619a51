/** The registry a command is about, or its problems on standard error and exit code 1. */
import { loadRegistry } from '../load-registry.ts'
import type { Registry } from '../registry/model.ts'
import { exitCode } from './exit-code.ts'
import { complain } from './terminal.ts'

/** `locked: false`: whatever the lock beside it says. Warnings are told, too. Undefined: it is bad. Throws a StartProblem when there is no such file. */
export const goodRegistry = (file: string, { locked = true } = {}): Registry | undefined => {
  const loaded = loadRegistry({ file, overrides: {}, locked })
  if (loaded.text !== '') complain(loaded.text)
  if (loaded.ok) return loaded.registry
  process.exitCode = exitCode.bad
  return undefined
}
