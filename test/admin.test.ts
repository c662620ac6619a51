/** The admin address over real HTTP, the status page's escaping, the metrics' bounds, and the log's secrets. */
import { request } from 'node:http'
import t from 'tap'
import { hostAllowed } from '../src/admin/host.ts'
import { html } from '../src/admin/html.ts'
import { page } from '../src/admin/page.ts'
import { serveAdmin } from '../src/admin/server.ts'
import type { Readiness, Status } from '../src/admin/status.ts'
import type { Call } from '../src/observe/call.ts'
import { outcome } from '../src/observe/call.ts'
import { log } from '../src/observe/log.ts'
import type { LogLevel } from '../src/observe/log-level.ts'
import type { Metrics } from '../src/observe/metrics.ts'
import { metrics } from '../src/observe/metrics.ts'
import { Secret } from '../src/registry/model.ts'

const HOSTILE = `<script>alert("x")</script>'&\u202e`

const status: Status = {
  version: '1.2.3',
  url: 'http://127.0.0.1:8080/mcp',
  startedAt: '2026-01-01T00:00:00.000Z',
  registry: {
    file: 'registry.yaml',
    version: 'abc',
    loadedAt: '2026-01-01T00:00:01.000Z',
    problems: [
      {
        severity: 'warning',
        message: `long name ${HOSTILE}`,
        path: 'servers.weather.tools',
        place: { line: 3, column: 5 },
        hint: 'rename it',
      },
    ],
    applied: { envoys: 1, of: 2, ms: 12.3 },
  },
  servers: [
    {
      name: 'weather',
      kind: 'http',
      description: HOSTILE,
      state: 'degraded',
      required: true,
      since: '2026-01-01T00:00:02.000Z',
      lastError: HOSTILE,
      protocolVersion: '2025-11-25',
      era: { eras: ['stateful'], how: 'probed', at: '2026-01-01T00:00:02.500Z' },
      paths: { stateful: 'direct', stateless: 'translated' },
      tools: 2,
      prompts: 1,
      resources: 3,
      templates: 4,
      hidden: [{ name: `weather_${HOSTILE}`, reason: 'clash' }],
      listsFetchedAt: '2026-01-01T00:00:03.000Z',
      stale: true,
    },
    {
      name: 'files',
      kind: 'stdio',
      state: 'down',
      required: false,
      since: '2026-01-01T00:00:02.000Z',
      tools: 0,
      prompts: 0,
      resources: 0,
      templates: 0,
      hidden: [],
      stale: false,
    },
  ],
  tools: [
    {
      name: `weather_${HOSTILE}`,
      server: 'weather',
      own: HOSTILE,
      paths: { stateful: 'direct', stateless: 'translated' },
    },
  ],
  auth: {
    issuer: `https://idp.example.com/${HOSTILE}`,
    audience: 'https://mcp.example.com/mcp',
    keys: 2,
    fetchedAt: '2026-01-01T00:00:04.000Z',
    problem: 'the issuer cannot be reached',
  },
  problems: [{ severity: 'error', message: HOSTILE, server: 'files' }],
  envoys: [
    {
      node: HOSTILE,
      version: '1.40.0',
      connectedSince: new Date('2026-01-01T00:00:01.000Z'),
      applied: false,
      types: { 'envoy.config.cluster.v3.Cluster': { resources: 3, current: 2, pushes: 1, acks: 0, nacks: 1 } },
      nacks: [
        {
          type: 'envoy.config.cluster.v3.Cluster',
          name: HOSTILE,
          version: 'v',
          message: HOSTILE,
          place: { line: 7, column: 3 },
        },
      ],
    },
  ],
  sessions: { clients: 1, servers: 2, pooled: 4, waiting: 5, streams: 3 },
  refusals: [{ at: '2026-01-01T00:00:05.000Z', decision: 'd-1', status: 400, reason: HOSTILE }],
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

const ask = (
  port: number,
  { method = 'GET', path = '/', host = 'localhost' }: { method?: string; path?: string; host?: string },
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers: { host } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      )
    })
    sent.on('error', reject)
    sent.end()
  })

