/** The gateway as a user starts it: the command in a process of its own, a registry file, a real Envoy. */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Status } from '../../src/admin/status.ts'
import type { Child } from './child.ts'
import { startChild } from './child.ts'
import { request } from './http-request.ts'

export interface GatewayUnderTest extends AsyncDisposable {
  /** Where MCP is. */
  readonly url: string
  /** `http://host:port` of the admin address. */
  readonly admin: string
  readonly pid: number
  readonly dir: string
  /** The registry's path. */
  readonly file: string
  readonly child: Child
  /** Saves the registry as editors do, by renaming; resolves when every Envoy has it. Fails when it is refused. */
  edit(text: string): Promise<void>
  /** Saves it and waits for nothing. */
  write(text: string): Promise<void>
  /** Resolves when no server is still being asked for its lists. */
  settled(): Promise<Status>
  status(): Promise<Status>
  metrics(): Promise<string>
  log(): string
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

export interface GatewayOptions {
  /** After `up FILE --listen … --admin …`. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Beside the registry: name → content. */
  readonly files?: Readonly<Record<string, string>>
  /** Listen there; default: a free port. */
  readonly port?: number
  /** Where the registry lies; removed in the end. Default: a new directory. */
  readonly dir?: string
  /** What is waited for: that it can serve, or only that its Envoy has everything and listens. Default: `ready`. */
  readonly until?: 'ready' | 'serving'
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The command of this checkout, before its arguments: from the sources, or as it is shipped. */
export const command: readonly string[] =
  process.env['MCP_GATEWAY_TEST_DIST'] === '1' ? ['dist/main.js'] : ['--import=tsx', 'src/main.ts']

/** A registry to begin with, when each case will bring its own. */
export const noServers = 'servers: { none: { url: "http://127.0.0.1:9/mcp", enabled: false } }\n'

/** A port nobody listened at a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })

/** Longest time for anything that ought to take well under a second; a limit for hopeless cases, not a measure. */
const PATIENCE_MS = 20_000
const PAUSE_MS = 10

/** Asks again until there is an answer other than undefined; fails when the process ends or patience does. */
export const eventually = async <T>(what: string, child: Child, ask: () => Promise<T | undefined>): Promise<T> => {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (child.exit !== undefined) throw new Error(`${what}: the gateway ended with ${child.exit}\n${child.log()}`)
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms\n${child.log()}`)
    await sleep(PAUSE_MS)
  }
}

/** Starts it on a registry and resolves when it is ready to serve. */
export const startGateway = async (registry: string, options: GatewayOptions = {}): Promise<GatewayUnderTest> => {
  const { args = [], env = {}, files = {} } = options
  const dir = options.dir ?? (await mkdtemp(path.join(tmpdir(), 'gateway-')))
  const file = path.join(dir, 'registry.yaml')
  const listen = `127.0.0.1:${options.port ?? (await freePort())}`
  const adminAddress = `127.0.0.1:${await freePort()}`
  const admin = `http://${adminAddress}`

  const write = async (text: string): Promise<void> => {
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true })
    await writeFile(path.join(dir, name), content)
  }
  await write(registry)

  const child = startChild([...command, 'up', file, '--listen', listen, '--admin', adminAddress, ...args], {
    env,
    cwd: root,
  })
  const dispose = async (): Promise<void> => {
    await child.stop()
    await rm(dir, { recursive: true, force: true })
  }
  const status = async (): Promise<Status> => {
    const { text } = await request(`${admin}/status`)
    return JSON.parse(text)
  }
  const ready = async (): Promise<unknown> => {
    const reply = await request(`${admin}/ready`, { fresh: true }).catch(() => undefined)
    return reply?.status === 200 ? reply : undefined
  }
  const serving = async (): Promise<unknown> => {
    const reply = await request(`http://${listen}/`, { fresh: true }).catch(() => undefined)
    return reply?.status === 404 ? reply : undefined
  }
  try {
    await eventually('ready', child, options.until === 'serving' ? serving : ready)
  } catch (error) {
    await dispose()
    throw error
  }

  const refused = ({ registry: { problems } }: Status): string =>
    JSON.stringify(problems.filter(({ severity }) => severity === 'error'))

  return {
    url: `http://${listen}/mcp`,
    admin,
    pid: child.pid,
    dir,
    file,
    child,
    write,
    edit: async (text) => {
      const before = await status()
      const same = (await readFile(file, 'utf8')) === text
      await write(text)
      await eventually('applied', child, async () => {
        const now = await status()
        if (refused(now) !== '[]' && refused(now) !== refused(before)) throw new Error(`refused: ${refused(now)}`)
        const { version, applied } = now.registry
        const loaded = same || version !== before.registry.version
        return loaded && applied.of > 0 && applied.envoys === applied.of ? now : undefined
      })
    },
    settled: () =>
      eventually('settled', child, async () => {
        const now = await status()
        return now.servers.some(({ state }) => state === 'starting') ? undefined : now
      }),
    status,
    metrics: async () => (await request(`${admin}/metrics`)).text,
    log: child.log,
    stop: (signal) => child.stop(signal),
    [Symbol.asyncDispose]: dispose,
  }
}
