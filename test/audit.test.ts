/** The audit log: what a line says, how lines are chained and kept, and one line for every request through a real Envoy. */
import { createHash } from 'node:crypto'
import { appendFile, mkdir, mkdtemp, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { gatewayAudit } from '../src/gateway-audit.ts'
import { CHAIN_START, chained, follows } from '../src/observe/audit-chain.ts'
import { appending, auditFault, type Sink } from '../src/observe/audit-file.ts'
import { auditLog } from '../src/observe/audit-log.ts'
import { auditRecord, type Finished, type Told } from '../src/observe/audit-record.ts'
import { type AuditLine, auditLines } from './support/audit-lines.ts'
import { run } from './support/command.ts'
import { eventually, freePort, type GatewayUnderTest, startGateway } from './support/gateway.ts'
import { HttpAnswer } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { ACCEPT, connect, request, rpc, stateless } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { connectOn, gate, play, registry } from './support/stage.ts'
import { inSeconds, signingKey } from './support/tokens.ts'

const REGISTRY = 'registry.yaml'

// --- the line -----------------------------------------------------------------------------------------------------

const finished: Finished = {
  startMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  requestId: 'request-1',
  verb: 'POST',
  durationMs: 12.3456789,
  status: 200,
  flags: [],
  details: 'via_upstream',
  metadata: {
    era: 'stateful',
    path: 'direct',
    decision: 'request-1',
    view: '',
    subject: '',
    session: 's1',
    client: 'inspector/2.1',
    method: 'tools/call',
    server: 'git',
    tool: 'search',
    id: '"a secret id"',
  },
}

const records: readonly (readonly [name: string, finished: Partial<Finished>, told: Told | undefined, want: object])[] =
  [
    [
      'a direct call',
      {},
      undefined,
      {
        time: '2026-01-02T03:04:05.678Z',
        decision: 'allowed',
        id: 'request-1',
        subject: '',
        client: 'inspector/2.1',
        session: 's1',
        view: '',
        era: 'stateful',
        verb: 'POST',
        method: 'tools/call',
        server: 'git',
        tool: 'search',
        status: 200,
        ms: 12.346,
      },
    ],
    [
      'the broker knows better',
      { metadata: { era: 'stateful', path: 'broker' } },
      { era: 'stateless', method: 'prompts/get', server: 'git', own: 'review', client: 'x/1' },
      {
        decision: 'allowed',
        id: 'request-1',
        era: 'stateless',
        method: 'prompts/get',
        prompt: 'review',
        client: 'x/1',
      },
    ],
    [
      'refused by the broker',
      {},
      { era: 'stateful', refused: { reason: 'unknown-tool', letThrough: false } },
      { decision: 'refused', reason: 'unknown-tool' },
    ],
    [
      'allowed, but the server is down',
      { status: 502 },
      { era: 'stateful', refused: { reason: 'server-down', letThrough: true } },
      { decision: 'allowed', reason: 'server-down', status: 502 },
    ],
    [
      "a browser's preflight",
      { verb: 'OPTIONS', details: 'cors_response', metadata: {} },
      undefined,
      { decision: 'allowed', reason: 'preflight', verb: 'OPTIONS' },
    ],
    [
      'refused by Envoy before a decision',
      { status: 413, details: 'request_payload_too_large', metadata: {} },
      undefined,
      { decision: 'refused', reason: 'request_payload_too_large', id: 'request-1', session: '' },
    ],
    [
      "refused by an operator's filter",
      { status: 403, details: 'rbac_access_denied_matched_policy[none]' },
      undefined,
      { decision: 'refused', reason: 'rbac_access_denied_matched_policy[none]' },
    ],
    [
      'allowed, and the server broke off',
      { status: 502, flags: ['upstream_connection_failure'], details: 'upstream_reset{connection_failure|10.0.0.1}' },
      undefined,
      { decision: 'allowed', reason: 'upstream_reset' },
    ],
    [
      'the client went away',
      { status: 0, flags: ['downstream_connection_termination'], details: 'downstream_remote_disconnect' },
      undefined,
      { decision: 'allowed', reason: 'downstream_remote_disconnect', status: 0 },
    ],
    [
      'no decision, so closed',
      { status: 503, flags: ['no_healthy_upstream'], details: 'no_healthy_upstream', metadata: {} },
      undefined,
      { decision: 'refused', reason: 'no_healthy_upstream' },
    ],
    [
      'whose token allowed it where, and by which rules',
      {
        metadata: {
          ...finished.metadata,
          subject: 'ann',
          view: 'ops',
          rule: '3 gateway.access[0], 12 servers.git.access[1]',
        },
      },
      undefined,
      {
        subject: 'ann',
        view: 'ops',
        rule: 'registry.yaml:3 gateway.access[0], registry.yaml:12 servers.git.access[1]',
      },
    ],
    [
      'the same at the broker',
      { metadata: { ...finished.metadata, subject: 'ann', rule: '1 another' } },
      { era: 'stateful', view: 'ops', rule: '12 servers.git.access[1]', confirmed: true },
      { subject: 'ann', view: 'ops', rule: 'registry.yaml:12 servers.git.access[1]', confirmed: true },
    ],
    [
      'denied: what the client is not told',
      { metadata: { era: 'stateful', path: 'broker', subject: 'ann', method: 'tools/call' } },
      { era: 'stateful', server: 'git', own: 'drop', refused: { reason: 'denied', letThrough: false } },
      { decision: 'refused', reason: 'denied', subject: 'ann', server: 'git', tool: 'drop' },
    ],
    [
      'without a token',
      { status: 401, details: 'jwt_authn_access_denied{Jwt_is_missing}', metadata: {} },
      undefined,
      { decision: 'refused', reason: 'no-token', status: 401, subject: '' },
    ],
    [
      'with one that does not count',
      { status: 401, details: 'jwt_authn_access_denied{Jwt_is_expired}', metadata: {} },
      undefined,
      { decision: 'refused', reason: 'bad-token' },
    ],
    [
      'while there are no keys',
      { status: 503, details: 'rbac_access_denied_matched_policy[mcp_no_keys]', metadata: {} },
      undefined,
      { decision: 'refused', reason: 'no-keys' },
    ],
    [
      "without a token that an operator's filter wants",
      { status: 401, details: 'jwt_authn_access_denied{Jwt_is_missing}' },
      undefined,
      { decision: 'refused', reason: 'jwt_authn_access_denied' },
    ],
    [
      'without a token for the server',
      { status: 502, details: 'failed_to_inject_credential' },
      undefined,
      { decision: 'allowed', reason: 'no-credential' },
    ],
    [
      'too often',
      { status: 429, details: 'local_rate_limited' },
      undefined,
      { decision: 'refused', reason: 'rate-limited' },
    ],
    [
      'a resource without what may be secret in its URI',
      { metadata: { method: 'resources/read', tool: 'postgres://me:pass@db/table?token=t#f', path: 'direct' } },
      undefined,
      { resource: 'postgres://db/table' },
    ],
  ]

void t.test('what a line says', async (t) => {
  for (const [name, more, told, want] of records) {
    await t.test(name, async (t) => {
      const record = JSON.parse(auditRecord({ ...finished, ...more }, REGISTRY, told))
      t.match(record, want)
      t.notMatch(JSON.stringify(record), /secret id|pass@|token=/)
    })
  }
  await t.test('nothing beside this', async (t) => {
    const [, , , whole] = records[0] ?? []
    t.strictSame(
      Object.entries(JSON.parse(auditRecord(finished, REGISTRY))),
      Object.entries(whole ?? {}),
      'and in this order',
    )
  })
  await t.test('names cannot break the line, steer a terminal or grow without bounds', async (t) => {
    const odd = `a\nb\u009bc\u202ed${'x'.repeat(5000)}`
    const line = auditRecord({ ...finished, metadata: { ...finished.metadata, tool: odd } }, REGISTRY)
    t.match(line, /^[\x20-\x7e…]*$/)
    t.ok(line.length < 1000)
    t.match(JSON.parse(line).tool, 'a\nb\u009bc\u202ed')
  })
})

// --- the chain ----------------------------------------------------------------------------------------------------

const chainOf = (count: number, from = CHAIN_START): readonly string[] => {
  let prev = from
  return Array.from({ length: count }, (_, n) => {
    const { line, hash } = chained(`{"time":"then","n":${n}}`, prev)
    prev = hash
    return line
  })
}
const files = await mkdtemp(join(tmpdir(), 'audit-'))
t.teardown(() => rm(files, { recursive: true }))
let fileCount = 0
const newFile = (): string => join(files, `${++fileCount}.jsonl`)

void t.test('a line can be checked with common tools', async (t) => {
  const [line = ''] = chainOf(1)
  const { hash, prev } = JSON.parse(line)
  t.equal(prev, CHAIN_START)
  t.equal(
    hash,
    createHash('sha256')
      .update(line.replace(/,"hash":.*\n/, '}'))
      .digest('hex'),
  )
  t.same(follows(CHAIN_START, Buffer.from(line.trimEnd())), { hash })
})

const lines = chainOf(4)
const [one = '', two = '', three = '', four = ''] = lines
const verdicts: readonly (readonly [name: string, content: string, code: number, says: RegExp])[] = [
  ['whole', lines.join(''), 0, /: 4 lines, whole; the last one is [0-9a-f]{64}\n/],
  ['empty', '', 0, /: 0 lines, whole/],
  ['a changed character', lines.join('').replace('"n":2', '"n":7'), 1, /:3: the line was changed/],
  ['a missing line', one + two + four, 1, /:3: this does not follow the line before/],
  ['the beginning missing', two + three, 1, /:1: the chain does not begin here/],
  ['two lines exchanged', one + three + two + four, 1, /:2: this does not follow/],
  ['a line twice', one + one, 1, /:2: this does not follow/],
  ['a blank line', `${one}\n${two}`, 1, /:2: this is no line of an audit log/],
  ['something else', 'hello\n', 1, /:1: this is no line of an audit log/],
  ['torn', one + two.slice(0, 40), 1, /:2: the line is incomplete/],
  ['a carriage return', one.replace('\n', '\r\n'), 1, /:1: this is no line of an audit log/],
]

const verify = async (file: string, ...more: readonly string[]) => {
  const { code, out, err } = await run(['audit', 'verify', file, ...more])
  return { code, said: out + err }
}

void t.test('mcp-gateway audit verify', async (t) => {
  for (const [name, content, code, says] of verdicts) {
    await t.test(name, async (t) => {
      const file = newFile()
      await writeFile(file, content)
      const got = await verify(file)
      t.match(got, { code, said: says })
      t.ok(got.said.startsWith(file))
    })
  }
  await t.test('for programs', async (t) => {
    const file = newFile()
    await writeFile(file, one + three)
    const { code, said } = await verify(file, '--json')
    t.equal(code, 1)
    t.match(JSON.parse(said), { ok: false, file, lines: 1, hash: JSON.parse(one).hash, broken: { line: 2 } })
  })
  await t.test('a file that is not there', async (t) =>
    t.match(await verify(newFile()), { code: 3, said: /there is no such file/ }),
  )
})

// --- the file -----------------------------------------------------------------------------------------------------

const body = (n: number): string => `{"time":"then","n":${n}}`
/** The `n` of all lines, after checking the chain. */
const kept = async (file: string): Promise<readonly number[]> => {
  const content = await readFile(file, 'utf8')
  let prev = CHAIN_START
  return content.split('\n').flatMap((line) => {
    if (line === '') return []
    const judged = follows(prev, Buffer.from(line))
    if ('wrong' in judged) throw new Error(`${line}: ${judged.wrong}`)
    prev = judged.hash
    return [JSON.parse(line).n]
  })
}
const none = (): void => undefined

void t.test('a file is continued', async (t) => {
  const rows: readonly (readonly [name: string, before: string, want: readonly number[], torn: number])[] = [
    ['that is not there', '', [10, 11], 0],
    ['that has lines', lines.join(''), [0, 1, 2, 3, 10, 11], 0],
    ['whose last line a crash cut off', one + two + three.slice(0, 50), [0, 1, 10, 11], 1],
    ['whose only line a crash cut off', one.slice(0, 50), [10, 11], 1],
  ]
  for (const [name, before, want, tornTimes] of rows) {
    await t.test(name, async (t) => {
      const file = newFile()
      if (before !== '') await writeFile(file, before)
      t.equal(auditFault(file), undefined)
      let torn = 0
      const sink = appending(file, () => torn++)
      await sink.write([body(10)])
      const hash = await sink.write([body(11)])
      sink.close()
      t.same(await kept(file), want)
      t.match(await readFile(file, 'utf8'), new RegExp(`"hash":"${hash}"\\}\n$`))
      t.equal(torn, tornTimes)
    })
  }
  await t.test('only its owner may read it', async (t) => {
    const file = newFile()
    const sink = appending(file, none)
    await sink.write([body(0)])
    sink.close()
    t.equal((await stat(file)).mode & 0o777, 0o600)
  })
  await t.test('what is moved away gets a successor', async (t) => {
    const file = newFile()
    const sink = appending(file, none)
    await sink.write([body(0)])
    await rename(file, `${file}.old`)
    await sink.write([body(1)])
    sink.close()
    t.same([await kept(`${file}.old`), await kept(file)], [[0], [1]])
  })
  await t.test('two writers by turns make one chain', async (t) => {
    const file = newFile()
    const sinks = [appending(file, none), appending(file, none)]
    for (let n = 0; n < 6; n++) await sinks[n % 2]?.write([body(n)])
    for (const sink of sinks) sink.close()
    t.same(await kept(file), [0, 1, 2, 3, 4, 5])
  })
})

void t.test('a file that is no place for an audit log', async (t) => {
  const other = newFile()
  await writeFile(other, 'servers: {}\n')
  const changed = newFile()
  await writeFile(changed, one + two.replace('"n":1', '"n":5'))
  const rows: readonly (readonly [name: string, file: string, fault: RegExp])[] = [
    ['a directory', files, /this is no file/],
    ['a folder that is not there', join(files, 'no', 'such.jsonl'), /its folder does not exist/],
    ['something else', other, /something else than an audit log/],
    ['a changed last line', changed, /was changed/],
  ]
  for (const [name, file, fault] of rows) await t.test(name, async (t) => t.match(auditFault(file), fault))
  t.equal(await readFile(other, 'utf8'), 'servers: {}\n', 'nothing is written to find out')
})

// --- the queue ----------------------------------------------------------------------------------------------------

/** Resolves once it holds; fails when it never does. */
const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let n = 0; n < 2000; n++) {
    if (holds()) return
    await sleep(5)
  }
  throw new Error(`never: ${what}`)
}

