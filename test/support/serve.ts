/** The gateway as an operator with Envoys of their own runs it: `serve` in a process, Envoys from `bootstrap`. */
import { execFile } from 'node:child_process'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Status } from '../../src/admin/status.ts'
import { type RunPaths, runPaths } from '../../src/xds/run-paths.ts'
import { type Child, startChild } from './child.ts'
import { startEnvoy, type TestEnvoy } from './envoy.ts'
import { command, eventually, freePort } from './gateway.ts'
import { request } from './http-request.ts'

export interface ServeUnderTest extends AsyncDisposable {
  /** Where MCP is, once an Envoy is connected. */
  readonly url: string
  readonly admin: string
  /** The process that runs now. */
  readonly child: Child
  /** The sockets as an Envoy of that name knows them. */
  run(node: string): RunPaths
  /** The registry's path. */
  readonly file: string
  /** Saves the registry and waits for nothing. */
  write(text: string): Promise<void>
  status(): Promise<Status>
  /** The first status that fits, now or later. */
  until(what: string, fits: (status: Status) => boolean): Promise<Status>
  /** An Envoy from the bootstrap that the command prints; it need not have connected yet. */
  envoy(node: string): Promise<TestEnvoy>
  /** SIGKILL, and no farewell. */
  kill(): Promise<void>
  /** Starts it again on the same file and directory; resolves when its admin address answers. */
  restart(): Promise<void>
}

const root = fileURLToPath(new URL('../../', import.meta.url))

export const startServe = async (registry: string): Promise<ServeUnderTest> => {
  const dir = await mkdtemp(join(tmpdir(), 'mcpgw-'))
  const runDir = join(dir, 'run')
  const file = join(dir, 'registry.yaml')
  const listen = `127.0.0.1:${await freePort()}`
  const adminAddress = `127.0.0.1:${await freePort()}`
  const admin = `http://${adminAddress}`
  const write = async (text: string): Promise<void> => {
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }
  // Without options that `bootstrap` does not have: both read the same file.
  await write(`gateway: { listen: "${listen}", admin: "${adminAddress}" }\n${registry}`)
  const status = async (): Promise<Status> => JSON.parse((await request(`${admin}/status`, { fresh: true })).text)
  const start = async (): Promise<Child> => {
    const child = startChild([...command, 'serve', file, '--run', runDir], { cwd: root })
    await eventually('status', child, () => status().catch(() => undefined))
    return child
  }
  let child = await start()
  return {
    url: `http://${listen}/mcp`,
    admin,
    get child() {
      return child
    },
    run: (node) => runPaths(runDir, node),
    file,
    write: (text) => write(`gateway: { listen: "${listen}", admin: "${adminAddress}" }\n${text}`),
    status,
    until: (what, fits) =>
      eventually(what, child, async () => {
        const now = await status()
        return fits(now) ? now : undefined
      }),
    async envoy(node) {
      const args = [...command, 'bootstrap', file, '--run', runDir, '--node', node]
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
      return startEnvoy({ bootstrapYaml: stdout, adminSocket: runPaths(runDir, node).admin })
    },
    async kill() {
      await child.stop('SIGKILL')
    },
    async restart() {
      child = await start()
    },
    async [Symbol.asyncDispose]() {
      await child.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
