/** `up` under load and under attack: killed, stopped, starved of an answer and given another registry all the time. */
import { readdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Status } from '../src/admin/status.ts'
import { askAdmin } from '../src/envoy/admin.ts'
import { runPaths } from '../src/xds/run-paths.ts'
import { startChild } from './support/child.ts'
import { temporaryRun } from './support/envoy.ts'
import { command, eventually, startGateway } from './support/gateway.ts'
import { startLoad, succeeded } from './support/load.ts'
import { says, standardTools } from './support/mcp-script.ts'
import { type McpServer, serveMcp } from './support/mcp-server.ts'
import { type Process, startedBy, survivors } from './support/processes.ts'
import { connect, request } from './support/raw-client.ts'
import { slowTool } from './support/slow-tool.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const filesystem = `${root}node_modules/@modelcontextprotocol/server-filesystem/dist/index.js`

/** A stdio server that has a process of its own, as those behind `npx` do. */
const withGrandchild = `{ command: sh, args: [-c, 'sleep 86399 & exec node "$0" .', "${filesystem}"] }`

const envoyOf = (processes: readonly Process[]): number => {
  const found = processes.find(({ command: line }) => /^\S*envoy --config-path /.test(line))
  if (found === undefined) throw new Error('no Envoy')
  return found.pid
}

/** Values of counters and gauges of the Envoy under a gateway. */
const statsOf = async ({ envoys: [envoy] }: Status, ...names: readonly string[]): Promise<readonly number[]> => {
  const { innerSocket = '', node = '' } = envoy ?? {}
  const text = await askAdmin(runPaths(dirname(innerSocket), node).admin, 'GET', '/stats')
  return names.map((name) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN))
}

await t.test('kill -9 of up: nothing survives it, and the next one has its ports at once', async (t) => {
  await using server = await serveMcp()
  const registry = `servers:\n  one: { url: "${server.url}" }\n  files: ${withGrandchild}\n`
  // What cannot be tidied up by one that is killed lies here.
  await using place = await temporaryRun()
  const env = { XDG_RUNTIME_DIR: place.directory }
  await using gateway = await startGateway(registry, { env })
  await gateway.settled()
  const processes = await startedBy(gateway.pid)
  const lines = processes.map(({ command: line }) => line).join('\n')
  for (const part of ['envoy --config-path', 'server-filesystem', 'sleep 86399']) t.match(lines, part)

  const load = startLoad(await connect(gateway.url), ['one_echo'], 4)
  await load.reached(200)
  await gateway.stop('SIGKILL')
  t.same(await survivors(processes, 2_000), [])
  await load.stop()

  const startedMs = performance.now()
  const { host, port } = new URL(gateway.admin)
  const args = ['up', gateway.file, '--listen', new URL(gateway.url).host, '--admin', host]
  await using next = startChild([...command, ...args], { env, cwd: root })
  await eventually('ready', next, async () => {
    const reply = await request(`${gateway.admin}/ready`, { fresh: true }).catch(() => undefined)
    return reply?.status === 200 || undefined
  })
  t.comment(`ready ${Math.round(performance.now() - startedMs)} ms after its start, on port ${port} again`)
  const client = await connect(gateway.url)
  t.match(await client.call('one_echo', { text: 'again' }), { result: says('again') })
  t.match(await client.call('files_list_directory', { path: '.' }), { result: { content: [{ type: 'text' }] } })
  const after = await startedBy(next.pid)
  t.equal(await next.stop(), 0)
  t.same(await survivors(after, 2_000), [], 'SIGTERM leaves nothing either')
  t.equal((await readdir(place.directory)).length, 1, 'not even its directory')
})

await t.test('kill -9 of Envoy: it is started again, and sessions go on', async (t) => {
  await using server = await serveMcp()
  const registry = `servers:
  one: { url: "${server.url}", client: [] }
  two: { url: "${server.url}" }
  files: ${withGrandchild}
`
  await using gateway = await startGateway(registry)
  await gateway.settled()
  await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
  const sessions = async () => {
    const texts = []
    // Straight from Envoy, and by way of the broker.
    for (const tool of ['one_session', 'two_session']) texts.push((await client.call(tool, {}, { fresh: true })).result)
    return texts
  }
  const before = await sessions()
  t.not(JSON.stringify(before[0]), JSON.stringify(before[1]))
  const stream = await client.stream()
  const cut = stream.ended.then(
    () => 'ended',
    () => 'broken',
  )
  const processes = await startedBy(gateway.pid)
  const load = startLoad(client, ['one_echo', 'two_echo'], 4)
  await load.reached(100)
  load.phase = 'killing'
  process.kill(envoyOf(processes), 'SIGKILL')
  t.equal(await cut, 'broken')
  await gateway.child.says(/Envoy ended \(killed by SIGKILL\); starting it again/)
  const killedMs = performance.now()
  load.phase = 'killed'
  await load.reached(1, (called) => called.sentIn === 'killed' && succeeded(called))
  t.comment(`calls work again ${Math.round(performance.now() - killedMs)} ms later`)
  load.phase = 'back'
  await load.reached(200, ({ sentIn }) => sentIn === 'back')
  const calls = await load.stop()
  t.same(
    calls.filter((called) => called.sentIn === 'back' && !succeeded(called)),
    [],
  )
  t.same(await sessions(), before, 'the same sessions at the servers')
  t.equal((await client.stream()).status, 200)
  const ofClient = [...server.sessions.values()].filter(({ clientInfo }) => clientInfo['name'] === 'raw-client')
  t.equal(ofClient.length, 2, 'and no others')
  t.match(await client.call('files_list_directory', { path: '.' }), { result: { content: [{ type: 'text' }] } })
  const after = await startedBy(gateway.pid)
  t.not(envoyOf(after), envoyOf(processes))
  const others = processes.filter(({ command: line }) => !line.includes('--config-path'))
  t.same(
    others.filter(({ pid }) => !after.some((one) => one.pid === pid)),
    [],
    'nothing else was touched',
  )
})

