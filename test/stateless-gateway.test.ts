/** Stateless clients through a real Envoy, in front of servers of every era: which path, what arrives, what comes back. */

import type { Test } from 'tap'
import t from 'tap'
import { startGateway } from './support/gateway.ts'
import type { Call, Tool } from './support/mcp-script.ts'
import { RpcError, says, standardTools } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import { ACCEPT, connect, request } from './support/raw-client.ts'
import type { JsonObject, Message } from './support/raw-json.ts'
import { asObject, rawMember } from './support/raw-json.ts'
import { type Path, pathOf, registry } from './support/stage.ts'
import type { ListenStream, StatelessClient } from './support/stateless-client.ts'
import { sentinel, stateless } from './support/stateless-client.ts'

const meta = (name: string): string => `io.modelcontextprotocol/${name}`
const question = { message: 'who?', requestedSchema: { type: 'object', properties: {} } }

/** What a server asked and what it was told, as the tool's text. */
const asks =
  (method: string, params: JsonObject) =>
  async (call: Call): Promise<JsonObject> => {
    const { result, error } = await call.ask(method, params)
    return says(JSON.stringify(result ?? error))
  }
const tools: readonly Tool[] = [
  ...standardTools,
  { name: 'ünï', run: () => says('spelled') },
  { name: 'elicit', run: asks('elicitation/create', question) },
  {
    name: 'regional',
    definition: {
      name: 'regional',
      inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
    },
    run: ({ arguments: { region } }) => says(String(region)),
  },
  {
    name: 'picky',
    run: async (call) => {
      if (call.era === 'stateful') return asks('sampling/createMessage', { messages: [], maxTokens: 1 })(call)
      if ('sampling' in asObject(call.meta[meta('clientCapabilities')])) return says('fine')
      throw new RpcError(-32021, 'sampling is needed', { requiredCapabilities: { sampling: {} } })
    },
  },
  {
    name: 'steps',
    run: (call) => {
      call.progress(1, 2)
      call.log('info', 'half')
      call.progress(2, 2)
      return says('done')
    },
  },
  {
    name: 'wait',
    run: ({ cancelled }) =>
      new Promise((resolve) => cancelled.addEventListener('abort', () => resolve(says('stopped')))),
  },
]
const offered = (name: string) => ({
  name,
  tools,
  prompts: [{ name: 'p' }],
  resources: [{ uri: `${name}:1` }],
  templates: [{ uriTemplate: `${name}:t/{id}`, matches: new RegExp(`^${name}:t/`) }],
  capabilities: {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true, subscribe: true },
    completions: {},
    logging: {},
  },
})
await using fresh = await serveMcp({ ...offered('new'), era: 'stateless' })
await using old = await serveMcp({ ...offered('old'), era: 'stateful' })
await using dual = await serveMcp({ ...offered('dual'), era: 'both' })
const rename = { tools: { rename: { ünï: 'uni' } } }
await using gateway = await startGateway(registry({ new: [fresh, rename], old: [old, rename], dual: [dual, rename] }))
await gateway.settled()

const servers: Readonly<Record<string, McpServer>> = { new: fresh, old, dual }
const forget = (): void => Object.values(servers).forEach((server) => server.forget())

interface Way {
  readonly server: McpServer
  readonly name: string
  /** The path a call takes by what its client declares. */
  readonly path: Path
  readonly capabilities: JsonObject
}
const ways: Readonly<Record<string, Way>> = {
  'a stateless server, direct': { server: fresh, name: 'new', path: 'direct', capabilities: { elicitation: {} } },
  'a stateless server, by the broker': {
    server: fresh,
    name: 'new',
    path: 'broker',
    capabilities: { elicitation: {}, sampling: {} },
  },
  'a server of both, direct': { server: dual, name: 'dual', path: 'direct', capabilities: { elicitation: {} } },
  'a server of both, by the broker': {
    server: dual,
    name: 'dual',
    path: 'broker',
    capabilities: { elicitation: {}, roots: {} },
  },
  'a stateful server': { server: old, name: 'old', path: 'broker', capabilities: { elicitation: {} } },
}
const onEach = async (t: Test, what: string, run: (t: Test, way: Way, client: StatelessClient) => Promise<void>) => {
  for (const [how, way] of Object.entries(ways))
    await t.test(`${what}: ${how}`, async (t) => {
      forget()
      await using client = stateless({
        url: gateway.url,
        capabilities: way.capabilities,
        answers: { 'elicitation/create': () => ({ action: 'accept', content: { who: 'me' } }) },
      })
      await run(t, way, client)
    })
}
const arrived = (server: McpServer, method: string) =>
  server.received.filter(({ message }) => message?.method === method)
const text = (message: Message): unknown => {
  const content = message.result?.['content']
  return Array.isArray(content) ? content[0]?.text : message.raw
}

