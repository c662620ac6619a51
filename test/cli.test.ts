/** The command line as a person or a script meets it: every command as a child process, its output and its exit code. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { serveAdmin } from '../src/admin/server.ts'
import type { Status } from '../src/admin/status.ts'
import { node, openFiles } from '../src/commands/machine.ts'
import { table } from '../src/commands/terminal.ts'
import { welcome } from '../src/commands/welcome.ts'
import { claimPorts } from '../src/envoy/ports.ts'
import { version } from '../src/version.ts'
import { refusalText } from '../src/xds/refusal-text.ts'
import { granted, refuses, startAuthorizationServer } from './support/authorization-server.ts'
import { run } from './support/command.ts'
import { serveFixture } from './support/fixture-server.ts'

const directory = await mkdtemp(join(tmpdir(), 'mcpgw-cli-'))
t.teardown(() => rm(directory, { recursive: true, force: true }))

const file = async (name: string, text: string): Promise<string> => {
  const path = join(directory, name)
  await writeFile(path, text)
  return path
}

const [listen, admin] = (
  await claimPorts([
    { host: '127.0.0.1', port: 0 },
    { host: '127.0.0.1', port: 0 },
  ])
).map(({ host, port }) => `${host}:${port}`)

const good = await file(
  'good.yaml',
  `gateway: { listen: "${listen}", admin: "${admin}" }
servers:
  weather:
    url: http://127.0.0.1:9/mcp
    credential: { bearer: "\${TOKEN}" }
  old:
    url: http://127.0.0.1:9/mcp
    enabled: false
`,
)
const bad = await file(
  'bad.yaml',
  `servers:
  weather:
    url: http://127.0.0.1:9/mcp
    timout: 3s
  files:
    command: "\${NO_SUCH_VARIABLE}"
`,
)
const TOKEN = 'hunter2-is-a-secret'

/** A command line, its exit code, and what must be said where. */
interface Row {
  readonly name: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly code: number
  readonly out?: readonly (string | RegExp)[]
  readonly err?: readonly (string | RegExp)[]
}

