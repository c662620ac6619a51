/** The registry: what is written, what it means, and what is said about everything that is wrong. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parse } from 'yaml'
import { stale } from '../scripts/generate.ts'
import { isLoopback } from '../src/registry/address.ts'
import { didYouMean } from '../src/registry/did-you-mean.ts'
import { formatProblem } from '../src/registry/format-problem.ts'
import { keyPlace } from '../src/registry/key-place.ts'
import type { Registry, Selection, Server } from '../src/registry/model.ts'
import { type ParseOptions, type ParseResult, parseRegistry } from '../src/registry/parse.ts'
import { select } from '../src/registry/selection.ts'
import { type RegistryWatch, watchRegistry } from '../src/registry/watch.ts'
import { neverThrows, problemsOf, registryIn as registryOf } from './support/registry-text.ts'

// --- certificates -------------------------------------------------------------------------------------------------

/** One DER value: tag, length, content. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

/** The smallest self-signed certificate there is, with an ECDSA or RSA key. */
const selfSigned = ({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): string => {
  const rsa = publicKey.asymmetricKeyType === 'rsa'
  const algorithm = rsa
    ? der(0x30, der(0x06, Buffer.from('2a864886f70d01010b', 'hex')), der(0x05))
    : der(0x30, der(0x06, Buffer.from('2a8648ce3d040302', 'hex')))
  const name = der(0x30, der(0x31, der(0x30, der(0x06, Buffer.from('550403', 'hex')), der(0x0c, Buffer.from('test')))))
  const validity = der(0x30, der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from('491231235959Z')))
  const body = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey))
  const base64 = der(0x30, body, algorithm, signature).toString('base64')
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
}

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const otherP256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const koblitz = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
const shortRsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
const certificate = selfSigned(p256)

// --- the world a registry is read in ------------------------------------------------------------------------------

const sealingKey = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'

const files: Readonly<Record<string, string>> = {
  '/etc/mcp/cert.pem': certificate,
  '/etc/mcp/chain.pem': `some text before\n${certificate}${selfSigned(otherP256)}`,
  '/etc/mcp/key.pem': pem(p256.privateKey),
  '/etc/mcp/other-key.pem': pem(otherP256.privateKey),
  '/etc/mcp/locked-key.pem': p256.privateKey
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString(),
  '/etc/mcp/koblitz.pem': selfSigned(koblitz),
  '/etc/mcp/koblitz-key.pem': pem(koblitz.privateKey),
  '/etc/mcp/short.pem': selfSigned(shortRsa),
  '/etc/mcp/short-key.pem': pem(shortRsa.privateKey),
  '/etc/mcp/not.pem': 'hello',
  '/etc/mcp/broken.pem': '-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n',
  '/etc/mcp/token': 'from-a-file\r\n',
  '/etc/mcp/empty': '\n',
  '/etc/mcp/session.key': `${sealingKey}\n`,
}

const failure = (code: string): Error => Object.assign(new Error(`${code}: no`), { code })

const readFile = (path: string): string => {
  if (path === '/etc/mcp/denied') throw failure('EACCES')
  if (path === '/etc/mcp/folder') throw failure('EISDIR')
  if (path === '/etc/mcp/odd') throw new Error('something odd')
  const content = Object.hasOwn(files, path) ? files[path] : undefined
  if (content === undefined) throw failure('ENOENT')
  return content
}

const auditFault = (path: string): string | undefined =>
  path === '/etc/mcp/other' ? 'the file holds something else' : undefined

const env = {
  TOKEN: 's3cret-token',
  EMPTY: '',
  HOST: 'weather.example.com',
  WAIT: '7s',
  ON: 'true',
  YAML: '{ a: b }',
  KEY: sealingKey,
  BAD: 's3cret\nline',
}

const read = (text: string, options: Partial<ParseOptions> = {}): ParseResult =>
  parseRegistry(text, { file: '/etc/mcp/registry.yaml', env, readFile, auditFault, ...options })

const first = (registry: Registry): Server => {
  const [server] = registry.servers
  if (server === undefined) throw new Error('no server')
  return server
}

/** One server `a` with more keys, each line indented by four. */
const serverA = (...lines: readonly string[]): string =>
  ['servers:', '  a:', '    url: https://a.example.com/mcp', ...lines.map((line) => `    ${line}`), ''].join('\n')
const commandA = (...lines: readonly string[]): string =>
  ['servers:', '  a:', '    command: run', ...lines.map((line) => `    ${line}`), ''].join('\n')
/** A good server after other sections; those start on line 3. */
const withServer = (...lines: readonly string[]): string =>
  ['servers: { a: { url: https://a.example.com/mcp } }', '', ...lines, ''].join('\n')
/** A server `a` whose URL starts at 3:10. */
const url = (value: string): string => `servers:\n  a:\n    url: ${value}\n`

// --- values -------------------------------------------------------------------------------------------------------

const all: Selection = { include: ['*'], exclude: [], rename: new Map() }

await t.test('a minimal registry has every default', async (t) => {
  const registry = registryOf(read('servers:\n  weather:\n    url: https://weather.example.com/mcp\n'))
  t.strictSame(registry, {
    gateway: {
      listen: { host: '127.0.0.1', port: 8080 },
      admin: { host: '127.0.0.1', port: 8081 },
      origins: [],
      open: false,
      maxBody: 4 * 1024 * 1024,
      filters: [],
      clusters: [],
      confirmMs: 300_000,
    },
    servers: [
      {
        name: 'weather',
        place: { line: 2, column: 3 },
        enabled: true,
        required: false,
        prefix: 'weather_',
        tools: all,
        prompts: all,
        resources: { ...all, prefix: false },
        client: ['elicitation'],
        timeoutMs: 60_000,
        listTimeoutMs: 5_000,
        kind: 'http',
        transport: 'streamable',
        endpoint: { tls: true, host: 'weather.example.com', port: 443, path: '/mcp' },
        forward: [],
        perCaller: false,
        tls: {},
      },
    ],
    sessions: { idleMs: 3_600_000, pool: { size: 64, idleMs: 300_000, inputMs: 300_000 } },
    views: [],
    tests: [],
  })
})

await t.test('a registry with every key', async (t) => {
  const result = read(`
gateway:
  listen: "[::1]:9000"
  admin: localhost:0
  url: https://mcp.example.com/mcp
  tls: { cert: cert.pem, key: key.pem }
  origins: [https://App.example.com:443, vscode-webview://ABC]
  open: true
  maxBody: 64MiB
  audit: "-"
servers:
  web:
    url: http://[::1]:3000/mcp?x=1
    era: stateless
    credential: { header: X-Api-Key, value: "\${TOKEN}" }
    prefix: ""
    tools: { include: ["get_*"], exclude: [get_x], rename: { get_y: find.y } }
    prompts: { exclude: ["*"] }
    resources: { include: ["file:*"], rename: { "file:///a": "doc:a" }, prefix: true }
    client: []
    cache: { ttl: 90s, scope: public }
    auto: additive
    timeout: 1.5m
    listTimeout: 250ms
    required: true
    enabled: true
    description: 42
  mutual:
    url: https://b.example.com
    transport: sse
    era: stateful
    cache: { ttl: 1h }
    tls: { ca: chain.pem, cert: cert.pem, key: key.pem, sni: inner.example.com }
  local:
    command: ./bin/run
    args: [-y, --port, 8080, 1.10, true, "\${HOST}"]
    env: { PORT: 0x10, TOKEN: "\${TOKEN}" }
    cwd: data
    era: stateful
    enabled: false
sessions:
  idle: 2h
  pool: { size: 4096, idle: 10s, input: 1m }
  key: { file: session.key }
`)
  const registry = registryOf(result)
  t.strictSame(problemsOf(result), [])
  t.strictSame(result.files, ['/etc/mcp/cert.pem', '/etc/mcp/key.pem', '/etc/mcp/chain.pem', '/etc/mcp/session.key'])
  const { tls, ...gateway } = registry.gateway
  t.strictSame(gateway, {
    listen: { host: '::1', port: 9000 },
    admin: { host: '127.0.0.1', port: 0 },
    url: 'https://mcp.example.com/mcp',
    origins: ['https://app.example.com', 'vscode-webview://abc'],
    open: true,
    maxBody: 64 * 1024 * 1024,
    filters: [],
    clusters: [],
    audit: { to: '-', place: { line: 10, column: 3 } },
    confirmMs: 300_000,
  })
  t.equal(tls?.cert, certificate)
  t.equal(tls?.key.reveal(), pem(p256.privateKey))
  t.equal(registry.sessions.idleMs, 7_200_000)
  t.strictSame(registry.sessions.pool, { size: 4096, idleMs: 10_000, inputMs: 60_000 })
  t.equal(registry.sessions.key?.reveal(), sealingKey)
  const [web, mutual, local] = registry.servers
  t.strictSame(
    registry.servers.map((server) => [server.kind === 'http' ? server.transport : '', server.era, server.cache]),
    [
      ['streamable', 'stateless', { ttlMs: 90_000, scope: 'public' }],
      ['sse', 'stateful', { ttlMs: 3_600_000, scope: 'private' }],
      ['', 'stateful', undefined],
    ],
  )
  t.strictSame(
    registry.servers.map(({ auto }) => auto),
    ['additive', undefined, undefined],
  )
  if (web?.kind !== 'http' || mutual?.kind !== 'http' || local?.kind !== 'stdio') return t.fail('kinds')
  t.strictSame(web.endpoint, { tls: false, host: '::1', port: 3000, path: '/mcp?x=1' })
  t.equal(web.credential?.header, 'x-api-key')
  t.equal(web.credential?.value.reveal(), 's3cret-token')
  t.equal(web.prefix, '')
  t.strictSame(web.tools, { include: ['get_*'], exclude: ['get_x'], rename: new Map([['get_y', 'find.y']]) })
  t.strictSame(web.prompts, { include: ['*'], exclude: ['*'], rename: new Map() })
  t.strictSame(web.resources, {
    include: ['file:*'],
    exclude: [],
    rename: new Map([['file:///a', 'doc:a']]),
    prefix: true,
  })
  t.strictSame(
    [web.client, web.timeoutMs, web.listTimeoutMs, web.required, web.enabled, web.description],
    [[], 90_000, 250, true, true, '42'],
  )
  t.match(mutual.tls.ca, 'some text before')
  t.equal(mutual.tls.sni, 'inner.example.com')
  t.equal(mutual.tls.client?.cert, certificate)
  t.equal(mutual.tls.client?.key.reveal(), pem(p256.privateKey))
  t.strictSame(mutual.endpoint, { tls: true, host: 'b.example.com', port: 443, path: '/' })
  t.strictSame(
    [local.command, local.args, [...local.env], local.cwd, local.enabled],
    [
      '/etc/mcp/bin/run',
      ['-y', '--port', '8080', '1.10', 'true', 'weather.example.com'],
      [
        ['PORT', '0x10'],
        ['TOKEN', 's3cret-token'],
      ],
      '/etc/mcp/data',
      false,
    ],
  )
})