const testMetrics = (): Metrics =>
  metrics({
    gauged: () => status,
    known: {
      method: (name) => name === 'tools/call' || name === 'tools/list',
      server: (name) => name === 'weather',
      tool: (name) => name === 'weather_now',
    },
  })

void t.test('the admin address', async (t) => {
  let readiness: Readiness = { ready: true, reasons: [] }
  const admin = await serveAdmin({
    address: { host: '127.0.0.1', port: 0 },
    status: () => status,
    ready: () => readiness,
    definitions: () => ({ servers: [] }),
    metrics: testMetrics(),
  })
  t.teardown(() => admin[Symbol.asyncDispose]())
  const { port } = admin.address
  t.equal(admin.url, `http://127.0.0.1:${port}`)

  const rows: readonly (readonly [string, Parameters<typeof ask>[1], number])[] = [
    ['the page', { path: '/' }, 200],
    ['the page with a query', { path: '/?x=1' }, 200],
    ['the status', { path: '/status' }, 200],
    ['readiness', { path: '/ready' }, 200],
    ['definitions', { path: '/definitions' }, 200],
    ['metrics', { path: '/metrics' }, 200],
    ['HEAD', { path: '/status', method: 'HEAD' }, 200],
    ['another path', { path: '/status/x' }, 404],
    ['a path of prototypes', { path: '/__proto__' }, 404],
    ['POST', { path: '/status', method: 'POST' }, 405],
    ['OPTIONS, as a preflight sends it', { path: '/status', method: 'OPTIONS' }, 405],
    ['DELETE', { path: '/', method: 'DELETE' }, 405],
    ['a foreign host', { path: '/status', host: 'evil.example' }, 403],
    ['a foreign host that looks like ours', { path: '/status', host: `localhost.evil.example:${port}` }, 403],
    ['another address', { path: '/status', host: '10.0.0.1' }, 403],
    ['our address', { path: '/status', host: `127.0.0.1:${port}` }, 200],
    ['IPv6 loopback', { path: '/status', host: `[::1]:${port}` }, 200],
  ]
  for (const [name, request, expected] of rows) {
    void t.test(name, async (t) => {
      const got = await ask(port, request)
      t.equal(got.status, expected)
      t.equal(got.headers['access-control-allow-origin'], undefined)
      t.equal(got.headers['x-content-type-options'], 'nosniff')
      t.equal(got.body === '', request.method === 'HEAD')
      if (expected === 405) t.equal(got.headers['allow'], 'GET, HEAD')
    })
  }

  void t.test('the status is the value', async (t) => {
    const got = await ask(port, { path: '/status' })
    t.match(got.headers['content-type'], /^application\/json/)
    t.same(JSON.parse(got.body), JSON.parse(JSON.stringify(status)))
  })

  void t.test('not ready says why', async (t) => {
    readiness = { ready: false, reasons: ['no Envoy has ACKed yet', 'server weather is required and down'] }
    const got = await ask(port, { path: '/ready' })
    readiness = { ready: true, reasons: [] }
    t.equal(got.status, 503)
    t.equal(got.body, 'not ready\nno Envoy has ACKed yet\nserver weather is required and down\n')
  })

  void t.test('the page loads nothing but its own style', async (t) => {
    const got = await ask(port, { path: '/' })
    const policy = String(got.headers['content-security-policy'])
    t.match(policy, /^default-src 'none'; style-src 'sha256-/)
    const style = /<style>([^]*)<\/style>/u.exec(got.body)?.[1] ?? ''
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(style))).toString('base64')
    t.ok(policy.includes(digest), 'the hash is that of the style sheet')
    t.notMatch(got.body, /\b(?:src|onclick|onload)=|<script|<link|@import|url\(/u)
  })

  void t.test('a port in use is an error, not an event', async (t) => {
    await t.rejects(
      serveAdmin({
        address: admin.address,
        status: () => status,
        ready: () => readiness,
        definitions: () => ({ servers: [] }),
        metrics: testMetrics(),
      }),
      { code: 'EADDRINUSE' },
    )
  })
})

