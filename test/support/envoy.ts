/** A real Envoy for a test: started from a bootstrap, told apart by its pid, ended with the test. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { askAdmin } from '../../src/envoy/admin.ts'
import { findEnvoy } from '../../src/envoy/find.ts'
import type { RunPaths } from '../../src/xds/run-paths.ts'

export interface EnvoyOptions {
  readonly bootstrapYaml: string
  /** The admin socket that the bootstrap names. */
  readonly adminSocket: string
  readonly concurrency?: number
  readonly flags?: readonly string[]
}

export interface TestEnvoy extends AsyncDisposable {
  readonly pid: number
  /** Everything it printed: the access log and what it says about itself. */
  log(): string
  /** Resolves once it serves; rejects when it ended first. */
  ready(): Promise<void>
  /** A page of its admin interface. */
  admin(path: string): Promise<string>
  /** The value of a counter or gauge; 0 when it does not exist. */
  stat(name: string): Promise<number>
}

let binary: Promise<string> | undefined

/** The product's own way to find Envoy; a missing one is a failure, never a skip. */
export const envoyBinary = (): Promise<string> => {
  binary ??= findEnvoy({ env: process.env }).then(({ path }) => path)
  return binary
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A new directory with a short path, for one test's sockets. */
export const temporaryRun = async (): Promise<
  { readonly directory: string; readonly run: RunPaths } & AsyncDisposable
> => {
  const directory = await mkdtemp(join(tmpdir(), 'mcpgw-'))
  const path = (name: string) => join(directory, name)
  return {
    directory,
    run: {
      ads: path('ads'),
      extProc: path('ext-proc'),
      broker: path('broker'),
      inner: path('inner'),
      admin: path('admin'),
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}

/** Starts it; `ready()` tells when it serves. */
export const startEnvoy = async (options: EnvoyOptions): Promise<TestEnvoy> => {
  const directory = await mkdtemp(join(tmpdir(), 'envoy-'))
  const file = join(directory, 'bootstrap.yaml')
  await writeFile(file, options.bootstrapYaml, { mode: 0o600 })
  const child = spawn(
    await envoyBinary(),
    [
      '--config-path',
      file,
      '--concurrency',
      String(options.concurrency ?? 1),
      '--log-level',
      'warning',
      '--file-flush-interval-msec',
      '50',
      '--drain-strategy',
      'immediate',
      '--disable-hot-restart',
      '--reject-unknown-dynamic-fields',
      ...(options.flags ?? []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  const ended = once(child, 'close').then(() => running.delete(child))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (piece: string) => (text += piece))
  }
  const admin = (path: string) => askAdmin(options.adminSocket, 'GET', path)
  return {
    pid: child.pid ?? -1,
    log: () => text,
    admin,
    async ready() {
      for (;;) {
        if (!running.has(child)) throw new Error(`Envoy ended:\n${text}`)
        const serves = await admin('/ready').then(
          () => true,
          () => false,
        )
        if (serves) return
        await pause(10)
      }
    },
    async stat(name) {
      const lines = await admin(`/stats?filter=^${name.replaceAll('.', '\\.')}$`)
      return Number(/: (\d+)/.exec(lines)?.[1] ?? 0)
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** `--mode validate`: resolves with what Envoy said, rejects when it found something wrong. */
export const validateConfig = async (yaml: string): Promise<string> => {
  const directory = await mkdtemp(join(tmpdir(), 'envoy-'))
  try {
    const file = join(directory, 'bootstrap.yaml')
    await writeFile(file, yaml, { mode: 0o600 })
    const { stdout } = await promisify(execFile)(await envoyBinary(), ['--mode', 'validate', '--config-path', file])
    return stdout
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