const rows: readonly Row[] = [
  { name: 'the version', args: ['--version'], code: 0, out: [`${version}\n`] },
  { name: 'the help', args: ['--help'], code: 0, out: ['validate', 'doctor', 'Exit codes'] },
  { name: "a command's help", args: ['up', '--help'], code: 0, out: ['--listen', '--envoy', '--log-level'] },
  { name: 'no command', args: [], code: 2, err: ['Usage'] },
  {
    name: 'an unknown command',
    args: ['vlidate'],
    code: 2,
    err: ["unknown command 'vlidate'", 'Did you mean validate'],
  },
  { name: 'an unknown option', args: ['validate', '--jsn'], code: 2, err: ["unknown option '--jsn'"] },
  { name: 'too many files', args: ['validate', good, good], code: 2, err: ['too many arguments'] },
  { name: 'a level that is none', args: ['up', '--log-level', 'loud'], code: 2, err: ['loud', 'debug'] },
  {
    name: 'an address that is none',
    args: ['serve', '--listen', 'here'],
    code: 2,
    err: ['--listen', '127.0.0.1:8080'],
  },
  { name: 'no workers', args: ['up', '--concurrency', '0'], code: 2, err: ['from 1 on'] },

  { name: 'a good registry', args: ['validate', good], env: { TOKEN }, code: 0, out: ['1 server, 1 disabled'] },
  { name: 'a missing secret', args: ['validate', good], code: 1, err: [`${good}:5:`, 'TOKEN'] },
  {
    name: 'every problem at once',
    args: ['validate', bad],
    code: 1,
    err: [`${bad}:4:5: error:`, 'did you mean "timeout"', `${bad}:6:`, 'NO_SUCH_VARIABLE'],
  },
  {
    name: 'no such file',
    args: ['validate', join(directory, 'none.yaml')],
    code: 3,
    err: ['none.yaml', 'no such file'],
  },
  { name: 'a directory', args: ['validate', directory], code: 3, err: [`cannot read ${directory}: it is a directory`] },
  {
    name: 'no such log',
    args: ['audit', 'verify', join(directory, 'none.jsonl')],
    code: 3,
    err: ['none.jsonl: there is no such file', 'gateway.audit'],
  },
  { name: 'a directory as a log', args: ['audit', 'verify', directory], code: 3, err: ['it is a directory'] },
  { name: 'how can-i is used', args: ['--help'], code: 0, out: ['can-i [options] [file] <tool>'] },
  { name: 'a bad registry for render', args: ['render', bad], code: 1, err: [`${bad}:4:5`] },
  { name: 'a bad registry for bootstrap', args: ['bootstrap', bad], code: 1, err: [`${bad}:4:5`] },
  { name: 'a bad registry for tools', args: ['tools', bad], code: 1, err: [`${bad}:4:5`] },
  { name: 'a bad registry for serve', args: ['serve', bad], code: 1, err: [`${bad}:4:5`, `${bad}:6:`] },

  {
    name: 'no server answers',
    args: ['validate', '--live', good],
    env: { TOKEN },
    code: 3,
    out: ['✗ weather: ', 'ECONNREFUSED'],
  },
  {
    name: 'what Envoy gets',
    args: ['render', good],
    env: { TOKEN },
    code: 0,
    out: ['clusters', 'mcp.weather', '[redacted]'],
  },
  { name: 'the bootstrap', args: ['bootstrap', good], env: { TOKEN }, code: 0, out: ['ads_config', 'node:'] },
  {
    name: 'a bootstrap of its own',
    args: ['bootstrap', good, '--run', join(directory, 'run'), '--node', 'envoy-7'],
    env: { TOKEN },
    code: 0,
    out: ['envoy-7', join(directory, 'run')],
  },
  {
    name: 'no gateway runs',
    args: ['tools', good],
    env: { TOKEN },
    code: 3,
    err: [`no gateway answers at http://${admin}`, 'mcp-gateway up'],
  },
  {
    name: 'no Envoy',
    args: ['up', good, '--envoy', '/nowhere/envoy'],
    env: { TOKEN },
    code: 3,
    err: ['/nowhere/envoy is not an executable file', 'brew install envoy'],
  },
  {
    name: 'the doctor finds no Envoy',
    args: ['doctor', good, '--envoy', '/nowhere/envoy'],
    env: { TOKEN },
    code: 3,
    out: [/✗ Envoy +--envoy: \/nowhere\/envoy/u, '✓ Node', /✓ Port of listen +127/u],
  },
]

void t.test('command lines', async (t) => {
  for (const { name, args, env, code, out = [], err = [] } of rows) {
    await t.test(name, async (t) => {
      const got = await run(args, { env })
      if (!t.equal(got.code, code)) t.comment(got.out + got.err)
      for (const part of out) t.match(got.out, part)
      for (const part of err) t.match(got.err, part)
      t.notMatch(got.out + got.err, TOKEN, 'no secret is shown')
      t.notMatch(got.out + got.err, /\n\s+at .*:\d+:\d+/u, 'no stack is shown')
    })
  }
})

void t.test('problems for programs', async (t) => {
  const got = await run(['validate', bad, '--json'])
  t.equal(got.code, 1)
  t.equal(got.err, '')
  t.match(JSON.parse(got.out), {
    ok: false,
    problems: [{ severity: 'error', file: bad, line: 4, column: 5, path: 'servers.weather.timout' }, { line: 6 }],
  })
})

void t.test('findings for programs', async (t) => {
  const got = await run(['doctor', '--json', good, '--envoy', '/nowhere/envoy'], { env: { TOKEN } })
  t.equal(got.code, 3)
  const findings: unknown = JSON.parse(got.out)
  t.match(findings, [
    { name: 'Node', state: 'fine' },
    { name: 'Envoy', state: 'missing', mend: /brew/u },
  ])
})