void t.test('an error while answering is a 500', async (t) => {
  await using admin = await serveAdmin({
    address: { host: '127.0.0.1', port: 0 },
    status: () => {
      throw new Error('no status')
    },
    ready: () => ({ ready: true, reasons: [] }),
    definitions: () => ({ servers: [] }),
    metrics: testMetrics(),
  })
  t.equal((await ask(admin.address.port, { path: '/status' })).status, 500)
  t.equal((await ask(admin.address.port, { path: '/ready' })).status, 200)
})

void t.test('host names', async (t) => {
  const rows: readonly (readonly [header: string | undefined, listening: string, allowed: boolean])[] = [
    ['localhost:8081', '127.0.0.1', true],
    ['LOCALHOST', '127.0.0.1', true],
    ['127.0.0.2', '127.0.0.1', true],
    ['[::1]', '127.0.0.1', true],
    ['127.0.0.1.evil.example', '127.0.0.1', false],
    ['127.evil.example', '127.0.0.1', false],
    ['10.1.2.3:8081', '10.1.2.3', true],
    ['10.1.2.4:8081', '10.1.2.3', false],
    ['10.1.2.4:8081', '0.0.0.0', true],
    ['gateway.example', '0.0.0.0', false],
    ['[fd00::1]:8081', '::', true],
    ['', '127.0.0.1', false],
    [undefined, '127.0.0.1', false],
    ['localhost@evil.example', '127.0.0.1', false],
    ['localhost:8081:1', '127.0.0.1', false],
  ]
  for (const [header, listening, allowed] of rows)
    t.equal(hostAllowed(header, listening), allowed, `${header ?? 'none'} on ${listening}`)
})

void t.test('escaping', async (t) => {
  t.equal(html`<b title="${'"\''}">${'<&>'}</b>`.toString(), '<b title="&quot;&#39;">&lt;&amp;&gt;</b>')
  t.equal(html`${['<', html`<i>${'>'}</i>`]}${undefined}${3}`.toString(), '&lt;<i>&gt;</i>3')
  const text = page(status)
  t.notOk(text.includes('<script'), 'nothing hostile is left as it came')
  t.notOk(text.includes('\u202e'), 'no character reorders the text')
  const shown = text.split('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;U+202e').length - 1
  t.equal(shown, 12, 'every hostile field of the status is on the page, escaped')
  for (const part of [
    '1/2 Envoy in 12 ms',
    'registry.yaml:3:5',
    'registry.yaml:7:3',
    'Cluster <span class="warning">2/3',
    'd-1',
    'lists never fetched',
    '2 keys, fetched 2026-01-01T00:00:04.000Z',
  ])
    t.ok(text.includes(part), part)
})

const call = (metadata: Call['metadata'], rest: Partial<Call> = {}): Call => ({
  durationMs: 3,
  status: 200,
  flags: [],
  details: '',
  metadata,
  ...rest,
})

/** Every sample of an exposition, by name and labels; throws on a line that is neither sample nor comment. */
const samples = (exposition: string): ReadonlyMap<string, number> =>
  new Map(
    exposition
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('# '))
      .map((line) => {
        const match =
          /^([a-z_:][a-z0-9_:]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})?) ([0-9.e+-]+|[+-]Inf|Nan)$/iu.exec(line)
        if (match?.[1] === undefined) throw new Error(`not a sample: ${line}`)
        return [match[1], Number(match[2])] as const
      }),
  )