await t.test('servers keep the order of the file', async (t) => {
  const names = ['zeta', 'alpha', 'm-1', 'a2']
  const text = `servers:\n${names.map((name) => `  ${name}: { url: "http://127.0.0.1:1/" }\n`).join('')}`
  t.strictSame(
    registryOf(read(text)).servers.map(({ name }) => name),
    names,
  )
})

await t.test('what values mean', async (t) => {
  const credential = (registry: Registry): unknown => {
    const server = first(registry)
    return server.kind === 'http' ? [server.credential?.header, server.credential?.value.reveal()] : undefined
  }
  const endpoint = (registry: Registry): unknown => {
    const server = first(registry)
    return server.kind === 'http' ? server.endpoint : undefined
  }
  // biome-ignore format: a table
  const rows: readonly (readonly [string, string, (registry: Registry) => unknown, unknown])[] = [
    ['bearer', serverA('credential: { bearer: abc }'), credential, ['authorization', 'Bearer abc']],
    ['bearer from a file', serverA('credential: { bearer: { file: token } }'), credential, ['authorization', 'Bearer from-a-file']],
    ['basic', serverA('credential: { basic: { user: u, password: "p:w" } }'), credential, ['authorization', 'Basic dTpwOnc=']],
    ['http port', url('http://a.example.com/x'), endpoint, { tls: false, host: 'a.example.com', port: 80, path: '/x' }],
    ['own port', url('https://a.example.com:8443'), endpoint, { tls: true, host: 'a.example.com', port: 8443, path: '/' }],
    ['upper case', url('HTTPS://A.Example.com/X'), endpoint, { tls: true, host: 'a.example.com', port: 443, path: '/X' }],
    ['underscore in a host', url('http://my_server:81/'), endpoint, { tls: false, host: 'my_server', port: 81, path: '/' }],
    ['query only', url('"https://a.example.com?k=v"'), endpoint, { tls: true, host: 'a.example.com', port: 443, path: '/?k=v' }],
    ['variable in a URL', url('https://${HOST}/mcp'), endpoint, { tls: true, host: 'weather.example.com', port: 443, path: '/mcp' }],
    ['default, variable unset', url('https://${NO:-a.example.com}/'), endpoint, { tls: true, host: 'a.example.com', port: 443, path: '/' }],
    ['default, variable empty', serverA('description: "${EMPTY:-x}"'), (r) => first(r).description, 'x'],
    ['default, variable set', serverA('description: "${HOST:-x}"'), (r) => first(r).description, 'weather.example.com'],
    ['empty variable', serverA('description: "<${EMPTY}>"'), (r) => first(r).description, '<>'],
    ['empty default', serverA('description: "<${NO:-}>"'), (r) => first(r).description, '<>'],
    ['literal ${', serverA("description: '$${HOST} $x $$ ${HOST}'"), (r) => first(r).description, '${HOST} $x $$ weather.example.com'],
    ['a variable is never YAML', serverA('description: ${YAML}'), (r) => first(r).description, '{ a: b }'],
    ['duration from a variable', serverA('timeout: ${WAIT}'), (r) => first(r).timeoutMs, 7_000],
    ['flag from a variable', serverA('required: ${ON}'), (r) => first(r).required, true],
    ['quoted flag', serverA('required: "true"'), (r) => first(r).required, true],
    ['24h', serverA('timeout: 24h'), (r) => first(r).timeoutMs, 86_400_000],
    ['fraction', serverA('timeout: 0.5s'), (r) => first(r).timeoutMs, 500],
    ['smallest body', withServer('gateway: { maxBody: 1KiB }'), (r) => r.gateway.maxBody, 1024],
    ['body in bytes', withServer('gateway: { maxBody: 2048B }'), (r) => r.gateway.maxBody, 2048],
    ['hex key', withServer(`sessions: { key: "\${K:-${'0F'.repeat(32)}}" }`), (r) => r.sessions.key?.reveal(), Buffer.alloc(32, 15).toString('base64url')],
    ['base64 key', withServer(`sessions: { key: "\${K:-${Buffer.alloc(32, 251).toString('base64')}}" }`), (r) => r.sessions.key?.reveal(), Buffer.alloc(32, 251).toString('base64url')],
    ['part of the pool', withServer('sessions: { pool: { size: 1 } }'), (r) => r.sessions.pool, { size: 1, idleMs: 300_000, inputMs: 300_000 }],
    ['pool from a variable', withServer('sessions: { pool: { size: "${NO:-8}" } }'), (r) => r.sessions.pool.size, 8],
    ['no era, nothing to keep', serverA(), (r) => ['era' in first(r), 'cache' in first(r)], [false, false]],
    ['the usual transport, said', serverA('transport: streamable', 'era: stateless'), (r) => first(r).era, 'stateless'],
    ['an audit log', withServer('gateway: { audit: logs/a.jsonl }'), (r) => r.gateway.audit, { to: '/etc/mcp/logs/a.jsonl', place: { line: 3, column: 12 } }],
    ['an audit log on standard output', withServer('gateway: { audit: "-" }'), (r) => r.gateway.audit?.to, '-'],
    ['other loopback', withServer('gateway: { listen: "127.1.2.3:80" }'), (r) => r.gateway.listen.host, '127.1.2.3'],
    ['open', withServer('gateway: { listen: "0.0.0.0:80", admin: "[::]:81", open: true }'), (r) => [r.gateway.listen.host, r.gateway.admin.host], ['0.0.0.0', '::']],
    ['both ports free ones', withServer('gateway: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }'), (r) => r.gateway.admin.port, 0],
    ['aliases', 'servers:\n  a: &x { url: https://a.example.com/, client: &c [roots] }\n  b: { url: https://b.example.com/, client: *c }\n', (r) => r.servers.map(({ client }) => client), [['roots'], ['roots']]],
    [
      'programs on PATH stay names',
      commandA(),
      (r) => {
        const s = first(r)
        return s.kind === 'stdio' ? [s.command, s.args, s.env.size, s.cwd] : []
      },
      ['run', [], 0, '/etc/mcp'],
    ],
    ['CRLF and a byte order mark', '\uFEFFservers:\r\n  a:\r\n    url: https://a.example.com/\r\n', (r) => first(r).place, { line: 2, column: 3 }],
    [
      'a key named constructor',
      commandA('env: { constructor: x, toString: y }'),
      (r) => {
        const s = first(r)
        return s.kind === 'stdio' ? [...s.env.keys()] : []
      },
      ['constructor', 'toString'],
    ],
    ['resource rename with a look-alike', serverA('resources: { rename: { "file:///x": "a:x", "file:///y": "a:y" } }'), (r) => [...first(r).resources.rename.values()], ['a:x', 'a:y']],
  ]
  for (const [name, text, get, expected] of rows) {
    await t.test(name, async (t) => t.strictSame(get(registryOf(read(text))), expected))
  }
})

