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

export const measureRules = async (
  bed: Bed,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<readonly RuleSample[]> => {
  const directory = await mkdtemp(join(tmpdir(), 'bench-keys-'))
  const gateways: {
    readonly gateway: Gateway
    readonly setting: (typeof SETTINGS)[number]
    readonly caller: Caller
  }[] = []
  try {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwks = join(directory, 'jwks.json')
    await writeFile(
      jwks,
      JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'ES256', use: 'sig' }] }),
    )
    const token = await new SignJWT({ groups: ['staff', 'bench'], scope: 'mcp' })
      .setProtectedHeader({ alg: 'ES256', kid: 'bench' })
      .setIssuer(ISSUER)
      .setAudience(RESOURCE)
      .setSubject('bench')
      .setExpirationTime('2h')
      .sign(privateKey)
    for (const setting of SETTINGS) {
      bed.say(`rules: ${setting.authenticated ? `a token, ${setting.rules} rules` : 'no token, no rules'}`)
      const server = entry(bed, 20, 'bench')
      const gateway = await startGateway({
        ...bed,
        ...(setting.authenticated && { gateway: { url: RESOURCE, auth: { issuer: ISSUER, jwks } } }),
        servers: { bench: { ...server, ...(setting.rules > 0 && { access: rules(setting.rules) }) } },
      })
      const access = setting.authenticated ? { token } : {}
      gateways.push({
        gateway,
        setting,
        caller: { era: 'stateful', session: '', ...access },
      })
      await gateway.settled()
    }
    const all = await Promise.all(
      gateways.map(async ({ gateway, setting, caller }) => {
        const callers: Caller[] = []
        for (let i = 0; i < CONCURRENCY; i++) {
          const session = await openSession(gateway, '{}', caller.token)
          callers.push({ ...caller, era: 'stateful', session: session.id })
          await session.hangUp()
        }
        return { gateway, setting, callers }
      }),
    )
    const samples: RuleSample[] = []
    for (let round = -1; round < rounds; round++) {
      for (const { gateway, setting, callers } of inTurn(all, round + 1)) {
        const result = await bed.load.run({
          port: gateway.port,
          path: gateway.path,
          callers,
          request: { kind: 'call', tool: 'bench_echo', bytes: 200 },
          until: { ms },
          tree: gateway.tree,
        })
        // The round before the first is for warming up.
        if (round >= 0) samples.push({ round, ...setting, ...result })
      }
    }
    return samples
  } finally {
    for (const { gateway } of gateways) await gateway[Symbol.asyncDispose]()
    await rm(directory, { recursive: true, force: true })
  }
}