void t.test('a file that cannot be written for a while loses nothing', async (t) => {
  const file = newFile()
  const told: string[] = []
  const log = auditLog({
    sink: appending(file, none),
    onFault: (reason) => told.push(reason),
    onHealed: () => told.push('healed'),
    retryMs: 5,
  })
  log.append(body(0))
  await until('written', () => log.state().lines === 1)
  await rename(file, `${file}.old`)
  await mkdir(file)
  log.append(body(1))
  log.append(body(2))
  await until('a fault', () => log.state().fault !== undefined)
  t.match(log.state(), { waiting: 2, lost: 0, fault: /EISDIR/ })
  await rmdir(file)
  await until('healed', () => log.state().fault === undefined)
  await log.close()
  t.same(await kept(file), [1, 2])
  t.match(told, [/EISDIR/, 'healed'])
})

void t.test('lines of which only some were written are not written twice', async (t) => {
  for (const [name, count] of [
    ['none', 0],
    ['half a line', 0.5],
    ['one', 1],
    ['one and a half', 1.5],
    ['all', 3],
  ] as const) {
    await t.test(name, async (t) => {
      const file = newFile()
      let full = true
      const sink = appending(file, none, async (_fd, bytes) => {
        await appendFile(file, full ? bytes.subarray(0, count * (bytes.length / 3)) : bytes)
        if (full) throw new Error('no space left')
      })
      await t.rejects(sink.write([body(1), body(2), body(3)]), /no space/)
      full = false
      await sink.write([body(1), body(2), body(3), body(4)])
      await sink.write([body(5)])
      sink.close()
      t.same(await kept(file), [1, 2, 3, 4, 5])
    })
  }
})

