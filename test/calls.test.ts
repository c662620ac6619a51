/** Calls through a real Envoy, on the direct path and through the broker: what servers receive and what clients get back. */

import type { Test } from 'tap'
import t from 'tap'
import { eventually, freePort, startGateway } from './support/gateway.ts'
import type { Tool } from './support/mcp-script.ts'
import { HttpAnswer, never, says, standardTools } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { RawClient } from './support/raw-client.ts'
import { rawMember } from './support/raw-json.ts'
import { connectOn, gate, type Path, pathOf, play, registry, sample } from './support/stage.ts'

await using a = await serveMcp({ name: 'a', prompts: [{ name: 'p' }], resources: [{ uri: 'x:1' }] })
await using b = await serveMcp({ name: 'b', protocolVersions: ['2025-03-26'] })
const both = registry({ a: [a, {}], b: [b, {}] })
await using gateway = await startGateway(both)
await gateway.settled()

const paths: readonly Path[] = ['direct', 'broker']
/** A row for each path, with a client whose calls to `warm` take it. */
const onBoth = async (
  t: Test,
  name: string,
  warm: readonly string[],
  run: (t: Test, client: RawClient, path: Path) => Promise<void>,
) => {
  for (const path of paths) {
    await t.test(`${name}: ${path}`, async (t) => {
      await using client = await connectOn(path, gateway.url, warm)
      for (const server of [a, b]) server.forget()
      await run(t, client, path)
    })
  }
}
/** The last call a server received, and that it came the way it should. */
const lastCall = (t: Test, server: McpServer, path: Path) => {
  const call = server.received.findLast(({ message }) => message?.method === 'tools/call')
  if (call === undefined) throw new Error('no call arrived')
  t.equal(pathOf(call), path, 'it took the path')
  return call
}

await t.test('what is called is what is run', async (t) => {
  await onBoth(t, 'the right server', ['a_echo', 'b_echo'], async (t, client, path) => {
    for (const [server, name] of [
      [a, 'a'],
      [b, 'b'],
    ] as const) {
      t.match((await client.call(`${name}_echo`, { text: `for ${name}` })).result, says(`for ${name}`))
      t.match(rawMember(lastCall(t, server, path).text, 'params', 'name'), '"echo"')
    }
    t.same([a.count('tools/call'), b.count('tools/call')], [1, 1])
  })
  await onBoth(t, 'prompts and resources', ['a_echo'], async (t, client, path) => {
    t.match((await client.send('prompts/get', { name: 'a_p' })).message.result, {
      messages: [{ content: { text: 'a:p' } }],
    })
    t.match((await client.send('resources/read', { uri: 'x:1' })).message.result, { contents: [{ text: 'a:x:1' }] })
    for (const method of ['prompts/get', 'resources/read']) {
      const arrived = await a.nextOf(method)
      t.equal(pathOf(arrived), path)
    }
    t.match((await client.send('prompts/get', { name: 'p' })).message.error, { code: -32602 })
    t.match((await client.send('resources/read', { uri: 'x:2' })).message.error, { code: -32002 })
    t.match((await client.call('nobody_knows')).error, { code: -32602, data: { reason: 'unknown-tool' } })
    t.match((await client.send('no/such')).message.error, { code: -32601 })
  })
  await t.test('a thousand calls on the direct path ask the broker nothing', async (t) => {
    const asked = async () => sample(await gateway.metrics(), 'mcp_gateway_broker_requests_total')
    await using client = await connectOn('direct', gateway.url, ['a_echo'])
    const before = await asked()
    await client.send('ping')
    t.equal(await asked(), before + 1, 'the counter counts')
    a.forget()
    for (let n = 0; n < 50; n++) await Promise.all(Array.from({ length: 20 }, () => client.call('a_echo')))
    t.equal(a.executions.get('echo'), 1000)
    t.equal(await asked(), before + 1)
    // Envoy reports what it did every second.
    await eventually('every call is counted', gateway.child, async () => {
      const labels = { method: 'tools/call', server: 'a', tool: 'echo', path: 'direct', outcome: 'ok' }
      return sample(await gateway.metrics(), 'mcp_gateway_calls_total', labels) >= 1000 ? true : undefined
    })
  })
})