await t.test('requests', async (t) => {
  await onEach(t, 'a call', async (t, { server, name, path }, client) => {
    const message = await client.call(`${name}_echo`, '{"text":"é","n":9007199254740993}', { id: '9007199254740993' })
    t.equal(text(message), 'é')
    t.equal(message.result?.['resultType'], 'complete')
    t.equal(rawMember(message.raw, 'id'), '9007199254740993')
    const [call] = arrived(server, 'tools/call')
    if (call === undefined) throw new Error('nothing arrived')
    t.equal(pathOf(call), path)
    t.equal(call.era, server === old ? 'stateful' : 'stateless')
    t.equal(rawMember(call.text, 'params', 'arguments'), '{"text":"é","n":9007199254740993}')
    if (server === old) t.notOk(call.text.includes('io.modelcontextprotocol'), 'nothing of the other era')
    else t.equal(call.headers['mcp-session-id'], undefined)
    t.equal(server.count('initialize') > 0, server === old)
  })
  await onEach(t, 'a rename changes body and header together', async (t, { server, name }, client) => {
    t.equal(text(await client.call(`${name}_uni`)), 'spelled')
    const [call] = arrived(server, 'tools/call')
    t.equal(call?.message?.params?.['name'], 'ünï')
    if (server !== old) t.equal(call?.headers['mcp-name'], sentinel('ünï'))
  })
  await onEach(t, 'an argument that is a header too', async (t, { server, name }, client) => {
    const params = { name: `${name}_regional`, arguments: { region: 'zürich' } }
    const headers = {
      'mcp-param-region': sentinel('zürich'),
      'mcp-param-unknown': 'kept',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      baggage: 'k=v',
    }
    t.equal(text((await client.request('tools/call', params, { headers })).message ?? { raw: '' }), 'zürich')
    if (server !== old) t.match(arrived(server, 'tools/call')[0]?.headers, headers)
    const wrong = await client.request('tools/call', params, { headers: { 'mcp-param-region': 'elsewhere' } })
    t.same([wrong.status, wrong.message?.error?.code], [400, -32020])
    t.equal(arrived(server, 'tools/call').length, 1, 'nothing forwarded')
  })
  await onEach(t, 'a prompt, a resource, a template, a completion', async (t, { server, name }, client) => {
    for (const [method, params] of [
      ['prompts/get', { name: `${name}_p` }],
      ['resources/read', { uri: `${name}:1` }],
      ['resources/read', { uri: `${name}:t/7` }],
      ['completion/complete', { ref: { type: 'ref/prompt', name: `${name}_p` }, argument: { name: 'a', value: 'b' } }],
    ] as const) {
      const { status, message } = await client.request(method, params)
      t.equal(status, 200, String(message?.raw))
      t.equal(message?.result?.['resultType'], 'complete', String(message?.raw))
      if (method === 'resources/read') t.match(message?.result, { ttlMs: 0, cacheScope: 'private' })
      t.equal(arrived(server, method).length > 0, true)
    }
  })
  await onEach(t, 'input is asked for and given', async (t, { server, name }, client) => {
    const first = await client.call(`${name}_elicit`)
    t.equal(first.result?.['resultType'], 'input_required', first.raw)
    const message = await client.complete('tools/call', { name: `${name}_elicit` })
    t.equal(text(message), '{"action":"accept","content":{"who":"me"}}')
    t.equal(server.executions.get('elicit') ?? 0, server === old ? 2 : 3)
  })
  await onEach(t, 'a client that lacks what the tool needs', async (t, { server, name, path }, client) => {
    const { status, message } = await client.request('tools/call', { name: `${name}_picky` })
    if (server === old) t.match([status, text(message ?? { raw: '' })], [200, /"code":-32601/])
    else if (path === 'direct')
      t.match([status, message?.error], [400, { code: -32021, data: { requiredCapabilities: { sampling: {} } } }])
    // What the client has, but may not be used by this server, it is not told to declare.
    else if (server === fresh)
      t.match([status, message?.error], [502, { code: -32603, data: { reason: 'not-allowed' } }])
    else t.match([status, message?.error], [400, { code: -32021, data: { requiredCapabilities: { sampling: {} } } }])
  })
  await onEach(t, 'progress and logs come before the answer', async (t, { name }, client) => {
    for (const sse of [true, false]) {
      const told = await client.request(
        'tools/call',
        { name: `${name}_steps` },
        { progressToken: '"p"', ...(sse && { logLevel: 'debug' }) },
      )
      t.same(
        told.notifications.map(({ method, params }) => [method, params?.['progressToken'] ?? params?.['data']]),
        [
          ['notifications/progress', 'p'],
          ...(sse ? [['notifications/message', 'half']] : []),
          ['notifications/progress', 'p'],
        ],
      )
      t.equal(text(told.message ?? { raw: '' }), 'done')
    }
  })
  await onEach(t, 'a closed stream cancels at the server', async (t, { server, name }, client) => {
    const abort = new AbortController()
    const gone = client.request('tools/call', { name: `${name}_wait` }, { signal: abort.signal, fresh: true })
    gone.catch(() => undefined)
    await server.next(({ message }) => message?.params?.['name'] === 'wait')
    abort.abort()
    t.ok(await server.until(() => (server.cancelled.length > 0 ? true : undefined)))
  })
})