void t.test('the queue is bounded, and the chain says what is missing', async (t) => {
  const file = newFile()
  const blocked = gate()
  const behind = appending(file, none)
  const sink: Sink = {
    write: async (bodies) => {
      await blocked.opened
      return behind.write(bodies)
    },
    close: () => behind.close(),
  }
  const log = auditLog({ sink, onFault: none, onHealed: none, mostWaiting: body(0).length * 2 })
  for (let n = 0; n < 5; n++) log.append(body(n))
  t.match(log.state(), { waiting: 2, lost: 3 })
  blocked.open()
  await until('written', () => log.state().waiting === 0)
  log.append(body(5))
  await log.close()
  t.same(await kept(file), [0, 1, 5])
  t.match(await readFile(file, 'utf8'), /"n":5,"lost":3,"prev"/)
})

void t.test('an end that cannot be written is told', async (t) => {
  const told: unknown[] = []
  const log = { info: none, warn: none, error: (message: string, fields: unknown) => void told.push([message, fields]) }
  const audit = gatewayAudit(log, REGISTRY)
  const to = join(files, 'no', 'such.jsonl')
  audit.use({ to, place: { line: 1, column: 1 } })
  audit.record([finished, finished])
  await audit.close()
  t.match(told, [
    [/cannot be written/, { file: to, reason: /ENOENT/ }],
    [/end of the audit log/, { file: to, lines: 2 }],
  ])
})

