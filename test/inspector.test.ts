/** The Inspector's command line, in both eras, on real servers of both eras through one gateway. */
import t from 'tap'
import { of, tour, visit } from './support/client-story.ts'
import { startEverything } from './support/everything.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'
import { inspectOnce, inspector } from './support/inspector.ts'
import { registry } from './support/stage.ts'

await using everything = await startEverything()
await using old = await serveFixture({ eras: 'stateful' })
await using modern = await serveFixture({ eras: 'stateless' })
const rest = { client: ['elicitation'], resources: { prefix: true } }
await using gateway = await startGateway(
  registry({
    everything: { url: everything.url, ...rest },
    old: { url: old.url, ...rest },
    modern: { url: modern.url, ...rest },
  }),
)
await gateway.settled()

// Each of its requests is a process: one connection for all, and no server twice.
for (const era of ['stateful', 'stateless'] as const) {
  await t.test(era, async (t) => {
    await using client = await inspector(gateway.url, era)
    await t.test('server-everything', (t) => tour(t, client, of('everything')))
    for (const [server, fixture] of Object.entries({ old, modern })) {
      await t.test(`the fixture server, ${server}`, (t) =>
        visit(t, client, { asked: ['elicitation'] }, of(server), fixture),
      )
    }
    await t.test('a single request', async (t) =>
      t.ok((await inspectOnce(gateway.url, era)).includes('modern_test_simple_text')),
    )
  })
}
