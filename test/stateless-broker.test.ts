/** Stateless clients at the broker: the validation ladder, what it answers itself, what it hands on, and listen streams. */
import t from 'tap'
import type { Outcome } from '../src/upstreams/upstream.ts'
import { request } from './support/http-request.ts'
import { connect } from './support/raw-client.ts'
import type { JsonObject, Message } from './support/raw-json.ts'
import { rawMember } from './support/raw-json.ts'
import { type ScriptedServer, scriptedBroker } from './support/scripted-broker.ts'
import type { ListenStream, StatelessReply, StatelessSending } from './support/stateless-client.ts'
import { sentinel, stateless } from './support/stateless-client.ts'

const meta = (name: string): string => `io.modelcontextprotocol/${name}`
const VERSION = '2026-07-28'
const tool = (name: string, properties: JsonObject = {}): JsonObject => ({
  name,
  inputSchema: { type: 'object', properties },
})

await using stage = await scriptedBroker(
  {
    new: {
      eras: ['stateless'],
      tools: [tool('echo'), tool('ünï'), tool('mirror', { region: { type: 'string', 'x-mcp-header': 'Region' } })],
      prompts: [{ name: 'p' }],
      resources: [
        { uri: 'n:1', name: 'one' },
        { uri: 'n:2', name: 'two' },
      ],
      templates: [{ uriTemplate: 'n:t/{id}', name: 't' }],
      instructions: 'be kind',
    },
    old: {
      eras: ['stateful'],
      tools: [tool('echo')],
      prompts: [{ name: 'p' }],
      resources: [{ uri: 'o:1', name: 'one' }],
    },
    dual: { eras: ['stateless', 'stateful'], tools: [tool('echo')] },
  },
  {
    new: {
      prefix: 'n_',
      client: ['elicitation', 'roots'],
      tools: { include: ['*'], exclude: [], rename: new Map([['ünï', 'uni']]) },
    },
    old: {},
    dual: { prefix: '' },
  },
)
const { url } = stage
await using client = stateless({ url })
const server = (name: string): ScriptedServer => {
  const found = stage.servers.get(name)
  if (found === undefined) throw new Error(name)
  return found
}
const fresh = server('new')

interface Case {
  readonly method?: string
  readonly params?: JsonObject | string
  readonly sending?: StatelessSending
  readonly status: number
  readonly code: number
  readonly data?: JsonObject
}

