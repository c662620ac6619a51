/** The gateway as it is shipped: `node dist/main.js up`, one Envoy worker, on its own core. */
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { freePort } from './envoy-alone.ts'
import { type Cores, startPinned, stop, type Tree, treeOf } from './processes.ts'

export interface GatewayOptions {
  readonly cores: Cores
  /** The command's file. */
  readonly main: string
  readonly envoy: string
  /** The registry's `servers`: name → its entry as JSON. */
  readonly servers: Readonly<Record<string, unknown>>
  /** The registry's `gateway`, as JSON; default: nothing is said. */
  readonly gateway?: Readonly<Record<string, unknown>>
}

export interface Gateway extends AsyncDisposable {
  readonly port: number
  readonly path: '/mcp'
  readonly tree: Tree
  /** From starting the command until /ready said so. */
  readonly readyMs: number
  /** Saves a registry as editors do; waits for nothing. */
  save(servers: Readonly<Record<string, unknown>>): Promise<void>
  status(): Promise<GatewayStatus>
  /** In Prometheus' text format. */
  metrics(): Promise<string>
  /** Resolves when every server has answered or was given up. */
  settled(): Promise<void>
}

/** What the bench reads of `/status`. */
export interface GatewayStatus {
  readonly version: string
  readonly registry: { readonly applied: { readonly envoys: number; readonly of: number; readonly ms?: number } }
  readonly servers: readonly { readonly name: string; readonly state: string; readonly tools: number }[]
  readonly sessions: { readonly clients: number; readonly servers: number; readonly streams: number }
}

const registry = (
  servers: Readonly<Record<string, unknown>>,
  gateway: Readonly<Record<string, unknown>> = {},
): string => JSON.stringify({ gateway, servers }, null, 1)

/** Longest time for what ought to take a second; a limit for hopeless cases. */
const PATIENCE_MS = 30_000

export const startGateway = async ({ cores, main, envoy, servers, gateway }: GatewayOptions): Promise<Gateway> => {
  const directory = await mkdtemp(join(tmpdir(), 'bench-'))
  // The folder above a registry's is watched too: nobody else may be busy in it.
  const file = join(directory, 'own', 'registry.yaml')
  await mkdir(join(directory, 'own'))
  await writeFile(file, registry(servers, gateway))
  const [port, admin] = [await freePort(), await freePort()]
  const args = ['up', file, '--listen', `127.0.0.1:${port}`, '--admin', `127.0.0.1:${admin}`]
  const startMs = performance.now()
  const child = startPinned(
    cores.measured,
    process.execPath,
    [main, ...args, '--envoy', envoy, '--concurrency', '1', '--no-access-log', '--log-level', 'error'],
    ['ignore', 'ignore', 'inherit'],
  )
  const deadline = startMs + PATIENCE_MS
  const patiently = async (what: string, ask: () => Promise<boolean>): Promise<void> => {
    while (!(await ask())) {
      if (child.exitCode !== null) throw new Error(`${what}: the gateway ended with ${child.exitCode}`)
      if (performance.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms`)
      await sleep(5)
    }
  }
  const ready = async (): Promise<boolean> => {
    const answer = await request(`http://127.0.0.1:${admin}/ready`).catch(() => undefined)
    await answer?.body.dump()
    return answer?.statusCode === 200
  }
  await patiently('ready', ready)
  const readyMs = performance.now() - startMs
  const page = async (path: string): Promise<string> => (await request(`http://127.0.0.1:${admin}${path}`)).body.text()
  const status = async (): Promise<GatewayStatus> => JSON.parse(await page('/status'))
  return {
    port,
    path: '/mcp',
    tree: treeOf(child.pid ?? -1),
    readyMs,
    async save(next) {
      await writeFile(`${file}.new`, registry(next, gateway))
      await rename(`${file}.new`, file)
    },
    status,
    metrics: () => page('/metrics'),
    settled: () =>
      patiently('settled', async () => !(await status()).servers.some(({ state }) => state === 'starting')),
    async [Symbol.asyncDispose]() {
      await stop(child)
      await rm(directory, { recursive: true, force: true })
    },
  }
}
