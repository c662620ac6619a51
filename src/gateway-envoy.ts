/** The Envoy that is a child of ours: its bootstrap on disk, its states told to the terminal, its access log printed. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type EnvoyLog, type SupervisedEnvoy, superviseEnvoy } from './envoy/supervise.ts'
import type { GatewayEvent } from './gateway-event.ts'
import { bootstrap } from './xds/bootstrap.ts'
import { yamlText } from './xds/render.ts'
import type { RunPaths } from './xds/run-paths.ts'

interface GatewayEnvoy {
  readonly binary: string
  readonly nodeId: string
  readonly run: RunPaths
  readonly runDir: string
  /** Worker threads. */
  readonly concurrency: number
  /** Print the access log. */
  readonly accessLog: boolean
  readonly log: EnvoyLog
  readonly onEvent: (event: GatewayEvent) => void
  /** Awaited at the end, when its last requests have ended. */
  readonly beforeEnd: () => Promise<void>
}

/** Rejects with StartProblem. */
export const startEnvoy = async (options: GatewayEnvoy): Promise<SupervisedEnvoy> => {
  const { nodeId, run, accessLog, onEvent } = options
  const bootstrapPath = join(options.runDir, 'bootstrap.yaml')
  await writeFile(bootstrapPath, yamlText(bootstrap({ nodeId, run })), { mode: 0o600 })
  return await superviseEnvoy({
    binary: options.binary,
    bootstrapPath,
    runDir: options.runDir,
    adminSocket: run.admin,
    nodeId,
    concurrency: options.concurrency,
    log: options.log,
    env: process.env,
    beforeEnd: options.beforeEnd,
    onState: (state) => {
      if (state.is === 'waiting') onEvent({ kind: 'envoy', text: `Envoy ended (${state.reason}); starting it again` })
    },
    onLine: (line) => {
      if (accessLog) process.stdout.write(Buffer.concat([line, Buffer.from('\n')]))
    },
  })
}
