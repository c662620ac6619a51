/** What the gateway and its Envoy hold in memory: idle, and with sessions that do nothing but listen. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bed, entry, gatewayFor } from './bed.ts'
import { openSession, type Session } from './mcp-client.ts'
import { rssMb } from './processes.ts'
import type { MemorySample } from './results.ts'

const TOOLS = 20
/** Long enough for what is only passing through. */
const SETTLE_MS = 3000

export const measureMemory = async (bed: Bed, count: number): Promise<readonly MemorySample[]> => {
  bed.say(`memory: idle and with ${count} sessions`)
  await using gateway = await gatewayFor(bed, { a: entry(bed, TOOLS, 'a'), b: entry(bed, TOOLS, 'b') })
  await gateway.settled()
  const samples: MemorySample[] = []
  const take = async (when: MemorySample['when'], sessions: number): Promise<void> => {
    await sleep(SETTLE_MS)
    const { node, envoy } = gateway.tree
    samples.push({ when, sessions, nodeMb: rssMb(node), envoyMb: rssMb(envoy) })
  }
  await take('idle', 0)
  const sessions: Session[] = []
  for (let i = 0; i < count; i++) {
    const session = await openSession(gateway, '{}')
    await session.listen()
    sessions.push(session)
  }
  await take('sessions', count)
  for (const session of sessions) await session.request('tools/call', '{"name":"a_echo","arguments":{"key":"a-1024"}}')
  await take('sessions with a server session', count)
  const { streams } = (await gateway.status()).sessions
  if (streams !== count) throw new Error(`${streams} of ${count} streams are open`)
  for (const session of sessions) await session.hangUp()
  return samples
}
