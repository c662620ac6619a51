/** Child processes and the two eras: how it is found out which one a process speaks, and what a pipe needs that HTTP does not. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { nobody } from '../src/clients/caller.ts'
import type { Era } from '../src/mcp/versions.ts'
import type { StdioServer } from '../src/registry/model.ts'
import { type StdioProcess, spawnStdio } from '../src/upstreams/stdio-process.ts'
import { stdioUpstream } from '../src/upstreams/stdio-upstream.ts'
import type { Outcome, StatelessCall } from '../src/upstreams/upstream.ts'
import { httpServer } from './support/registry-value.ts'
import { waitingRoom } from './support/waiting-room.ts'

const script = fileURLToPath(new URL('./support/stdio-server.mjs', import.meta.url))
const quiet = { info: () => undefined, warn: () => undefined }

/** A server that behaves like this, as the registry names it. */
const entry = (behaviour: string, changes: Partial<StdioServer> = {}): StdioServer => {
  const { endpoint: _endpoint, transport: _transport, tls: _tls, ...served } = httpServer('s', 'http://x/')
  return {
    ...served,
    kind: 'stdio',
    command: process.execPath,
    args: [script],
    env: new Map([['ERA', behaviour]]),
    cwd: process.cwd(),
    ...changes,
  }
}

const started = async (server: StdioServer) => {
  const { until, wake } = waitingRoom()
  const processes: StdioProcess[] = []
  const sent: string[] = []
  const upstream = stdioUpstream(
    server,
    async ({ name, command, args, cwd, env }, onMessage) => {
      const options = { name, command, args, cwd, env, inherited: process.env, log: quiet, onMessage }
      const child = await spawnStdio(options)
      processes.push(child)
      return {
        ...child,
        send(message) {
          sent.push(String(message))
          return child.send(message)
        },
      }
    },
    '1.0.0',
    { changed: wake, capped: () => undefined, shared: () => undefined, message: () => undefined },
  )
  await upstream.settled
  return {
    upstream,
    until,
    processes,
    /** The methods of what was sent to it, in order. */
    get methods(): readonly string[] {
      return sent.map((line) => String(JSON.parse(line).method))
    },
    [Symbol.asyncDispose]: () => upstream.close(),
  }
}
type Stage = Awaited<ReturnType<typeof started>>

const meta = (more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
    ...more,
  }).slice(1, -1)

interface Sending {
  readonly id?: string
  readonly args?: string
  /** More of `_meta`. */
  readonly more?: Readonly<Record<string, unknown>>
  readonly onMessage?: StatelessCall['onMessage']
  readonly signal?: AbortSignal
}