// --- problems -----------------------------------------------------------------------------------------------------

const form = {
  address: 'must be an address and a port, such as 127.0.0.1:8080, or [::1]:8080 for IPv6',
  duration: 'must be a duration, write a number and a unit (ms, s, m, h), such as 30s',
  size: 'must be a size, write a number and a unit (B, KiB, MiB), such as 4MiB',
  count: 'must be a whole number, write a number from 1 to 4096',
  wholeUrl: 'must be a whole URL, such as https://weather.example.com/mcp',
  origin: 'must be an origin: a scheme, a host and no path, such as https://app.example.com',
  bareIp: 'must have an IP address before the port, every interface is 0.0.0.0, this machine alone is 127.0.0.1',
  beyond: 'anybody could connect beyond loopback, use 127.0.0.1, or say gateway.open: true',
  unquoted: 'a variable inside { } or [ ] must be quoted, put the whole value in quotes, such as "${NAME}"',
  noVariable: 'has a ${ that starts no variable, write ${NAME} or ${NAME:-default}; a literal ${ is written $${',
  noServers: 'there are no servers, add servers: with a name and a url under it',
  noFile: 'the file does not exist, paths are relative to the registry file',
  reserved: 'this header is not yours to set: it belongs to HTTP, to MCP or to the gateway',
  oneOf: 'give one of bearer, header with value, basic, oauth or exchange',
  noValue: 'has no value, give it one, or remove the key',
  name: 'must be a name, 1 to 128 of A-Z a-z 0-9 _ . -',
  key: 'must be 32 bytes as base64, base64url or hex, make one with: openssl rand -hex 32',
  tags: 'tags (!…) are not supported, a text is written in quotes',
}