await t.test('the ladder', async (t) => {
  const echo = { name: 'n_echo', arguments: {} }
  const cases: Readonly<Record<string, Case>> = {
    'no _meta': {
      params: { _meta: undefined },
      sending: { raw: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', id: '1' },
      status: 400,
      code: -32602,
      data: { reason: 'bad-meta' },
    },
    'no revision in _meta': { sending: { meta: { [meta('protocolVersion')]: undefined } }, status: 400, code: -32602 },
    'no capabilities in _meta': {
      sending: { meta: { [meta('clientCapabilities')]: undefined } },
      status: 400,
      code: -32602,
    },
    'another revision in the header': {
      sending: { headers: { 'mcp-protocol-version': '2025-11-25' } },
      status: 400,
      code: -32020,
      data: { reason: 'header-mismatch' },
    },
    'no revision in the header': {
      sending: { headers: { 'mcp-protocol-version': undefined } },
      status: 400,
      code: -32020,
    },
    'a revision nobody has': {
      sending: { protocolVersion: 'v999.0.0' },
      status: 400,
      code: -32022,
      data: { reason: 'unsupported-revision', supported: [VERSION], requested: 'v999.0.0' },
    },
    'no Mcp-Method': { sending: { headers: { 'mcp-method': undefined } }, status: 400, code: -32020 },
    'another Mcp-Method': { sending: { headers: { 'mcp-method': 'prompts/list' } }, status: 400, code: -32020 },
    'no Mcp-Name': {
      method: 'tools/call',
      params: echo,
      sending: { headers: { 'mcp-name': undefined } },
      status: 400,
      code: -32020,
    },
    'another Mcp-Name': {
      method: 'tools/call',
      params: echo,
      sending: { headers: { 'mcp-name': 'N_echo' } },
      status: 400,
      code: -32020,
    },
    'an Mcp-Name that does not decode': {
      method: 'tools/call',
      params: echo,
      sending: { headers: { 'mcp-name': '=?base64?%%%?=' } },
      status: 400,
      code: -32020,
    },
    'an argument without its header': {
      method: 'tools/call',
      params: { name: 'n_mirror', arguments: { region: 'eu' } },
      status: 400,
      code: -32020,
    },
    'an argument with another header': {
      method: 'tools/call',
      params: { name: 'n_mirror', arguments: { region: 'eu' } },
      sending: { headers: { 'mcp-param-region': 'us' } },
      status: 400,
      code: -32020,
    },
    'an unknown method': { method: 'no/such', status: 404, code: -32601, data: { reason: 'unknown-method' } },
    ...Object.fromEntries(
      [
        'initialize',
        'ping',
        'logging/setLevel',
        'resources/subscribe',
        'resources/unsubscribe',
        'tasks/get',
        '__proto__',
        'notifications/cancelled',
      ].map((method): [string, Case] => [`${method} as a request`, { method, status: 404, code: -32601 }]),
    ),
    'an unknown tool': {
      method: 'tools/call',
      params: { name: 'nope' },
      status: 200,
      code: -32602,
      data: { reason: 'unknown-tool' },
    },
    "a server's own name": { method: 'tools/call', params: { name: 'mirror' }, status: 200, code: -32602 },
    'an unknown prompt': { method: 'prompts/get', params: { name: 'nope' }, status: 200, code: -32602 },
    'an unknown resource': {
      method: 'resources/read',
      params: { uri: 'nope:' },
      status: 200,
      code: -32602,
      data: { reason: 'unknown-resource', uri: 'nope:' },
    },
    'an unknown reference': {
      method: 'completion/complete',
      params: { ref: { type: 'ref/prompt', name: 'nope' }, argument: {} },
      status: 200,
      code: -32602,
    },
    'a bad cursor': {
      method: 'tools/list',
      params: { cursor: 'x' },
      status: 200,
      code: -32602,
      data: { reason: 'bad-cursor' },
    },
    'a filter that is none': {
      method: 'subscriptions/listen',
      params: { notifications: { toolsListChanged: 1 } },
      status: 200,
      code: -32602,
    },
    'no filter': { method: 'subscriptions/listen', params: {}, status: 200, code: -32602 },
    'a big id': { method: 'no/such', sending: { id: '9007199254740993' }, status: 404, code: -32601 },
  }
  for (const [name, { method = 'tools/list', params, sending, status, code, data }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      fresh.passed.length = 0
      const reply = await client.request(method, params, { id: '"the id"', ...sending })
      t.same([reply.status, reply.message?.error?.code], [status, code], reply.text)
      t.match(reply.headers['content-type'], 'application/json')
      t.equal(rawMember(reply.text, 'id'), sending?.id ?? '"the id"')
      t.match(reply.message?.error?.data, { ...data })
      t.equal(fresh.passed.length, 0, 'nothing forwarded')
    })
  }
  const raw: Readonly<
    Record<
      string,
      {
        readonly body?: string
        readonly method?: string
        readonly headers?: Record<string, string>
        readonly status: number
      }
    >
  > = {
    'a notification': {
      body: '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
      status: 202,
    },
    'a notification nobody knows': { body: '{"jsonrpc":"2.0","method":"notifications/no/such"}', status: 202 },
    'a response': { body: '{"jsonrpc":"2.0","id":1,"result":{}}', status: 400 },
    'a body that is no JSON': { body: '{', status: 400 },
    'a foreign origin': {
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
      headers: { origin: 'https://evil.example' },
      status: 403,
    },
    GET: { method: 'GET', status: 405 },
    'GET with a session id': { method: 'GET', headers: { 'mcp-session-id': 'x' }, status: 405 },
    DELETE: { method: 'DELETE', headers: { 'mcp-session-id': 'x' }, status: 405 },
  }
  for (const [name, { body, method, headers, status }] of Object.entries(raw)) {
    await t.test(name, async (t) => {
      const reply = await request(url, {
        ...(method !== undefined && { method }),
        ...(body !== undefined && { body }),
        headers: {
          accept: 'application/json, text/event-stream',
          'content-type': 'application/json',
          'mcp-protocol-version': VERSION,
          ...headers,
        },
      })
      t.equal(reply.status, status, reply.text)
      if (status === 202) t.equal(reply.text, '')
      else t.notSame(reply.messages[0]?.error, undefined)
      if (status === 405) t.equal(reply.headers['allow'], 'POST')
    })
  }
  await t.test('a session id is neither read nor made nor sent back', async (t) => {
    const reply = await client.request('tools/list', {}, { headers: { 'mcp-session-id': 'nobody knows it' } })
    t.equal(reply.status, 200)
    t.equal(reply.headers['mcp-session-id'], undefined)
  })
  await t.test('white space around header values does not count', async (t) => {
    const reply = await client.request('tools/call', echo, {
      headers: { 'mcp-name': '  n_echo\t', 'mcp-method': ' tools/call ' },
    })
    t.match(reply.message?.result, { resultType: 'complete' })
  })
  await t.test('a stateful client at the same address is answered as one', async (t) => {
    const reply = await request(url, {
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
      headers: { accept: 'application/json, text/event-stream', 'content-type': 'application/json' },
    })
    t.same([reply.status, reply.messages[0]?.error?.code], [400, -32000])
  })
})

