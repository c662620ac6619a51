import { startGateway } from './support/gateway.ts'
import { serveFixture } from './support/fixture-server.ts'
import { conformance } from './support/conformance.ts'
await using f = await serveFixture({ eras: 'both' })
await using g = await startGateway(`servers:\n  fixture: { url: "${f.url}", prefix: "", client: [elicitation, sampling, roots] }\n`)
await g.settled()
for (let i = 0; i < 8; i++) {
  const at = Date.now()
  const r = await conformance(g.url, '2026-07-28')
  console.log(Date.now() - at, r.filter(x => x.shortfalls.some(s => s.includes('timeout')) || (x.scored && x.shortfalls.length > 0)).map(x => [x.name, x.shortfalls, x.why]))
}