void t.test('metrics', async (t) => {
  const subject = testMetrics()
  const direct = { method: 'tools/call', server: 'weather', tool: 'weather_now', path: 'direct' }
  subject.record(call(direct))
  subject.record(call(direct, { durationMs: 70_000 }))
  subject.record(call(direct, { status: 502, flags: ['upstream_connection_failure'] }))
  for (let n = 0; n < 100; n++)
    subject.record(call({ method: `m${n}"\n\\`, server: `s${n}`, tool: `t${n}`, path: `p${n}` }, { status: 404 }))
  subject.record(call({}, { status: 0, flags: ['downstream_connection_termination'] }))
  subject.ads('push', 'Cluster')
  subject.ads('push', 'Cluster')
  subject.ads('ack', 'Cluster')
  subject.ads('nack', 'Cluster')
  subject.applied(12)
  subject.listCapped('weather', 'tools')
  subject.stdioRestart('files')
  const got = samples(await subject.text())
  const rows: readonly (readonly [string, number])[] = [
    ['mcp_gateway_calls_total{server="weather",tool="weather_now",path="direct",method="tools/call",outcome="ok"}', 2],
    [
      'mcp_gateway_calls_total{server="weather",tool="weather_now",path="direct",method="tools/call",outcome="failed"}',
      1,
    ],
    ['mcp_gateway_calls_total{server="other",tool="other",path="",method="other",outcome="refused"}', 100],
    ['mcp_gateway_calls_total{server="",tool="",path="",method="",outcome="cancelled"}', 1],
    [
      'mcp_gateway_call_errors_total{server="weather",tool="weather_now",path="direct",reason="upstream_connection_failure"}',
      1,
    ],
    ['mcp_gateway_call_errors_total{server="other",tool="other",path="",reason="404"}', 100],
    ['mcp_gateway_call_duration_seconds_count{server="weather",path="direct"}', 3],
    ['mcp_gateway_call_duration_seconds_bucket{le="0.005",server="weather",path="direct"}', 2],
    ['mcp_gateway_call_duration_seconds_bucket{le="60",server="weather",path="direct"}', 2],
    ['mcp_gateway_server_up{server="weather"}', 1],
    ['mcp_gateway_server_up{server="files"}', 0],
    ['mcp_gateway_server_state{server="files",state="down"}', 1],
    ['mcp_gateway_server_stale{server="weather"}', 1],
    ['mcp_gateway_catalogue_items{server="weather",list="templates"}', 4],
    ['mcp_gateway_catalogue_hidden{server="weather"}', 1],
    ['mcp_gateway_list_capped_total{server="weather",list="tools"}', 1],
    ['mcp_gateway_ads_pushes_total{type="Cluster"}', 2],
    ['mcp_gateway_ads_acks_total{type="Cluster"}', 1],
    ['mcp_gateway_ads_nacks_total{type="Cluster"}', 1],
    ['mcp_gateway_apply_duration_seconds_count', 1],
    ['mcp_gateway_envoys{state="connected"}', 2],
    ['mcp_gateway_envoys{state="applied"}', 1],
    ['mcp_gateway_sessions{side="server"}', 2],
    ['mcp_gateway_sessions{side="pool"}', 4],
    ['mcp_gateway_calls_waiting', 5],
    ['mcp_gateway_streams', 3],
    ['mcp_gateway_stdio_restarts_total{server="files"}', 1],
    ['mcp_gateway_registry_problems{severity="warning"}', 1],
    ['mcp_gateway_info{version="1.2.3"}', 1],
  ]
  for (const [name, value] of rows) t.equal(got.get(name), value, name)
  t.ok((got.get('process_resident_memory_bytes') ?? 0) > 0, 'the process is there too')
  t.equal([...got.keys()].filter((name) => name.startsWith('mcp_gateway_calls_total')).length, 4, 'names are bounded')
})