await t.test('what the gateway answers itself', async (t) => {
  const gateway = { name: 'mcp-gateway', title: 'MCP Gateway', version: '1.2.3' }
  await t.test('server/discover', async (t) => {
    const { status, message } = await client.request('server/discover')
    t.equal(status, 200)
    t.same(message?.result, {
      resultType: 'complete',
      supportedVersions: [VERSION],
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
      },
      instructions: '[new]\nbe kind',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: { [meta('serverInfo')]: gateway },
    })
  })
  const items: Readonly<Record<string, readonly [string, readonly string[]]>> = {
    'tools/list': ['tools', ['n_echo', 'n_uni', 'n_mirror', 'old_echo', 'echo']],
    'prompts/list': ['prompts', ['n_p', 'old_p']],
    'resources/list': ['resources', ['n:1', 'n:2', 'o:1']],
    'resources/templates/list': ['resourceTemplates', ['n:t/{id}']],
  }
  for (const [method, [key, names]] of Object.entries(items)) {
    await t.test(method, async (t) => {
      const { status, message } = await client.request(method)
      t.equal(status, 200)
      const { [key]: listed, ...rest } = message?.result ?? {}
      t.same(rest, {
        resultType: 'complete',
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { [meta('serverInfo')]: gateway },
      })
      if (!Array.isArray(listed)) throw new Error(message?.raw)
      t.same(
        listed.map(({ name, uri, uriTemplate }) => (method.startsWith('resources') ? (uri ?? uriTemplate) : name)),
        names,
      )
    })
  }
  await t.test('caching: the least of all, and public only when all say so', async (t) => {
    await using shared = await scriptedBroker(
      {
        a: {
          eras: ['stateless'],
          tools: [tool('x')],
          caching: { 'tools/list': { ttlMs: 9000, scope: 'public' }, 'server/discover': { ttlMs: 5, scope: 'public' } },
        },
        b: { eras: ['stateful'], tools: [tool('x')] },
      },
      { a: {}, b: { cache: { ttlMs: 60, scope: 'public' } } },
    )
    await using other = stateless({ url: shared.url })
    t.match((await other.request('tools/list')).message?.result, { ttlMs: 60, cacheScope: 'public' })
    t.match((await other.request('server/discover')).message?.result, { ttlMs: 5, cacheScope: 'public' })
  })
  await t.test('what no server has is not there, as server/discover says', async (t) => {
    await using bare = await scriptedBroker({ a: { eras: ['stateless'], capabilities: ['tools'], tools: [tool('x')] } })
    await using other = stateless({ url: bare.url })
    t.same((await other.request('server/discover')).message?.result?.['capabilities'], { tools: { listChanged: true } })
    for (const method of ['prompts/list', 'resources/list', 'resources/templates/list']) {
      const { status, message } = await other.request(method)
      t.same([status, message?.error?.code], [404, -32601], method)
    }
    t.equal((await other.request('tools/list')).status, 200)
  })
  await t.test(
    'a server that never answers delays no server/discover, and hides nothing that may yet come',
    async (t) => {
      await using hanging = await scriptedBroker({ a: { eras: [], silent: true } })
      await using other = stateless({ url: hanging.url })
      const { status, message } = await other.request('server/discover')
      t.equal(status, 200)
      t.match(message?.result, {
        capabilities: { tools: {}, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {} },
        ttlMs: 0,
        cacheScope: 'private',
      })
    },
  )
})

/** The last request a server got, as text and headers. */
const last = (of: ScriptedServer = fresh) => {
  const found = of.passed.at(-1)
  if (found === undefined) throw new Error('nothing came')
  return { ...found, text: found.body.toString() }
}
const answering = (answer: ScriptedServer['offer']['answer'], of: ScriptedServer = fresh) => {
  of.offer = { ...of.offer, ...(answer !== undefined && { answer }) }
}
const result = (members: string) => (call: { readonly id: string }) =>
  `{"jsonrpc":"2.0","id":${call.id},"result":{${members}}}`
const failing =
  (code: number, status: number, data?: JsonObject) =>
  (call: { readonly id: string }): Outcome => ({
    kind: 'answered',
    status,
    type: 'application/json',
    body: Buffer.from(
      JSON.stringify({ jsonrpc: '2.0', id: JSON.parse(call.id), error: { code, message: 'no', data } }),
    ),
  })