await t.test('SIGTERM: calls under way end, nothing new begins', async (t) => {
  const [direct, brokered] = [slowTool(), slowTool()]
  await using straight = await serveMcp({ tools: [direct.tool, { name: 'echo' }] })
  await using asking = await serveMcp({ tools: [brokered.tool] })
  await using gateway = await startGateway(
    `servers:
  straight: { url: "${straight.url}", client: [] }
  asking: { url: "${asking.url}" }
  files: ${withGrandchild}
`,
  )
  await gateway.settled()
  await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
  t.match(await client.call('straight_echo'), { result: says('fixture:echo') })
  const stream = await client.stream()
  const calls = [client.call('straight_slow'), client.call('asking_slow')]
  await Promise.all([direct.begun(1), brokered.begun(1)])
  const processes = await startedBy(gateway.pid)

  const executed = straight.executions.get('echo')
  const ended = gateway.stop()
  t.equal((await stream.ended).status, 200, 'a stream holds nothing up')
  for (const fresh of [true, false]) {
    const { reply } = await client.send('tools/call', { name: 'straight_echo' }, { fresh })
    t.equal(reply.status, 503)
    t.match(reply.messages[0]?.error, { code: -32603, data: { reason: 'stopping' } })
  }
  const opening =
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}'
  t.equal((await client.post(opening)).status, 503, 'nor does a session')
  t.equal(straight.executions.get('echo'), executed)
  direct.release()
  t.match(await calls[0], { result: says('at last') })
  t.equal(gateway.child.exit, undefined, 'it waits for all of them')
  brokered.release()
  t.match(await calls[1], { result: says('at last') })
  t.equal(await ended, 0)
  t.same(await survivors(processes, 2_000), [])
})

await t.test('a second signal ends it at once', async (t) => {
  const slow = slowTool()
  await using server = await serveMcp({ tools: [slow.tool] })
  await using place = await temporaryRun() // nothing is tidied up, either
  const env = { XDG_RUNTIME_DIR: place.directory }
  await using gateway = await startGateway(`servers:\n  one: { url: "${server.url}" }\n`, { env })
  await gateway.settled()
  await using client = await connect(gateway.url)
  const stream = await client.stream()
  const lost = client.call('one_slow').catch(() => 'lost')
  await slow.begun(1)
  const processes = await startedBy(gateway.pid)
  process.kill(gateway.pid, 'SIGTERM')
  await stream.ended
  t.equal(await gateway.stop('SIGTERM'), 143)
  t.equal(await lost, 'lost')
  t.same(await survivors(processes, 2_000), [])
})

await t.test('an Envoy that does not answer keeps up and /status at 0/1', async (t) => {
  await using server = await serveMcp()
  const registry = (more: string) => `servers:\n  one: { url: "${server.url}"${more} }\n`
  await using gateway = await startGateway(registry(''))
  await gateway.settled()
  const envoy = envoyOf(await startedBy(gateway.pid))
  process.kill(envoy, 'SIGSTOP')
  await gateway.write(registry(', timeout: 7s'))
  await gateway.child.says(/^applied to 0\/1 Envoy in \d+ ms: changed one$/m)
  t.match((await gateway.status()).registry.applied, { envoys: 0, of: 1 })
  process.kill(envoy, 'SIGCONT')
  await eventually('1/1', gateway.child, async () => {
    const { applied } = (await gateway.status()).registry
    return applied.envoys === 1 || undefined
  })
  await gateway.edit(registry(', timeout: 8s'))
  await gateway.child.says(/^applied to 1\/1 Envoy in \d+ ms: changed one$/m)
})