void t.test('the doctor names a port in use', async (t) => {
  const blocker = createServer((_request, response) => response.end('no gateway'))
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
  t.teardown(() => blocker.close())
  const address = blocker.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const registry = await file(
    'taken.yaml',
    `gateway: { listen: "127.0.0.1:${port}", admin: "${admin}" }\nservers: { a: { command: no-such-command } }\n`,
  )
  const got = await run(['doctor', registry])
  t.equal(got.code, 3)
  t.match(got.out, `127.0.0.1:${port} is in use`)
  t.match(got.out, /✗ Command of a +no-such-command is not found/u)
  const columns = got.out
    .split('\n')
    .flatMap((line) => /^[✓!✗] (?:Command of a|\w+(?: of \w+| files)?) +/u.exec(line)?.[0] ?? [])
  t.equal(new Set(columns.map(({ length }) => length)).size, 1, 'what was found stands in one column')
})

void t.test('validate --live reaches servers of both kinds', async (t) => {
  await using fixture = await serveFixture()
  const filesystem = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-filesystem/dist/index.js'))
  const registry = await file(
    'live.yaml',
    `servers:
  fixture: { url: "${fixture.url}" }
  files: { command: "${process.execPath}", args: ["${filesystem}", "${directory}"] }
  off: { url: "http://127.0.0.1:9/mcp", enabled: false }
`,
  )
  const text = await run(['validate', '--live', registry])
  t.equal(text.code, 0, text.err)
  t.match(text.out, /✓ fixture: \d+ tools, protocol 20\d\d-/u)
  t.match(text.out, /✓ files: \d+ tools/u)
  const json = await run(['validate', '--live', '--json', registry])
  t.equal(json.code, 0)
  t.match(JSON.parse(json.out), {
    ok: true,
    servers: [
      { server: 'fixture', ok: true },
      { server: 'files', ok: true, tools: /read_file/u },
    ],
  })
})

void t.test('validate --live sends the credential, shows it to nobody and follows no redirect', async (t) => {
  const seen: string[] = []
  const refusing = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization}`)
    response.writeHead(request.url === '/moved' ? 307 : 401, { location: '/elsewhere' }).end()
  })
  await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
  t.teardown(() => refusing.close())
  const address = refusing.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const registry = await file(
    'credential.yaml',
    `servers:
  a: { url: "${url}/mcp", credential: { bearer: "\${TOKEN}" } }
  b: { url: "${url}/moved", credential: { bearer: "\${TOKEN}" } }
`,
  )
  const got = await run(['validate', '--live', registry], { env: { TOKEN } })
  t.equal(got.code, 3)
  t.same(new Set(seen), new Set([`POST /mcp Bearer ${TOKEN}`, `POST /moved Bearer ${TOKEN}`]))
  t.match(got.out, '✗ a: ')
  t.match(got.out, /✗ b: [^\n]*the server redirects \(307\)/u)
  t.notMatch(got.out + got.err, TOKEN)
})

void t.test('validate --live asks for tokens as the gateway does, and for the keys of the issuer', async (t) => {
  const seen = new Set<string | undefined>()
  const refusing = createServer((request, response) => {
    seen.add(request.headers.authorization)
    response.writeHead(401).end()
  })
  await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
  t.teardown(() => refusing.close())
  const address = refusing.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/mcp`
  await using issuer = await startAuthorizationServer()
  issuer.answer = ({ form, ...rest }) =>
    form.get('audience') === 'bad' ? refuses('invalid_target', `not for ${TOKEN}`) : granted()({ form, ...rest })
  const client = (audience: string): string =>
    `{ token: "${issuer.endpoint}", client: gw, secret: "\${TOKEN}", audience: ${audience} }`
  const registryOf = (of: string): Promise<string> =>
    file(
      'tokens.yaml',
      `gateway: { url: "http://127.0.0.1:1/mcp", auth: { issuer: "${of}" } }
servers:
  own: { url: "${url}", credential: { oauth: ${client('own')} } }
  made: { url: "${url}", credential: { exchange: ${client('made')} } }
  each: { url: "${url}", credential: { exchange: ${client('each')} }, lists: per-caller }
  bad: { url: "${url}", credential: { oauth: ${client('bad')} } }
`,
    )
  const options = { env: { TOKEN } }
  const got = await run(['validate', '--live', await registryOf(issuer.issuer)], options)
  t.equal(got.code, 3)
  t.match(got.out, `✓ gateway.auth: 1 key of ${issuer.issuer}\n`)
  t.match(got.out, '– each: not asked, what it offers depends on who asks\n')
  t.match(got.out, `✗ bad: no token of ${issuer.endpoint}: invalid_target: not for [secret]\n`)
  t.match(got.out, '4 servers, no problem in the file itself')
  t.same(
    new Set([...seen].map((value) => /^Bearer token\.gw\.(\w+)\./.exec(value ?? '')?.[1])),
    new Set(['own', 'made']),
  )
  t.notMatch(got.out + got.err, TOKEN)
  const nobody = await run(['validate', '--live', '--json', await registryOf(`${issuer.issuer}/other`)], options)
  t.equal(nobody.code, 3)
  t.match(JSON.parse(nobody.out), {
    ok: true,
    auth: { ok: false, issuer: `${issuer.issuer}/other`, keys: 0, error: /answers 404/ },
    servers: [{ ok: false }, { ok: false }, { server: 'each', ok: true, unasked: String }, { ok: false }],
  })
})

