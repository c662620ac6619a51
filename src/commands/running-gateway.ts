/** Asks the gateway that runs at an admin address for its status, or for what its servers say of their tools. */
import { z } from 'zod'
import type { OfferedServer } from '../catalog/definitions.ts'
import { StartProblem } from '../envoy/start-problem.ts'
import type { Address } from '../registry/model.ts'

/** How long a gateway on this machine may take to answer. */
const ANSWER_MS = 5_000

/** What the commands read of `/status`; a gateway of another version may tell more. */
const seen = z.object({
  version: z.string(),
  url: z.string(),
  registry: z.object({ file: z.string(), version: z.string() }),
  servers: z.array(
    z.object({
      name: z.string(),
      state: z.string(),
      lastError: z.string().optional(),
      era: z.object({ eras: z.array(z.string()), how: z.string(), at: z.string() }).optional(),
      hidden: z.array(z.object({ name: z.string(), reason: z.string() })),
    }),
  ),
  tools: z.array(
    z.object({
      name: z.string(),
      server: z.string(),
      own: z.string(),
      paths: z.object({ stateful: z.string(), stateless: z.string() }).optional(),
    }),
  ),
})

export type SeenStatus = z.infer<typeof seen>

/** A wildcard is no address to connect to; this machine always is. */
const dialled = ({ host, port }: Address): string => {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`
}

const offeredTool = z.object({
  own: z.string(),
  suspicious: z.string().optional(),
  definition: z
    .object({
      title: z.unknown().optional(),
      description: z.unknown().optional(),
      inputSchema: z.unknown().optional(),
      outputSchema: z.unknown().optional(),
      annotations: z.unknown().optional(),
    })
    .optional(),
})

const offered = z.object({
  servers: z.array(
    z.object({
      name: z.string(),
      prefix: z.string(),
      auto: z.literal('additive').optional(),
      answered: z.boolean(),
      instructions: z.string(),
      suspicious: z.string().optional(),
      tools: z.array(offeredTool.extend({ name: z.string() })),
      others: z.array(offeredTool),
    }),
  ),
})

/** @throws StartProblem */
export const askStatus = (admin: Address, file: string): Promise<SeenStatus> => ask(admin, file, '/status', seen)

/** What its servers say of their tools. @throws StartProblem */
export const askDefinitions = async (admin: Address, file: string): Promise<readonly OfferedServer[]> =>
  (await ask(admin, file, '/definitions', offered)).servers

const ask = async <T>(admin: Address, file: string, path: string, schema: z.ZodType<T>): Promise<T> => {
  const url = dialled(admin)
  const answer = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => undefined)
  if (answer === undefined)
    throw new StartProblem(
      `no gateway answers at ${url}`,
      `start one with: mcp-gateway up ${file}; or say where it is with --admin`,
    )
  const body: unknown = await answer.json().catch(() => undefined)
  const parsed = schema.safeParse(body)
  if (!answer.ok || !parsed.success)
    throw new StartProblem(`what answers at ${url} is no gateway of ours`, 'say where it is with --admin')
  return parsed.data
}
