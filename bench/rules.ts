/** What identity and access rules cost on the direct path: no token at all, a token, and a token judged by more and more rules. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { type Bed, entry, inTurn } from './bed.ts'
import type { Caller } from './caller.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { openSession } from './mcp-client.ts'
import type { RuleSample } from './results.ts'

const ISSUER = 'https://idp.example.com'
const RESOURCE = 'https://mcp.example.com/mcp'
const CONCURRENCY = 16

/** The worst there is: every rule is about the tool, and only the last one allows it. */
const rules = (count: number): readonly unknown[] =>
  Array.from({ length: count }, (_, i) => ({
    tools: 'echo*',
    allow: { groups: i === count - 1 ? 'bench' : [`team-${i}`, `guests-${i}`] },
  }))

const SETTINGS = [
  { authenticated: false, rules: 0 },
  { authenticated: true, rules: 0 },
  { authenticated: true, rules: 10 },
  { authenticated: true, rules: 1000 },
] as const

interface Subject {
  readonly setting: (typeof SETTINGS)[number]
  readonly gateway: Gateway
  readonly callers: readonly Caller[]
}

const issuerAt = async (directory: string) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwks = join(directory, 'jwks.json')
  const key = { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'ES256', use: 'sig' }
  await writeFile(jwks, JSON.stringify({ keys: [key] }))
  const token = await new SignJWT({ groups: ['staff', 'bench'], scope: 'mcp' })
    .setProtectedHeader({ alg: 'ES256', kid: 'bench' })
    .setIssuer(ISSUER)
    .setAudience(RESOURCE)
    .setSubject('bench')
    .setExpirationTime('2h')
    .sign(privateKey)
  return { auth: { issuer: ISSUER, jwks }, token }
}

const openCallers = async (gateway: Gateway, token: string | undefined): Promise<readonly Caller[]> => {
  const callers: Caller[] = []
  for (let i = 0; i < CONCURRENCY; i++) {
    const session = await openSession(gateway, '{}', token)
    callers.push({ era: 'stateful', session: session.id, ...(token !== undefined && { token }) })
    await session.hangUp()
  }
  return callers
}

export const measureRules = async (
  bed: Bed,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<readonly RuleSample[]> => {
  const directory = await mkdtemp(join(tmpdir(), 'bench-keys-'))
  const { auth, token } = await issuerAt(directory)
  const subjects: Subject[] = []
  try {
    for (const setting of SETTINGS) {
      const { authenticated, rules: count } = setting
      bed.say(`rules: ${authenticated ? `a token, ${count} rules` : 'no token, no rules'}`)
      const gateway = await startGateway({
        ...bed,
        ...(authenticated && { gateway: { url: RESOURCE, auth } }),
        servers: { bench: { ...entry(bed, 20, 'bench'), ...(count > 0 && { access: rules(count) }) } },
      })
      const callers: Caller[] = []
      subjects.push({ setting, gateway, callers })
      await gateway.settled()
      callers.push(...(await openCallers(gateway, authenticated ? token : undefined)))
    }
    const samples: RuleSample[] = []
    // The round before the first is for warming up.
    for (let round = -1; round < rounds; round++) {
      for (const { setting, gateway, callers } of inTurn(subjects, round + 1)) {
        const result = await bed.load.run({
          port: gateway.port,
          path: gateway.path,
          callers,
          request: { kind: 'call', tool: 'bench_echo', bytes: 200 },
          until: { ms },
          tree: gateway.tree,
        })
        if (round >= 0) samples.push({ round, ...setting, ...result })
      }
    }
    return samples
  } finally {
    for (const { gateway } of subjects) await gateway[Symbol.asyncDispose]()
    await rm(directory, { recursive: true, force: true })
  }
}
