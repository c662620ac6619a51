/** Takes one change after the other: a new registry file, or new keys and tokens beside the one in force. */
import type { GatewayEvent } from './gateway-event.ts'
import type { Loaded } from './load-registry.ts'
import { watchRegistry } from './registry/watch.ts'

/** Work that waits for the work before it. */
export type InTurn = (what: string, work: () => Promise<unknown>) => void

export const inTurn = (onError: (message: string, error: unknown) => void): InTurn => {
  let last: Promise<unknown> = Promise.resolve()
  return (what, work) => {
    last = last.then(work).catch((error: unknown) => onError(`${what} could not be applied`, error))
  }
}

interface Following {
  readonly file: string
  readonly first: Extract<Loaded, { ok: true }>
  readonly load: (text: string) => Loaded
  readonly take: (loaded: Loaded) => Promise<void>
  readonly turn: InTurn
  readonly onEvent: (event: GatewayEvent) => void
}

/** Follows the registry file and every file it refers to until disposed of. */
export const followRegistry = async (options: Following): Promise<AsyncDisposable> => {
  const { file, first, load, take, turn, onEvent } = options
  const watching = await watchRegistry(file, {
    text: first.source,
    extraFiles: first.files,
    onChange: (text) =>
      turn('a new registry', () => {
        const loaded = load(text)
        watching.watchFiles(loaded.files)
        return take(loaded)
      }),
    onError: (error) =>
      onEvent({ kind: 'rejected', problems: [], text: `${error.message}; the last good registry stays in force` }),
  })
  return watching
}
