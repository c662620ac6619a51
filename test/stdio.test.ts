/** Servers that are child processes, behind the gateway: one process, many clients, and nothing of one reaches another. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { eventually, startGateway } from './support/gateway.ts'
import { says } from './support/mcp-script.ts'
import type { ClientOptions, RawClient } from './support/raw-client.ts'
import { connect, rpc, stateless } from './support/raw-client.ts'
import type { Message } from './support/raw-json.ts'
import { rawMember } from './support/raw-json.ts'
import { play, registry, sample } from './support/stage.ts'

const script = fileURLToPath(new URL('./support/stdio-server.mjs', import.meta.url))
const server = (more: Readonly<Record<string, unknown>> = {}, ...args: readonly string[]) => ({
  command: process.execPath,
  args: [script, ...args],
  ...more,
})
const one = registry({ s: server({ env: { TOKEN: 'of ${SECRET_OF_THE_GATEWAY}' } }, 'one', 'two') })
await using gateway = await startGateway(one, {
  args: ['--log-level', 'info'],
  env: { SECRET_OF_THE_GATEWAY: 'hush', LC_TEST: 'C' },
})
await gateway.settled()

const textOf = (message: Message): string => {
  const content: unknown = message.result?.['content']
  return Array.isArray(content) ? String(content[0]?.text) : message.raw
}
const about = async (client: RawClient) => JSON.parse(textOf(await client.call('s_about')))
const stateOf = async (name: string) => (await gateway.status()).servers.find((one) => one.name === name)

/** A zombie is dead: it only waits for someone to ask. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux' || !/\) [ZX] /u.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
const dies = (pid: number) =>
  eventually(`process ${pid} ends`, gateway.child, async () => (isAlive(pid) ? undefined : true))

/** Two clients that send the same ids and tokens. */
const twins = async (options: ClientOptions = {}) =>
  [await connect(gateway.url, options), await connect(gateway.url, options)] as const
/** Resolves once a tool that counts says so many. */
const counts = (client: RawClient, tool: string, wanted: number) =>
  eventually(`${tool} says ${wanted}`, gateway.child, async () =>
    textOf(await client.call(tool)) === String(wanted) ? true : undefined,
  )

await t.test('a process of its own', async (t) => {
  await using client = await connect(gateway.url)
  t.match(await stateOf('s'), {
    kind: 'stdio',
    state: 'up',
    era: { eras: ['stateful'], how: 'probed' },
    paths: { stateful: 'broker', stateless: 'translated' },
    protocolVersion: '2025-11-25',
  })
  t.match((await client.call('s_echo', { text: 'hi' })).result, says('hi'))
  t.match((await client.call('s_nobody')).error, { code: -32602 })
  await t.test('it is told what the registry says, and where it is', async (t) => {
    const { cwd, args, pid } = await about(client)
    t.same(args, ['one', 'two'])
    t.equal(cwd, gateway.dir)
    t.ok(isAlive(pid))
  })
  await t.test('of the environment it sees what is allowed and what is named', async (t) => {
    const env = JSON.parse(textOf(await client.call('s_env')))
    t.equal(env.TOKEN, 'of hush')
    t.equal(env.PATH, process.env['PATH'])
    // The guarding shell, macOS and tap put their own into every process.
    const allowed =
      /^(TOKEN|PATH|HOME|LANG|LC_[A-Z]+|PWD|OLDPWD|SHLVL|_|__CF_USER_TEXT_ENCODING|_TAPJS_.*|NODE_OPTIONS)$/
    t.same(
      Object.keys(env).filter((name) => !allowed.test(name)),
      [],
    )
    t.notOk(JSON.stringify(Object.entries(env).filter(([name]) => name !== 'TOKEN')).includes('hush'))
    t.equal(env.LC_TEST, 'C')
  })
  await t.test('bytes arrive as they were sent, but for id, token and name', async (t) => {
    const body = (id: string, token: string, name: string) =>
      `{"id":${id}, "jsonrpc":"2.0","method":"tools/call","params":{"_meta":{"progressToken":${token},"x":1.0},"arguments":{"name":"s_raw","n":9007199254740993,"f":1.0,"ü":"\\u00fc🙂"},"name":"${name}"}}`
    const sent = body('9007199254740993', '"tok"', 's_raw')
    const { message } = await client.send('', undefined, { id: '9007199254740993', raw: sent })
    const line = textOf(message)
    const own = rawMember(line, 'id') ?? ''
    t.equal(line, body(own, own, 'raw'))
    t.equal(
      (await client.call('s_odd', {}, { id: '"\\u0061"' })).raw,
      '{"jsonrpc":"2.0","id":"\\u0061","result":{"content":[],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x":[ 1 ]}}',
    )
    const lines = `${sent.replaceAll(',', ',\r\n')}\n`
    t.match((await client.send('', undefined, { id: '9007199254740993', raw: lines })).message.result, {
      content: [{ text: /9007199254740993/ }],
    })
  })
  await t.test('what it says on standard error is in the log, under its name', async (t) => {
    const [line] = await gateway.child.says(/^.*"msg":"started".*$/m)
    t.match(JSON.parse(line), { server: 's', from: 'stderr' })
    t.notMatch(gateway.log(), 'hush')
  })
})

