/** Servers of either era and of both, asked as the broker asks them: found out, spoken to in their era, and never asked twice. */
import t from 'tap'
import type { ClientFeature, HttpServer } from '../src/registry/model.ts'
import { judgeDiscover } from '../src/upstreams/era-probe.ts'
import type { Outcome } from '../src/upstreams/upstream.ts'
import type { Received, Script } from './support/mcp-script.ts'
import { HttpAnswer, inputRequired, never, RpcError, says } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import { meta, metaOf } from './support/mcp-stateless.ts'
import { asObject, rawMember } from './support/raw-json.ts'
import type { Ended } from './support/upstream-stage.ts'
import { upstreamOf } from './support/upstream-stage.ts'
import { waitingRoom } from './support/waiting-room.ts'

const staged = async (script: Partial<Script> = {}, changes: Partial<HttpServer> = {}) => {
  const server = await serveMcp(script)
  const stage = upstreamOf(server.url, changes)
  await stage.upstream.settled
  return {
    ...stage,
    server,
    async [Symbol.asyncDispose]() {
      await stage[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const text = ({ response }: Ended): unknown => {
  const content = response?.result?.['content']
  return asObject(Array.isArray(content) ? content[0] : undefined)['text']
}
const reason = ({ outcome }: Ended): string | undefined => (outcome.kind === 'failed' ? outcome.reason : undefined)
const on = (method: string, answer: HttpAnswer) => (received: Received) =>
  received.message?.method === method ? answer : undefined
const json = (status: number, member: string): HttpAnswer =>
  new HttpAnswer(status, { 'content-type': 'application/json' }, `{"jsonrpc":"2.0","id":"own-1",${member}}`)
const error = (status: number, code: number, data?: unknown): HttpAnswer =>
  json(status, `"error":${JSON.stringify({ code, message: 'no', data })}`)

const statelessBody = (tool: string, more = ''): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":${JSON.stringify(tool)},"_meta":{"${meta('protocolVersion')}":"2026-07-28","${meta('clientCapabilities')}":{}${more}}}}`
const headersOf = (tool: string): Record<string, string> => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-name': tool,
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
})

await t.test('what an answer to server/discover says', async (t) => {
  const answered = (status: number, body: string): Outcome => ({
    kind: 'answered',
    status,
    type: 'application/json',
    body: Buffer.from(body),
  })
  const wrapped = (status: number, member: string): Outcome => answered(status, `{"jsonrpc":"2.0","id":1,${member}}`)
  const failed = (code: number, more = ''): string => `"error":{"code":${code},"message":"no"${more}}`
  const versions = (...supported: string[]): string => `,"data":${JSON.stringify({ supported, requested: 'x' })}`
  const rows: Record<string, [Outcome, string]> = {
    'a result with our revision': [
      wrapped(200, '"result":{"supportedVersions":["2027-01-01","2026-07-28"],"capabilities":{}}'),
      'stateless',
    ],
    'a result with newer revisions only': [wrapped(200, '"result":{"supportedVersions":["2027-01-01"]}'), 'other'],
    'a result with older revisions only': [wrapped(200, '"result":{"supportedVersions":["2025-11-25"]}'), 'stateful'],
    'a result of something else': [wrapped(200, '"result":{}'), 'stateful'],
    '-32022 with newer revisions': [wrapped(400, failed(-32022, versions('2027-01-01'))), 'other'],
    '-32022 with older revisions': [wrapped(400, failed(-32022, versions('2025-11-25'))), 'stateful'],
    '-32022 without any': [wrapped(400, failed(-32022)), 'other'],
    '-32020: the headers were lost on the way': [wrapped(400, failed(-32020)), 'other'],
    '-32021': [wrapped(400, failed(-32021)), 'other'],
    '-32601 with 404': [wrapped(404, failed(-32601)), 'stateful'],
    '-32601 with 200': [wrapped(200, failed(-32601)), 'stateful'],
    '-32600 with 400: no session': [wrapped(400, failed(-32600)), 'stateful'],
    '-32000 with 400: not initialized': [wrapped(400, failed(-32000)), 'stateful'],
    'an error that is none': [wrapped(400, '"error":7'), 'stateful'],
    '400 and nothing': [answered(400, ''), 'stateful'],
    '404 and a page': [answered(404, '<html>'), 'stateful'],
    '405 and nothing': [answered(405, ''), 'stateful'],
    '200 and a page': [answered(200, '<html>'), 'stateful'],
    '500 and nothing': [answered(500, ''), 'unclear'],
    '503 with an error': [wrapped(503, failed(-32603)), 'unclear'],
    'a refused credential': [{ kind: 'failed', reason: 'server-refused', detail: 'HTTP 401' }, 'unclear'],
    silence: [{ kind: 'failed', reason: 'server-silent', detail: 'no byte' }, 'unclear'],
    'no connection': [{ kind: 'failed', reason: 'server-down', detail: 'ECONNREFUSED' }, 'unclear'],
  }
  for (const [name, [outcome, speaks]] of Object.entries(rows))
    await t.test(name, async (t) => t.equal(judgeDiscover(outcome).speaks, speaks))
})

await t.test('the eras a server is found to speak', async (t) => {
  const rows: Record<
    string,
    { script: Partial<Script>; changes?: Partial<HttpServer>; eras: string[]; never?: string }
  > = {
    stateful: { script: {}, eras: ['stateful'] },
    'stateful, without sessions': { script: { sessions: false }, eras: ['stateful'] },
    stateless: { script: { era: 'stateless' }, eras: ['stateless'] },
    both: { script: { era: 'both' }, eras: ['stateful', 'stateless'] },
    'both, the old one without sessions': { script: { era: 'both', sessions: false }, eras: ['stateless'] },
    'both, as event streams': { script: { era: 'both', sse: { priming: true } }, eras: ['stateful', 'stateless'] },
    'both, pinned to the old one': {
      script: { era: 'both' },
      changes: { era: 'stateful' },
      eras: ['stateful'],
      never: 'server/discover',
    },
    'both, pinned to the new one': {
      script: { era: 'both' },
      changes: { era: 'stateless' },
      eras: ['stateless'],
      never: 'initialize',
    },
    'one that fails at what it does not know': {
      script: { refuse: on('server/discover', new HttpAnswer(500)) },
      eras: ['stateful'],
    },
    'one behind a wall that lets no new methods through': {
      script: { refuse: on('server/discover', new HttpAnswer(403)) },
      eras: ['stateful'],
    },
    'one that says nothing to what it does not know': {
      script: { before: ({ message }) => (message?.method === 'server/discover' ? never() : undefined) },
      eras: ['stateful'],
    },
    'a stateless one that says nothing to what it does not know': {
      script: { era: 'stateless', before: ({ message }) => (message?.method === 'initialize' ? never() : undefined) },
      eras: ['stateless'],
    },
    'a newer one that still knows sessions': {
      script: { refuse: on('server/discover', error(400, -32022, { supported: ['2027-01-01'], requested: 'x' })) },
      eras: ['stateful'],
    },
  }
  for (const [name, { script, changes, eras, never: unasked }] of Object.entries(rows))
    await t.test(name, async (t) => {
      await using stage = await staged(script, changes)
      const found = stage.upstream.era()
      t.strictSame(found?.eras, eras)
      t.equal(found?.how, changes === undefined ? 'probed' : 'pinned')
      t.strictSame(stage.upstream.catalogue()?.eras, eras)
      t.equal(stage.upstream.status().state, 'up')
      t.equal(stage.upstream.catalogue()?.tools.length, stage.server.script.tools.length)
      if (unasked !== undefined) t.equal(stage.server.count(unasked), 0)
    })
})

await t.test('a server that takes part in no era is down, with the reason', async (t) => {
  const rows: Record<string, { script: Partial<Script>; changes?: Partial<HttpServer>; why: RegExp }> = {
    'a refused credential': { script: { refuse: () => new HttpAnswer(401) }, why: /HTTP 401/ },
    'a server error': { script: { refuse: () => new HttpAnswer(500) }, why: /HTTP 500/ },
    'nothing there': { script: { refuse: () => new HttpAnswer(404) }, why: /initialize: HTTP 404/ },
    'revisions newer than ours': {
      script: { era: 'stateless', revisions: ['2027-01-01'] },
      why: /server\/discover: the server speaks 2027-01-01/,
    },
    'headers lost on the way': {
      script: { era: 'stateless', refuse: () => error(400, -32020) },
      why: /server\/discover: -32020/,
    },
    'pinned to what it does not speak': {
      script: {},
      changes: { era: 'stateless' },
      why: /server\/discover/,
    },
    'pinned to what it no longer speaks': {
      script: { era: 'stateless' },
      changes: { era: 'stateful' },
      why: /initialize: HTTP 400/,
    },
  }
  for (const [name, { script, changes, why }] of Object.entries(rows))
    await t.test(name, async (t) => {
      await using stage = await staged(script, changes)
      t.equal(stage.upstream.status().state, 'down')
      t.match(stage.upstream.status().lastError, why)
      if (changes === undefined) t.equal(stage.upstream.era(), undefined)
    })
})

await t.test('each client reaches a server of both eras in its own', async (t) => {
  await using stage = await staged({ era: 'both', tools: [{ name: 'era', run: ({ era }) => says(era) }] })
  t.equal(text(await stage.call('tools/call', '{"name":"era"}')), 'stateful')
  t.equal(text(await stage.pass('tools/call', statelessBody('era'), { headers: headersOf('era') })), 'stateless')
})

await t.test('8 first calls at once open one session', async (t) => {
  for (const era of ['stateful', 'both'] as const)
    await t.test(era, async (t) => {
      await using stage = await staged({ era })
      stage.server.forget()
      const before = stage.server.count('initialize')
      const client = stage.client()
      const calls = Array.from({ length: 8 }, (_, n) =>
        stage.call('tools/call', '{"name":"session"}', { client, id: String(n) }),
      )
      const ids = new Set((await Promise.all(calls)).map(text))
      t.equal(ids.size, 1)
      t.equal(stage.server.count('initialize') - before, 1)
    })
})

await t.test('first calls before the era is known share one question', async (t) => {
  let let_go: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    let_go = resolve
  })
  await using server = await serveMcp({
    era: 'stateless',
    before: ({ message }) => (message?.method === 'server/discover' ? held : undefined),
  })
  await using stage = upstreamOf(server.url)
  await server.nextOf('server/discover')
  const calls = Array.from({ length: 8 }, () => stage.call('tools/call', '{"name":"echo","arguments":{"text":"x"}}'))
  let_go()
  t.strictSame(
    (await Promise.all(calls)).map(text),
    Array.from({ length: 8 }, () => 'x'),
  )
  t.equal(server.count('server/discover'), 1)
})