// --- the gateway --------------------------------------------------------------------------------------------------

const AUDIT = 'audit.jsonl'
const audited = (gateway: GatewayUnderTest): string => join(gateway.dir, AUDIT)
void t.test('one line for every request', async (t) => {
  const tools = [{ name: 'echo' }, { name: 'ask' }]
  const SECRET = 'hunter2-argument'
  await using both = await serveMcp({ name: 'both', tools, era: 'both' })
  const servers = registry(
    { s: [both, {}], dead: { url: `http://127.0.0.1:${await freePort()}/mcp`, listTimeout: '300ms' } },
    { gateway: { audit: AUDIT } },
  )
  // One worker, so that the lines have the order of the requests.
  await using gateway = await startGateway(servers, { args: ['--concurrency', '1'] })
  await gateway.settled()
  const { url } = gateway
  let from = 0
  /** What the latest requests left, once there are so many lines. */
  const newLines = async (count: number): Promise<readonly AuditLine[]> => {
    const got = await eventually(`${count} lines`, gateway.child, async () => {
      const all = await auditLines(audited(gateway))
      return all.length >= from + count ? all.slice(from) : undefined
    })
    from += got.length
    t.equal(got.length, count, 'and not one more')
    return got
  }
  const ends = { subject: '', view: '', id: /^[0-9a-f-]{36}$/, time: /^20.*Z$/, ms: Number }

  let session = ''
  for (const path of ['direct', 'broker'] as const) {
    await t.test(`a stateful session on the ${path} path`, async (t) => {
      const client = await connectOn(path, url, ['s_echo'], { clientInfo: { name: 'tester', version: '7' } })
      await client.tools()
      await client.call('s_echo', { text: SECRET })
      await client.call('nope')
      await client.delete()
      const got = await newLines(7)
      session = String(got[0]?.['session'])
      t.match(session, /^[\w-]{12}$/)
      const common = { ...ends, client: 'tester/7', session, era: 'stateful' }
      const call = { ...common, method: 'tools/call', server: 's', tool: 'echo', decision: 'allowed', status: 200 }
      t.match(got, [
        { ...common, verb: 'POST', method: 'initialize', decision: 'allowed', status: 200 },
        { ...common, verb: 'POST', method: 'notifications/initialized', decision: 'allowed', status: 202 },
        call,
        { ...common, method: 'tools/list', decision: 'allowed' },
        call,
        { ...common, method: 'tools/call', decision: 'refused', reason: 'unknown-tool', status: 200 },
        { ...common, verb: 'DELETE', decision: 'allowed', status: 200 },
      ])
      t.notOk('tool' in (got[5] ?? {}), 'a name that no server has is not repeated')
    })
  }
  await t.test('a stateless client', async (t) => {
    await using client = stateless({ url, clientInfo: { name: 'less', version: '1' } })
    await client.call('s_echo', { text: SECRET })
    await client.request('server/discover')
    const common = { ...ends, client: 'less/1', session: '', era: 'stateless', verb: 'POST', decision: 'allowed' }
    t.match(await newLines(2), [
      { ...common, method: 'tools/call', server: 's', tool: 'echo' },
      { ...common, method: 'server/discover' },
    ])
  })
  const bad: readonly (readonly [name: string, ask: () => ReturnType<typeof request>, want: object])[] = [
    [
      'no session',
      () => request(url, { headers: ACCEPT, body: rpc('1', 'tools/list') }),
      { reason: 'no-session-id', status: 400 },
    ],
    [
      'a forged one',
      () => request(url, { headers: { ...ACCEPT, 'mcp-session-id': SECRET }, body: rpc('1', 'tools/list') }),
      { reason: 'unknown-session', status: 404, session: '' },
    ],
    [
      'not JSON',
      () => request(url, { headers: { ...ACCEPT, 'x-request-id': SECRET }, body: SECRET }),
      { reason: 'unparsable', status: 400 },
    ],
    [
      'another path',
      () => request(url.replace('/mcp', `/${SECRET}`)),
      { reason: 'wrong-path', status: 404, verb: 'GET' },
    ],
    [
      'another verb',
      () => request(url, { method: 'PUT', body: 'x' }),
      { reason: 'wrong-verb', status: 405, verb: 'PUT' },
    ],
    [
      'too large',
      () => request(url, { headers: ACCEPT, body: ' '.repeat(5 * 1024 * 1024) }),
      { reason: /too.large/, status: 413 },
    ],
    ['a path that Envoy refuses', () => request(`${url}/%2F`), { reason: 'path_normalization_failed', status: 400 }],
  ]
  for (const [name, ask, want] of bad) {
    await t.test(`refused: ${name}`, async (t) => {
      const { status, text } = await ask()
      const [line] = await newLines(1)
      t.match(line, { ...want, decision: 'refused', status })
      const said: unknown = JSON.parse(text).error?.data?.decision
      if (said !== '-') t.equal(line?.id, said, 'the id that the client was told')
    })
  }
  await t.test('a stream is told of at its end', async () => {
    await using client = await connect(url)
    const stream = await client.stream()
    stream.close()
    await stream.ended.catch(() => undefined)
    const got = await newLines(3)
    t.match(got[2], { verb: 'GET', era: 'stateful', client: 'raw-client/1.0.0', decision: 'allowed' })
    await client.delete()
    await newLines(1)
  })
  await t.test('allowed, and then refused by the server', async (t) => {
    await using client = stateless({ url, clientInfo: { name: 'less', version: '1' } })
    both.script.refuse = () => new HttpAnswer(401)
    await client.call('s_echo', { text: SECRET })
    both.script.refuse = undefined
    const [line] = await newLines(1)
    const call = { client: 'less/1', method: 'tools/call', server: 's', tool: 'echo' }
    t.match(line, { ...call, decision: 'allowed', reason: 'server-refused', status: 502 })
  })
  await t.test('/status has the hash of the last line', async (t) => {
    const { audit } = await gateway.status()
    const all = await auditLines(audited(gateway))
    t.match(audit, { to: audited(gateway), lines: all.length, hash: all.at(-1)?.['hash'], waiting: 0, lost: 0 })
  })
  await t.test('a file that fails later is told loudly, and heals', async (t) => {
    await rename(audited(gateway), join(gateway.dir, 'old.jsonl'))
    await mkdir(audited(gateway))
    await request(url.replace('/mcp', '/x'))
    const { problems } = await eventually('a problem', gateway.child, async () => {
      const now = await gateway.status()
      return now.audit?.fault === undefined ? undefined : now
    })
    t.match(
      problems.find(({ path }) => path === 'gateway.audit'),
      { severity: 'error', message: /cannot be written: EISDIR.*1 lines wait/, place: { line: 1 } },
    )
    t.match(gateway.log(), /the audit log cannot be written/)
    await rmdir(audited(gateway))
    from = 0
    t.match(await newLines(1), [{ reason: 'wrong-path' }])
    t.match(await verify(join(gateway.dir, 'old.jsonl')), { code: 0 })
  })
  await t.test('a place that cannot be written is a problem at load', async (t) => {
    await gateway.write(servers.replace(AUDIT, 'no/such/folder.jsonl'))
    const found = await eventually('refused', gateway.child, async () => {
      const {
        registry: { problems },
      } = await gateway.status()
      return problems.find(({ path, message }) => path === 'gateway.audit' && /its folder does not exist/.test(message))
    })
    t.match(found, { severity: 'error', place: { line: 1, column: 19 } })
  })
  await t.test('another file from the next save on; none without the key', async (t) => {
    await play(gateway, servers.replace(AUDIT, 'other.jsonl'))
    await request(url.replace('/mcp', '/y'))
    await eventually('a line', gateway.child, async () => {
      const [line] = await auditLines(join(gateway.dir, 'other.jsonl'))
      return line
    })
    await play(gateway, servers.replace(/gateway.*\n/, ''))
    t.notOk('audit' in (await gateway.status()))
    t.match(await verify(join(gateway.dir, 'other.jsonl')), { code: 0, said: /1 line, whole/ })
    await play(gateway, servers)
  })
  await t.test('nothing of what was said or shown is in any of it', async (t) => {
    for (const name of ['old.jsonl', AUDIT, 'other.jsonl']) {
      const text = await readFile(join(gateway.dir, name), 'utf8')
      t.notMatch(text, new RegExp(SECRET), name)
    }
  })
})

