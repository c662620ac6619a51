/** Watches the registry file and the files it refers to; tells within milliseconds what the new text is. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { lstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import { dirname, join, parse, resolve, sep } from 'node:path'
import { watch } from 'chokidar'

export interface WatchOptions {
  /** What the caller has read already: a file that differs from it fires at once. Default: what it says now. */
  readonly text?: string
  /** The registry's text is new, or an extra file is. Never twice for the same. */
  readonly onChange: (text: string) => void
  /** The registry cannot be read (told once per loss), or watching failed. Watching goes on. */
  readonly onError: (error: Error) => void
  readonly signal?: AbortSignal
  readonly extraFiles?: readonly string[]
}

export interface RegistryWatch extends AsyncDisposable {
  /** Replaces the extra files; what they say now counts as known. */
  watchFiles(files: readonly string[]): void
}

/** One save is several events: editors truncate and write, or write aside and rename. */
const quietMs = 10
/** A file that is written without pause is read this often all the same. */
const longestWaitMs = 50
/** A file that is absent or empty is usually about to be written. */
const graceMs = 150

/** Resolves once no change can be missed. Ends with `signal` or its own disposal. */
export const watchRegistry = async (file: string, options: WatchOptions): Promise<RegistryWatch> => {
  const { onChange, onError, signal } = options
  const registry = resolve(file)
  let extras = (options.extraFiles ?? []).map((path) => resolve(path))
  let text = options.text ?? read(registry)?.toString()
  let prints = extras.map(fingerprint)
  let lost = text === undefined
  let closed = signal?.aborted === true
  let timer: NodeJS.Timeout | undefined
  let firstEventMs: number | undefined
  let watching: Watching = { steps: new Map(), close: async () => {} }
  let settling: Promise<void> | undefined

  const wait = (ms: number, patient: boolean): void => {
    clearTimeout(timer)
    timer = setTimeout(look, ms, patient)
  }
  const onEvent = (): void => {
    if (closed) return
    const now = performance.now()
    firstEventMs ??= now
    wait(Math.max(0, Math.min(quietMs, firstEventMs + longestWaitMs - now)), true)
  }
  const look = (patient: boolean): void => {
    firstEventMs = undefined
    settle()
    const now = read(registry)?.toString()
    const nowPrints = extras.map(fingerprint)
    const vanished =
      (now ?? '') === '' || nowPrints.some((print, index) => print === absent && prints[index] !== absent)
    const changed = now !== text || lost || nowPrints.some((print, index) => print !== prints[index])
    if (!changed) return
    if (patient && vanished) return wait(graceMs, false)
    if (now === undefined) {
      if (!lost) onError(new Error(`${file} cannot be read`))
      lost = true
      return
    }
    text = now
    prints = nowPrints
    lost = false
    onChange(now)
  }

  /** Links may lead elsewhere now, and folders may be new ones of the same name: then all is watched anew. */
  const settle = (): void => {
    settling ??= (async () => {
      for (let steps = stepsTo([registry, ...extras]); !closed && !same(steps, watching.steps); ) {
        const old = watching
        watching = await watchSteps(steps, onEvent, onError)
        await old.close()
        onEvent() // for what happened in between
        steps = stepsTo([registry, ...extras])
      }
    })()
      .catch((error: unknown) => onError(asError(error)))
      .finally(() => {
        settling = undefined
      })
  }

  const close = async (): Promise<void> => {
    closed = true
    signal?.removeEventListener('abort', onAbort)
    clearTimeout(timer)
    await settling
    await watching.close()
  }
  const onAbort = (): void => {
    close().catch((error: unknown) => onError(asError(error)))
  }
  signal?.addEventListener('abort', onAbort)
  settle()
  await settling
  return {
    watchFiles(files) {
      extras = files.map((path) => resolve(path))
      prints = extras.map(fingerprint)
      onEvent() // which settles; nothing fires when nothing changed
    },
    [Symbol.asyncDispose]: close,
  }
}

/** Folder → which folder it is, and the names in it that lead to a watched file. */
type Steps = ReadonlyMap<string, { readonly identity: string; readonly names: ReadonlySet<string> }>

interface Watching {
  readonly steps: Steps
  readonly close: () => Promise<void>
}

const watchSteps = async (steps: Steps, onEvent: () => void, onError: (error: Error) => void): Promise<Watching> => {
  const matters = (folder: string, name: string): boolean => steps.get(folder)?.names.has(name) === true
  const watcher = watch([...steps.keys()], {
    depth: 0,
    ignoreInitial: true,
    followSymlinks: false,
    atomic: false,
    ignored: (path) => !steps.has(path) && !matters(dirname(path), path.slice(dirname(path).length).replace(sep, '')),
  })
  watcher.on('all', onEvent)
  // chokidar drops a change within 50 ms of another; the system's own events are complete
  watcher.on('raw', (_: string, name: unknown, details: unknown) => {
    const folder = watchedPath(details)
    if (typeof name !== 'string' || folder === undefined || !steps.has(folder) || matters(folder, name)) onEvent()
  })
  watcher.on('error', (error) => onError(asError(error)))
  await once(watcher, 'ready')
  return { steps, close: () => watcher.close() }
}

const watchedPath = (details: unknown): string | undefined =>
  typeof details === 'object' && details !== null && 'watchedPath' in details && typeof details.watchedPath === 'string'
    ? details.watchedPath
    : undefined

/** Every name on the way to the files whose change may change them: symbolic links, the last two names, the first gap. */
const stepsTo = (files: readonly string[]): Steps => {
  const folders = new Map<string, Set<string>>()
  const follow = (path: string, links: number): void => {
    let folder = parse(path).root
    const names = path.slice(folder.length).split(sep)
    for (const [index, name] of names.entries()) {
      const here = join(folder, name)
      const stats = lstat(here)
      const link = stats?.isSymbolicLink() === true
      if (link || stats === undefined || index >= names.length - 2) {
        folders.set(folder, (folders.get(folder) ?? new Set()).add(name))
      }
      if (link && links > 0) return follow(resolve(folder, readlinkSync(here), ...names.slice(index + 1)), links - 1)
      if (stats === undefined) return
      folder = here
    }
  }
  for (const file of files) follow(file, 40)
  return new Map(Array.from(folders, ([folder, names]) => [folder, { identity: identity(folder), names }]))
}

const same = (a: Steps, b: Steps): boolean =>
  a.size === b.size &&
  [...a].every(([folder, { identity, names }]) => {
    const other = b.get(folder)
    return (
      other?.identity === identity &&
      other.names.size === names.size &&
      [...names].every((name) => other.names.has(name))
    )
  })

const lstat = (path: string): Stats | undefined => {
  try {
    return lstatSync(path)
  } catch {
    return undefined
  }
}

const identity = (folder: string): string => {
  const stats = lstat(folder)
  return stats === undefined ? '' : `${stats.dev}:${stats.ino}`
}

const read = (path: string): Buffer | undefined => {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

const absent = ''

const fingerprint = (path: string): string => {
  const content = read(path)
  return content === undefined ? absent : createHash('sha256').update(content).digest('base64')
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
