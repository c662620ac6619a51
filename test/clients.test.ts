/** The published clients on real published servers: first directly, then the same through the gateway. */
import t from 'tap'
import type { Test } from 'tap'
import type { PublishedClient } from './support/clients.ts'
import { inspector, sdkV1, sdkV2 } from './support/clients.ts'
import { startEverything } from './support/everything.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'
import { says } from './support/mcp-script.ts'

await using everything = await startEverything()
await using fixture = await serveFixture()

const FEATURES = 'demo://resource/static/document/features.md'

/** List, call, get and read. `named`: the name a client sees for server-everything's own. */
const tour = async (t: Test, client: PublishedClient, named: (own: string) => string) => {
  const tools = await client.tools()
  for (const own of ['echo', 'get-sum', 'trigger-long-running-operation']) t.ok(tools.includes(named(own)), own)
  t.match(await client.call(named('echo'), { message: 'hello' }), says('Echo: hello'))
  t.match(await client.call(named('get-sum'), { a: 2, b: 3 }), { content: [{ text: /\b5\b/ }] })
  t.ok((await client.prompts()).includes(named('args-prompt')))
  t.match(await client.get(named('args-prompt'), { city: 'Paris' }), {
    messages: [{ role: 'user', content: { text: /weather in Paris/ } }],
  })
  t.ok((await client.resources()).includes(FEATURES))
  t.match(await client.read(FEATURES), { contents: [{ uri: FEATURES, text: /Features/ }] })
  t.ok((await client.templates()).includes('demo://resource/dynamic/text/{resourceId}'))
  t.match(await client.read('demo://resource/dynamic/text/7'), { contents: [{ text: /7/ }] })
}

/** Elicitation, sampling and roots, there and back. `named`: of the fixture server. */
const conversation = async (t: Test, client: PublishedClient, named: (own: string) => string) => {
  t.match(
    await client.call(named('test_elicitation'), { message: 'Who are you?' }),
    says('User response: action=accept, content={"username":"ada","email":"ada@example.com"}'),
  )
  t.match(await client.call(named('test_sampling'), { prompt: 'What is it?' }), says('LLM response: forty-two'))
  t.match(await client.call(named('test_roots')), says('Roots: file:///home/ada'))
}

const own = (name: string) => name
const sdks = Object.entries({ 'v1 SDK': sdkV1, 'v2 SDK': sdkV2 })

await t.test('directly', async (t) => {
  for (const [name, open] of sdks) {
    await t.test(name, async (t) => {
      await using plain = await open(everything.url, false)
      await tour(t, plain, own)
      await using asked = await open(fixture.url, true)
      await conversation(t, asked, own)
    })
  }
  await t.test('Inspector', (t) => tour(t, inspector(everything.url), own))
})

await t.test('through the gateway', async (t) => {
  await using gateway = await startGateway(`servers:
  everything: { url: "${everything.url}" }
  fixture: { url: "${fixture.url}", client: [elicitation, sampling, roots] }
`)
  await gateway.settled()
  const ofEverything = (name: string) => `everything_${name}`
  const ofFixture = (name: string) => `fixture_${name}`
  for (const [name, open] of sdks) {
    await t.test(name, async (t) => {
      await using plain = await open(gateway.url, false)
      await tour(t, plain, ofEverything)
      await using asked = await open(gateway.url, true)
      await tour(t, asked, ofEverything)
      await conversation(t, asked, ofFixture)
    })
  }
  await t.test('Inspector', (t) => tour(t, inspector(gateway.url), ofEverything))
})