const status: Status = {
  version: '9.9.9',
  url: 'http://127.0.0.1:8080/mcp',
  startedAt: '2026-01-01T00:00:00.000Z',
  registry: {
    file: 'registry.yaml',
    version: 'abc',
    loadedAt: '2026-01-01T00:00:01.000Z',
    problems: [],
    applied: { envoys: 1, of: 1, ms: 9 },
  },
  servers: [
    {
      name: 'weather',
      kind: 'http',
      state: 'up',
      required: false,
      since: '2026-01-01T00:00:02.000Z',
      era: { eras: ['stateful', 'stateless'], how: 'probed', at: '2026-01-01T00:00:00.000Z' },
      paths: { stateful: 'direct', stateless: 'direct' },
      tools: 1,
      prompts: 0,
      resources: 2,
      templates: 1,
      hidden: [{ name: 'weather_old', reason: 'another server has this name' }],
      stale: false,
    },
    {
      name: 'files',
      kind: 'stdio',
      state: 'down',
      required: false,
      since: '2026-01-01T00:00:02.000Z',
      lastError: 'gone\u001b[31m',
      tools: 0,
      prompts: 0,
      resources: 0,
      templates: 0,
      hidden: [],
      stale: false,
    },
  ],
  tools: [{ name: 'weather_now', server: 'weather', own: 'now', paths: { stateful: 'direct', stateless: 'direct' } }],
  problems: [],
  envoys: [],
  sessions: { clients: 0, servers: 0, pooled: 0, waiting: 0, streams: 0 },
  refusals: [],
}

void t.test('the tools of a running gateway', async (t) => {
  await using running = await serveAdmin({
    address: { host: '127.0.0.1', port: 0 },
    status: () => status,
    ready: () => ({ ready: true, reasons: [] }),
    definitions: () => ({ servers: [] }),
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
  })
  const at = `127.0.0.1:${running.address.port}`
  await t.test('as a table', async (t) => {
    const got = await run(['tools', '--admin', at])
    t.equal(got.code, 0)
    t.match(
      got.out,
      /^TOOL +SERVER +SERVER'S NAME +ERA +STATEFUL CLIENTS +STATELESS CLIENTS +STATE\nweather_now +weather +now +both +direct +direct +up\n$/u,
    )
    t.match(got.err, 'weather: weather_old is hidden: another server has this name')
    t.match(got.err, 'files is down: gone')
    t.notMatch(got.err, '\u001b', 'a server cannot steer the terminal')
  })
  await t.test('for programs', async (t) => {
    const got = await run(['tools', '--admin', at, '--json'])
    t.equal(got.code, 0)
    t.equal(got.err, '')
    t.match(JSON.parse(got.out), {
      tools: [
        {
          name: 'weather_now',
          server: 'weather',
          own: 'now',
          eras: ['stateful', 'stateless'],
          paths: { stateful: 'direct', stateless: 'direct' },
          state: 'up',
        },
      ],
    })
  })
  await t.test('found by the file', async (t) => {
    const registry = await file(
      'running.yaml',
      `gateway: { admin: "${at}" }\nservers: { a: { url: "http://127.0.0.1:9/" } }\n`,
    )
    t.match((await run(['tools', registry])).out, 'weather_now')
    t.match((await run(['doctor', registry])).out, 'a gateway 9.9.9 already runs at http://127.0.0.1:8080/mcp')
  })
})