await t.test('a stateless request goes as it is, and the answer comes as it is', async (t) => {
  for (const sse of [false, true])
    await t.test(sse ? 'event stream' : 'json', async (t) => {
      await using stage = await staged({ era: 'stateless', sse })
      const body = statelessBody('raw', ',"progressToken":9007199254740993, "x": 1.0')
      const { response } = await stage.pass('tools/call', body, { headers: headersOf('raw') })
      t.equal(text({ outcome: { kind: 'failed', reason: 'server-down', detail: '' }, response, heard: [] }), body)
      const { headers } = await stage.server.nextOf('tools/call')
      t.match(headers, headersOf('raw'))
      t.equal(headers['mcp-session-id'], undefined)
    })
  await t.test('what it says before the answer is heard', async (t) => {
    await using stage = await staged({
      era: 'stateless',
      tools: [
        {
          name: 'slow',
          run: (call) => {
            call.progress(1, 2)
            call.log('info', 'half')
            return says('done')
          },
        },
      ],
    })
    const body = statelessBody('slow', `,"progressToken":"p","${meta('logLevel')}":"info"`)
    const ended = await stage.pass('tools/call', body, { headers: headersOf('slow') })
    t.equal(text(ended), 'done')
    t.strictSame(
      ended.heard.map(({ method }) => method),
      ['notifications/progress', 'notifications/message'],
    )
  })
  await t.test('its end closes the stream', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'hang', run: never }] })
    const ending = new AbortController()
    const passing = stage.pass('tools/call', statelessBody('hang'), {
      headers: headersOf('hang'),
      signal: ending.signal,
    })
    await stage.server.nextOf('tools/call')
    ending.abort()
    t.equal(reason(await passing), 'server-down')
    await stage.server.until(() => stage.server.cancelled[0])
  })
  await t.test('a server without that era gets nothing', async (t) => {
    await using stage = await staged()
    t.equal(reason(await stage.pass('tools/call', statelessBody('echo'))), 'server-invalid')
    t.equal(stage.server.count('tools/call'), 0)
  })
})