await t.test('handed on to a server of the same era', async (t) => {
  answering(result('"resultType":"complete"'))
  const targets: Readonly<
    Record<
      string,
      {
        readonly method: string
        readonly params: string
        readonly own: string
        readonly name: string | undefined
        readonly more?: StatelessSending
      }
    >
  > = {
    'a tool': {
      method: 'tools/call',
      params: '{"name":"n_echo","arguments":{"n":9007199254740993,"f":1.0}}',
      own: '{"name":"echo","arguments":{"n":9007199254740993,"f":1.0}}',
      name: 'echo',
    },
    'a renamed tool that no header can spell': {
      method: 'tools/call',
      params: '{"name":"n_\\u0075ni"}',
      own: '{"name":"ünï"}',
      name: sentinel('ünï'),
    },
    'a prompt': { method: 'prompts/get', params: '{"name":"n_p"}', own: '{"name":"p"}', name: 'p' },
    'a resource': { method: 'resources/read', params: '{"uri":"n:1"}', own: '{"uri":"n:1"}', name: 'n:1' },
    'a templated resource': {
      method: 'resources/read',
      params: '{"uri":"n:t/7"}',
      own: '{"uri":"n:t/7"}',
      name: 'n:t/7',
    },
    'a completion': {
      method: 'completion/complete',
      params: '{"ref":{"type":"ref/prompt","name":"n_p"},"argument":{"name":"a","value":"b"}}',
      own: '{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}',
      name: undefined,
    },
    'a retry': {
      method: 'tools/call',
      params: '{"name":"n_echo","inputResponses":{"q":{"action":"accept"}},"requestState":"s"}',
      own: '{"name":"echo","inputResponses":{"q":{"action":"accept"}},"requestState":"s"}',
      name: 'echo',
    },
  }
  for (const [what, { method, params, own, name }] of Object.entries(targets)) {
    await t.test(what, async (t) => {
      const { status } = await client.request(method, params, { id: '9007199254740993' })
      t.equal(status, 200)
      const { text, headers, id } = last()
      t.equal(id, '9007199254740993')
      const spelled = rawMember(text, 'params')?.replace(/"_meta":\{.*?\}\},/s, '') ?? ''
      t.equal(spelled.replace(/^\{/, '{'), own)
      t.same(headers, {
        'mcp-protocol-version': VERSION,
        'mcp-method': method,
        ...(name !== undefined && { 'mcp-name': name }),
      })
    })
  }
  await t.test('headers: arguments, known or not, and the trace go on; a session id and the rest do not', async (t) => {
    await client.request(
      'tools/call',
      { name: 'n_mirror', arguments: { region: 'eu' } },
      {
        headers: {
          'mcp-param-region': 'eu',
          'mcp-param-other': 'x',
          traceparent: 'tp',
          tracestate: 'ts',
          baggage: 'b',
          'mcp-session-id': 's',
          cookie: 'c',
          authorization: 'a',
        },
      },
    )
    t.same(last().headers, {
      'mcp-protocol-version': VERSION,
      'mcp-method': 'tools/call',
      'mcp-name': 'mirror',
      'mcp-param-region': 'eu',
      'mcp-param-other': 'x',
      traceparent: 'tp',
      tracestate: 'ts',
      baggage: 'b',
    })
  })
  await t.test('capabilities: what the server may not make use of is not declared to it', async (t) => {
    const capabilities = {
      sampling: {},
      roots: { listChanged: true },
      elicitation: { url: {} },
      extensions: { 'io.modelcontextprotocol/tasks': {}, 'x/y': {} },
      experimental: { z: {} },
    }
    await client.call('n_echo', {}, { capabilities })
    t.same(JSON.parse(last().text).params._meta[meta('clientCapabilities')], {
      roots: { listChanged: true },
      elicitation: { url: {} },
      extensions: { 'x/y': {} },
      experimental: { z: {} },
    })
    await client.call('n_echo', {}, { capabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } } })
    t.same(JSON.parse(last().text).params._meta[meta('clientCapabilities')], {})
  })
  await t.test('the answer comes back byte for byte', async (t) => {
    const bytes =
      '{ "result" : {"resultType":"complete", "n":9007199254740993, "f":1.0, "a\\u0062":"é" }, "id":7,"jsonrpc":"2.0"}'
    answering(() => bytes)
    t.equal((await client.request('tools/call', { name: 'n_echo' }, { id: '7' })).text, bytes)
  })
  await t.test('what it says before comes first, on a stream; changed lists are read, not passed on', async (t) => {
    const refreshed = fresh.refreshed
    answering((call) => {
      for (const method of ['notifications/progress', 'notifications/tools/list_changed', 'notifications/message'])
        call.onMessage({
          kind: 'notification',
          method,
          params: undefined,
          progressToken: undefined,
          bytes: Buffer.from(`{"jsonrpc":"2.0","method":"${method}"}`),
        })
      return result('"resultType":"complete"')(call)
    })
    const reply = await client.request('tools/call', { name: 'n_echo' })
    t.match(reply.headers['content-type'], 'text/event-stream')
    t.same(
      reply.notifications.map(({ method }) => method),
      ['notifications/progress', 'notifications/message'],
    )
    t.match(reply.message?.result, { resultType: 'complete' })
    t.equal(fresh.refreshed, refreshed + 1)
  })
  await t.test('a closed stream ends the request', async (t) => {
    let end: () => void = () => undefined
    answering(
      (call) =>
        new Promise((resolve) => {
          end = () => resolve(result('')(call))
        }),
    )
    const calls = fresh.passed.length
    const abort = new AbortController()
    const gone = client.request('tools/call', { name: 'n_echo' }, { signal: abort.signal, fresh: true })
    await stage.until(() => (fresh.passed.length > calls ? true : undefined))
    abort.abort()
    await t.rejects(gone)
    t.equal(await stage.until(() => (last().signal.aborted ? true : undefined)), true)
    end()
  })

  const ask = (method: string) =>
    `"resultType":"input_required","inputRequests":{"q":{"method":"${method}","params":{}}}`
  interface Judged {
    readonly method?: string
    readonly answer: NonNullable<ScriptedServer['offer']['answer']>
    readonly capabilities?: JsonObject
    readonly status: number
    /** The gateway's own refusal; undefined: the server's answer goes on. */
    readonly reason?: string
  }
  const everything = { elicitation: {}, sampling: {}, roots: {} }
  const answers: Readonly<Record<string, Judged>> = {
    'an input request it may make': {
      answer: result(ask('elicitation/create')),
      capabilities: everything,
      status: 200,
    },
    'an input request the registry does not allow': {
      answer: result(ask('sampling/createMessage')),
      capabilities: everything,
      status: 502,
      reason: 'not-allowed',
    },
    'an input request the client did not declare': {
      answer: result(ask('elicitation/create')),
      status: 502,
      reason: 'not-allowed',
    },
    'an input request nobody knows': {
      answer: result(ask('no/such')),
      capabilities: everything,
      status: 502,
      reason: 'server-invalid',
    },
    'an input request to a completion': {
      method: 'completion/complete',
      answer: result(ask('roots/list')),
      capabilities: everything,
      status: 502,
      reason: 'server-invalid',
    },
    'only a state': { answer: result('"resultType":"input_required","requestState":"s"'), status: 200 },
    'input required, but none named': {
      answer: result('"resultType":"input_required"'),
      status: 502,
      reason: 'server-invalid',
    },
    'an unknown resultType': { answer: result('"resultType":"task"'), status: 502, reason: 'server-invalid' },
    'no resultType at all': { answer: result('"content":[]'), status: 200 },
    'a capability it misses': {
      answer: failing(-32021, 400, { requiredCapabilities: { elicitation: {} } }),
      status: 400,
    },
    'a capability it misses, said late': {
      answer: failing(-32021, 200, { requiredCapabilities: { elicitation: {} } }),
      status: 400,
    },
    'a capability that was withheld from it': {
      answer: failing(-32021, 400, { requiredCapabilities: { sampling: {} } }),
      capabilities: everything,
      status: 502,
      reason: 'not-allowed',
    },
    'an error of its own': { answer: failing(-32602, 200), status: 200 },
    'the same id, spelled another way': {
      answer: () => '{"jsonrpc":"2.0","id":5.0,"result":{"resultType":"complete"}}',
      status: 200,
    },
    'an error without an id': {
      answer: () => '{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"m"}}',
      status: 200,
    },
    'a result without an id': {
      answer: () => '{"jsonrpc":"2.0","result":{}}',
      status: 502,
      reason: 'server-invalid',
    },
    'another id': { answer: () => '{"jsonrpc":"2.0","id":"other","result":{}}', status: 502, reason: 'server-invalid' },
    'an answer that is no JSON-RPC': {
      answer: () => ({ kind: 'answered', status: 404, type: 'text/html', body: Buffer.from('<p>') }),
      status: 502,
      reason: 'server-invalid',
    },
    'no answer': {
      answer: () => ({ kind: 'failed', reason: 'server-silent', detail: 'x' }),
      status: 504,
      reason: 'server-silent',
    },
    'nobody there': {
      answer: () => ({ kind: 'failed', reason: 'server-down', detail: 'x' }),
      status: 502,
      reason: 'server-down',
    },
  }
  for (const [what, { method = 'tools/call', answer, capabilities, status, reason }] of Object.entries(answers)) {
    await t.test(`answers: ${what}`, async (t) => {
      answering(answer)
      const params =
        method === 'tools/call' ? { name: 'n_echo' } : { ref: { type: 'ref/prompt', name: 'n_p' }, argument: {} }
      const reply = await client.request(method, params, {
        id: '5',
        ...(capabilities !== undefined && { capabilities }),
      })
      t.equal(reply.status, status, reply.text)
      if (reason === undefined) {
        const said = await answer(last())
        t.equal(reply.text, typeof said === 'string' ? said : said.kind === 'answered' ? said.body.toString() : '')
      } else t.match(reply.message?.error, { code: -32603, data: { reason, server: 'new' } })
    })
  }
})