await t.test('bytes', async (t) => {
  const call = (name: string, id: string, rest: string) =>
    `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":${name},"arguments":${rest}}}`
  /** Each with the name where it counts left open, and its id. */
  const bodies: Readonly<Record<string, readonly [id: string, body: (name: string) => string]>> = {
    'big integers and floats in arguments': [
      '1',
      (name) => call(name, '1', '{"n":9007199254740993,"f":1.0,"e":[1E400,-0,1e2],"z":1,"a":2}'),
    ],
    'a big integer as id': ['9007199254740993', (name) => call(name, '9007199254740993', '{}')],
    'a negative id': ['-0', (name) => call(name, '-0', '{}')],
    'a string as id': ['"1"', (name) => call(name, '"1"', '{}')],
    'an id with escapes': ['"\\u0061\\/\\"é"', (name) => call(name, '"\\u0061\\/\\"é"', '{}')],
    'the name earlier in the arguments': [
      '2',
      (name) =>
        `{"params":{"arguments":{"name":"a_raw","params":{"name":"a_raw"},"deep":[{"name":"a_raw"}]},"name":${name}},"method":"tools/call","id":2,"jsonrpc":"2.0"}`,
    ],
    'the name escaped in the arguments': [
      '3',
      (name) => call(name, '3', '{"x":"\\"name\\":\\"a_raw\\"","a_raw":"\\\\","name":"a\\u005fraw"}'),
    ],
    'white space and what no parser would write': [
      '4',
      (name) =>
        ` \n{\t"id" : 4 ,"jsonrpc":"2\\u002e0" , "x-unknown":{"a":[ ]},\r\n"params" :{ "_meta":{"progressToken":1.0,"k":{}},"name"\t:\t${name} , "arguments":{"ü":"\\u00fc🙂\\ud83d\\ude42"} }, "method":"tools\\/call"} \n`,
    ],
  }
  /** How a client may spell the name it sees; a server whose names are unchanged gets the very spelling. */
  const spellings = {
    plain: ['"a_raw"', '"raw"'],
    'with \\u005f': ['"a\\u005fraw"', '"raw"'],
    'all escaped': ['"\\u0061\\u005F\\u0072\\u0061\\u0077"', '"raw"'],
    'unchanged by the gateway': ['"r\\u0061w"', '"r\\u0061w"'],
  } as const
  await gateway.edit(registry({ a: [a, {}], plain: [a, { prefix: '' }], b: [b, {}] }))
  await gateway.settled()
  await onBoth(t, 'outside the name all is as sent', ['a_echo', 'raw'], async (t, client, path) => {
    for (const [what, [id, body]] of Object.entries(bodies)) {
      for (const [spelling, [sent, received]] of Object.entries(spellings)) {
        const { message } = await client.send('', undefined, { id, raw: body(sent) })
        t.equal(lastCall(t, a, path).text, body(received), `${what}, ${spelling}`)
        t.equal(rawMember(message.raw, 'id'), id)
        t.match(message.result, says(body(received)))
      }
    }
  })
  await onBoth(t, 'results are as the server wrote them', ['a_echo'], async (t, client, path) => {
    for (const sse of [false, true, { crlf: true, tight: true, chunk: 1, ids: true }, { priming: true }]) {
      a.script.sse = sse
      const { raw } = await client.call('a_odd', {}, { id: '9007199254740993' })
      lastCall(t, a, path)
      t.equal(
        raw,
        '{"jsonrpc":"2.0","id":9007199254740993,"result":{"content":[{"type":"text","text":"odd"}],"structuredContent":{"n":9007199254740993,"f":1.0,"z":1,"a":2},"x-unknown":[ 1 ],"_meta":{"k":1e2}}}',
        JSON.stringify(sse),
      )
    }
    a.script.sse = false
  })
  await gateway.edit(both)
  await gateway.settled()
})