void t.test('who asked where, and which rule it was', async (t) => {
  const key = await signingKey()
  const issuer = 'https://idp.example.com'
  const resource = 'https://mcp.example.com/mcp'
  const offers = {
    tools: [{ name: 'echo' }, { name: 'drop' }, { name: 'save' }],
    prompts: [{ name: 'brief' }, { name: 'secret' }],
    resources: [{ uri: 'doc://a' }, { uri: 'doc://b' }],
  }
  await using server = await serveMcp({ name: 's', ...offers, era: 'both' })
  const lines = [
    'gateway:',
    `  audit: ${AUDIT}`,
    `  url: ${resource}`,
    `  auth: { issuer: "${issuer}", jwks: keys.json }`,
    'views:',
    '  ops: { tools: "*", prompts: "*", resources: "*" }',
    'servers:',
    '  s:',
    `    url: "${server.url}"`,
    '    access:',
    '      - { tools: echo, prompts: brief, resources: "doc://a", allow: { groups: dev } }',
    '      - { tools: save, allow: { scopes: "files:write" } }',
    '',
  ]
  await using gateway = await startGateway(lines.join('\n'), {
    files: { 'keys.json': JSON.stringify({ keys: [key.published] }) },
    args: ['--concurrency', '1'],
  })
  await gateway.settled()
  const token = async (sub: string, groups: readonly string[]): Promise<string> =>
    key.sign({ iss: issuer, aud: resource, sub, groups, exp: inSeconds(600) })
  const ann = await token('ann', ['dev'])
  const eve = await token('eve', [])
  const call = async (how: { readonly token?: string; readonly view?: string; readonly tool?: string }) => {
    const { status } = await request(`${gateway.url}${how.view === undefined ? '' : `/${how.view}`}`, {
      headers: {
        ...ACCEPT,
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': how.tool ?? 's_echo',
        ...(how.token !== undefined && { authorization: `Bearer ${how.token}` }),
      },
      body: rpc(
        '1',
        'tools/call',
        `{"name":"${how.tool ?? 's_echo'}","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}`,
      ),
    })
    return status
  }
  const rule = 'registry.yaml:11 servers.s.access[0]'
  const named = { method: 'tools/call', server: 's', tool: 'echo' }
  /** Through a session whose first call, or each, takes the broker path. */
  const inSession = async (token: string, method: string, params: JsonObject, view = ''): Promise<number> => {
    const client = await connect(`${gateway.url}${view}`, {
      headers: { authorization: `Bearer ${token}` },
      clientInfo: { name: 'tester', version: '7' },
    })
    return (await client.send(method, params)).reply.status
  }
  const cells: readonly (readonly [name: string, how: Parameters<typeof call>[0], status: number, want: object])[] = [
    ['allowed', { token: ann }, 200, { ...named, decision: 'allowed', subject: 'ann', view: '', rule }],
    ['allowed in a view', { token: ann, view: 'ops' }, 200, { decision: 'allowed', subject: 'ann', view: 'ops', rule }],
    ['denied', { token: eve }, 200, { ...named, decision: 'refused', reason: 'denied', subject: 'eve', view: '' }],
    [
      'denied in a view',
      { token: ann, view: 'ops', tool: 's_drop' },
      200,
      { ...named, tool: 'drop', decision: 'refused', reason: 'denied', subject: 'ann', view: 'ops' },
    ],
    ['no such tool', { token: ann, tool: 'nope' }, 200, { reason: 'unknown-tool', subject: 'ann' }],
    ['no such view', { token: ann, view: 'nope' }, 404, { reason: 'unknown-view', view: '' }],
    ['no token', {}, 401, { decision: 'refused', reason: 'no-token', subject: '' }],
    ['a bad token', { token: `${ann}x` }, 401, { decision: 'refused', reason: 'bad-token', subject: '' }],
  ]
  for (const [at, [name, how, status, want]] of cells.entries()) {
    await t.test(name, async (t) => {
      t.equal(await call(how), status)
      const line = await eventually('a line', gateway.child, async () => (await auditLines(audited(gateway)))[at])
      t.match(line, { ...want, status })
      if (!('rule' in want)) t.notOk('rule' in line)
    })
  }
  const about = {
    subject: 'ann',
    view: 'ops',
    client: 'tester/7',
    session: /^[\w-]{12}$/,
    era: 'stateful',
    server: 's',
  }
  const asked: readonly (readonly [string, token: string, method: string, JsonObject, status: number, object])[] = [
    ['a tool', ann, 'tools/call', { name: 's_echo' }, 200, { ...about, tool: 'echo', rule }],
    ['a prompt', ann, 'prompts/get', { name: 's_brief' }, 200, { ...about, prompt: 'brief', rule }],
    ['a resource', ann, 'resources/read', { uri: 'doc://a' }, 200, { ...about, resource: 'doc://a', rule }],
    ['news of it', ann, 'resources/subscribe', { uri: 'doc://a' }, 200, { ...about, resource: 'doc://a', rule }],
    [
      'an argument',
      ann,
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 's_brief' }, argument: { name: 'x', value: 'y' } },
      200,
      { ...about, rule },
    ],
    ['a tool, denied', ann, 'tools/call', { name: 's_drop' }, 200, { ...about, tool: 'drop', reason: 'denied' }],
    [
      'a prompt, denied',
      ann,
      'prompts/get',
      { name: 's_secret' },
      200,
      { ...about, prompt: 'secret', reason: 'denied' },
    ],
    [
      'a resource, denied',
      ann,
      'resources/read',
      { uri: 'doc://b' },
      200,
      { ...about, resource: 'doc://b', reason: 'denied' },
    ],
    [
      'for want of a scope',
      ann,
      'tools/call',
      { name: 's_save' },
      403,
      { ...about, tool: 'save', reason: 'insufficient-scope' },
    ],
  ]
  for (const [name, token, method, params, status, want] of asked) {
    await t.test(`in a session: ${name}`, async (t) => {
      const { length } = await auditLines(audited(gateway))
      t.equal(await inSession(token, method, params, '/ops'), status)
      const line = await eventually('a line', gateway.child, async () =>
        (await auditLines(audited(gateway))).slice(length).find((one) => one['method'] === method),
      )
      const decision = 'rule' in want ? 'allowed' : 'refused'
      t.match(line, { ...want, decision, verb: 'POST', status, time: /^20.*Z$/, id: /^[0-9a-f-]{36}$/, ms: Number })
      if (!('rule' in want)) t.notOk('rule' in (line ?? {}))
    })
  }
  await t.test('no token is in it', async (t) => {
    const text = await readFile(audited(gateway), 'utf8')
    for (const secret of [ann, eve, ann.slice(-20)]) t.notOk(text.includes(secret))
  })
})