// biome-ignore format: a table
const problemRows: readonly (readonly [name: string, text: string, expected: readonly string[]])[] = [
  // the whole file
  ['empty', '', [`1:1: error: servers: ${form.noServers}`]],
  ['only a comment', '# nothing\n', [`1:1: error: servers: ${form.noServers}`]],
  ['without servers', 'gateway: {}\n', [`1:1: error: servers: ${form.noServers}`]],
  ['servers without a value', 'servers:\n', [`1:9: error: servers: ${form.noValue}`]],
  ['no server', 'servers: {}\n', ['1:10: error: servers: there are no servers']],
  ['a list', '- a\n', ['1:1: error: must be keys and values, not a list', `1:1: error: servers: ${form.noServers}`]],
  ['servers as a list', 'servers: [a]\n', ['1:10: error: servers: must be keys and values, not a list']],
  ['a server without keys', 'servers:\n  a:\n', [`2:5: error: servers.a: ${form.noValue}`]],
  ['a server as a text', 'servers: { a: https://a.example.com/ }\n', ['1:15: error: servers.a: must be keys and values, not a text, such as { url: … }']],
  ['no server enabled', serverA('enabled: false'), ['1:1: warning: servers: no server is enabled'.replace('1:1', '2:3')]],

  // YAML
  ['an open list', 'servers: [a\n', ['1:12: error: flow sequence in block collection must be sufficiently indented and end with a ]']],
  ['a tab', 'servers:\n\ta: b\n', ['2:1: error: tabs are not allowed as indentation']],
  ['a second key on one line', 'servers: a: b\n', ['1:10: error: a second key on one line, put it on a line of its own, or the value in quotes']],
  ['an open quote', 'servers: "a\n', ['1:12: error: missing closing "quote']],
  ['the file is never quoted', 'servers: "a" s3cret\n', ['1:14: error: this does not belong here, a text with special characters must be in quotes, all of it']],
  ['two documents', `${serverA()}---\na: b\n`, ['4:1: error: a registry is one YAML document, remove the --- and what follows it']],
  ['duplicate key', `${serverA('timeout: 1s', 'timeout: 2s')}`, ['5:5: error: servers.a.timeout: duplicate key "timeout", the first one is on line 4']],
  ['duplicate server', `${serverA()}  a:\n    command: x\n`, ['4:3: error: servers.a: duplicate key "a", the first one is on line 2']],
  ['duplicate section', `${serverA()}servers: {}\n`, ['4:1: error: servers: duplicate key "servers", the first one is on line 1']],
  ['quoted and unquoted are the same key', serverA('"url": x'), ['4:5: error: servers.a.url: duplicate key "url", the first one is on line 3']],
  ['a tag', serverA('description: !!str 1'), [`4:24: error: servers.a.description: ${form.tags}`]],
  ['a custom tag', serverA('description: !include x'), [`4:27: error: servers.a.description: ${form.tags}`]],
  ['a merge key', serverA('<<: { timeout: 1s }'), ['4:5: error: servers.a: unknown key "<<", merge keys are not supported; write the keys out']],
  ['an alias without anchor', serverA('client: *c'), ['4:13: error: servers.a.client: this alias has no anchor before it, a text that starts with * must be in quotes']],
  ['an alias inside itself', serverA('client: &c [*c]'), ['4:17: error: servers.a.client[0]: this alias contains itself']],
  ['a list as a key', serverA('? [x]', ': y'), ['4:7: error: servers.a: a key must be a plain text']],
  ['a missing key', serverA(': y'), ['4:1: error: servers.a: a key is missing before the ":"']],
  ['__proto__', serverA('__proto__: { timeout: 1s }'), ['4:5: error: servers.a: unknown key "__proto__"']],

  // unknown keys, at each level
  ['unknown section', withServer('gatway: {}'), ['3:1: error: gatway: unknown key "gatway", did you mean "gateway"?']],
  ['unknown in gateway', withServer('gateway: { lisen: x }'), ['3:12: error: gateway.lisen: unknown key "lisen", did you mean "listen"?']],
  ['unknown in gateway.tls', withServer('gateway: { tls: { cert: cert.pem, key: key.pem, kye: x } }'), ['3:49: error: gateway.tls.kye: unknown key "kye", did you mean "key"?']],
  ['unknown in a server', serverA('timout: 1s'), ['4:5: error: servers.a.timout: unknown key "timout", did you mean "timeout"?']],
  ['other case', serverA('listtimeout: 1s'), ['4:5: error: servers.a.listtimeout: unknown key "listtimeout", did you mean "listTimeout"?']],
  ['with an underscore', serverA('list_timeout: 1s'), ['4:5: error: servers.a.list_timeout: unknown key "list_timeout", did you mean "listTimeout"?']],
  ['unknown in tools', serverA('tools: { exlude: [x] }'), ['4:14: error: servers.a.tools.exlude: unknown key "exlude", did you mean "exclude"?']],
  ['prefix is not for tools', serverA('tools: { prefix: x }'), ['4:14: error: servers.a.tools.prefix: unknown key "prefix", it belongs under servers.<name>']],
  ['unknown in resources', serverA('resources: { prefx: true }'), ['4:18: error: servers.a.resources.prefx: unknown key "prefx", did you mean "prefix"?']],
  ['unknown in credential', serverA('credential: { barer: x }'), ['4:19: error: servers.a.credential.barer: unknown key "barer", did you mean "bearer"?']],
  ['unknown in basic', serverA('credential: { basic: { user: u, passwort: x } }'), ['4:19: error: servers.a.credential.basic: "password" is missing', '4:37: error: servers.a.credential.basic.passwort: unknown key "passwort", did you mean "password"?']],
  ['unknown in a secret', serverA('credential: { bearer: { fiel: x } }'), ['4:19: error: servers.a.credential.bearer: "file" is missing', '4:29: error: servers.a.credential.bearer.fiel: unknown key "fiel", did you mean "file"?']],
  ['unknown in tls', serverA('tls: { cafile: x }'), ['4:12: error: servers.a.tls.cafile: unknown key "cafile"']],
  ['unknown in cache', serverA('cache: { tl: 5m }'), ['4:5: error: servers.a.cache: "ttl" is missing', '4:14: error: servers.a.cache.tl: unknown key "tl", did you mean "ttl"?']],
  ['unknown in sessions.pool', withServer('sessions: { pool: { idel: 1h } }'), ['3:21: error: sessions.pool.idel: unknown key "idel", did you mean "idle"?']],
  ['keys of the pool in sessions', withServer('sessions: { size: 5 }'), ['3:13: error: sessions.size: unknown key "size", it belongs under sessions.pool']],
  ['unknown in sessions', withServer('sessions: { idel: 1h }'), ['3:13: error: sessions.idel: unknown key "idel", did you mean "idle"?']],
  ['a key of another level', serverA('bearer: x'), ['4:5: error: servers.a.bearer: unknown key "bearer", it belongs under servers.<name>.credential']],
  ['a section inside a server', serverA('sessions: {}'), ['4:5: error: servers.a.sessions: unknown key "sessions", it belongs at the top level']],
  ['an unknown key with an unset variable', serverA('tokn: ${NO}'), ['4:5: error: servers.a.tokn: unknown key "tokn"', '4:11: error: servers.a.tokn: the environment variable NO is not set, set it, or write ${NO:-default}']],
  ['an audit log where none can be kept', withServer('gateway: { audit: /etc/mcp/other }'), ['3:19: error: gateway.audit: the file holds something else, paths are relative to the registry file']],
  ['no audit file', withServer('gateway: { audit: "" }'), ['3:19: error: gateway.audit: must be the path of a file, or -']],
  ['sessions.store does not exist yet', withServer('sessions: { store: "redis://127.0.0.1" }'), ['3:13: error: sessions.store: unknown key "store"']],

  // kinds of values
  ['a list for a text', serverA('description: [x]'), ['4:18: error: servers.a.description: must be a text, not a list']],
  ['a text for a list', serverA('client: roots'), ['4:13: error: servers.a.client: must be a list, not a text, write [ … ]']],
  ['a text for keys', serverA('tools: "*"'), ['4:12: error: servers.a.tools: must be keys and values, not a text, such as { include: … }']],
  ['keys for a text', serverA('prefix: { a: b }'), ['4:13: error: servers.a.prefix: must be a text, not keys and values']],
  ['a list for a secret', serverA('credential: { bearer: [x] }'), ['4:27: error: servers.a.credential.bearer: must be a text or { file: path }, not a list']],
  ['an empty item', commandA('args: [a, ~]'), [`4:15: error: servers.a.args[1]: ${form.noValue}`]],
  ['null', serverA('description: null'), [`4:18: error: servers.a.description: ${form.noValue}`]],
  ['a list in a rename', serverA('tools: { rename: { a: [b] } }'), ['4:27: error: servers.a.tools.rename.a: must be a text, not a list']],
  ['a flag', serverA('required: maybe'), ['4:15: error: servers.a.required: must be true or false']],
  ['yes', serverA('required: yes'), ['4:15: error: servers.a.required: must be true or false, did you mean "true"?']],
  ['Off', serverA('enabled: Off'), ['4:14: error: servers.a.enabled: must be true or false, did you mean "false"?']],
  ['TRUE', serverA('required: TRUE'), ['4:15: error: servers.a.required: must be true or false, did you mean "true"?']],

  // gateway
  ['port only', withServer('gateway: { listen: 8080 }'), [`3:20: error: gateway.listen: ${form.address}`]],
  ['no host', withServer('gateway: { listen: ":8080" }'), [`3:20: error: gateway.listen: ${form.bareIp}`]],
  ['a name', withServer('gateway: { listen: "example.com:80" }'), [`3:20: error: gateway.listen: ${form.bareIp}`]],
  ['port too large', withServer('gateway: { listen: "127.0.0.1:65536" }'), ['3:20: error: gateway.listen: must have a port from 0 to 65535']],
  ['IPv6 without brackets', withServer('gateway: { listen: "::1:80" }'), [`3:20: error: gateway.listen: ${form.address}`]],
  ['IPv4 in brackets', withServer('gateway: { listen: "[127.0.0.1]:80" }'), ['3:20: error: gateway.listen: must have an IPv6 address inside the brackets']],
  ['a zone', withServer('gateway: { listen: "[fe80::1%eth0]:80" }'), ['3:20: error: gateway.listen: must have an IPv6 address inside the brackets']],
  ['beyond loopback', withServer('gateway: { listen: "0.0.0.0:8080" }'), [`3:20: error: gateway.listen: ${form.beyond}`]],
  ['beyond loopback, IPv6', withServer('gateway: { listen: "[::]:8080" }'), [`3:20: error: gateway.listen: ${form.beyond}`]],
  ['admin beyond loopback', withServer('gateway: { admin: "10.0.0.1:81" }'), [`3:19: error: gateway.admin: ${form.beyond}`]],
  ['beyond loopback, open unreadable', withServer('gateway: { listen: "0.0.0.0:1", open: yes }'), ['3:39: error: gateway.open: must be true or false, did you mean "true"?']],
  ['the same port twice', withServer('gateway: { listen: "127.0.0.1:81", admin: "localhost:81" }'), ['3:43: error: gateway.admin: listen and admin need different ports']],
  ['the same port, every interface', withServer('gateway: { listen: "0.0.0.0:8081", open: true }'), ['3:1: error: gateway.admin: listen and admin need different ports']],
  ['public URL with a query', withServer('gateway: { url: "https://a.example.com/mcp?x" }'), ['3:17: error: gateway.url: must not have a query (?…)']],
  ['public URL with a user', withServer('gateway: { url: "https://u@a.example.com/mcp" }'), ['3:17: error: gateway.url: must not have a user or a password in it']],
  ['public URL with a fragment', withServer('gateway: { url: "https://a.example.com/#x" }'), ['3:17: error: gateway.url: must not have a fragment (#…)']],
  ['public URL without a scheme', withServer('gateway: { url: a.example.com }'), [`3:17: error: gateway.url: ${form.wholeUrl}`]],
  ['origin with a path', withServer('gateway: { origins: [https://a.example.com/] }'), [`3:22: error: gateway.origins[0]: ${form.origin}`]],
  ['origin without a scheme', withServer('gateway: { origins: [https://a.example.com, b.example.com] }'), [`3:45: error: gateway.origins[1]: ${form.origin}`]],
  ['any origin', withServer('gateway: { origins: ["*"] }'), ['3:22: error: gateway.origins[0]: must be one origin, every origin cannot be allowed; name each one']],
  ['body without a unit', withServer('gateway: { maxBody: 4096 }'), [`3:21: error: gateway.maxBody: ${form.size}`]],
  ['body in MB', withServer('gateway: { maxBody: 4MB }'), [`3:21: error: gateway.maxBody: ${form.size}`]],
  ['body too large', withServer('gateway: { maxBody: 65MiB }'), ['3:21: error: gateway.maxBody: must be at most 64MiB']],
  ['body too small', withServer('gateway: { maxBody: 1023B }'), ['3:21: error: gateway.maxBody: must be at least 1KiB']],
  ['gateway certificate without key', withServer('gateway: { tls: { cert: cert.pem } }'), ['3:12: error: gateway.tls: "key" is missing']],
  ['gateway key of another certificate', withServer('gateway: { tls: { cert: cert.pem, key: other-key.pem } }'), ['3:40: error: gateway.tls.key: the key does not belong to the certificate']],

  // a server
  ['name with a capital', 'servers: { GitHub: { command: x } }\n', ['1:12: error: servers.GitHub: "GitHub" is not a server name: lower-case letters, digits and hyphens, a letter first, did you mean "github"?']],
  ['a name of our own', 'servers: { broker: { command: x } }\n', ['1:12: error: servers.broker: "broker" is a name the gateway uses itself, choose another']],
  ['name with an underscore', 'servers: { a_b: { command: x } }\n', ['1:12: error: servers.a_b: "a_b" is not a server name: lower-case letters, digits and hyphens, a letter first, did you mean "a-b"?']],
  ['name with a digit first', 'servers: { 1a: { command: x } }\n', ['1:12: error: servers.1a: "1a" is not a server name: lower-case letters, digits and hyphens, a letter first']],
  ['neither url nor command', 'servers:\n  a:\n    timeout: 1s\n', ['2:3: error: servers.a: a server needs a url or a command']],
  ['both url and command', serverA('command: x'), ['4:5: error: servers.a.command: a server has a url or a command, not both']],
  ['args for a URL', serverA('args: []'), ['4:5: error: servers.a.args: args means nothing for a server with a url']],
  ['env and cwd for a URL', serverA('env: {}', 'cwd: .'), ['4:5: error: servers.a.env: env means nothing for a server with a url', '5:5: error: servers.a.cwd: cwd means nothing for a server with a url']],
  ['credential and tls for a command', commandA('credential: { bearer: x }', 'tls: {}'), ['4:5: error: servers.a.credential: credential means nothing for a server with a command', '5:5: error: servers.a.tls: tls means nothing for a server with a command']],
  ['relative URL', url('/mcp'), [`3:10: error: servers.a.url: ${form.wholeUrl}`]],
  ['other scheme', url('ws://a.example.com/'), ['3:10: error: servers.a.url: must be an http or https URL']],
  ['mistyped scheme', url('htps://a.example.com/'), ['3:10: error: servers.a.url: must be an http or https URL']],
  ['one slash', url('https:/a.example.com/'), [`3:10: error: servers.a.url: ${form.wholeUrl}`]],
  ['three slashes', url('https:///a.example.com/'), ['3:10: error: servers.a.url: must be a URL']],
  ['no host in a URL', url('https://'), ['3:10: error: servers.a.url: must be a URL']],
  ['port too large in a URL', url('https://a.example.com:65536/'), ['3:10: error: servers.a.url: must be a URL']],
  ['port 0 in a URL', url('https://a.example.com:0/'), ['3:10: error: servers.a.url: must have a port from 1 to 65535']],
  ['white space in a URL', url('"https://a.example.com/a b"'), ['3:10: error: servers.a.url: must be a URL without white space or backslashes']],
  ['a line end in a URL', url('"https://a.example.com/\\n"'), ['3:10: error: servers.a.url: must be a URL without white space or backslashes']],
  ['a star as host', url('"https://*.example.com/"'), ['3:10: error: servers.a.url: must have a host name or an IP address']],
  ['fragment in a URL', url('"https://a.example.com/#x"'), ['3:10: error: servers.a.url: must not have a fragment (#…)']],
  ['empty fragment in a URL', url('"https://a.example.com/#"'), ['3:10: error: servers.a.url: must not have a fragment (#…)']],
  ['user in a URL', url('https://u:s3cret@a.example.com/'), ['3:10: error: servers.a.url: must not have a user or a password in it, use credential: { basic: { user, password } }']],
  ['empty user in a URL', url('"https://@a.example.com/"'), ['3:10: error: servers.a.url: must not have a user or a password in it, use credential: { basic: { user, password } }']],
  ['empty command', 'servers: { a: { command: "" } }\n', ['1:26: error: servers.a.command: must be a program']],
  ['NUL in an argument', commandA('args: ["a\\0b"]'), ['4:12: error: servers.a.args[0]: must not have a NUL character in it']],
  ['name of an environment variable', commandA('env: { A-B: x }'), ['4:12: error: servers.a.env.A-B: is not the name of an environment variable']],
  ['NUL in an environment variable', commandA('env: { A: "\\0" }'), ['4:15: error: servers.a.env.A: must not have a NUL character in it']],
  ['prefix with a slash', serverA('prefix: a/b'), ['4:13: error: servers.a.prefix: has characters that no tool name may have, use A-Z a-z 0-9 _ . -']],
  ['client feature', serverA('client: [roots, elicitaton]'), ['4:21: error: servers.a.client[1]: must be one of elicitation, sampling, roots, did you mean "elicitation"?']],
  ['client feature twice', serverA('client: [roots, roots]'), ['4:21: error: servers.a.client[1]: this stands here twice']],
  ['another era', serverA('era: modern'), ['4:10: error: servers.a.era: must be stateful or stateless']],
  ['a mistyped era', serverA('era: statless'), ['4:10: error: servers.a.era: must be stateful or stateless, did you mean "stateless"?']],
  ['another transport', serverA('transport: websocket'), ['4:16: error: servers.a.transport: must be streamable or sse']],
  ['transport in upper case', serverA('transport: SSE'), ['4:16: error: servers.a.transport: must be streamable or sse, did you mean "sse"?']],
  ['transport of a program', commandA('transport: sse'), ['4:5: error: servers.a.transport: transport means nothing for a server with a command']],
  ['the old transport in the new era', serverA('transport: sse', 'era: stateless'), ['5:10: error: servers.a.era: a server with the transport of 2024-11-05 is always stateful, leave era out']],
  ['a text for a cache', serverA('cache: 5m'), ['4:12: error: servers.a.cache: must be keys and values, not a text, such as { ttl: … }']],
  ['a cache without a time', serverA('cache: { scope: public }'), ['4:5: error: servers.a.cache: "ttl" is missing']],
  ['a cache for no time', serverA('cache: { ttl: 0s }'), ['4:19: error: servers.a.cache.ttl: must be more than 0']],
  ['a cache for some', serverA('cache: { ttl: 5m, scope: shared }'), ['4:30: error: servers.a.cache.scope: must be private or public']],
  ['timeout without a unit', serverA('timeout: 30'), [`4:14: error: servers.a.timeout: ${form.duration}`]],
  ['timeout in words', serverA('timeout: 30 seconds'), [`4:14: error: servers.a.timeout: ${form.duration}`]],
  ['negative timeout', serverA('timeout: -1s'), [`4:14: error: servers.a.timeout: ${form.duration}`]],
  ['no timeout', serverA('timeout: 0s'), ['4:14: error: servers.a.timeout: must be more than 0']],
  ['timeout too long', serverA('timeout: 25h'), ['4:14: error: servers.a.timeout: must be at most 24h']],
  ['listTimeout', serverA('listTimeout: 5'), [`4:18: error: servers.a.listTimeout: ${form.duration}`]],
  ['required but not enabled', `${serverA('required: true', 'enabled: false')}  b: { command: x }\n`, ['4:15: warning: servers.a.required: a server that is not enabled is never waited for']],

  // selections
  ['two renamed to the same', serverA('tools: { rename: { x: z, y: z } }'), ['4:33: error: servers.a.tools.rename.y: "x" is renamed to the same']],
  ['renamed to no name', serverA('tools: { rename: { x: "a b" } }'), [`4:27: error: servers.a.tools.rename.x: ${form.name}`]],
  ['renamed to nothing', serverA('prompts: { rename: { x: "" } }'), [`4:29: error: servers.a.prompts.rename.x: ${form.name}`]],
  ['a pattern renamed', serverA('tools: { rename: { "x*": y } }'), ['4:24: error: servers.a.tools.rename["x*"]: rename takes whole names, not patterns']],
  ['a resource renamed to no URI', serverA('resources: { rename: { "a:b": c } }'), ['4:35: error: servers.a.resources.rename["a:…"]: must be a URI']],
  ['an empty pattern', serverA('tools: { include: [""] }'), ['4:24: warning: servers.a.tools.include[0]: an empty pattern matches nothing']],
  ['an empty pattern to exclude', serverA('resources: { exclude: [""] }'), ['4:28: warning: servers.a.resources.exclude[0]: an empty pattern matches nothing']],
  ['a regular expression', serverA('tools: { exclude: ["get?"] }'), ['4:24: warning: servers.a.tools.exclude[0]: no name has these characters, so it matches nothing, * stands for any characters']],
  ['a pattern twice', serverA('tools: { exclude: [x, x] }'), ['4:27: warning: servers.a.tools.exclude[1]: this pattern stands here twice']],
  ['included and excluded', serverA('tools: { include: [get_a, b], exclude: ["get_*"] }'), ['4:24: warning: servers.a.tools.include[0]: exclude hides all that it matches']],
  ['renamed but hidden', serverA('tools: { exclude: [x], rename: { x: y } }'), ['4:41: warning: servers.a.tools.rename.x: it is not shown, so its new name is not either']],
  ['equal prefixes', 'servers:\n  a: { command: x, prefix: p_ }\n  b: { command: x, prefix: p_ }\n', ['3:28: warning: servers.b.prefix: servers.a has the same prefix, so names may clash']],
  ['a prefix equal to a default one', 'servers:\n  a: { command: x }\n  b: { command: x, prefix: a_ }\n', ['3:28: warning: servers.b.prefix: servers.a has the same prefix, so names may clash']],
  ['a default prefix equal to one before', 'servers:\n  b: { command: x, prefix: a_ }\n  a: { command: x }\n', ['3:3: warning: servers.a.prefix: servers.b has the same prefix, so names may clash']],
  ['empty prefixes are meant', 'servers:\n  a: { command: x, prefix: "" }\n  b: { command: x, prefix: "" }\n', []],
  ['disabled servers clash with nobody', 'servers:\n  a: { command: x, prefix: p_ }\n  b: { command: x, prefix: p_, enabled: false }\n', []],

  // credentials
  ['empty credential', serverA('credential: {}'), [`4:17: error: servers.a.credential: says nothing, ${form.oneOf}`]],
  ['two credentials', serverA('credential: { bearer: a, basic: { user: u, password: p } }'), [`4:17: error: servers.a.credential: says more than one thing, ${form.oneOf}`]],
  ['header without value', serverA('credential: { header: x-key }'), ['4:17: error: servers.a.credential: header needs a value, add value: "${NAME}"']],
  ['value without header', serverA('credential: { value: x }'), ['4:17: error: servers.a.credential: value needs a header, add the name of the header, or use bearer']],
  ['no header name', serverA('credential: { header: "x key", value: x }'), ['4:27: error: servers.a.credential.header: must be the name of a header']],
  ...['Host', ':path', 'Content-Type', 'MCP-Session-Id', 'x-mcp-server', 'Connection', 'TE', 'x-envoy-retry-on', 'Transfer-Encoding'].map((header): readonly [string, string, readonly string[]] => [
    `header ${header}`,
    serverA(`credential: { header: "${header}", value: x }`),
    [`4:27: error: servers.a.credential.header: ${header === ':path' ? 'must be the name of a header' : form.reserved}`],
  ]),
  ['header value with a line end', serverA('credential: { header: x-key, value: "${BAD}" }'), ['4:41: error: servers.a.credential.value: must be a header value, visible ASCII, no space at its ends']],
  ['header value with a space at its end', serverA('credential: { header: x-key, value: "x " }'), ['4:41: error: servers.a.credential.value: must be a header value, visible ASCII, no space at its ends']],
  ['bearer with a line end', serverA('credential: { bearer: "${BAD}" }'), ['4:27: error: servers.a.credential.bearer: must be the token alone, it is visible ASCII without spaces']],
  ['bearer with its scheme', serverA('credential: { bearer: "Bearer s3cret" }'), ['4:27: error: servers.a.credential.bearer: must be the token alone, leave the word "Bearer" away']],
  ['empty bearer', serverA('credential: { bearer: "${EMPTY}" }'), ['4:27: error: servers.a.credential.bearer: is empty']],
  ['user with a colon', serverA('credential: { basic: { user: "a:b", password: p } }'), ['4:34: error: servers.a.credential.basic.user: must not have a ":" in it']],
  ['password with a line end', serverA('credential: { basic: { user: a, password: "${BAD}" } }'), ['4:47: error: servers.a.credential.basic.password: must not have control characters in it']],
  ['credential in the clear', 'servers:\n  a:\n    url: http://a.example.com/\n    credential: { bearer: x }\n', ['3:10: warning: servers.a.url: the credential travels unencrypted, use https']],
  ...['localhost:1', '127.0.0.1:1', '[::1]:1', 'api.localhost'].map((host): readonly [string, string, readonly string[]] => [`credential in the clear to ${host}`, `servers: { a: { url: "http://${host}/", credential: { bearer: x } } }\n`, []]),
  ['a space is missing', serverA('credential: {bearer:s3cret}'), ['4:18: error: servers.a.credential: a key without a value, a space is missing after the ":"']],
  ['a secret without its key', serverA('credential: {s3cret}'), ['4:18: error: servers.a.credential: a key without a value']],

  // secrets and files
  ['unset variable', serverA('credential: { bearer: "${NO}" }'), ['4:27: error: servers.a.credential.bearer: the environment variable NO is not set, set it, or write ${NO:-default}']],
  ['a variable cannot start with a digit', serverA('description: ${1}'), [`4:18: error: servers.a.description: ${form.noVariable}`]],
  ['an open variable', serverA('description: ${TOKEN'), [`4:18: error: servers.a.description: ${form.noVariable}`]],
  ['another kind of default', serverA('description: ${TOKEN-x}'), [`4:18: error: servers.a.description: ${form.noVariable}`]],
  ['missing file', serverA('credential: { bearer: { file: nowhere } }'), [`4:35: error: servers.a.credential.bearer.file: ${form.noFile}`]],
  ['file that may not be read', serverA('credential: { bearer: { file: denied } }'), ['4:35: error: servers.a.credential.bearer.file: the file may not be read, paths are relative to the registry file']],
  ['a folder', serverA('credential: { bearer: { file: folder } }'), ['4:35: error: servers.a.credential.bearer.file: this is a directory, not a file, paths are relative to the registry file']],
  ['another reason', serverA('credential: { bearer: { file: odd } }'), ['4:35: error: servers.a.credential.bearer.file: the file cannot be read, paths are relative to the registry file']],
  ['an empty file', serverA('credential: { bearer: { file: empty } }'), ['4:35: error: servers.a.credential.bearer.file: the file is empty']],
  ['an empty path', serverA('tls: { ca: "" }'), ['4:16: error: servers.a.tls.ca: must be the path of a file']],
  ['unreadable CA', serverA('tls: { ca: nowhere.pem }'), [`4:16: error: servers.a.tls.ca: ${form.noFile}`]],
  ['CA that is no PEM', serverA('tls: { ca: not.pem }'), ['4:16: error: servers.a.tls.ca: the file must hold PEM certificates, they start with -----BEGIN CERTIFICATE-----']],
  ['CA that is no certificate', serverA('tls: { ca: broken.pem }'), ['4:16: error: servers.a.tls.ca: the file must hold PEM certificates, they start with -----BEGIN CERTIFICATE-----']],
  ['client certificate without key', serverA('tls: { cert: cert.pem }'), ['4:18: error: servers.a.tls.cert: a client certificate needs its key']],
  ['client key without certificate', serverA('tls: { key: key.pem }'), ['4:17: error: servers.a.tls.key: a key needs its client certificate']],
  ['key that is no key', serverA('tls: { cert: cert.pem, key: cert.pem }'), ['4:33: error: servers.a.tls.key: the file must hold a PEM private key']],
  ['encrypted key', serverA('tls: { cert: cert.pem, key: locked-key.pem }'), ['4:33: error: servers.a.tls.key: the private key must not be encrypted']],
  ['key of another certificate', serverA('tls: { cert: cert.pem, key: other-key.pem }'), ['4:33: error: servers.a.tls.key: the key does not belong to the certificate']],
  ['a curve Envoy does not take', serverA('tls: { cert: koblitz.pem, key: koblitz-key.pem }'), ['4:36: error: servers.a.tls.key: Envoy does not take this kind of key, it takes RSA of 2048 bits or more, P-256, P-384, P-521 and Ed25519']],
  ['a short RSA key', serverA('tls: { cert: short.pem, key: short-key.pem }'), ['4:34: error: servers.a.tls.key: Envoy does not take this kind of key, it takes RSA of 2048 bits or more, P-256, P-384, P-521 and Ed25519']],
  ['an IP address as SNI', serverA('tls: { sni: 10.0.0.1 }'), ['4:17: error: servers.a.tls.sni: must be a host name']],
  ['tls without https', 'servers:\n  a:\n    url: http://a.example.com/\n    tls: { sni: b.example.com }\n', ['4:5: error: servers.a.tls: tls needs an https URL']],

  // sessions
  ['a pool of nothing', withServer('sessions: { pool: { size: 0 } }'), ['3:27: error: sessions.pool.size: must be from 1 to 4096']],
  ...['4097', '99999999999999999999'].map((size): readonly [string, string, readonly string[]] => [`a pool of ${size}`, withServer(`sessions: { pool: { size: ${size} } }`), ['3:27: error: sessions.pool.size: must be from 1 to 4096']]),
  ...['many', '-1', '1.5', '0x10', '1e3'].map((size): readonly [string, string, readonly string[]] => [`a pool of ${size}`, withServer(`sessions: { pool: { size: ${size} } }`), [`3:27: error: sessions.pool.size: ${form.count}`]]),
  ['the pool as a number', withServer('sessions: { pool: 5 }'), ['3:19: error: sessions.pool: must be keys and values, not a text, such as { size: … }']],
  ['pool.input without a unit', withServer('sessions: { pool: { input: 60 } }'), [`3:28: error: sessions.pool.input: ${form.duration}`]],
  ['idle without a unit', withServer('sessions: { idle: 60 }'), [`3:19: error: sessions.idle: ${form.duration}`]],
  ['key too short', withServer('sessions: { key: "${TOKEN}" }'), [`3:18: error: sessions.key: ${form.key}`]],
  ['key in the file', withServer(`sessions: { key: ${sealingKey} }`), ['3:18: warning: sessions.key: a secret stands in the file, use "${NAME}" or { file: path }']],

  // variables in flow collections
  ['unquoted in { }', serverA('credential: { bearer: ${TOKEN} }'), [`4:27: error: servers.a.credential.bearer: ${form.unquoted}`]],
  ['unquoted in [ ]', commandA('args: [a, ${TOKEN}]'), [`4:15: error: servers.a.args[1]: ${form.unquoted}`]],
  ['unquoted first in [ ]', commandA('args: [${TOKEN}, b]'), [`4:12: error: servers.a.args[0]: ${form.unquoted}`]],
  ['unquoted after a text', serverA('tools: { include: [get_${TOKEN}] }'), [`4:28: error: servers.a.tools.include[0]: ${form.unquoted}`]],
  ['unquoted with a default', serverA('credential: { bearer: ${TOKEN:-a, b} }'), [`4:27: error: servers.a.credential.bearer: ${form.unquoted}`]],
  ['unquoted as a key', commandA('env: { ${TOKEN}: x }'), ['4:12: error: servers.a.env: a variable cannot be a key']],
  ['unquoted, twice, and what comes after', `servers: { a: { url: \${HOST}, timeout: \${WAIT}, timout: 1s } }\n`, [`1:22: error: servers.a.url: ${form.unquoted}`, `1:40: error: servers.a.timeout: ${form.unquoted}`, '1:49: error: servers.a.timout: unknown key "timout", did you mean "timeout"?']],
  ['unquoted, and broken elsewhere', 'servers: { a: { url: ${HOST} } }\nsessions: [\n', [`1:22: error: ${form.unquoted}`, '2:12: error: flow sequence in block collection must be sufficiently indented and end with a ]']],
]