await t.test('headers', async (t) => {
  const forged = {
    'x-mcp-server': 'b',
    'x-mcp-servername': 'b',
    'x-mcp-session': 'someone',
    'x-mcp-cluster': 'mcp.b',
    'x-mcp-decision': 'yes',
    'x-mcp-method': 'ping',
    'x-mcp-toolname': 'raw',
    'x-mcp-replay-server': 'b',
    'x-mcp-replay-status': '200',
    'x-mcp-replay-body': 'e30=',
    'x-mcp-log-server': 'b',
    'x-mcp-anything': '1',
    x_mcp_cluster: 'mcp.b',
    'x-envoy-attempt-count': '2',
    'x-envoy-original-path': '/x',
    'x-envoy-retry-on': '5xx',
    'x-envoy-upstream-rq-timeout-ms': '1',
    'x-request-id': 'forged',
  }
  const private_ = {
    authorization: 'Bearer of-the-client',
    cookie: 'a=1',
    'proxy-authorization': 'Basic eA==',
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    forwarded: 'for=1.2.3.4',
    via: '1.1 evil',
    origin: 'http://localhost',
    'x-api-key': 'secret',
    baggage: 'a=1',
    'last-event-id': '1',
    'user-agent': 'raw',
    'accept-language': 'de',
  }
  const seen = new Set([
    'accept',
    'connection',
    'content-length',
    'content-type',
    'host',
    'mcp-protocol-version',
    'mcp-session-id',
    'traceparent',
    'tracestate',
    'transfer-encoding',
    'x-request-id',
  ])
  await onBoth(t, "a client's x-mcp-* changes nothing", ['a_echo', 'b_echo'], async (t, client, path) => {
    await using forger = await connectOn(path, gateway.url, ['a_echo', 'b_echo'], { headers: forged })
    t.same(forger.initialized, client.initialized)
    t.same(await forger.tools(), await client.tools())
    const call = ['a_echo', { text: '1' }, { id: '1' }] as const
    const plain = await client.call(...call)
    for (const server of [a, b]) server.forget()
    t.equal((await forger.call(...call)).raw, plain.raw)
    lastCall(t, a, path)
    t.same([a.executions.get('echo'), b.executions.get('echo')], [1, undefined])
    const stream = await forger.stream()
    t.equal(stream.status, 200)
    t.equal((await forger.delete()).status, 200)
    t.equal((await forger.post('{"jsonrpc":"2.0","id":1,"method":"ping"}')).status, 404)
    t.match((await client.call(...call)).result, says('1'), "another's session is untouched")
  })
  await onBoth(t, 'servers see only what they may', ['a_echo', 'b_echo'], async (t, client, path) => {
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    for (const [server, name, version] of [
      [a, 'a_echo', '2025-11-25'],
      [b, 'b_echo', '2025-03-26'],
    ] as const) {
      await client.send('tools/call', { name, arguments: {} }, { headers: { ...forged, ...private_, ...trace } })
      const { headers, path: at } = lastCall(t, server, path)
      t.same(
        Object.keys(headers).filter((header) => !seen.has(header)),
        [],
        'no other header',
      )
      t.equal(headers.host, `127.0.0.1:${server.port}`, 'its own host')
      t.equal(headers['mcp-protocol-version'], version, 'the version it negotiated')
      t.ok(server.sessions.has(String(headers['mcp-session-id'])), 'its own session')
      t.not(headers['mcp-session-id'], client.sessionId)
      t.equal(at, '/mcp')
      t.not(headers['x-request-id'], 'forged')
    }
    t.match(client.headers['mcp-protocol-version'], '2025-11-25')
  })
  await t.test('the same holds for whatever the gateway asks of a server', async (t) => {
    await using c = await serveMcp()
    await play(gateway, registry({ c: [c, {}] }))
    await using client = await connectOn('broker', gateway.url, ['c_echo'], { headers: { ...forged, ...private_ } })
    const stream = await client.stream()
    await c.next(
      ({ http, headers }) =>
        http === 'GET' &&
        headers['mcp-session-id'] ===
          c.received.findLast(({ message }) => message?.method === 'tools/call')?.headers['mcp-session-id'],
    )
    await client.delete()
    await c.next(({ http }) => http === 'DELETE')
    stream.close()
    t.same([...new Set(c.received.map(({ http, message }) => message?.method ?? http))].toSorted(), [
      'DELETE',
      'GET',
      'initialize',
      'notifications/initialized',
      'server/discover',
      'tools/call',
      'tools/list',
    ])
    for (const { headers, era } of c.received)
      t.same(
        Object.keys(headers).filter((header) => !seen.has(header)),
        era === 'stateful' ? [] : ['mcp-method'],
      )
    await play(gateway, both)
  })
  const secrets = {
    'set-cookie': ['a=1', 'b=2'],
    'www-authenticate': 'Bearer realm="server"',
    'mcp-session-id': 'of-the-server',
    'x-mcp-cluster': 'mcp.b',
    'x-mcp-log-server': 'b',
    'x-powered-by': 'fixture',
    server: 'fixture',
    location: 'http://127.0.0.1:1/',
    'access-control-allow-origin': '*',
  }
  const allowed = new Set([
    'cache-control',
    'connection',
    'content-length',
    'content-type',
    'date',
    'keep-alive',
    'retry-after',
    'server',
    'transfer-encoding',
    'x-accel-buffering',
    'x-request-id',
  ])
  const answers = {
    'as JSON': () =>
      new HttpAnswer(200, { ...secrets, 'content-type': 'application/json' }, '{"jsonrpc":"2.0","id":1,"result":{}}'),
    'as a stream': () =>
      new HttpAnswer(
        200,
        { ...secrets, 'content-type': 'text/event-stream' },
        'data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
      ),
    'a 404 of its own': () => new HttpAnswer(404, { ...secrets, 'content-type': 'text/plain' }, 'not here'),
    'a 401': () => new HttpAnswer(401, secrets, 'who?'),
    'a 500': () =>
      new HttpAnswer(
        500,
        { ...secrets, 'content-type': 'application/json' },
        '{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}}',
      ),
  }
  for (const [what, answer] of Object.entries(answers)) {
    await onBoth(t, `a server's secrets stay behind it, ${what}`, ['a_echo'], async (t, client, path) => {
      a.script.refuse = ({ message }) => (message?.method === 'tools/call' ? answer() : undefined)
      const reply = await client.post('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a_echo"}}')
      a.script.refuse = undefined
      lastCall(t, a, path)
      t.same(
        Object.keys(reply.headers).filter((header) => !allowed.has(header)),
        [],
        'no other header',
      )
      t.equal(reply.headers.server, 'mcp-gateway')
      t.notMatch(reply.text, /of-the-server|realm/)
    })
  }
})

