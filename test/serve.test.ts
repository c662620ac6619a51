/** `serve` with Envoys of the operator's own: it dies and comes back, they come and go, answer late or are led astray. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import t, { type Test } from 'tap'
import type { Status } from '../src/admin/status.ts'
import { CLUSTER as CLUSTER_HEADER } from '../src/mcp/headers.ts'
import { bootstrap } from '../src/xds/bootstrap.ts'
import { directCluster } from '../src/xds/names.ts'
import { yamlText } from '../src/xds/render.ts'
import { resources } from '../src/xds/resources.ts'
import { serveXds } from '../src/xds/server.ts'
import { snapshot } from '../src/xds/snapshot.ts'
import { systemCa } from '../src/xds/system-ca.ts'
import { CLUSTER, ROUTES } from '../src/xds/type-url.ts'
import { connectAds } from './support/ads-wire.ts'
import { type Reaction, startBreakableProcessor } from './support/breakable-processor.ts'
import { startEnvoy, temporaryRun } from './support/envoy.ts'
import { freePort } from './support/gateway.ts'
import { type Called, startLoad, succeeded } from './support/load.ts'
import { says, type Tool } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { failures } from './support/processor-failures.ts'
import { ACCEPT, connect, type Reply, request } from './support/raw-client.ts'
import { httpServer, registryOf } from './support/registry-value.ts'
import { startServe } from './support/serve.ts'
import { slowTool } from './support/slow-tool.ts'

const applied = (envoys: number, of: number) => (status: Status) =>
  status.registry.applied.envoys === envoys && status.registry.applied.of === of

await t.test('kill -9 of serve while its Envoy is under load', async (t) => {
  const slow = slowTool()
  const stuck = slowTool()
  const executed: string[] = []
  const echo: Tool = {
    name: 'echo',
    run: ({ arguments: { text } }) => {
      executed.push(String(text))
      return says(String(text))
    },
  }
  await using straight = await serveMcp({ name: 'straight', tools: [echo, slow.tool] })
  await using asking = await serveMcp({ name: 'asking', tools: [echo, stuck.tool] })
  await using serve = await startServe(`sessions: { key: "${randomBytes(32).toString('hex')}" }
servers:
  straight: { url: "${straight.url}", client: [] }
  asking: { url: "${asking.url}" }
`)
  await using envoy = await serve.envoy('own')
  await serve.until('applied', applied(1, 1))
  // It declares elicitation: what it calls at `asking` goes through the broker, at `straight` it does not.
  await using client = await connect(serve.url, { capabilities: { elicitation: {} } })
  t.match(await client.call('straight_echo', { text: 'first' }), { result: says('first') })
  const stream = await client.stream()
  t.equal(stream.status, 200)
  const cut = stream.ended.then(
    () => 'ended',
    () => 'broken',
  )
  const directSlow = client.call('straight_slow')
  await client.next(({ message }) => message.params?.['data'] === 'begun')
  const slowCall = '{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"asking_slow"}}'
  const brokerSlow = client.post(slowCall).then(
    ({ status, text }) => `${status} ${text}`,
    () => 'broken',
  )
  await asking.next(({ text }) => text.includes('"slow"'))

  const load = startLoad(client, ['straight_echo', 'asking_echo'], 8)
  await load.reached(500)
  load.phase = 'dying'
  await serve.kill()
  load.phase = 'dead'
  await load.reached(300, ({ sentIn }) => sentIn === 'dead')
  const before = { straight: straight.received.length, asking: asking.received.length }
  await load.reached(load.calls.length + 300)
  t.same({ straight: straight.received.length, asking: asking.received.length }, before, 'nothing reaches a server')

  t.equal(await cut, 'broken', "clients' streams are the broker's and end with it")
  t.same((await client.stream()).status, 503)
  t.equal(await brokerSlow, 'broken', 'so is what the broker was passing on')
  slow.release()
  t.match(await directSlow, { result: says('at last') }, 'a direct call under way goes on without us')

  load.phase = 'restarting'
  const restartedMs = performance.now()
  await serve.restart()
  const listeningMs = performance.now()
  await load.reached(1, (called) => called.sentIn === 'restarting' && succeeded(called))
  load.phase = 'back'
  const backMs = performance.now()
  await load.reached(300, ({ sentIn }) => sentIn === 'back')
  const calls = await load.stop()
  stuck.release()

  const inPhase = (phase: string) => calls.filter((called) => called.sentIn === phase && called.answeredIn === phase)
  const seen = (those: readonly Called[]) => those.map(({ reply }) => `${reply?.status} ${reply?.text}`)
  for (const phase of ['start', 'back'])
    t.same(seen(inPhase(phase).filter((called) => !succeeded(called))), [], `${phase}: all calls succeed`)
  const dead = inPhase('dead')
  t.ok(dead.length >= 600)
  const clear = ({ reply }: Called, status: (status: number) => boolean) =>
    reply !== undefined &&
    status(reply.status) &&
    reply.headers['content-type'] === 'application/json' &&
    reply.messages[0]?.error?.code === -32603
  t.same(seen(dead.filter((called) => !clear(called, (status) => status === 503))), [], 'closed, with a clear error')
  t.match(dead[0]?.reply?.text, /no decision could be made/)
  const failed = calls.filter((called) => !succeeded(called))
  t.same(seen(failed.filter((called) => !clear(called, (status) => status >= 500))), [], 'so is every other failure')
  t.equal(executed.length, new Set(executed).size, 'no call is executed twice')
  t.same(
    dead.filter(({ text }) => executed.includes(text)),
    [],
  )

  t.equal(await envoy.stat('listener_manager.listener_modified'), 0)
  t.equal(await envoy.stat('listener_manager.total_listeners_draining'), 0)
  t.equal(await envoy.stat('listener_manager.listener_create_success'), 2, 'the same listeners as at its start')
  process.kill(envoy.pid, 0) // throws when it is gone
  await serve.until('applied', applied(1, 1))
  const again = await client.stream()
  t.equal(again.status, 200, 'the session goes on')
  asking.notify('notifications/tools/list_changed')
  t.comment(
    `calls work ${Math.round(backMs - listeningMs)} ms after it listens, ${Math.round(backMs - restartedMs)} ms after its start`,
  )
})

await t.test('SIGTERM: what is under way ends, Envoy goes on', async (t) => {
  const [direct, brokered] = [slowTool(), slowTool()]
  await using straight = await serveMcp({ tools: [direct.tool] })
  await using asking = await serveMcp({ tools: [brokered.tool] })
  await using serve = await startServe(`servers:
  straight: { url: "${straight.url}", client: [] }
  asking: { url: "${asking.url}" }
`)
  await using _envoy = await serve.envoy('own')
  await serve.until('applied', applied(1, 1))
  await using client = await connect(serve.url, { capabilities: { elicitation: {} } })
  const stream = await client.stream()
  // The first opens the session at the server, by way of the broker; the second goes straight.
  const first = client.call('straight_slow')
  await direct.begun(1)
  direct.release()
  t.match(await first, { result: says('at last') })
  const calls = [client.call('straight_slow'), client.call('asking_slow')]
  await Promise.all([direct.begun(2), brokered.begun(1)])

  const ended = serve.child.stop()
  t.equal((await stream.ended).status, 200, 'streams end in order')
  const late = await client.post('{"jsonrpc":"2.0","id":7,"method":"ping"}', { fresh: true })
  t.equal(late.status, 503)
  t.match(late.messages[0], { id: 7, error: { code: -32603, data: { reason: 'stopping' } } })
  brokered.release()
  t.equal(await ended, 0)
  t.match(await calls[1], { result: says('at last') })
  direct.release()
  t.match(await calls[0], { result: says('at last') }, 'a direct call does not need us')
})

await t.test('two Envoys: both are configured, and the broker uses the one that is left', async (t) => {
  await using server = await serveMcp()
  const registry = (more: string) => `servers:\n  one: { url: "${server.url}"${more} }\n`
  await using serve = await startServe(registry(''))
  await using first = await serve.envoy('first')
  await serve.until('applied to the first', applied(1, 1))
  await using second = await serve.envoy('second')
  const both = await serve.until('applied to both', applied(2, 2))
  t.same(
    both.envoys.map((envoy) => [envoy.node, envoy.innerSocket]),
    ['first', 'second'].map((node) => [node, serve.run(node).inner]),
  )
  await Promise.all([first.ready(), second.ready()])
  const inner = (envoy: typeof first) => envoy.stat('http.mcp_inner.downstream_rq_total')

  await using client = await connect(serve.url, { capabilities: { elicitation: {} } })
  // Either may take the client's connection: they listen at the same port.
  const call = () => client.call('one_echo', { text: 'a' }, { fresh: true })
  const before = await inner(second)
  for (let calls = 0; calls < 5; calls += 1) t.match(await call(), { result: says('a') })
  t.equal(await inner(second), before, 'one of them is enough for the broker')
  await serve.write(registry(', prefix: two_, timeout: 7s'))
  await serve.until('the change is at both', ({ registry: { version, applied } }) => {
    return version !== both.registry.version && applied.of === 2 && applied.envoys === 2
  })
  await first[Symbol.asyncDispose]()
  for (let calls = 0; calls < 5; calls += 1)
    t.match(await client.call('two_echo', { text: 'b' }, { fresh: true }), { result: says('b') })
  t.ok((await inner(second)) >= before + 5, 'through the other')
  await serve.until('one is left', applied(1, 1))
  await using again = await serve.envoy('first')
  await serve.until('it is back', applied(2, 2))
  await again.ready()
  t.match(await client.call('two_echo', { text: 'c' }, { fresh: true }), { result: says('c') })
})

await t.test('an Envoy that withholds its acknowledgement', async (t) => {
  await using server = await serveMcp()
  const registry = (prefix: string) => `servers:\n  one: { url: "${server.url}", prefix: ${prefix} }\n`
  await using serve = await startServe(registry('a_'))
  await using slow = connectAds(serve.run('slow').ads, 'slow')
  const [first] = (await serve.until('it is seen', ({ envoys }) => envoys.length === 1)).envoys
  t.match(first, { node: 'slow', applied: false })

  await slow.next(CLUSTER)
  t.match((await serve.status()).registry.applied, { envoys: 0, of: 1 })
  await slow.acknowledge(CLUSTER)
  await slow.next(ROUTES)
  t.match((await serve.status()).registry.applied, { envoys: 0, of: 1 }, 'clusters alone are not all')
  slow.obey(true)
  await serve.until('all is acknowledged', applied(1, 1))

  // Names alone would be none of Envoy's business; the limit is a part of its route.
  slow.obey(false)
  await serve.write(registry('b_, timeout: 7s'))
  await slow.next(ROUTES)
  t.match((await serve.status()).registry.applied, { envoys: 0, of: 1, ms: undefined })
  await serve.child.says(/^applied to 0\/1 Envoy in \d+ ms: changed one$/m)
  await using quick = await serve.envoy('quick')
  const waiting = await serve.until('the other has it', applied(1, 2))
  t.same(
    waiting.envoys.map(({ node, applied }) => [node, applied]),
    [
      ['slow', false],
      ['quick', true],
    ],
  )
  await quick.ready()
  await serve.until('the server can be reached', ({ servers: [one] }) => one?.state === 'up')
  await using client = await connect(serve.url)
  t.match(await client.call('b_echo', { text: 'served' }), { result: says('served') }, 'others are served meanwhile')
  slow.obey(true)
  await serve.until('both have it', applied(2, 2))
  await slow[Symbol.asyncDispose]()
  await serve.until('it is gone', applied(1, 1))
})

/** Answers everything, with headers that no client may see, and counts. */
const listen = async (where: { readonly port: number; readonly host: string } | { readonly path: string }) => {
  const received: string[] = []
  const server = http.createServer((request, response) => {
    received.push(`${request.method} ${request.url}`)
    request.resume().once('end', () => {
      const secret = { 'mcp-session-id': 'of the server', 'set-cookie': 'a=b', 'x-mcp-cluster': 'direct.one' }
      response.writeHead(200, { 'content-type': 'application/json', ...secret })
      response.end('{"jsonrpc":"2.0","id":1,"result":{}}')
    })
  })
  server.listen(where)
  await once(server, 'listening')
  const address = server.address()
  return {
    received,
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Said to the client as an error of its own protocol. */
const refused = (t: Test, { headers, messages, text }: Reply): void => {
  t.equal(headers['content-type'], 'application/json')
  t.match(messages[0]?.error, { code: -32603 }, text)
}

await t.test('our configuration with a processor that breaks', async (t) => {
  await using place = await temporaryRun()
  const { run } = place
  await using server = await listen({ port: 0, host: '127.0.0.1' })
  await using broker = await listen({ path: run.broker })
  await using processor = await startBreakableProcessor(run.extProc)
  await using xds = await serveXds({ socketPath: run.ads, log: { info() {}, warn() {} } })
  const port = await freePort()
  const registry = registryOf(port, [httpServer('one', `http://127.0.0.1:${server.port}/served`)])
  const done = xds.publish(snapshot(resources(registry, run, systemCa())), 20_000)
  const bootstrapYaml = yamlText(bootstrap({ nodeId: 'one', run }))
  await using envoy = await startEnvoy({ bootstrapYaml, adminSocket: run.admin })
  t.match(await done, { envoys: 1, of: 1 })
  await envoy.ready()

  const chosen = { [CLUSTER_HEADER]: directCluster('one') }
  const ask = async (method: 'POST' | 'GET') => {
    const before = { server: server.received.length, broker: broker.received.length }
    const reply = await request(`http://127.0.0.1:${port}/mcp`, {
      method,
      // A client that knows the proof's name is no further for it.
      headers: { ...ACCEPT, ...chosen, 'mcp-session-id': 'of the client' },
      ...(method === 'POST'
        ? { body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one_x"}}' }
        : {}),
    })
    return {
      reply,
      servers: server.received.length - before.server,
      brokers: broker.received.length - before.broker,
      leaks: ['mcp-session-id', 'set-cookie', 'x-mcp-cluster'].filter((name) => reply.headers[name] !== undefined),
    }
  }
  for (const { name, about, script } of failures({ header: CLUSTER_HEADER, cluster: directCluster('one') })) {
    await t.test(`${name} (${about})`, async (t) => {
      processor.script = script
      const { reply, servers, brokers, leaks } = await ask('POST')
      // Our configuration never asks about a response: what a processor would say to one changes nothing.
      t.equal(reply.status, about === 'request' ? 503 : 200)
      t.equal(servers, about === 'request' ? 0 : 1)
      t.equal(brokers, 0)
      t.same(leaks, [])
      if (about === 'request') refused(t, reply)
    })
  }
  const breaks: Readonly<Record<string, readonly (readonly Reaction[])[]>> = {
    'closed in order': [[{ status: 0 }]],
    'a gRPC error': [[{ status: 13 }]],
    killed: [['die']],
    hangs: [['hang']],
  }
  for (const [name, script] of Object.entries(breaks)) {
    await t.test(`a GET: ${name}`, async (t) => {
      processor.script = script
      const { reply, servers, brokers } = await ask('GET')
      t.same([reply.status, servers, brokers], [503, 0, 0])
      refused(t, reply)
    })
  }
  await t.test('gone', async (t) => {
    await processor[Symbol.asyncDispose]()
    const { reply, servers, brokers } = await ask('POST')
    t.same([reply.status, servers, brokers], [503, 0, 0])
    refused(t, reply)
  })
})
