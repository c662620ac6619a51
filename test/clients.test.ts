/** The published SDKs' clients, in each of their modes, on real servers of both eras: first directly, then through one gateway. */
import t from 'tap'
import { of, own, tour, visit } from './support/client-story.ts'
import { publishedClients } from './support/clients.ts'
import { startEverything } from './support/everything.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'
import { registry } from './support/stage.ts'

await using everything = await startEverything()
await using old = await serveFixture({ eras: 'stateful' })
await using modern = await serveFixture({ eras: 'stateless' })
await using both = await serveFixture({ eras: 'both' })
const fixtures = { old, modern, both }

await t.test('directly', async (t) => {
  for (const [name, mode] of Object.entries(publishedClients)) {
    await t.test(name, async (t) => {
      if (mode.eras.includes('stateful')) {
        await t.test('server-everything', async (t) => {
          await using client = await mode.open(everything.url, false)
          await tour(t, client, own)
        })
      }
      await t.test('the fixture server', async (t) => {
        await using client = await mode.open(both.url, true)
        await visit(t, client, mode, own, both)
      })
    })
  }
})

await t.test('through one gateway', async (t) => {
  const rest = { client: ['elicitation', 'sampling', 'roots'], resources: { prefix: true } }
  const entries = Object.entries({ everything, ...fixtures }).map(([name, { url }]) => [name, { url, ...rest }])
  await using gateway = await startGateway(registry(Object.fromEntries(entries)))
  await gateway.settled()
  for (const [name, mode] of Object.entries(publishedClients)) {
    await t.test(name, async (t) => {
      for (const asked of [false, true]) {
        await t.test(`server-everything, ${asked ? 'can' : 'cannot'} be asked`, async (t) => {
          await using client = await mode.open(gateway.url, asked)
          await tour(t, client, of('everything'))
        })
      }
      for (const [server, fixture] of Object.entries(fixtures)) {
        await t.test(`the fixture server, ${server}`, async (t) => {
          await using client = await mode.open(gateway.url, true)
          await visit(t, client, mode, of(server), fixture)
        })
      }
    })
  }
})