await t.test('servers that fail', async (t) => {
  const raw = (id: string, name = 'a_echo') =>
    `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`
  for (const status of [301, 302, 307, 308, 401, 403, 407]) {
    await onBoth(t, `HTTP ${status} is our problem with the server`, ['a_echo'], async (t, client) => {
      a.script.refuse = ({ message }) =>
        message?.method === 'tools/call'
          ? new HttpAnswer(status, { location: b.url, 'www-authenticate': 'Basic' })
          : undefined
      const reply = await client.post(raw('9007199254740993'))
      a.script.refuse = undefined
      t.equal(reply.status, 502)
      t.equal(rawMember(reply.text, 'id'), '9007199254740993')
      t.match(reply.messages[0]?.error, {
        code: -32603,
        message: /\ba\b.*HTTP \d\d\d/,
        data: { reason: 'server-refused', server: 'a' },
      })
      t.equal(reply.headers['www-authenticate'], undefined)
      t.equal(a.count('tools/call'), 1, 'not tried again')
      t.equal(b.count('tools/call'), 0, 'no redirect is followed')
    })
  }
  await onBoth(t, 'a server that is down', ['a_echo'], async (t, client) => {
    await a.die()
    const reply = await client.post(raw('"down"'))
    await a.revive()
    t.equal(reply.status, 502)
    t.match(reply.messages[0], { id: 'down', error: { code: -32603, data: { reason: 'server-down', server: 'a' } } })
    await eventually('it is up again', gateway.child, async () =>
      (await gateway.status()).servers[0]?.state === 'up' ? true : undefined,
    )
    t.match((await client.call('a_echo', { text: 'back' })).result, says('back'))
  })
  await t.test('special servers', async (t) => {
    const tools: readonly Tool[] = [
      { name: 'echo', run: ({ arguments: { text } }) => says(String(text)) },
      { name: 'silent', run: () => never() },
      {
        name: 'stuck',
        run: (call) => {
          call.progress(1)
          return never()
        },
      },
      {
        name: 'cut',
        run: (call) => {
          call.cut()
          return never()
        },
      },
    ]
    await using c = await serveMcp({ name: 'c', tools })
    await play(gateway, registry({ c: [c, { timeout: '300ms' }] }))
    await onBoth(t, 'silence beyond the timeout', ['c_echo'], async (t, client, path) => {
      const reply = await client.post(raw('"q\\u0031"', 'c_silent'))
      lastCall(t, c, path)
      t.equal(reply.status, 504)
      t.equal(rawMember(reply.text, 'id'), '"q\\u0031"')
      t.match(reply.messages[0]?.error, { code: -32603, data: { reason: 'server-silent' } })
      t.match(reply.headers['content-type'], 'application/json')
      t.match((await client.call('c_echo', { text: 'still' })).result, says('still'))
    })
    await onBoth(t, 'silence in the middle of a stream ends it', ['c_echo'], async (t, client, path) => {
      const params = { name: 'c_stuck', arguments: {}, _meta: { progressToken: 1 } }
      const ended = await client.send('tools/call', params, { id: '5' }).then(
        ({ message }) => message.error?.code,
        () => 'cut off',
      )
      lastCall(t, c, path)
      t.equal(ended, path === 'direct' ? 'cut off' : -32603)
    })
    await onBoth(t, 'a connection that breaks', ['c_echo'], async (t, client, path) => {
      const reply = await client.post(raw('6', 'c_cut'))
      lastCall(t, c, path)
      t.equal(reply.status, 502)
      t.match(reply.messages[0], { id: 6, error: { code: -32603, data: { reason: 'server-down' } } })
      t.equal(c.executions.get('cut'), path === 'direct' ? 1 : 2, 'run once')
    })
  })
  await t.test('nobody there from the start', async (t) => {
    await play(gateway, registry({ a: [a, {}] }))
    await using client = await connectOn('direct', gateway.url, [])
    const port = await freePort()
    await gateway.edit(registry({ a: { url: `http://127.0.0.1:${port}/mcp`, prefix: 'a_' } }))
    const { error } = await client.call('a_echo')
    t.match(error, { code: -32602 }, 'its tools are not known')
  })
  await play(gateway, both)
})