await t.test('problems', async (t) => {
  for (const [name, text, expected] of problemRows) {
    await t.test(name, async (t) => {
      const result = read(text)
      t.strictSame(problemsOf(result), expected)
      t.equal(
        result.ok,
        expected.every((line) => line.includes(': warning: ')),
      )
    })
  }
})

await t.test('all problems at once, in the order of the file', async (t) => {
  const result = read(`gateway:
  listen: 0.0.0.0:80
  maxBody: 4
servers:
  web:
    url: htp://a.example.com
    timout: 3s
    credential: { bearer: "\${NO}", hedder: x }
    tls: { ca: nowhere.pem, cert: cert.pem }
  Local:
    command: run
    args: x
    client: [rots]
    tools: { rename: { a: c, b: c } }
sessions: { key: short }
view: {}
`)
  t.strictSame(problemsOf(result), [
    `2:11: error: gateway.listen: ${form.beyond}`,
    `3:12: error: gateway.maxBody: ${form.size}`,
    '6:10: error: servers.web.url: must be an http or https URL',
    '7:5: error: servers.web.timout: unknown key "timout", did you mean "timeout"?',
    '8:27: error: servers.web.credential.bearer: the environment variable NO is not set, set it, or write ${NO:-default}',
    '8:36: error: servers.web.credential.hedder: unknown key "hedder", did you mean "header"?',
    `9:16: error: servers.web.tls.ca: ${form.noFile}`,
    '9:35: error: servers.web.tls.cert: a client certificate needs its key',
    '10:3: error: servers.Local: "Local" is not a server name: lower-case letters, digits and hyphens, a letter first, did you mean "local"?',
    '12:11: error: servers.Local.args: must be a list, not a text, write [ … ]',
    '13:14: error: servers.Local.client[0]: must be one of elicitation, sampling, roots, did you mean "roots"?',
    '14:33: error: servers.Local.tools.rename.b: "a" is renamed to the same',
    `15:18: error: sessions.key: ${form.key}`,
    '15:18: warning: sessions.key: a secret stands in the file, use "${NAME}" or { file: path }',
    '16:1: error: view: unknown key "view", did you mean "views"?',
  ])
  t.strictSame(result.files, ['/etc/mcp/nowhere.pem'], 'a missing file is worth watching')
})