await t.test('many clients', async (t) => {
  await t.test('each gets its own answers and its own progress', async (t) => {
    const clients = await twins()
    const held = clients.map((client, at) =>
      client.send('tools/call', `{"name":"s_hold","arguments":{"text":${at}},"_meta":{"progressToken":1}}`, {
        id: '1',
      }),
    )
    await counts(clients[0], 's_held', 2)
    await clients[0].call('s_release')
    for (const [at, answer] of (await Promise.all(held)).entries()) {
      t.match(answer.message, { id: 1, result: says(String(at)) })
      t.same(
        clients[at]?.heard.map(({ message: { method, params } }) => [method, params]),
        [['notifications/progress', { progressToken: 1, progress: at }]],
      )
    }
  })
  await t.test("a cancellation stops the client's own call", async (t) => {
    const [first, second] = await twins()
    const stopped = first.call('s_wait', {}, { id: '1' })
    const going = second.call('s_wait', {}, { id: '1' })
    await counts(first, 's_waiting', 2)
    await first.notify('notifications/cancelled', { requestId: 1 })
    t.match((await stopped).result, says('stopped'))
    await counts(second, 's_waiting', 1)
    await second.notify('notifications/cancelled', { requestId: 1 })
    t.match((await going).result, says('stopped'))
  })
  await t.test('the one that calls can be asked; when two call, nobody is', async (t) => {
    const answers = { 'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada' } }) }
    const [first, second] = await twins({ capabilities: { elicitation: {} }, answers })
    t.match((await first.call('s_elicit')).result, says('{"action":"accept","content":{"name":"Ada"}}'))
    t.match(first.heard, [{ on: 'post', message: { params: { message: '[s] who?' } } }])
    const held = second.call('s_hold', { text: 'x' })
    await counts(second, 's_held', 1)
    t.match((await first.call('s_elicit')).result, { content: [{ text: /"code":-32603.*which client is meant/ }] })
    t.same([first.heard.length, second.heard.length], [1, 0])
    await second.call('s_release')
    await held
    t.match((await second.call('s_elicit')).result, says('{"action":"accept","content":{"name":"Ada"}}'))
  })
  await t.test(
    'each hears what is serious enough for it; the process is told what the most curious one wants',
    async (t) => {
      const [calm, curious] = await twins()
      const told = async (): Promise<unknown> =>
        JSON.parse(textOf(await calm.call('s_seen'))).findLast(
          ({ method }: { readonly method?: string }) => method === 'logging/setLevel',
        )?.params
      await calm.call('s_echo')
      await calm.send('logging/setLevel', { level: 'error' })
      await eventually('it is told', gateway.child, told)
      t.same(await told(), { level: 'error' })
      for (const client of [calm, curious]) await client.call('s_log', { text: 'x' })
      t.same(calm.heard, [])
      t.match(curious.heard, [{ message: { method: 'notifications/message', params: { level: 'warning' } } }])
      for (const client of [calm, curious]) await client[Symbol.asyncDispose]()
    },
  )
  await t.test('who subscribed hears of a resource, and nobody else', async (t) => {
    const [first, second] = await twins()
    for (const client of [first, second]) await client.stream()
    t.same((await first.send('resources/subscribe', { uri: 'x:1' })).message.result, {})
    await first.call('s_touch')
    await first.next(({ message: { method } }) => method === 'notifications/resources/updated')
    await second.send('resources/subscribe', { uri: 'x:1' })
    t.same((await first.send('resources/unsubscribe', { uri: 'x:1' })).message.result, {})
    await first.call('s_touch')
    await second.next(({ message: { method } }) => method === 'notifications/resources/updated')
    t.same([first.heard.length, second.heard.length], [1, 1])
    const seen = JSON.parse(textOf(await first.call('s_seen')))
    const methods: readonly string[] = seen.map(({ method }: { readonly method?: string }) => method)
    t.notOk(methods.includes('resources/unsubscribe'), 'the other one still wants it')
    for (const client of [first, second]) await client[Symbol.asyncDispose]()
  })
})