await t.test("a stateful client's request at a stateless server", async (t) => {
  await t.test('says what every request there says', async (t) => {
    await using stage = await staged(
      { era: 'stateless', capabilities: { tools: {} } },
      { client: ['elicitation', 'sampling'] },
    )
    const client = stage.client(['elicitation', 'roots'])
    const ended = await stage.call('tools/call', '{"name":"raw","arguments":{"n":9007199254740993}}', {
      client,
      id: '"c"',
    })
    t.equal(rawMember(ended.response?.raw ?? '', 'id'), '"c"')
    t.strictSame(Object.keys(ended.response?.result ?? {}), ['content'], 'nothing of the other era is left')
    const { message, headers } = await stage.server.nextOf('tools/call')
    t.strictSame(metaOf(message), {
      [meta('protocolVersion')]: '2026-07-28',
      [meta('clientCapabilities')]: { elicitation: {} },
      [meta('clientInfo')]: { name: 'someone', version: '7' },
    })
    t.match(headers, { 'mcp-method': 'tools/call', 'mcp-name': 'raw', 'mcp-protocol-version': '2026-07-28' })
    t.equal(rawMember(String(text(ended)), 'params', 'arguments', 'n'), '9007199254740993')
  })
  await t.test('repeats what it names in headers', async (t) => {
    const odd = {
      name: 'wörk',
      definition: {
        name: 'wörk',
        inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
      },
    }
    await using stage = await staged({
      era: 'stateless',
      tools: [odd],
      prompts: [{ name: 'p' }],
      resources: [{ uri: 'file:///ä' }],
    })
    const params = [{ header: 'Region', key: 'region', path: ['region'], type: 'string' }] as const
    t.equal(
      text(await stage.call('tools/call', '{"name":"wörk","arguments":{"region":"zürich"}}', { params })),
      'fixture:wörk',
    )
    t.ok((await stage.call('prompts/get', '{"name":"p"}')).response?.result)
    t.ok((await stage.call('resources/read', '{"uri":"file:///ä"}')).response?.result)
    const completed = await stage.call(
      'completion/complete',
      '{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}',
    )
    t.ok(completed.response?.result)
    const encoded = (value: string): string => `=?base64?${Buffer.from(value).toString('base64')}?=`
    const { headers } = await stage.server.nextOf('tools/call')
    t.match(headers, { 'mcp-name': encoded('wörk'), 'mcp-param-region': encoded('zürich') })
  })
  await t.test('the level of its session goes with each request', async (t) => {
    const rows: Record<string, { level?: string; logging: boolean; expected: string | undefined }> = {
      'one that was set': { level: 'error', logging: true, expected: 'error' },
      'none set: the server decides there, somebody has to here': { logging: true, expected: 'info' },
      'a server that does not log': { logging: false, expected: undefined },
    }
    for (const [name, { level, logging, expected }] of Object.entries(rows))
      await t.test(name, async (t) => {
        await using stage = await staged({
          era: 'stateless',
          capabilities: { tools: {}, ...(logging && { logging: {} }) },
          tools: [{ name: 'level', run: ({ meta: told }) => says(String(told[meta('logLevel')])) }],
        })
        const client = stage.client()
        if (level !== undefined) client.logLevel = JSON.stringify({ level })
        t.equal(text(await stage.call('tools/call', '{"name":"level"}', { client })), String(expected))
      })
  })
  await t.test('progress and logs come before the answer', async (t) => {
    await using stage = await staged({
      era: 'stateless',
      tools: [
        {
          name: 'slow',
          run: (call) => {
            call.progress(1)
            call.log('info', 'half')
            return says('done')
          },
        },
      ],
    })
    const ended = await stage.call('tools/call', '{"name":"slow","_meta":{"progressToken":7}}')
    t.equal(text(ended), 'done')
    t.strictSame(
      ended.heard.map(({ method, params }) => [method, params?.['progressToken']]),
      [
        ['notifications/progress', 7],
        ['notifications/message', undefined],
      ],
    )
  })
  await t.test('what the server answers oddly', async (t) => {
    const rows: Record<string, { script: Partial<Script>; expected: object }> = {
      'an unknown kind of result': {
        script: { tools: [{ name: 'x', run: () => ({ resultType: 'task', taskId: '1' }) }] },
        expected: { reason: 'server-invalid' },
      },
      'an error of its own': {
        script: {
          tools: [
            {
              name: 'x',
              run: () => {
                throw new RpcError(-32602, 'bad arguments')
              },
            },
          ],
        },
        expected: { code: -32602 },
      },
      'an error that looks like one of the other era': {
        script: { refuse: on('tools/call', error(400, -32000)) },
        expected: { code: -32000 },
      },
      'an error with a status': {
        script: { refuse: on('tools/call', error(404, -32601)) },
        expected: { code: -32601 },
      },
      'an error of its era': { script: { refuse: on('tools/call', error(400, -32021)) }, expected: { code: -32603 } },
      'a server error': {
        script: { refuse: on('tools/call', new HttpAnswer(502)) },
        expected: { reason: 'server-down' },
      },
      'no message': {
        script: { refuse: on('tools/call', new HttpAnswer(404, {}, 'gone')) },
        expected: { reason: 'server-invalid' },
      },
      'a refused credential': {
        script: { refuse: on('tools/call', new HttpAnswer(401)) },
        expected: { reason: 'server-refused' },
      },
    }
    for (const [name, { script, expected }] of Object.entries(rows))
      await t.test(name, async (t) => {
        await using stage = await staged({ era: 'stateless', tools: [{ name: 'x' }], ...script })
        const ended = await stage.call('tools/call', '{"name":"x"}')
        t.match({ reason: reason(ended), code: ended.response?.error?.code }, expected)
        t.equal(stage.server.count('tools/call'), 1, 'asked once')
      })
  })
  await t.test('one that says nothing is given up', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'hang', run: never }] }, { timeoutMs: 400 })
    t.equal(reason(await stage.call('tools/call', '{"name":"hang"}')), 'server-silent')
    await stage.server.until(() => stage.server.cancelled[0])
  })
  await t.test('cancelling it closes the stream', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'hang', run: never }] })
    const client = stage.client()
    const calling = stage.call('tools/call', '{"name":"hang"}', { client, id: '5' })
    await stage.server.nextOf('tools/call')
    const cancel = (id: string): Buffer =>
      Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`)
    await stage.upstream.tell(stage.client(), cancel('5'))
    await stage.upstream.tell(client, cancel('6'))
    t.equal(stage.server.cancelled.length, 0, 'neither another client nor another id cancels it')
    await stage.upstream.tell(client, cancel('5'))
    t.equal(reason(await calling), 'server-down')
    await stage.server.until(() => stage.server.cancelled[0])
  })
  await t.test('a client that leaves ends its calls', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'hang', run: never }] })
    const client = stage.client()
    const calling = stage.call('tools/call', '{"name":"hang"}', { client })
    await stage.server.nextOf('tools/call')
    await stage.upstream.leave(client)
    t.equal(reason(await calling), 'server-down')
  })
})

const question = { mode: 'form', message: 'name?', requestedSchema: { type: 'object', properties: {} } }

await t.test('input that a stateless server wants is asked of a stateful client', async (t) => {
  await t.test('and goes back with the state, in a request of its own', async (t) => {
    await using stage = await staged(
      {
        era: 'stateless',
        tools: [
          {
            name: 'ask',
            run: ({ inputResponses, requestState }) =>
              inputResponses === undefined
                ? inputRequired(
                    {
                      a: { method: 'elicitation/create', params: question },
                      b: { method: 'roots/list', params: {} },
                    },
                    'sealed "state"',
                  )
                : says(JSON.stringify({ inputResponses, requestState })),
          },
        ],
      },
      { client: ['elicitation', 'roots'] },
    )
    const ended = await stage.call('tools/call', '{"name":"ask"}', {
      client: stage.client(['elicitation', 'roots']),
      answer: ({ method }) =>
        method === 'roots/list' ? '"result":{"roots":[]}' : '"result":{"action":"accept","content":{"n":1.0}}',
    })
    t.strictSame(
      ended.heard.map(({ method }) => method),
      ['elicitation/create', 'roots/list'],
    )
    t.strictSame(JSON.parse(String(text(ended))), {
      inputResponses: { a: { action: 'accept', content: { n: 1 } }, b: { roots: [] } },
      requestState: 'sealed "state"',
    })
    const asked = stage.server.received.filter(({ message }) => message?.method === 'tools/call')
    t.equal(new Set(asked.map((received) => rawMember(received.text, 'id'))).size, 2)
    t.equal(rawMember(asked[1]?.text ?? '', 'params', 'inputResponses', 'a', 'content', 'n'), '1.0')
  })
  await t.test('as often as it takes, with state alone at once', async (t) => {
    let rounds = 0
    await using stage = await staged({
      era: 'stateless',
      tools: [{ name: 'ask', run: () => (++rounds < 5 ? inputRequired(undefined, String(rounds)) : says('done')) }],
    })
    t.equal(text(await stage.call('tools/call', '{"name":"ask"}')), 'done')
  })
  await t.test('but not for ever', async (t) => {
    let rounds = 0
    const run = () => {
      rounds++
      return inputRequired(undefined, 'again')
    }
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'ask', run }] })
    t.equal(reason(await stage.call('tools/call', '{"name":"ask"}')), 'server-invalid')
    t.equal(rounds, 16)
  })
  const refused: Record<
    string,
    { allowed: ClientFeature[]; offered: ClientFeature[]; method: string; expected: string }
  > = {
    'what the registry does not allow': {
      allowed: ['elicitation'],
      offered: ['sampling'],
      method: 'sampling/createMessage',
      expected: 'not-allowed',
    },
    'what the client does not offer': {
      allowed: ['sampling'],
      offered: [],
      method: 'sampling/createMessage',
      expected: 'not-allowed',
    },
    'what is no input': { allowed: [], offered: [], method: 'ping', expected: 'server-invalid' },
  }
  for (const [name, { allowed, offered, method, expected }] of Object.entries(refused))
    await t.test(name, async (t) => {
      const run = () => inputRequired({ a: { method, params: {} } })
      await using stage = await staged({ era: 'stateless', tools: [{ name: 'ask', run }] }, { client: allowed })
      const ended = await stage.call('tools/call', '{"name":"ask"}', { client: stage.client(offered) })
      t.equal(reason(ended), expected)
      t.strictSame(ended.heard, [], 'the client is not asked')
    })
  await t.test("the client's own refusal ends the call", async (t) => {
    const both = {
      a: { method: 'elicitation/create', params: question },
      b: { method: 'elicitation/create', params: question },
    }
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'ask', run: () => inputRequired(both) }] })
    let asked = 0
    const ended = await stage.call('tools/call', '{"name":"ask"}', {
      client: stage.client(['elicitation']),
      answer: () => (++asked === 1 ? '"error":{"code":-1,"message":"not now"}' : undefined),
    })
    t.match(ended.response?.error, { code: -32603, message: /not now/ })
  })
  await t.test('a cancelled call takes its questions back', async (t) => {
    const run = () => inputRequired({ a: { method: 'elicitation/create', params: question } })
    await using stage = await staged({ era: 'stateless', tools: [{ name: 'ask', run }] })
    const ending = new AbortController()
    const ended = await stage.call('tools/call', '{"name":"ask"}', {
      client: stage.client(['elicitation']),
      signal: ending.signal,
      answer: () => {
        ending.abort()
        return undefined
      },
    })
    t.equal(reason(ended), 'server-down')
    t.strictSame(
      ended.heard.map(({ method, id, params }) => [method, id ?? params?.['requestId']]),
      [
        ['elicitation/create', ended.heard[0]?.id],
        ['notifications/cancelled', ended.heard[0]?.id],
      ],
    )
  })
})

await t.test('a server that changes its era is found out by the next call, which runs once', async (t) => {
  const tools: Script['tools'] = [{ name: 'era', run: ({ era }) => says(era) }]
  const become = (server: McpServer, era: Script['era']): void => {
    server.script.era = era
    server.forgetSessions()
  }
  const rows = [
    ['stateful', 'stateless', ['stateless']],
    ['stateless', 'stateful', ['stateful']],
    ['both', 'stateless', ['stateless']],
    ['both', 'stateful', ['stateful']],
  ] as const
  for (const [before, after, eras] of rows)
    for (const used of [true, false])
      await t.test(`${before} to ${after}, ${used ? 'after a call' : 'before any'}`, async (t) => {
        await using stage = await staged({ era: before, tools, stream: false })
        const client = stage.client()
        if (used) await stage.call('tools/call', '{"name":"era"}', { client })
        become(stage.server, after)
        stage.server.executions.clear()
        const ended = await stage.call('tools/call', '{"name":"era"}', { client, id: '2' })
        t.equal(text(ended), after)
        t.equal(stage.server.executions.get('era'), 1)
        // A call that went well says nothing about the other era: that is found when the lists are read again.
        if (before === 'both' && after === 'stateful') stage.upstream.refresh()
        else t.strictSame(stage.upstream.era()?.eras, eras)
        await stage.until(() => (stage.upstream.catalogue()?.eras.join() === eras.join() ? true : undefined))
        t.equal(stage.upstream.status().state, 'up')
      })
  await t.test('a stateless client is told, since nothing here can translate for it', async (t) => {
    await using stage = await staged({ era: 'stateless', tools, stream: false })
    become(stage.server, 'stateful')
    t.equal(reason(await stage.pass('tools/call', statelessBody('era'), { headers: headersOf('era') })), 'server-down')
    t.equal(stage.server.executions.get('era'), undefined)
    t.strictSame(stage.upstream.era()?.eras, ['stateful'])
  })
  await t.test('an answer that only looks so goes on as it is', async (t) => {
    await using stage = await staged({ era: 'both', refuse: on('tools/call', error(400, -32000)) })
    const ended = await stage.pass('tools/call', statelessBody('echo'), { headers: headersOf('echo') })
    t.match(ended.outcome, { kind: 'answered', status: 400 })
    t.equal(stage.server.count('tools/call'), 1)
  })
  await t.test('a new one behind the same address, after it was down', async (t) => {
    await using stage = await staged({ tools })
    await stage.server.die()
    await stage.until(() => (stage.upstream.status().state === 'down' ? true : undefined))
    become(stage.server, 'both')
    await stage.server.revive()
    stage.upstream.refresh()
    await stage.until(() => (stage.upstream.catalogue()?.eras.length === 2 ? true : undefined))
    t.equal(stage.upstream.status().state, 'up')
  })
  await t.test('a pin that changes holds at once', async (t) => {
    await using stage = await staged({ era: 'both', tools })
    const { server } = stage.upstream
    stage.upstream.update({ ...server, era: 'stateless' })
    t.match(stage.upstream.era(), { eras: ['stateless'], how: 'pinned' })
    t.equal(text(await stage.call('tools/call', '{"name":"era"}')), 'stateless')
    await stage.until(() => (stage.upstream.catalogue()?.eras.join() === 'stateless' ? true : undefined))
  })
})

await t.test('what a stateless server offers', async (t) => {
  const item = { name: 'x' }
  await t.test('with what it says about keeping it', async (t) => {
    const hints: Record<string, object> = {
      'server/discover': { ttlMs: 7, cacheScope: 'public' },
      'tools/list': { ttlMs: 5000, cacheScope: 'public' },
      'prompts/list': { ttlMs: 1, cacheScope: 'private' },
    }
    await using stage = await staged({
      era: 'stateless',
      tools: [item, { name: 'y' }],
      pageSize: 1,
      prompts: [item],
      resources: [{ uri: 'a:b' }],
      instructions: 'be kind',
      caching: (method) => ({ ...hints[method] }),
    })
    const offered = stage.upstream.catalogue()
    t.strictSame(offered?.caching, {
      'server/discover': { ttlMs: 7, scope: 'public' },
      'tools/list': { ttlMs: 5000, scope: 'public' },
      'prompts/list': { ttlMs: 1, scope: 'private' },
    })
    t.equal(offered?.instructions, 'be kind')
    t.equal(offered?.protocolVersion, '2026-07-28')
    t.equal(offered?.tools.length, 2)
    t.ok(offered?.capabilities.has('tools'))
  })
  await t.test('is read again when it says so, also on the stream after the first', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [item] })
    const { server } = stage
    const shown = (count: number) =>
      stage.until(() => (stage.upstream.catalogue()?.tools.length === count ? true : undefined))
    const first = await server.until(() => server.listening[0])
    t.strictSame(first.filter, { toolsListChanged: true })
    server.setTools([item, { name: 'y' }])
    await shown(2)
    first.cut()
    server.script.tools = [item, { name: 'y' }, { name: 'z' }]
    await shown(3)
    const second = await server.until(() => server.listening[0])
    second.end()
    server.script.tools = [item]
    await shown(1)
    t.equal(stage.upstream.status().state, 'up')
  })
  await t.test('a server that is gone is down, and up again when it is back', async (t) => {
    await using stage = await staged({ era: 'stateless', tools: [item] })
    await stage.server.until(() => stage.server.listening[0])
    await stage.server.die()
    await stage.until(() => (stage.upstream.status().state === 'down' ? true : undefined))
    t.equal(stage.upstream.catalogue()?.tools.length, 1, 'what it offered is kept')
    await stage.server.revive()
    await stage.until(() => (stage.upstream.status().state === 'up' ? true : undefined))
  })
})

const subscribing = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } }
/** The streams for resources, not those for lists. */
const watching = (server: McpServer) => server.listening.filter(({ filter }) => 'resourceSubscriptions' in filter)
const once = (so: boolean): true | undefined => (so ? true : undefined)
/** What watchers were told, and a way to wait for it. */
const listener = () => {
  const told: string[] = []
  const { until, wake } = waitingRoom()
  return {
    told,
    hear: (prefix: string) => (uri: string) => {
      told.push(prefix + uri)
      wake()
    },
    hears: (count: number) => until(() => once(told.length === count)),
  }
}

await t.test('news of resources', async (t) => {
  const resources = [{ uri: 'a:1' }, { uri: 'a:2' }]
  for (const era of ['stateful', 'stateless', 'both'] as const)
    await t.test(`of a ${era} server`, async (t) => {
      await using stage = await staged({ era, resources, capabilities: subscribing })
      const { server, upstream } = stage
      const { told, hear, hears } = listener()
      const first = new AbortController()
      const second = new AbortController()
      t.strictSame(await upstream.watch(['a:1', 'a:2', 'a:1'], hear('first '), first.signal), ['a:1', 'a:2'])
      t.strictSame(await upstream.watch(['a:2'], hear('second '), second.signal), ['a:2'])
      const subscribed = era === 'stateful' ? server.count('resources/subscribe') : watching(server).length
      t.equal(subscribed, era === 'stateful' ? 2 : 1, 'each is asked for once')
      const updated = async (uri: string, count: number): Promise<void> => {
        server.notify('notifications/resources/updated', { uri })
        await hears(count)
      }
      await updated('a:1', 1)
      await updated('a:2', 3)
      t.strictSame(told, ['first a:1', 'first a:2', 'second a:2'])
      first.abort()
      if (era === 'stateful') await server.nextOf('resources/unsubscribe')
      await updated('a:2', 4)
      t.equal(told[3], 'second a:2')
      second.abort()
      if (era === 'stateful') await server.until(() => once(server.count('resources/unsubscribe') === 2))
      else await server.until(() => once(watching(server).length === 0))
    })
  await t.test('go on after the stream was cut', async (t) => {
    await using stage = await staged({ era: 'stateless', resources, capabilities: subscribing })
    const { told, hear, hears } = listener()
    await stage.upstream.watch(['a:1'], hear(''), new AbortController().signal)
    for (const listening of watching(stage.server)) listening.cut()
    await hears(1)
    t.equal(watching(stage.server).length, 1)
    t.strictSame(told, ['a:1'], 'what was missed is taken for a change')
  })
  await t.test('go on in the next conversation with a stateful server', async (t) => {
    await using stage = await staged({ resources, capabilities: subscribing })
    const { told, hear, hears } = listener()
    await stage.upstream.watch(['a:1'], hear(''), new AbortController().signal)
    await stage.server.die()
    stage.server.forgetSessions()
    await stage.server.revive()
    await hears(1)
    t.strictSame(told, ['a:1'])
    t.equal(stage.server.count('resources/subscribe'), 2)
  })
  for (const [before, after] of [
    ['stateful', 'stateless'],
    ['stateless', 'stateful'],
  ] as const)
    await t.test(`go on at a ${before} server that becomes ${after}`, async (t) => {
      await using stage = await staged({ era: before, resources, capabilities: subscribing })
      const { told, hear, hears } = listener()
      const ending = new AbortController()
      await stage.upstream.watch(['a:1'], hear(''), ending.signal)
      await stage.server.die()
      stage.server.script.era = after
      stage.server.forgetSessions()
      await stage.server.revive()
      await hears(1)
      stage.server.notify('notifications/resources/updated', { uri: 'a:1' })
      await hears(2)
      t.strictSame(told, ['a:1', 'a:1'])
      ending.abort()
      if (after === 'stateful') await stage.server.nextOf('resources/unsubscribe')
      else await stage.server.until(() => once(watching(stage.server).length === 0))
    })
  const none: Record<string, Partial<Script>> = {
    'a server that grants none': { era: 'stateless', grants: () => ({}) },
    'a server without streams': { era: 'stateless', stream: false },
    'a stateful server without a stream': { stream: false },
    'a stateful server that knows no subscriptions': { capabilities: { resources: {}, tools: {} } },
  }
  for (const [name, script] of Object.entries(none))
    await t.test(`${name} agrees to nothing`, async (t) => {
      await using stage = await staged({ resources, capabilities: subscribing, ...script })
      t.strictSame(await stage.upstream.watch(['a:1'], () => undefined, new AbortController().signal), [])
    })
  await t.test("a stateful client's subscription at a stateless server", async (t) => {
    await using stage = await staged({ era: 'stateless', resources, capabilities: subscribing })
    const { server, call } = stage
    const client = stage.client()
    const result = async (method: 'resources/subscribe' | 'resources/unsubscribe', uri: string) =>
      (await call(method, JSON.stringify({ uri }), { client })).response?.result
    t.strictSame(await result('resources/subscribe', 'a:1'), {})
    t.strictSame(await result('resources/subscribe', 'a:1'), {}, 'twice is once')
    t.equal(watching(server).length, 1)
    server.notify('notifications/resources/updated', { uri: 'a:1' })
    const { client: told, message } = await stage.until(() => stage.apart[0])
    t.equal(told, client)
    t.match(message, { method: 'notifications/resources/updated', params: { uri: 'a:1' } })
    t.strictSame(await result('resources/unsubscribe', 'a:1'), {})
    await server.until(() => once(watching(server).length === 0))
    t.strictSame(await result('resources/subscribe', 'a:2'), {})
    await stage.upstream.leave(client)
    await server.until(() => once(watching(server).length === 0))
    server.script.grants = () => ({})
    t.match((await call('resources/subscribe', '{"uri":"a:1"}', { client })).response?.error, { code: -32603 })
    t.equal(server.count('resources/subscribe'), 0)
  })
})