await t.test('the command line wins over the file', async (t) => {
  const text = withServer('gateway: { listen: "0.0.0.0:80" }')
  const registry = registryOf(read(text, { overrides: { listen: '127.0.0.1:9', admin: '[::1]:10' } }))
  t.strictSame(
    [registry.gateway.listen, registry.gateway.admin],
    [
      { host: '127.0.0.1', port: 9 },
      { host: '::1', port: 10 },
    ],
  )
  t.strictSame(problemsOf(read(withServer(), { overrides: { listen: '0.0.0.0:80', admin: 'x' } })), [
    `1:1: error: --admin: ${form.address}`,
    `1:1: error: --listen: ${form.beyond}`,
  ])
})

await t.test('aliases do not explode', async (t) => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const items = level === 0 ? 'x' : `*l${level - 1}`
    return `l${level}: &l${level} [${Array.from({ length: 10 }, () => items).join(', ')}]`
  })
  const problems = problemsOf(read(`${levels.join('\n')}\n`))
  t.equal(problems.filter((problem) => problem.includes('too many aliases')).length, 1)
})

await t.test('depth is limited', async (t) => {
  for (const text of [
    `servers: ${'['.repeat(50)}${']'.repeat(50)}\n`,
    `${'['.repeat(5_000)}`,
    `${'{a: '.repeat(2_000)}`,
  ]) {
    t.equal(read(text).ok, false)
  }
  t.match(problemsOf(read(`servers: ${'['.repeat(50)}${']'.repeat(50)}\n`)).join('\n'), 'nested too deeply')
})