const pass = ({ upstream }: Pick<Stage, 'upstream'>, tool: string, sending: Sending = {}): Promise<Outcome> => {
  const { id = '1', args = '{}', more, onMessage = () => undefined, signal = new AbortController().signal } = sending
  const params = `{"name":"${tool}","arguments":${args},"_meta":{${meta(more)}}}`
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`)
  return upstream.pass({ caller: nobody, id, method: 'tools/call', body, headers: {}, onMessage, signal })
}
const says = (outcome: Outcome): string => {
  const body = outcome.kind === 'answered' ? outcome.body.toString() : outcome.detail
  return outcome.kind === 'answered' ? String(JSON.parse(body).result?.content?.[0]?.text ?? body) : body
}
/** Resolves once the tool that counts says so many. */
const counts = async (stage: Stage, tool: string, wanted: number): Promise<void> => {
  while (says(await pass(stage, tool, { id: '"count"' })) !== String(wanted)) continue
}

await t.test('what it speaks', async (t) => {
  // biome-ignore format: a table
  const rows: readonly (readonly [name: string, behaviour: string, pinned: Era | undefined, era: Era, methods: readonly string[], starts: number])[] = [
    ['the new era', 'stateless', undefined, 'stateless', ['server/discover'], 1],
    ['the old era', 'stateful', undefined, 'stateful', ['server/discover', 'initialize', 'notifications/initialized'], 1],
    ['the old era, saying nothing to what it does not know', 'mute', undefined, 'stateful', ['server/discover', 'initialize', 'notifications/initialized'], 1],
    ['the old era, agreeing to what it does not know', 'vague', undefined, 'stateful', ['server/discover', 'initialize', 'notifications/initialized'], 1],
    ['the old era, naming its revisions', 'older', undefined, 'stateful', ['server/discover', 'initialize', 'notifications/initialized'], 1],
    ['the new era, as the registry says', 'stateless', 'stateless', 'stateless', ['server/discover'], 1],
    ['the old era, as the registry says', 'stateful', 'stateful', 'stateful', ['initialize', 'notifications/initialized'], 1],
  ]
  for (const [name, behaviour, pinned, era, methods, starts] of rows)
    await t.test(name, async (t) => {
      await using stage = await started(entry(behaviour, pinned === undefined ? {} : { era: pinned }))
      await stage.until(() => (stage.upstream.status().state === 'up' ? true : undefined))
      t.match(stage.upstream.era(), { eras: [era], how: pinned === undefined ? 'probed' : 'pinned' })
      t.match(stage.upstream.catalogue(), {
        eras: [era],
        protocolVersion: era === 'stateful' ? '2025-11-25' : '2026-07-28',
      })
      t.same(stage.methods.slice(0, methods.length), methods)
      t.notOk(stage.methods.slice(methods.length).includes('initialize'))
      t.equal(stage.processes.length, starts)
    })
  await t.test(
    'one that ends at the first word it does not know is started again and spoken to in the old era',
    async (t) => {
      await using stage = await started(entry('shy'))
      await stage.until(() => (stage.upstream.status().state === 'up' ? true : undefined))
      t.match(stage.upstream.era(), { eras: ['stateful'], how: 'probed' })
      t.equal(stage.processes.length, 2)
      t.same(stage.methods.slice(0, 3), ['server/discover', 'initialize', 'notifications/initialized'])
    },
  )
  const refused: readonly (readonly [string, string, Era | undefined, RegExp])[] = [
    ['revisions to come', 'newer', undefined, /speaks 2099-01-01/],
    ['the old era, where the registry says the new one', 'stateful', 'stateless', /Method not found/],
    ['the new era, where the registry says the old one', 'stateless', 'stateful', /no revision in _meta/],
  ]
  for (const [name, behaviour, pinned, reason] of refused)
    await t.test(name, async (t) => {
      await using stage = await started(entry(behaviour, pinned === undefined ? {} : { era: pinned }))
      t.match(stage.upstream.status(), { state: 'down', lastError: reason })
      t.equal(stage.upstream.era(), undefined)
      t.match(await pass(stage, 'echo'), { kind: 'failed', reason: 'server-down', detail: reason })
    })
  await t.test('the registry says it later: it is started again only when it speaks the other one', async (t) => {
    await using stage = await started(entry('stateless'))
    stage.upstream.update(entry('stateless', { era: 'stateless' }))
    t.match(stage.upstream.era(), { eras: ['stateless'], how: 'pinned' })
    t.equal(says(await pass(stage, 'echo', { args: '{"text":"a"}' })), 'a')
    t.equal(stage.processes.length, 1)
    stage.upstream.update(entry('stateless', { era: 'stateful' }))
    await stage.until(() => (/no revision/.test(stage.upstream.status().lastError ?? '') ? true : undefined))
    t.equal(stage.processes.length, 2)
  })
  await t.test('a stateless request is not for a server of the old era', async (t) => {
    await using stage = await started(entry('stateful', { era: 'stateful' }))
    t.match(await pass(stage, 'echo'), { kind: 'failed', reason: 'server-invalid' })
    t.notOk(stage.methods.includes('tools/call'))
  })
})

await t.test('requests of many on one pipe', async (t) => {
  await using stage = await started(entry('stateless', { era: 'stateless' }))
  const { upstream } = stage
  await t.test('bytes arrive as they were sent, but for the id and the token', async (t) => {
    const more = { progressToken: 'tok', x: 1 }
    const line = says(
      await pass(stage, 'raw', {
        id: '9007199254740993',
        args: '{ "n":9007199254740993,"f":1.0,"ü":"\\u00fc🙂"}',
        more,
      }),
    )
    const own = /"id":("[^"]+")/.exec(line)?.[1] ?? ''
    const said = `{"jsonrpc":"2.0","id":${own},"method":"tools/call","params":{"name":"raw","arguments":{ "n":9007199254740993,"f":1.0,"ü":"\\u00fc🙂"},"_meta":{${meta(more)}}}}`
    t.equal(line, said.replace('"tok"', own))
    const odd = await pass(stage, 'odd', { id: '"\\u0061"' })
    t.equal(
      odd.kind === 'answered' ? odd.body.toString() : '',
      '{"jsonrpc":"2.0","id":"\\u0061","result":{"content":[],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x":[ 1 ],"resultType":"complete"}}',
    )
  })
  await t.test('each gets its own answer and its own progress', async (t) => {
    const heard: string[][] = [[], []]
    const held = heard.map((mine, at) =>
      pass(stage, 'hold', {
        args: `{"text":${at}}`,
        more: { progressToken: 'same' },
        onMessage: ({ bytes }) => mine.push(bytes.toString()),
      }),
    )
    await counts(stage, 'held', 2)
    await pass(stage, 'release')
    t.same((await Promise.all(held)).map(says), ['0', '1'])
    t.same(
      heard.map((mine) => mine.map((text) => JSON.parse(text).params)),
      [[{ progressToken: 'same', progress: 0 }], [{ progressToken: 'same', progress: 1 }]],
    )
  })
  await t.test('one that is given up is cancelled by its name there', async (t) => {
    const ending = new AbortController()
    const given = pass(stage, 'wait', { signal: ending.signal })
    const other = new AbortController()
    const kept = pass(stage, 'wait', { signal: other.signal })
    await counts(stage, 'waiting', 2)
    ending.abort()
    t.match(await given, { kind: 'failed', detail: 'the call was ended' })
    await counts(stage, 'waiting', 1)
    other.abort()
    await kept
    await counts(stage, 'waiting', 0)
    await counts(stage, 'cancelled', 2)
  })
  await t.test('one that stays silent for too long too', async (t) => {
    upstream.update(entry('stateless', { era: 'stateless', timeoutMs: 50 }))
    t.match(await pass(stage, 'wait'), { kind: 'failed', reason: 'server-silent' })
    upstream.update(entry('stateless', { era: 'stateless' }))
    await counts(stage, 'cancelled', 3)
  })
  await t.test(
    'log messages come with the one request that wants any; when two do, nobody knows whose they are',
    async (t) => {
      const heard: string[] = []
      const logging = (name: string): Sending => ({
        more: { 'io.modelcontextprotocol/logLevel': 'debug' },
        onMessage: ({ method }) => heard.push(`${name} ${method}`),
      })
      await pass(stage, 'log', logging('a'))
      t.same(heard, ['a notifications/message'])
      await pass(stage, 'log', { onMessage: ({ method }) => heard.push(method) })
      const ending = new AbortController()
      const held = pass(stage, 'wait', { ...logging('b'), signal: ending.signal })
      await pass(stage, 'log', logging('c'))
      t.same(heard, ['a notifications/message'])
      ending.abort()
      await held
    },
  )
  await t.test('news of resources come to whoever watches, also after the process was started again', async (t) => {
    const changed: string[] = []
    const ending = new AbortController()
    const { until, wake } = waitingRoom()
    const note = (uri: string): void => {
      changed.push(uri)
      wake()
    }
    t.same(await upstream.watch(['x:1'], note, ending.signal), ['x:1'])
    await pass(stage, 'touch')
    await until(() => changed[0])
    t.match(await pass(stage, 'crash'), { kind: 'failed', reason: 'server-down', detail: /3.*oh no/ })
    await until(() => changed[1])
    await pass(stage, 'touch')
    await until(() => changed[2])
    const before = Number(says(await pass(stage, 'cancelled')))
    ending.abort()
    await counts(stage, 'cancelled', before + 1)
    t.same(changed, ['x:1', 'x:1', 'x:1'])
  })
  await t.test('a tool that comes is listed', async () => {
    const name = says(await pass(stage, 'grow'))
    await stage.until(() => upstream.catalogue()?.tools.find(({ own }) => own === name))
  })
})