await t.test('clients and processes of both eras', async (t) => {
  await play(gateway, registry({ s: server(), n: server({ env: { ERA: 'stateless' }, resources: { prefix: true } }) }))
  t.match(await stateOf('n'), {
    kind: 'stdio',
    state: 'up',
    era: { eras: ['stateless'], how: 'probed' },
    paths: { stateful: 'translated', stateless: 'broker' },
    protocolVersion: '2026-07-28',
  })
  const accepted = { action: 'accept', content: { name: 'Ada' } }
  const options = { capabilities: { elicitation: {} }, answers: { 'elicitation/create': () => accepted } }
  for (const [name, uri] of [
    ['s', 'x:1'],
    ['n', 'n+x:1'],
  ] as const) {
    await t.test(`a stateful client and ${name}`, async (t) => {
      await using client = await connect(gateway.url, options)
      await t.test('calls, with progress under its own token', async (t) => {
        const held = client.send(
          'tools/call',
          `{"name":"${name}_hold","arguments":{"text":7},"_meta":{"progressToken":"mine"}}`,
        )
        await counts(client, `${name}_held`, 1)
        await client.call(`${name}_release`)
        t.match((await held).message.result, says('7'))
        t.match(client.heard, [{ message: { method: 'notifications/progress', params: { progressToken: 'mine' } } }])
        t.notMatch((await held).message.raw, /resultType|modelcontextprotocol/)
      })
      await t.test('is asked, and answers', async (t) => {
        t.match(textOf(await client.call(`${name}_elicit`)), JSON.stringify(accepted))
        t.match(client.heard.at(-1), { message: { params: { message: `[${name}] who?` } } })
      })
      await t.test('cancels', async () => {
        const before = Number(textOf(await client.call(`${name}_cancelled`)))
        const waiting = client.post(rpc('"w"', 'tools/call', { name: `${name}_wait` }))
        await counts(client, `${name}_waiting`, 1)
        await client.notify('notifications/cancelled', { requestId: 'w' })
        await counts(client, `${name}_cancelled`, before + 1)
        await waiting
      })
      await t.test('hears of resources it subscribed to, and of tools', async (t) => {
        await client.stream()
        t.same((await client.send('resources/subscribe', { uri })).message.result, {})
        await client.call(`${name}_touch`)
        const { message } = await client.next(({ message: { method } }) => method === 'notifications/resources/updated')
        t.same(message.params, { uri })
        await client.call(`${name}_grow`)
        await client.next(({ message: { method } }) => method === 'notifications/tools/list_changed')
      })
    })
    await t.test(`a stateless client and ${name}`, async (t) => {
      await using client = stateless({ url: gateway.url, ...options })
      await t.test('calls, with progress under its own token', async (t) => {
        const held = client.request(
          'tools/call',
          { name: `${name}_hold`, arguments: { text: 7 } },
          { progressToken: '"mine"' },
        )
        await eventually('it is held', gateway.child, async () =>
          textOf(await client.call(`${name}_held`)) === '1' ? true : undefined,
        )
        await client.call(`${name}_release`)
        t.match(await held, {
          message: { result: { ...says('7'), resultType: 'complete' } },
          notifications: [{ method: 'notifications/progress', params: { progressToken: 'mine' } }],
        })
      })
      await t.test('is asked, and answers', async (t) => {
        const done = await client.complete('tools/call', { name: `${name}_elicit`, arguments: {} })
        t.match(textOf(done), JSON.stringify(accepted))
      })
      await t.test('gives up', async () => {
        const cancelled = async () => Number(textOf(await client.call(`${name}_cancelled`)))
        const before = await cancelled()
        const ending = new AbortController()
        const waiting = client
          .request('tools/call', { name: `${name}_wait`, arguments: {} }, { signal: ending.signal, fresh: true })
          .catch(() => undefined)
        await eventually('it waits', gateway.child, async () =>
          textOf(await client.call(`${name}_waiting`)) === '1' ? true : undefined,
        )
        ending.abort()
        await waiting
        await eventually('it is cancelled', gateway.child, async () =>
          (await cancelled()) === before + 1 ? true : undefined,
        )
      })
      await t.test('listens to tools and resources', async (t) => {
        const stream = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
        t.match(stream.heard[0], {
          method: 'notifications/subscriptions/acknowledged',
          params: { notifications: { toolsListChanged: true, resourceSubscriptions: [uri] } },
        })
        await client.call(`${name}_grow`)
        await stream.next(({ method }) => method === 'notifications/tools/list_changed')
        await client.call(`${name}_touch`)
        t.match((await stream.next(({ method }) => method === 'notifications/resources/updated')).params, { uri })
        stream.close()
      })
    })
  }
  await play(gateway, one)
})