await t.test('refusals reach the client as they are meant', async (t) => {
  await using client = stateless({ url: gateway.url })
  const cases = [
    ['an unknown method', 'no/such', {}, {}, [404, -32601]],
    ['an unknown tool', 'tools/call', { name: 'nope' }, {}, [200, -32602]],
    ['an unknown resource', 'resources/read', { uri: 'nope:1' }, {}, [200, -32602]],
    [
      'another name in the header',
      'tools/call',
      { name: 'new_echo' },
      { headers: { 'mcp-name': 'old_echo' } },
      [400, -32020],
    ],
    ['a revision nobody has', 'tools/list', {}, { protocolVersion: '2099-01-01' }, [400, -32022]],
    ['no capabilities', 'tools/list', {}, { meta: { [meta('clientCapabilities')]: undefined } }, [400, -32602]],
    ['a foreign origin', 'tools/list', {}, { headers: { origin: 'https://evil.example' } }, [403, -32600]],
  ] as const
  for (const [name, method, params, sending, expected] of cases)
    await t.test(name, async (t) => {
      const { status, message } = await client.request(method, params, sending)
      t.same([status, message?.error?.code], expected)
    })
})

await t.test('what is no request', async (t) => {
  const cases = [
    ['GET', { method: 'GET' }, 405],
    ['DELETE', { method: 'DELETE' }, 405],
    ['a notification', { body: '{"jsonrpc":"2.0","method":"notifications/cancelled"}' }, 202],
    ['a response', { body: '{"jsonrpc":"2.0","id":1,"result":{}}' }, 400],
  ] as const
  for (const [name, init, expected] of cases)
    await t.test(name, async (t) => {
      const headers = { ...ACCEPT, 'mcp-protocol-version': '2026-07-28', 'mcp-session-id': 'ignored' }
      const reply = await request(gateway.url, { ...init, headers })
      t.equal(reply.status, expected, reply.text)
      if (expected === 405) t.equal(reply.headers['allow'], 'POST')
    })
})

await t.test('lists are the same for both eras', async (t) => {
  await using modern = stateless({ url: gateway.url })
  await using classic = await connect(gateway.url)
  t.same(await modern.tools(), await classic.tools())
  const { message } = await modern.request('server/discover')
  t.match(message?.result, {
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
  })
})

await t.test('listen streams', async (t) => {
  const named = (method: string) => (message: Message) => message.method === `notifications/${method}`
  const updatedAt = (stream: ListenStream, uri: string): Promise<Message> =>
    stream.next((message) => named('resources/updated')(message) && message.params?.['uri'] === uri)

  await t.test('one stream hears of resources of servers of every era', async (t) => {
    await using client = stateless({ url: gateway.url })
    const uris = ['new:1', 'old:1', 'dual:1']
    const stream = await client.listen({ resourceSubscriptions: [...uris, 'nope:1'] }, { id: '77' })
    t.match(stream.heard[0]?.params, { notifications: { resourceSubscriptions: uris } })
    for (const [name, server] of Object.entries(servers)) {
      await server.until(() =>
        server.notify('notifications/resources/updated', { uri: `${name}:1` }) > 0 ? true : undefined,
      )
      const { raw } = await updatedAt(stream, `${name}:1`)
      t.equal(rawMember(raw, 'params', '_meta', meta('subscriptionId')), '77')
    }
    stream.close()
  })
  for (const [name, server] of Object.entries(servers))
    await t.test(`changed lists of the ${name} server are announced once they are read`, async (t) => {
      await using client = stateless({ url: gateway.url })
      const stream = await client.listen({ toolsListChanged: true })
      server.setTools([...tools, { name: 'late' }])
      await stream.next(named('tools/list_changed'))
      t.ok((await client.tools()).includes(`${name}_late`))
      stream.close()
    })
  await t.test('a stop ends them with a result', async (t) => {
    await using client = stateless({ url: gateway.url })
    const stream = await client.listen({ toolsListChanged: true }, { id: '"last"' })
    const stopped = gateway.stop()
    t.match((await stream.ended).messages.at(-1), { id: 'last', result: { resultType: 'complete' } })
    t.equal(await stopped, 0)
  })
})