// --- secrets ------------------------------------------------------------------------------------------------------

await t.test('no message, excerpt or printed registry shows a secret', async (t) => {
  for (const [name, text] of problemRows) {
    const result = read(text)
    for (const problem of result.ok ? result.warnings : result.problems) {
      const shown = formatProblem('registry.yaml', problem, text)
      t.notMatch(shown, /s3cret|AAECAwQ/, `${name}: ${problem.message}`)
    }
    if (result.ok)
      t.notMatch(inspect(result.registry, { depth: 9 }) + JSON.stringify(result.registry), /s3cret|AAECAwQ|from-a-file/)
  }
})

await t.test('formatProblem', async (t) => {
  const text = `servers:
  a: { timout: 3s, prefix: x_, credential: { bearer: s3cret } } # s3cret too
`
  const [problem] = (() => {
    const result = read(text)
    return result.ok ? [] : result.problems
  })()
  if (problem === undefined) return t.fail('no problem')
  t.equal(
    formatProblem('registry.yaml', problem),
    'registry.yaml:2:3: error: servers.a: a server needs a url or a command',
  )
  t.equal(
    formatProblem('registry.yaml', problem, text),
    `registry.yaml:2:3: error: servers.a: a server needs a url or a command
      a: { timout: ··, prefix: x_, credential: { bearer: ······ } }
      ^`,
  )
  t.equal(
    formatProblem('r', { severity: 'warning', place: { line: 9, column: 9 }, path: '', message: 'a\nb' }, text),
    'r:9:9: warning: a b',
  )
  const start = { severity: 'error', place: { line: 1, column: 1 }, path: '', message: 'is empty' } as const
  t.equal(formatProblem('r', start, ''), 'r:1:1: error: is empty', 'of nothing there is no excerpt')
})

// --- properties ---------------------------------------------------------------------------------------------------

await t.test('parseRegistry never throws, and every place lies inside the file', async (t) => {
  const texts = problemRows.map(([, text]) => text)
  neverThrows(read, texts, 3_000)
  t.pass('3,000 texts')
})

await t.test('a pattern matches what the regular expression of the same meaning matches', async (t) => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 7 })
  const names = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 9 })
  fc.assert(
    fc.property(letters, names, (pattern, name) => {
      const expected = new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name)
      return (select({ include: [pattern], exclude: [], rename: new Map() }, name) !== undefined) === expected
    }),
    { numRuns: 3_000 },
  )
  t.pass('3,000 pairs')
})

// --- small parts --------------------------------------------------------------------------------------------------

await t.test('select', async (t) => {
  const selection: Selection = {
    include: ['get_*', 'Put', '*end'],
    exclude: ['get_secret*', 'the end'],
    rename: new Map([
      ['get_a', 'a'],
      ['get_secret', 'never'],
      ['other', 'never'],
    ]),
  }
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['get_', 'get_'],
    ['get_a', 'a'],
    ['get_b', 'get_b'],
    ['get_secret', undefined],
    ['get_secrets', undefined],
    ['Get_b', undefined],
    ['Put', 'Put'],
    ['put', undefined],
    ['Put2', undefined],
    ['end', 'end'],
    ['the end', undefined],
    ['endless', undefined],
    ['other', undefined],
    ['', undefined],
  ]
  for (const [name, expected] of rows) t.equal(select(selection, name), expected, name)
})

await t.test('where a key stands, long after the file was read', async (t) => {
  const text = 'gateway:\n  admin: 127.0.0.1:1\n  listen: "127.0.0.1:2"\nservers: {}\n'
  const rows: readonly (readonly [string, readonly [number, number]])[] = [
    ['gateway.listen', [3, 3]],
    ['gateway.tls', [1, 1]],
    ['servers', [4, 1]],
    ['sessions.key', [1, 1]],
  ]
  for (const [path, [line, column]] of rows) t.same(keyPlace(text, path), { line, column }, path)
})

await t.test('didYouMean', async (t) => {
  const rows: readonly (readonly [string, readonly string[], string | undefined])[] = [
    ['timout', ['timeout', 'listTimeout'], 'timeout'],
    ['itmeout', ['timeout', 'url'], 'timeout'],
    ['ulr', ['url', 'env'], 'url'],
    ['zzz', ['url', 'env', 'prompts'], undefined],
    ['x', ['a'], undefined],
    ['x'.repeat(100_000), ['url'], undefined],
  ]
  for (const [word, candidates, expected] of rows) t.equal(didYouMean(word, candidates), expected, word.slice(0, 20))
})

