/** From saving the registry to serving: each edit adds a server, and its tool is called until it answers. */
import { type Bed, entry, gatewayFor } from './bed.ts'
import { openSession, type Session } from './mcp-client.ts'
import type { SaveSample } from './results.ts'

const TOOLS = 5
const PATIENCE_MS = 10_000

const untilServed = async (session: Session, tool: string): Promise<void> => {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await session.request('tools/call', `{"name":"${tool}","arguments":{"key":"a-1024"}}`)
    if (answer.includes('"result"')) return
    if (performance.now() > deadline) throw new Error(`${tool} is not served: ${answer}`)
  }
}

export const measureSaves = async (bed: Bed, edits: number): Promise<readonly SaveSample[]> => {
  bed.say(`${edits} edits of the registry`)
  const servers: Record<string, unknown> = { first: entry(bed, TOOLS, 'first') }
  await using gateway = await gatewayFor(bed, servers)
  await gateway.settled()
  const session = await openSession(gateway, '{}')
  await untilServed(session, 'first_echo')
  const samples: SaveSample[] = []
  for (let edit = 1; edit <= edits; edit++) {
    const name = `added-${edit}`
    servers[name] = entry(bed, TOOLS, name)
    const startMs = performance.now()
    await gateway.save(servers)
    await untilServed(session, `${name}_echo`)
    const servingMs = performance.now() - startMs
    const { registry } = await gateway.status()
    samples.push({ servingMs, envoyMs: registry.applied.ms ?? NaN })
  }
  await session.hangUp()
  return samples
}