await t.test('which server gets it, and how', async (t) => {
  await t.test('a server of the other era: through the pool, with the row and the request as it came', async (t) => {
    stage.pooled.length = 0
    for (const [method, params, literal] of [
      ['tools/call', { name: 'old_echo', arguments: { a: 1 } }, '"old_echo"'],
      ['prompts/get', { name: 'old_p' }, '"old_p"'],
      ['resources/read', { uri: 'o:1' }, '"o:1"'],
      ['completion/complete', { ref: { type: 'ref/resource', uri: 'o:1' }, argument: {} }, '"o:1"'],
    ] as const) {
      const { message } = await client.request(method, params)
      t.match(message?.result, { pooled: true })
      const request = stage.pooled.at(-1)
      if (request === undefined) throw new Error('nothing came')
      t.same(
        [request.caller.principal.key, request.method, request.row.server, request.upstream.server.name],
        ['', method, 'old', 'old'],
      )
      t.equal(request.bytes.toString('utf8', request.literal.start, request.literal.end), literal)
    }
  })
  await t.test('a server of both: in the client’s own era', async (t) => {
    t.match((await client.call('echo')).result, { resultType: 'complete' })
    t.equal(last(server('dual')).method, 'tools/call')
  })
})

await t.test('what a server did not carry out', async (t) => {
  await using changing = await scriptedBroker({ a: { eras: ['stateless'], tools: [tool('x')] } })
  await using other = stateless({ url: changing.url })
  const a = changing.servers.get('a')
  if (a === undefined) throw new Error('a')
  await t.test(
    'a server found to speak the other era by now is asked in that one, within the same request',
    async (t) => {
      a.offer.answer = () => {
        a.offer = { ...a.offer, eras: ['stateful'] }
        return { kind: 'failed', reason: 'server-invalid', detail: 'HTTP 404', otherEra: true }
      }
      t.match((await other.call('a_x')).result, { pooled: true })
      t.equal(changing.pooled.length, 1)
    },
  )

  /** A direct call that the router sent here with the server's answer. */
  const replayed = (answer: string, status = 400) =>
    other.request(
      'tools/call',
      { name: 'x' },
      {
        id: '9',
        headers: {
          'x-mcp-replay-server': 'a',
          'x-mcp-replay-status': String(status),
          'x-mcp-replay-type': 'application/json',
          'x-mcp-replay-body': Buffer.from(answer).toString('base64'),
        },
      },
    )
  const error = (code: number): string => `{"jsonrpc":"2.0","id":9,"error":{"code":${code},"message":"m"}}`
  for (const code of [-32020, -32021, -32602, 17]) {
    await t.test(`a direct call refused with ${code}: as the server said it`, async (t) => {
      a.offer = { eras: ['stateless'], tools: [tool('x')] }
      a.passed.length = 0
      const reply = await replayed(error(code))
      t.same([reply.status, reply.text, a.passed.length], [400, error(code), 0])
    })
  }
  for (const answer of [error(-32000), error(-32001), '<html>', '']) {
    await t.test(`a direct call refused with ${JSON.stringify(answer)}: asked once more`, async (t) => {
      a.passed.length = 0
      t.match((await replayed(answer, 404)).message?.result, { resultType: 'complete' })
      t.equal(a.passed.length, 1)
      t.equal(last(a).headers['mcp-name'], 'x')
    })
  }
  await t.test('a direct call to a server that has left', async (t) => {
    await changing.apply({})
    const { status, message } = await replayed(error(-32001))
    t.match([status, message?.error], [502, { code: -32603, data: { reason: 'server-down', server: 'a' } }])
  })
})