await t.test('isLoopback', async (t) => {
  for (const host of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1', 'localhost', 'a.localhost'])
    t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '128.0.0.1', 'localhost.example.com', '10.0.0.1', '::ffff:10.0.0.1'])
    t.notOk(isLoopback(host), host)
})

// --- documents ----------------------------------------------------------------------------------------------------

const root = join(import.meta.dirname, '..')

await t.test('schema/registry.json and docs/registry.md are fresh', async (t) => t.strictSame(stale(root), []))

await t.test('every registry in the documents can be read', async (t) => {
  const pages = [
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
    ...readdirSync(root).filter((name) => name === 'README.md'),
  ]
  let registries = 0
  const anyVariable = new Proxy<Record<string, string>>(
    {},
    {
      get: (_, name) => (name === 'SESSION_KEY' ? sealingKey : 'https://a.example.com/'),
      getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true, value: '' }),
    },
  )
  const anyFile = (path: string): string =>
    /key\.pem$|client\.key$/.test(path)
      ? pem(p256.privateKey)
      : path.endsWith('.pem')
        ? certificate
        : path.endsWith('.json')
          ? '{"keys":[{}]}'
          : 'text'
  for (const page of pages) {
    for (const [, block = ''] of readFileSync(join(root, page), 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)) {
      const value: unknown = parse(block)
      if (typeof value !== 'object' || value === null || !('servers' in value)) continue
      registries += 1
      const result = read(block, { env: anyVariable, readFile: anyFile })
      t.strictSame(problemsOf(result), [], `${page}: ${block}`)
    }
  }
  t.ok(registries > 0)
})

// --- watching -----------------------------------------------------------------------------------------------------

interface Watched extends AsyncDisposable {
  readonly watch: RegistryWatch
  readonly fired: string[]
  readonly errors: string[]
  /** Resolves with the next text, after `act` ran. */
  next(act: () => void): Promise<string>
  nextError(act: () => void): Promise<string>
}

const watched = async (
  file: string,
  options: { text?: string; extraFiles?: readonly string[]; signal?: AbortSignal } = {},
): Promise<Watched> => {
  const fired: string[] = []
  const errors: string[] = []
  let onText: ((text: string) => void) | undefined
  let onError: ((message: string) => void) | undefined
  const watch = await watchRegistry(file, {
    ...options,
    onChange: (text) => {
      fired.push(text)
      onText?.(text)
    },
    onError: ({ message }) => {
      errors.push(message)
      onError?.(message)
    },
  })
  return {
    watch,
    fired,
    errors,
    next: (act) =>
      new Promise((resolve) => {
        onText = resolve
        act()
      }),
    nextError: (act) =>
      new Promise((resolve) => {
        onError = resolve
        act()
      }),
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  }
}

/** A new folder with a registry that says `one`. */
const folder = (t: { teardown: (end: () => void) => void }): { readonly dir: string; readonly file: string } => {
  const dir = mkdtempSync(join(tmpdir(), 'registry-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = join(dir, 'registry.yaml')
  writeFileSync(file, 'one')
  return { dir, file }
}

await t.test('a save in place, an atomic one, a recreation, each tells once', async (t) => {
  const { dir, file } = folder(t)
  await using w = await watched(file)
  t.equal(await w.next(() => writeFileSync(file, 'two')), 'two')
  const aside = join(dir, 'registry.yaml.tmp')
  const rename = (text: string): void => {
    writeFileSync(aside, text)
    renameSync(aside, file)
  }
  t.equal(await w.next(() => rename('three')), 'three')
  t.equal(await w.next(() => rename('four')), 'four')
  t.equal(await w.next(() => writeFileSync(file, 'five')), 'five', 'the new file is watched, not the old one')
  t.equal(
    await w.next(() => {
      unlinkSync(file)
      writeFileSync(file, 'six')
    }),
    'six',
  )
  t.equal(
    await w.next(() => {
      for (const text of ['a', 'b', 'c', 'seven']) writeFileSync(file, text)
    }),
    'seven',
    'a burst is one change',
  )
  writeFileSync(file, 'seven')
  writeFileSync(join(dir, 'another.yaml'), 'x')
  t.equal(await w.next(() => writeFileSync(file, 'eight')), 'eight')
  t.strictSame(
    w.fired,
    ['two', 'three', 'four', 'five', 'six', 'seven', 'eight'],
    'the same text and other files tell nothing',
  )
  t.strictSame(w.errors, [])
})

await t.test('two saves right after one another: the last one counts', async (t) => {
  const { file } = folder(t)
  await using w = await watched(file)
  for (let round = 0; round < 20; round++) {
    await w.next(() => writeFileSync(file, `first ${round}`))
    t.equal(await w.next(() => writeFileSync(file, `second ${round}`)), `second ${round}`)
  }
})

await t.test('a file that is gone is told once; when it is back, with the same text too, it counts', async (t) => {
  const { file } = folder(t)
  await using w = await watched(file)
  t.match(await w.nextError(() => unlinkSync(file)), 'registry.yaml cannot be read')
  t.equal(await w.next(() => writeFileSync(file, 'one')), 'one')
  t.equal(w.errors.length, 1)
})

await t.test('a file that is not there yet', async (t) => {
  const { dir } = folder(t)
  const file = join(dir, 'later', 'registry.yaml')
  await using w = await watched(file)
  t.equal(
    await w.next(() => {
      mkdirSync(join(dir, 'later'))
      writeFileSync(file, 'here')
    }),
    'here',
  )
  t.equal(await w.next(() => writeFileSync(file, 'again')), 'again')
})

await t.test('what the caller has read is compared at once', async (t) => {
  const { file } = folder(t)
  const seen = await new Promise<string>((resolve, reject) => {
    watchRegistry(file, { text: 'older', onChange: resolve, onError: reject }).then(
      (watch) => t.teardown(() => watch[Symbol.asyncDispose]()),
      reject,
    )
  })
  t.equal(seen, 'one')
})

await t.test('a folder that is replaced', async (t) => {
  const { dir } = folder(t)
  const inner = join(dir, 'inner')
  const file = join(inner, 'registry.yaml')
  const make = (path: string, text: string): void => {
    mkdirSync(path)
    writeFileSync(join(path, 'registry.yaml'), text)
  }
  make(inner, 'one')
  await using w = await watched(file)
  t.equal(
    await w.next(() => {
      renameSync(inner, join(dir, 'old'))
      make(inner, 'two')
    }),
    'two',
  )
  t.equal(await w.next(() => writeFileSync(file, 'three')), 'three', 'the new folder is watched')
})

await t.test('a mounted ConfigMap: links that are swapped', async (t) => {
  const { dir, file } = folder(t)
  unlinkSync(file)
  const version = (name: string, text: string): void => {
    mkdirSync(join(dir, name))
    writeFileSync(join(dir, name, 'registry.yaml'), text)
    symlinkSync(name, join(dir, '..data_tmp'))
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
  }
  version('..1', 'one')
  symlinkSync(join('..data', 'registry.yaml'), file)
  await using w = await watched(file)
  for (const [index, text] of ['two', 'three', 'four'].entries()) {
    t.equal(
      await w.next(() => {
        version(`..${index + 2}`, text)
        rmSync(join(dir, `..${index + 1}`), { recursive: true })
      }),
      text,
    )
  }
  t.strictSame(w.fired, ['two', 'three', 'four'])
  t.strictSame(w.errors, [])
})

await t.test('extra files', async (t) => {
  const { dir, file } = folder(t)
  const secret = join(dir, 'token')
  const later = join(dir, 'later')
  const elsewhere = join(folder(t).dir, 'cert.pem')
  writeFileSync(secret, '1')
  await using w = await watched(file, { extraFiles: [secret, later] })
  t.equal(await w.next(() => writeFileSync(secret, '2')), 'one', 'the text is the same, the secret is not')
  t.equal(await w.next(() => writeFileSync(later, 'x')), 'one', 'a missing one appears')
  writeFileSync(elsewhere, '1')
  w.watch.watchFiles([elsewhere])
  t.equal(await w.next(() => writeFileSync(file, 'two')), 'two')
  t.equal(await w.next(() => writeFileSync(elsewhere, '2')), 'two', 'a new one is watched')
  writeFileSync(secret, '3')
  t.equal(await w.next(() => writeFileSync(file, 'three')), 'three')
  t.strictSame(w.fired, ['one', 'one', 'two', 'two', 'three'], 'the old one is not')
})

await t.test('the signal ends it', async (t) => {
  const { file } = folder(t)
  const controller = new AbortController()
  const ended = await watched(file, { signal: controller.signal })
  await using other = await watched(file)
  controller.abort()
  t.equal(await other.next(() => writeFileSync(file, 'two')), 'two')
  await ended[Symbol.asyncDispose]()
  t.strictSame(ended.fired, [])
})