await t.test('ends', async (t) => {
  await t.test('a crash: who waits is told, the process is started again, and that shows', async (t) => {
    await using client = await connect(gateway.url)
    const before = await about(client)
    const waiting = client.post(rpc('"w"', 'tools/call', { name: 's_wait' }))
    await counts(client, 's_waiting', 1)
    const reply = await client.post(rpc('7', 'tools/call', { name: 's_crash' }))
    for (const [answer, id] of [
      [reply, 7],
      [await waiting, 'w'],
    ] as const)
      t.match(answer, {
        status: 502,
        messages: [{ id, error: { code: -32603, data: { reason: 'server-down', server: 's' } } }],
      })
    const down = await eventually('it is down', gateway.child, async () => {
      const state = await stateOf('s')
      return state?.state === 'down' ? state : undefined
    })
    t.match(down.lastError, /3.*oh no/)
    t.ok((await client.tools()).includes('s_echo'), 'its tools stay')
    await eventually('it is up', gateway.child, async () => ((await stateOf('s'))?.state === 'up' ? true : undefined))
    t.not((await about(client)).pid, before.pid)
    t.equal(sample(await gateway.metrics(), 'mcp_gateway_stdio_restarts_total', { server: 's' }), 1)
  })
  await t.test('a reload leaves it alone unless its own entry changes', async (t) => {
    await using client = await connect(gateway.url)
    const before = await about(client)
    await play(gateway, one.replace('"command"', '"description":"x","timeout":"50s","command"'))
    t.equal((await about(client)).pid, before.pid)
    await play(gateway, one.replace('"two"', '"three"'))
    const after = await about(client)
    t.not(after.pid, before.pid)
    t.same(after.args, ['one', 'three'])
    await dies(before.pid)
  })
  await t.test('a removed one is killed with all it started', async (t) => {
    await using client = await connect(gateway.url)
    const { pid } = await about(client)
    const child = Number(textOf(await client.call('s_child')))
    t.ok(isAlive(child))
    await gateway.edit(registry({ other: server() }))
    await dies(pid)
    await dies(child)
    t.match((await client.call('s_echo')).error, { code: -32602 })
  })
  await t.test('one that cannot start is down, and says why', async (t) => {
    await play(gateway, registry({ other: server(), bad: server({}, 'broken'), none: { command: 'no-such-program' } }))
    t.match(await stateOf('bad'), { state: 'down', lastError: /cannot start/ })
    t.match(await stateOf('none'), { state: 'down', lastError: /no-such-program/ })
    await using client = await connect(gateway.url)
    t.match((await client.call('other_echo', { text: 'hi' })).result, says('hi'))
  })
  await t.test('none outlives the gateway', async (t) => {
    await using client = await connect(gateway.url)
    const { pid } = JSON.parse(textOf(await client.call('other_about')))
    t.equal(await gateway.stop(), 0)
    t.notOk(isAlive(pid))
  })
})