await t.test('answers come as they are given', async (t) => {
  /** Goes on only when the client has what was sent before: whatever holds it back stops the test. */
  const steps = { one: gate(), two: gate() }
  const tool: Tool = {
    name: 'steps',
    run: async (call) => {
      call.progress(1, 3)
      await steps.one.opened
      call.progress(2, 3)
      call.notify('notifications/message', { level: 'info', data: 'half' })
      await steps.two.opened
      return says('done')
    },
  }
  a.setTools([...standardTools, tool])
  await eventually('the tool is listed', gateway.child, async () =>
    (await gateway.status()).tools.some(({ own }) => own === 'steps') ? true : undefined,
  )
  await onBoth(t, 'progress and messages arrive before the result', ['a_echo'], async (t, client, path) => {
    Object.assign(steps, { one: gate(), two: gate() })
    const seen: unknown[] = []
    const { message, reply } = await client.send(
      'tools/call',
      '{"name":"a_steps","_meta":{"progressToken":9007199254740993}}',
      {
        onMessage: ({ method, params, raw }) => {
          seen.push(method, rawMember(raw, 'params', 'progressToken'))
          if (params?.['progress'] === 1) steps.one.open()
          if (params?.['data'] === 'half') steps.two.open()
        },
      },
    )
    lastCall(t, a, path)
    t.match(message.result, says('done'))
    t.match(reply.headers['content-type'], /^text\/event-stream/)
    const progress = ['notifications/progress', '9007199254740993']
    t.same(seen, [...progress, ...progress, 'notifications/message', undefined, undefined, undefined])
  })
})