void t.test("a removed server's gauges go", async (t) => {
  let servers = status.servers
  const subject = metrics({
    gauged: () => ({ ...status, servers }),
    known: { method: () => true, server: () => true, tool: () => true },
    process: false,
  })
  t.ok(samples(await subject.text()).has('mcp_gateway_server_up{server="files"}'))
  servers = servers.slice(0, 1)
  const after = samples(await subject.text())
  t.notOk(after.has('mcp_gateway_server_up{server="files"}'))
  t.notOk(after.has('mcp_gateway_server_state{server="files",state="down"}'))
  t.ok(after.has('mcp_gateway_server_up{server="weather"}'))
})

void t.test('the number of series is bounded', async (t) => {
  const subject = metrics({
    gauged: () => status,
    known: { method: () => true, server: () => true, tool: () => true },
    process: false,
  })
  for (let n = 0; n < 21_000; n++)
    subject.record(call({ method: 'tools/call', server: 'weather', tool: `t${n}`, path: 'direct' }))
  const text = await subject.text()
  t.equal(text.split('\n').filter((line) => line.startsWith('mcp_gateway_calls_total{')).length, 20_001)
  t.match(text, /tool="other".*\} 1000\n/u, 'what is past the bound still counts')
})

void t.test('what became of a call', async (t) => {
  const rows: readonly (readonly [status: number, flags: readonly string[], outcome: string, reason: string])[] = [
    [200, [], 'ok', ''],
    [202, [], 'ok', ''],
    [200, ['downstream_connection_termination'], 'cancelled', 'downstream_connection_termination'],
    [0, [], 'failed', 'none'],
    [404, [], 'refused', '404'],
    [404, ['upstream_retry_limit_exceeded'], 'refused', '404'],
    [408, [], 'timeout', '408'],
    [504, ['upstream_request_timeout'], 'timeout', 'upstream_request_timeout'],
    [503, ['upstream_retry_limit_exceeded', 'local_reset'], 'failed', 'local_reset'],
    [200, ['unheard_of'], 'ok', ''],
    [200, ['constructor'], 'ok', ''],
    [503, [], 'failed', '503'],
    [99_999, [], 'failed', 'none'],
  ]
  for (const [status, flags, expected, reason] of rows)
    t.same(outcome(call({}, { status, flags })), { outcome: expected, reason }, `${status} ${flags.join(' ')}`)
})

const logged = (options: { level: LogLevel; json: boolean }, use: (to: ReturnType<typeof log>) => void): string => {
  const lines: string[] = []
  use(log({ ...options, colour: false, write: (line) => lines.push(line) }))
  return lines.join('')
}

void t.test('the log', async (t) => {
  const secret = new Secret('hunter2')
  for (const json of [true, false])
    void t.test(json ? 'JSON lines' : 'lines for people', async (t) => {
      const text = logged({ level: 'info', json }, (to) => {
        to.debug('not this')
        to.child({ server: 'weather', token: secret }).warn('a\u001b[31m\nb', {
          deep: { secret, list: [secret] },
          error: new Error('broke\nhere'),
        })
        to.error('plain')
      })
      t.notMatch(text, 'hunter2')
      t.match(text, '[secret]')
      t.notMatch(text, 'not this')
      t.notMatch(text, '\u001b')
      t.equal(text.split('\n').length, 3, 'one line each')
      t.match(text, 'weather')
      t.match(text, 'broke\\nhere')
    })
  void t.test('JSON lines parse', async (t) => {
    const line = logged({ level: 'debug', json: true }, (to) => to.info('hello', { n: 1 }))
    t.match(JSON.parse(line), { level: 'info', msg: 'hello', n: 1, time: /^\d{4}-\d\d-\d\dT/ })
  })
  void t.test('a stack only at level debug', async (t) => {
    const at = (level: LogLevel): string =>
      logged({ level, json: false }, (to) => to.error('x', { error: new Error('y') }))
    t.notMatch(at('info'), /\n\s+at /)
    t.match(at('debug'), /\n\s+at /)
  })
  void t.test('silent', async (t) => {
    t.equal(
      logged({ level: 'silent', json: true }, (to) => to.error('x')),
      '',
    )
  })
})
