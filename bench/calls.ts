/** Calls of a tool, by every way there is, in interleaved rounds: the machine's moods meet all of them alike. */
import { type Bed, type Contender, type Contenders, inTurn } from './bed.ts'
import type { Caller } from './caller.ts'
import type { Gateway } from './gateway.ts'
import { openSession } from './mcp-client.ts'
import { rssMb } from './processes.ts'
import type { CallSample, Paths, SoakSample } from './results.ts'
import { clientOf } from './subjects.ts'

const SHAPES = [
  { concurrency: 1, bytes: 200 },
  { concurrency: 16, bytes: 200 },
  { concurrency: 1, bytes: 65_536 },
  { concurrency: 16, bytes: 65_536 },
] as const
const MOST = 16

/** Each connection has a session of its own, where there are any. */
const callersOf = async (contender: Contender): Promise<readonly Caller[]> => {
  const callers: Caller[] = []
  for (let i = 0; i < MOST; i++) {
    if (clientOf(contender.subject) === 'stateless') {
      callers.push({ era: 'stateless' })
      continue
    }
    const session = await openSession(contender, contender.capabilities)
    callers.push({ era: 'stateful', session: session.id })
    await session.hangUp()
  }
  return callers
}

export const measureCalls = async (
  bed: Bed,
  { all }: Contenders,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<readonly CallSample[]> => {
  const callers = new Map<Contender, readonly Caller[]>()
  for (const contender of all) callers.set(contender, await callersOf(contender))
  const measure = (contender: Contender, concurrency: number, bytes: number, forMs: number) =>
    bed.load.run({
      port: contender.port,
      path: contender.path,
      callers: (callers.get(contender) ?? []).slice(0, concurrency),
      request: { kind: 'call', tool: contender.tool, bytes },
      until: { ms: forMs },
      tree: contender.tree,
    })
  bed.say('calls: warming up')
  for (const contender of all) for (const { bytes } of SHAPES.slice(1, 4)) await measure(contender, MOST, bytes, ms)
  const samples: CallSample[] = []
  for (let round = 0; round < rounds; round++) {
    bed.say(`calls: round ${round + 1} of ${rounds}`)
    for (const { concurrency, bytes } of SHAPES) {
      for (const contender of inTurn(all, round)) {
        const { subject } = contender
        samples.push({ round, concurrency, bytes, subject, ...(await measure(contender, concurrency, bytes, ms)) })
      }
    }
  }
  return samples
}

/** How many calls the gateway counted on each path; its log of them is a second behind. */
export const pathsTaken = async (gateway: Gateway): Promise<Paths> => {
  const count = async (): Promise<Record<string, number>> => {
    const paths: Record<string, number> = {}
    for (const [, labels = '', value] of (await gateway.metrics()).matchAll(
      /^mcp_gateway_calls_total\{(.*)\} (\d+)$/gm,
    )) {
      const path = /path="(.*?)"/.exec(labels)?.[1] ?? ''
      if (labels.includes('method="tools/call"')) paths[path] = (paths[path] ?? 0) + Number(value)
    }
    return paths
  }
  for (let before = JSON.stringify(await count()); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const now = await count()
    if (JSON.stringify(now) === before) return now
    before = JSON.stringify(now)
  }
}

/** Many calls on the direct path: not one may fail. */
export const soak = async (bed: Bed, { all, gateways }: Contenders, requests: number): Promise<SoakSample> => {
  const contender = all.find(({ subject }) => subject === 'direct path')
  if (contender === undefined) throw new Error('there is no direct path')
  bed.say(`${requests} calls on the direct path`)
  const result = await bed.load.run({
    port: contender.port,
    path: contender.path,
    callers: await callersOf(contender),
    request: { kind: 'call', tool: contender.tool, bytes: 200 },
    until: { requests },
    tree: contender.tree,
  })
  const { failed, failure, ms } = result
  return {
    requests: result.requests,
    failed,
    ...(failure !== undefined && { failure }),
    ms,
    nodeMb: rssMb(gateways.stateful.tree.node),
    envoyMb: rssMb(gateways.stateful.tree.envoy),
  }
}