await t.test('listen streams', async (t) => {
  const acknowledgement = (stream: ListenStream): unknown => stream.heard[0]?.params
  const named = (method: string) => (message: Message) => message.method === `notifications/${method}`

  for (const id of ['1', '"one"', '9007199254740993', '0']) {
    await t.test(`the acknowledgement comes first, every message has the id ${id}`, async (t) => {
      const stream = await client.listen(
        { toolsListChanged: true, resourceSubscriptions: ['n:1', 'n:1', 'nope:', 'n:t/1'] },
        { id },
      )
      t.equal(stream.heard[0]?.method, 'notifications/subscriptions/acknowledged')
      t.match(acknowledgement(stream), {
        notifications: { toolsListChanged: true, resourceSubscriptions: ['n:1', 'n:t/1'] },
      })
      t.notOk(JSON.stringify(acknowledgement(stream)).includes('promptsListChanged'))
      t.same(
        fresh.watching.map(({ uris }) => uris),
        [['n:1', 'n:t/1']],
      )
      fresh.watching[0]?.changed('n:1')
      const updated = await stream.next(named('resources/updated'))
      t.equal(updated.params?.['uri'], 'n:1')
      fresh.change({ tools: [tool('echo'), tool(`after-${id.length}`)] })
      fresh.change({ prompts: [{ name: `after-${id.length}` }] })
      await stream.next(named('tools/list_changed'))
      t.equal(stream.heard.some(named('prompts/list_changed')), false, 'nothing it did not ask for')
      for (const { raw } of stream.heard) t.equal(rawMember(raw, 'params', '_meta', meta('subscriptionId')), id)
      stream.close()
      await stage.until(() => (fresh.watching.length === 0 ? true : undefined))
      t.equal(stage.broker.listeners.size, 0)
    })
  }

  await t.test('a server that does not agree is left out; one that does not say is not waited for', async (t) => {
    await using slow = await scriptedBroker(
      {
        yes: {
          eras: ['stateless'],
          resources: [
            { uri: 'y:1', name: '1' },
            { uri: 'y:2', name: '2' },
          ],
          agree: (uris) => uris.filter((uri) => uri === 'y:1'),
        },
        no: { eras: ['stateless'], resources: [{ uri: 'no:1', name: '1' }], agree: () => [] },
        never: {
          eras: ['stateful'],
          resources: [{ uri: 'v:1', name: '1' }],
          agree: () => new Promise(() => undefined),
        },
      },
      { yes: {}, no: {}, never: { listTimeoutMs: 20 } },
    )
    await using other = stateless({ url: slow.url })
    const stream = await other.listen({ resourceSubscriptions: ['v:1', 'no:1', 'y:2', 'y:1'] })
    t.match(acknowledgement(stream), { notifications: { resourceSubscriptions: ['y:1'] } })
    t.same(
      ['no', 'never'].map((name) => slow.servers.get(name)?.watching.length),
      [0, 0],
    )
  })

  await t.test('what happens before the acknowledgement is said after it, once', async (t) => {
    await using early = await scriptedBroker({
      a: { eras: ['stateless'], resources: [{ uri: 'a:1', name: '1' }] },
    })
    const a = early.servers.get('a')
    if (a === undefined) throw new Error('a')
    a.offer.agree = (uris) => {
      for (let i = 0; i < 3; i++) a.watching[0]?.changed('a:1')
      a.change({ tools: [tool('x')] })
      return uris
    }
    await using other = stateless({ url: early.url })
    const stream = await other.listen({ toolsListChanged: true, resourceSubscriptions: ['a:1'] })
    await stream.next(named('tools/list_changed'))
    t.same(
      stream.heard.map(({ method }) => method?.replace('notifications/', '')),
      ['subscriptions/acknowledged', 'resources/updated', 'tools/list_changed'],
    )
  })

  await t.test('nothing to hear of: acknowledged as nothing, and over', async (t) => {
    for (const filter of [{}, { resourceSubscriptions: ['nope:'] }]) {
      const stream = await client.listen(filter, { id: '3' })
      const { messages } = await stream.ended
      t.match(messages[0]?.params, { notifications: {} })
      t.same(messages[1]?.result, { resultType: 'complete', _meta: { [meta('subscriptionId')]: 3 } })
    }
  })

  await t.test('no more of them than allowed', async (t) => {
    await using few = await scriptedBroker({ a: { eras: ['stateless'] } }, { a: {} }, { mostStreams: 1 })
    await using other = stateless({ url: few.url })
    const first = await other.listen({ toolsListChanged: true })
    const { status, headers, message } = await other.request('subscriptions/listen', {
      notifications: { toolsListChanged: true },
    })
    t.match(
      [status, headers['retry-after'], message?.error],
      [503, '1', { code: -32603, data: { reason: 'too-many-streams', retryAfterMs: 1000 } }],
    )
    first.close()
  })

  await t.test('prefixed URIs are the client’s own, also of what lies below them', async (t) => {
    await using prefixed = await scriptedBroker(
      { a: { eras: ['stateless'], resources: [{ uri: 'a:1', name: '1' }] } },
      { a: { resources: { include: ['*'], exclude: [], rename: new Map(), prefix: true } } },
    )
    await using other = stateless({ url: prefixed.url })
    const stream = await other.listen({ resourceSubscriptions: ['a+a:1'] })
    const watching = prefixed.servers.get('a')?.watching[0]
    t.same(watching?.uris, ['a:1'])
    watching?.changed('a:1')
    watching?.changed('a:1/below')
    await stream.next(({ params }) => params?.['uri'] === 'a+a:1/below')
    t.same(
      stream.heard.slice(1).map(({ params }) => params?.['uri']),
      ['a+a:1', 'a+a:1/below'],
    )
  })

  await t.test(
    'a reload: a server that left ends what was about it alone, one that moved is watched anew',
    async (t) => {
      await using moving = await scriptedBroker({
        gone: { eras: ['stateless'], resources: [{ uri: 'g:1', name: '1' }] },
        moved: {
          eras: ['stateless'],
          resources: [
            { uri: 'm:1', name: '1' },
            { uri: 'm:2', name: '2' },
          ],
        },
      })
      await using other = stateless({ url: moving.url })
      const alone = await other.listen({ resourceSubscriptions: ['g:1'] }, { id: '1' })
      const both = await other.listen({ resourceSubscriptions: ['g:1', 'm:1', 'm:2'] }, { id: '2' })
      const { endpoint } = (await import('./support/registry-value.ts')).httpServer(
        'moved',
        'http://127.0.0.1:9/elsewhere',
      )
      await moving.apply({
        moved: { endpoint, resources: { include: ['*'], exclude: ['m:2'], rename: new Map(), prefix: false } },
      })
      const { messages } = await alone.ended
      t.match(messages.at(-1), { id: 1, result: { resultType: 'complete' } })
      const moved = moving.servers.get('moved')
      t.same(
        moved?.watching.map(({ uris }) => uris),
        [['m:1']],
      )
      moved?.watching[0]?.changed('m:1')
      t.equal((await both.next(named('resources/updated'))).params?.['uri'], 'm:1')
      t.same(moving.dropped.sort(), ['gone', 'moved'])
    },
  )

  await t.test('a stop ends every stream with a result and begins no other', async (t) => {
    await using stopping = await scriptedBroker({ a: { eras: ['stateless'], resources: [{ uri: 'a:1', name: '1' }] } })
    await using other = stateless({ url: stopping.url })
    const stream = await other.listen({ promptsListChanged: true, resourceSubscriptions: ['a:1'] }, { id: '"s"' })
    await stopping.drain()
    t.match((await stream.ended).messages.at(-1), {
      id: 's',
      result: { resultType: 'complete', _meta: { [meta('subscriptionId')]: 's' } },
    })
    t.equal(stopping.servers.get('a')?.watching.length, 0)
    const refused: StatelessReply = await other.request('subscriptions/listen', {
      notifications: { toolsListChanged: true },
    })
    t.match([refused.status, refused.message?.error], [503, { code: -32603, data: { reason: 'stopping' } }])
  })
})