void t.test('something else answers at the admin address', async (t) => {
  const other = createServer((_request, response) => response.end('{"tools": 3}'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close())
  const address = other.address()
  const got = await run(['tools', '--admin', `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`])
  t.equal(got.code, 3)
  t.match(got.err, 'is no gateway of ours')
})

void t.test('the welcome', async (t) => {
  const url = 'http://127.0.0.1:8080/mcp'
  const text = welcome({ url, admin: 'http://127.0.0.1:8081', file: 'registry.yaml', status, interactive: true })
  for (const part of [
    url,
    'http://127.0.0.1:8081',
    `claude mcp add --transport http gateway ${url}`,
    `npx @modelcontextprotocol/inspector --cli ${url} --transport http --method tools/list`,
    '.vscode/mcp.json',
    '~/.cursor/mcp.json',
    '1 tool in all',
    'Ctrl-C',
  ])
    t.match(text, part)
  t.notMatch(text, 'need a token')
  const auth = { issuer: 'https://idp.example.com', audience: url, keys: 1 }
  const closed = welcome({ url, admin: '', file: '', status: { ...status, auth }, interactive: true })
  t.match(closed, 'agents need a token of https://idp.example.com')
  t.match(closed, '--method tools/list --header "Authorization: Bearer $TOKEN"')
  t.notMatch(text, 'Authorization')
  t.match(text, /weather +up +1 +0 +3 +both\n/u)
  t.match(text, /files +down +0 +0 +0 +unknown +gone/u)
  t.notMatch(text, '\u001b')
  const setting = (name: string): unknown =>
    JSON.parse(
      text
        .split('\n')
        .find((line) => line.includes(name))
        ?.replace(/^.*?: (?=\{)/u, '') ?? '',
    )
  t.same(setting('VS Code'), { servers: { gateway: { type: 'http', url } } })
  t.same(setting('Cursor'), { mcpServers: { gateway: { url } } })
})

void t.test('what Envoy refuses, in one line', async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    [
      'Error: filter config has type URL a.v3.B but expect c.v3.D, e.v3.F, g...(truncated)',
      'Error: filter config has type URL a.v3.B, which this Envoy does not have',
    ],
    [
      'Error: filter config has type URL a.v3.B but expect c.v3.D, e.v3.F.',
      'Error: filter config has type URL a.v3.B, which this Envoy does not have',
    ],
    [
      'goo.gle/debugonly \nrules {\n}\n: Proto constraint validation failed (RBAC: x)',
      'Proto constraint validation failed (RBAC: x)',
    ],
    ['near 1:10  (offset 9): no   such field', 'near 1:10 (offset 9): no such field'],
  ]
  for (const [reason, said] of rows) t.equal(refusalText(reason), said)
})

void t.test('tables', async (t) => {
  t.equal(
    table(
      ['A', 'LONG'],
      [
        ['xyz', ''],
        ['', 'b'],
      ],
    ),
    'A    LONG\nxyz\n     b',
  )
  t.equal(table(['A'], []), 'A')
})

void t.test('limits the doctor judges', async (t) => {
  const nodes: readonly (readonly [string, string])[] = [
    ['v20.19.0', 'fine'],
    ['v24.0.0', 'fine'],
    ['v20.18.9', 'missing'],
    ['v18.20.0', 'missing'],
  ]
  for (const [of, state] of nodes) t.equal(node(of).state, state, of)
  const limits: readonly (readonly [number | 'unlimited' | undefined, string])[] = [
    [256, 'note'],
    [4_096, 'fine'],
    ['unlimited', 'fine'],
    [undefined, 'note'],
  ]
  for (const [limit, state] of limits) t.equal(openFiles(limit).state, state, String(limit))
})