void t.test('a stop loses nothing, and a restart continues the chain', async (t) => {
  await using server = await serveMcp({ name: 'a', tools: [{ name: 'echo' }] })
  const dir = await mkdtemp(join(tmpdir(), 'audited-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const file = join(files, 'restarted.jsonl')
  const text = registry({ a: [server, {}] }, { gateway: { audit: file } })
  const CALLS = 20
  for (let round = 1; round <= 2; round++) {
    await using gateway = await startGateway(text)
    await gateway.settled()
    const client = await connect(gateway.url)
    for (let n = 0; n < CALLS; n++) await client.call('a_echo')
    t.equal(await gateway.stop(), 0)
    const all = await auditLines(file)
    t.equal(all.filter(({ tool }) => tool === 'echo').length, round * CALLS)
    t.equal(new Set(all.map(({ id }) => id)).size, all.length)
    t.match(await verify(file), { code: 0 })
  }
})

void t.test('on standard output', async (t) => {
  await using server = await serveMcp({ name: 'a', tools: [{ name: 'echo' }] })
  await using gateway = await startGateway(registry({ a: [server, {}] }, { gateway: { audit: '-' } }), {
    args: ['--no-access-log'],
  })
  await request(gateway.url.replace('/mcp', '/x'))
  const [line] = await gateway.child.says(/^\{"time".*"reason":"wrong-path".*\}$/m)
  t.match(follows(CHAIN_START, Buffer.from(line)), { hash: JSON.parse(line).hash })
})
