/** tools/list over many servers, with and without one among them that never answers. */
import { type Bed, entry, gatewayFor, inTurn } from './bed.ts'
import { openSession } from './mcp-client.ts'
import type { ListSample } from './results.ts'

const SIZES = [
  { servers: 2, tools: 20 },
  { servers: 20, tools: 50 },
] as const

/** Short, because the first client waits for it. */
const LIST_TIMEOUT = '1s'

export const measureLists = async (
  bed: Bed,
  { rounds, requests }: { readonly rounds: number; readonly requests: number },
): Promise<readonly ListSample[]> => {
  const samples: ListSample[] = []
  for (const { servers, tools } of SIZES) {
    bed.say(`lists: ${servers} servers with ${tools} tools each`)
    const named = (silent: boolean): Record<string, unknown> => ({
      ...(silent && {
        silent: { url: `http://127.0.0.1:${bed.servers.port}/silent/mcp`, listTimeout: LIST_TIMEOUT },
      }),
      ...Object.fromEntries(
        Array.from({ length: servers }, (_, i) => [`server-${i + 1}`, entry(bed, tools, `server-${i + 1}`)]),
      ),
    })
    await using plain = await gatewayFor(bed, named(false))
    await using hung = await gatewayFor(bed, named(true))
    const gateways = await Promise.all(
      [plain, hung].map(async (gateway) => {
        await gateway.settled()
        const session = await openSession(gateway, '{}')
        await session.hangUp()
        return { gateway, silent: gateway === hung, session: session.id }
      }),
    )
    for (let round = -1; round < rounds; round++) {
      for (const { gateway, silent, session } of inTurn(gateways, round + 1)) {
        const result = await bed.load.run({
          port: gateway.port,
          path: gateway.path,
          callers: [{ era: 'stateful', session }],
          request: { kind: 'list' },
          until: { requests },
          tree: gateway.tree,
        })
        // The round before the first is for warming up.
        if (round >= 0) samples.push({ round, servers, tools, silent, ...result })
      }
    }
  }
  return samples
}