await t.test('streams end with the token that opened them', async (t) => {
  const principals = { short: 1000, long: 2000 } as const
  const isKnown = (name: string | undefined): name is keyof typeof principals =>
    name !== undefined && Object.hasOwn(principals, name)
  await using own = await scriptedBroker({ a: { eras: ['stateless', 'stateful'], tools: [tool('t')] } }, undefined, {
    identify: (authorization) =>
      isKnown(authorization)
        ? {
            ok: true,
            principal: { subject: authorization, key: authorization, claims: { exp: principals[authorization] } },
          }
        : { ok: false, reason: 'no-token', detail: 'none' },
  })
  const headersOf = (authorization: string) => ({ headers: { authorization } })
  await using first = stateless({ url: own.url, ...headersOf('short') })
  await using second = stateless({ url: own.url, ...headersOf('long') })
  const short = await first.listen({ toolsListChanged: true })
  const long = await second.listen({ toolsListChanged: true })
  await using session = await connect(own.url, headersOf('short'))
  const stream = await session.stream()
  own.broker.expire(999_000)
  t.equal(own.broker.listeners.size, 2)
  own.broker.expire(1_001_000)
  await Promise.all([short.ended, stream.ended])
  t.match(short.heard.at(-1)?.result, { resultType: 'complete' })
  t.equal(own.broker.listeners.size, 1)
  own.broker.expire(2_001_000)
  await long.ended
  t.equal(own.broker.listeners.size, 0)
})