/** Numbers from 0 to 1 that are the same in every run (a linear congruential generator). */
const seeded = (seed: number) => (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

const RELOADS = 200
const CALLS = 5_000

/** Adds, changes and removes servers at random: the registry's lines, and the names its tools have. */
const changingServers = (backends: readonly McpServer[], random: () => number) => {
  const pick = <T>(list: readonly T[]): T => {
    const found = list[Math.floor(random() * list.length)]
    if (found === undefined) throw new Error('nothing to pick from')
    return found
  }
  const servers = new Map<string, { readonly line: string; readonly tools: readonly string[] }>()
  const own = standardTools.map(({ name }) => name)
  const counts = { added: 0, changed: 0, removed: 0 }
  let edits = 0
  const define = (name: string): void => {
    edits += 1
    const prefix = pick(['', 'x_']) + name + '_'
    const excluded = pick([[], ['odd'], ['odd', 'big']])
    // The limit is new each time: no edit leaves Envoy's resources as they are.
    const line = `${name}: { url: "${pick(backends).url}", timeout: ${1_000 + edits}ms, prefix: ${prefix}, tools: { exclude: [${excluded.join(', ')}] }, client: ${pick(['[]', '[elicitation]'])} }`
    servers.set(name, { line, tools: own.filter((tool) => !excluded.includes(tool)).map((tool) => prefix + tool) })
  }
  return {
    counts,
    edit(): void {
      const name = `s${Math.floor(random() * 8)}`
      if (!servers.has(name)) counts.added += 1
      else if (random() < 0.5) counts.changed += 1
      else {
        counts.removed += 1
        servers.delete(name)
        return
      }
      define(name)
    },
    lines: () => [...servers.values()].map(({ line }) => `  ${line}\n`).join(''),
    tools: () => [...servers.values()].flatMap(({ tools }) => tools),
  }
}

await t.test(`${RELOADS} reloads under ${CALLS} calls`, async (t) => {
  await using steady = await serveMcp()
  await using backend = await serveMcp()
  await using another = await serveMcp()
  const changing = changingServers([backend, another], seeded(1))
  const registry = () => `servers:
  straight: { url: "${steady.url}", client: [] }
  asking: { url: "${steady.url}" }
${changing.lines()}`
  await using gateway = await startGateway(registry())
  const started = await gateway.settled()
  const envoy = envoyOf(await startedBy(gateway.pid))
  await using client = await connect(gateway.url, { capabilities: { elicitation: {} } })
  const stream = await client.stream()
  t.equal(stream.status, 200)
  let broken: unknown
  stream.ended.then(
    () => (broken = 'ended'),
    (error: unknown) => (broken = error),
  )
  const load = startLoad(client, ['straight_echo', 'asking_echo'], 4)
  const durations: number[] = []
  for (let reload = 1; reload <= RELOADS; reload += 1) {
    changing.edit()
    const savedMs = performance.now()
    await gateway.edit(registry())
    durations.push(performance.now() - savedMs)
    // Neither runs away from the other.
    await load.reached((CALLS / RELOADS) * reload)
  }
  const calls = await load.stop()
  t.ok(calls.length >= CALLS)
  t.same(
    calls.filter((called) => !succeeded(called)).map(({ reply }) => `${reply?.status} ${reply?.text}`),
    [],
    'no call failed',
  )
  t.ok(Math.min(...Object.values(changing.counts)) > 30, JSON.stringify(changing.counts))

  await gateway.settled()
  const expected = ['straight', 'asking'].flatMap((name) => standardTools.map((tool) => `${name}_${tool.name}`))
  t.same(await client.tools(), [...expected, ...changing.tools()], 'the last registry is in force')
  t.equal(broken, undefined, 'the stream is open')
  const heard = client.heard.length
  steady.setTools([...standardTools, { name: 'new' }])
  await client.next((one) => client.heard.indexOf(one) >= heard)
  t.match(client.heard.at(-1), { on: 'get', message: { method: 'notifications/tools/list_changed' } })

  const status = await gateway.status()
  t.match(status.registry.applied, { envoys: 1, of: 1 })
  t.same(
    status.envoys.flatMap(({ nacks }) => nacks),
    [],
  )
  t.equal(status.envoys[0]?.connectedSince, started.envoys[0]?.connectedSince, 'one ADS stream')
  t.equal(envoyOf(await startedBy(gateway.pid)), envoy)
  const stats = ['listener_modified', 'total_listeners_draining', 'listener_removed', 'lds.update_rejected']
  t.same(await statsOf(status, ...stats.map((name) => `listener_manager.${name}`)), [0, 0, 0, 0])
  const sorted = durations.toSorted((a, b) => a - b)
  t.comment(
    `${calls.length} calls; save to applied: p50 ${Math.round(sorted[100] ?? 0)} ms, longest ${Math.round(sorted.at(-1) ?? 0)} ms`,
  )
})
