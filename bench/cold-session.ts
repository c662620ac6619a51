/** A client's first seconds: connect, initialize and initialized or server/discover, tools/list, the first call. */
import { type Bed, type Contender, type Contenders, inTurn } from './bed.ts'
import { discover, openSession } from './mcp-client.ts'
import { cpuMs } from './processes.ts'
import { type ColdSample, median } from './results.ts'
import { clientOf } from './subjects.ts'

/** Sessions in the round before the first. */
const WARM_UP = 200

/** How long it took; its end is no part of it. */
const oneSession = async (contender: Contender): Promise<number> => {
  const startMs = performance.now()
  const { subject, capabilities, tool } = contender
  const client =
    clientOf(subject) === 'stateful' ? await openSession(contender, capabilities) : await discover(contender)
  await client.request('tools/list', '{}')
  await client.request('tools/call', `{"name":"${tool}","arguments":{"key":"a-1024"}}`, tool)
  const ms = performance.now() - startMs
  await client.end()
  await client.hangUp()
  return ms
}

export const measureColdSessions = async (
  bed: Bed,
  { all }: Contenders,
  { rounds, sessions }: { readonly rounds: number; readonly sessions: number },
): Promise<readonly ColdSample[]> => {
  bed.say('cold sessions')
  const samples: ColdSample[] = []
  for (let round = -1; round < rounds; round++) {
    for (const contender of inTurn(all, round + 1)) {
      const { subject, tree } = contender
      const before = { node: cpuMs(tree.node), envoy: cpuMs(tree.envoy) }
      const times: number[] = []
      for (let i = 0; i < (round < 0 ? WARM_UP : sessions); i++) times.push(await oneSession(contender))
      const spent = { node: cpuMs(tree.node) - before.node, envoy: cpuMs(tree.envoy) - before.envoy }
      if (round >= 0) samples.push({ round, subject, sessions, p50Ms: median(times), cpuMs: spent })
    }
  }
  return samples
}
