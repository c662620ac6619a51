/** What every published client is made to do, whichever server it talks to and whatever lies in between. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { ClientMode } from './clients.ts'
import type { Fixture } from './fixture-server.ts'
import { says } from './mcp-script.ts'
import type { PublishedClient } from './published-client.ts'

const FEATURES = 'demo://resource/static/document/features.md'
const WATCHED = 'test://watched-resource'

/** How a client sees what a server calls its own. */
export interface Names {
  readonly name: (own: string) => string
  readonly uri: (own: string) => string
}

export const own: Names = { name: (name) => name, uri: (uri) => uri }
export const of = (server: string): Names => ({ name: (name) => `${server}_${name}`, uri: (uri) => `${server}+${uri}` })

/** List, call, get, read and complete on server-everything. */
export const tour = async (t: Test, client: PublishedClient, { name, uri }: Names) => {
  const tools = await client.tools()
  for (const tool of ['echo', 'get-sum', 'trigger-long-running-operation']) t.ok(tools.includes(name(tool)), tool)
  t.match(await client.call(name('echo'), { message: 'hello' }), says('Echo: hello'))
  t.match(await client.call(name('get-sum'), { a: 2, b: 3 }), { content: [{ text: /\b5\b/ }] })
  t.ok((await client.prompts()).includes(name('args-prompt')))
  t.match(await client.get(name('args-prompt'), { city: 'Paris' }), {
    messages: [{ role: 'user', content: { text: /weather in Paris/ } }],
  })
  t.same(await client.complete(name('completable-prompt'), 'department', 'Eng'), ['Engineering'])
  t.ok((await client.resources()).includes(uri(FEATURES)))
  t.match(await client.read(uri(FEATURES)), { contents: [{ text: /Features/ }] })
  t.ok((await client.templates()).includes(uri('demo://resource/dynamic/text/{resourceId}')))
  t.match(await client.read(uri('demo://resource/dynamic/text/7')), { contents: [{ text: /7/ }] })
}

const questions = {
  elicitation: [
    'test_elicitation',
    { message: 'Who are you?' },
    /User response: action=accept, content=\{"username":"ada","email":"ada@example.com"\}/,
  ],
  sampling: ['test_sampling', { prompt: 'What is it?' }, /LLM response: forty-two/],
  roots: ['test_roots', {}, /Roots: file:\/\/\/home\/ada/],
} as const

/** All a client can do with the fixture server. */
export const visit = async (
  t: Test,
  client: PublishedClient,
  { asked }: Pick<ClientMode, 'asked'>,
  { name, uri }: Names,
  server: Fixture,
) => {
  await t.test('list, call, get, read, complete', async (t) => {
    t.ok((await client.tools()).includes(name('test_simple_text')))
    t.match(await client.call(name('test_simple_text')), { content: [{ text: /simple text response/ }] })
    t.match(await client.call(name('test_x_mcp_header'), { region: 'Zürich' }), says('Region: Zürich'))
    t.match(await client.get(name('test_prompt_with_arguments'), { arg1: 'a', arg2: 'b' }), {
      messages: [{ content: { text: /arg1='a', arg2='b'/ } }],
    })
    t.match(await client.read(uri('test://static-text')), { contents: [{ text: /static text resource/ }] })
    t.same(await client.complete(name('test_prompt_with_arguments'), 'arg1', 'part'), ['party'])
  })
  for (const feature of asked) {
    const [tool, args, answer] = questions[feature]
    await t.test(feature, async (t) => t.match(await client.call(name(tool), args), { content: [{ text: answer }] }))
  }
  await t.test('subscribe', async (t) => {
    const { updated } = await client.watch(uri(WATCHED))
    let heard = false
    const hears = updated.then(() => {
      heard = true
    })
    // A stateful client opens its stream when it likes; what was said before is lost.
    for (let times = 0; !heard && times < 500; times++)
      await client.call(name('test_trigger_resource_change'), { uri: WATCHED })
    if (heard) await hears
    t.ok(heard, 'heard of a change')
  })
  const { follow } = client
  if (follow === undefined) return
  await t.test('progress', async (t) => {
    const steps: number[] = []
    t.match(
      await follow(name('test_tool_with_progress'), {}, (progress) => steps.push(progress)),
      says('Made progress'),
    )
    t.same(steps, [0, 50, 100])
  })
  await t.test('cancel', async (t) => {
    const call = randomUUID()
    const abort = new AbortController()
    await t.rejects(follow(name('test_wait'), { name: call }, () => abort.abort(), abort.signal))
    await server.abandoned(call)
  })
}
