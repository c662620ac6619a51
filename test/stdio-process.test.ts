/** Child processes: lines and bytes, environment, back-off, and that none of them ever outlives us. */
import { deepStrictEqual } from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { backOffMs, keepRunning } from '../src/process/keep-running.ts'
import { lineSplitter } from '../src/process/line-splitter.ts'
import { which } from '../src/process/which.ts'
import { type StdioCommand, type StdioLog, spawnStdio } from '../src/upstreams/stdio-process.ts'

/** Longest that anything may outlive its parent. */
const SURVIVAL_MS = 2_000

const root = fileURLToPath(new URL('..', import.meta.url))

/** A zombie is dead: it only waits for someone to ask. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    return !/\) [ZX] /u.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    // Gone meanwhile on Linux; elsewhere there is no such file and the signal's word counts.
    return process.platform !== 'linux'
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

/** What a child said so far, and a promise of the next. */
const inbox = () => {
  const lines: string[] = []
  let wake = (): void => {}
  return {
    lines,
    put: (line: Buffer | string): void => {
      lines.push(line.toString())
      wake()
    },
    take: async (count: number): Promise<readonly string[]> => {
      while (lines.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return lines.slice(0, count)
    },
  }
}

const silent: StdioLog = { info: () => {}, warn: () => {} }

const node = (script: string, more: Partial<StdioCommand> = {}): StdioCommand => ({
  name: 'test',
  command: process.execPath,
  args: ['-e', script],
  cwd: root,
  env: new Map(),
  inherited: process.env,
  log: silent,
  onMessage: () => {},
  ...more,
})

const ECHO = 'process.stdin.pipe(process.stdout)'
/** Ignores everything that can be ignored, and so does the child that it starts; names both. */
const STUBBORN = `
process.on('SIGTERM', () => {})
const script = 'process.on("SIGTERM", () => {}); console.log(process.pid); setInterval(() => {}, 1e6)'
const child = require('node:child_process').spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] })
child.stdout.on('data', (pid) => console.log(process.pid + ' ' + String(pid).trim()))
setInterval(() => {}, 1e6)`

const pidsOf = (line: string | undefined): readonly number[] => (line ?? '').split(' ').map(Number)

void t.test('lines are the same however the bytes were cut', async (t) => {
  const split = (bytes: Buffer, cuts: readonly number[], limit: number): readonly string[] => {
    const out: string[] = []
    const splitter = lineSplitter(limit, {
      line: (line) => out.push(line.toString('latin1')),
      overlong: () => out.push('!'),
    })
    const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
    let from = 0
    for (const place of [...places, bytes.length]) {
      splitter.push(bytes.subarray(from, place))
      from = place
    }
    splitter.end()
    return out
  }
  const alphabet = fc.constantFrom(0x0a, 0x0d, 0x41, 0x42, 0xff)
  const holds = (bytes: readonly number[], cuts: readonly number[], limit: number): void => {
    const text = Buffer.from(bytes)
    const expected = text
      .toString('latin1')
      .split('\n')
      .map((line) => (line.length > limit ? '!' : line.replace(/\r$/u, '')))
      .filter((line) => line !== '')
    deepStrictEqual(split(text, cuts, limit), expected)
  }
  const property = fc.property(fc.array(alphabet), fc.array(fc.nat()), fc.integer({ min: 1, max: 6 }), holds)
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1_000 }))
})

void t.test('a command is looked up as a shell does', async (t) => {
  const directory = t.testdir({ here: { tool: 'x', plain: 'x', directory: {} } })
  await chmod(`${directory}/here/tool`, 0o755)
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['tool', `/nowhere:${directory}/here`, `${directory}/here/tool`],
    ['tool', '/nowhere', undefined],
    ['tool', '', undefined],
    ['plain', `${directory}/here`, undefined],
    ['directory', `${directory}/here`, undefined],
    ['./here/tool', '', `${directory}/here/tool`],
    ['here/tool', '', `${directory}/here/tool`],
    [`${directory}/here/tool`, '', `${directory}/here/tool`],
  ]
  for (const [command, path, found] of rows) {
    t.equal(await which(command, { path, cwd: directory }), found, `${command} on "${path}"`)
  }
})

void t.test('the wait doubles up to a limit, and half of it is chance', async (t) => {
  const backOff = { firstMs: 500, longestMs: 30_000, steadyMs: 30_000 }
  t.strictSame(
    [0, 1, 2, 5, 6, 7, 2_000].map((failures) => backOffMs(backOff, failures, 1)),
    [500, 1_000, 2_000, 16_000, 30_000, 30_000, 30_000],
  )
  t.equal(backOffMs(backOff, 0, 0), 250)

  const waits: number[] = []
  const closing = new AbortController()
  // The third life is a long one.
  const clock = [0, 10, 10, 20, 20, 200, 200, 201]
  await keepRunning({
    run: async () => {},
    waiting: (ms) => {
      waits.push(ms)
      if (waits.length === 4) closing.abort()
    },
    backOff: { firstMs: 2, longestMs: 64, steadyMs: 100 },
    signal: closing.signal,
    random: () => 1,
    now: () => clock.shift() ?? 0,
  })
  t.strictSame(waits, [2, 4, 2, 4], 'after a steady life the next failure is the first')
})

void t.test('messages arrive as bytes, whole and in order', async (t) => {
  const received = inbox()
  const server = await spawnStdio(node(ECHO, { onMessage: received.put }))
  const messages = [
    '{"jsonrpc":"2.0","id":9007199254740993,"params":{"a":1.0,"ü":"\\u005f"}}',
    '{"a":\n  [1,\r\n 2]}\n',
    'not JSON at all',
    JSON.stringify('x'.repeat(3_000_000)),
    '{"last":true}',
  ]
  await Promise.all(messages.map((message) => server.send(Buffer.from(message))))
  t.strictSame(await received.take(5), [messages[0], '{"a":   [1,   2]} ', messages[2], messages[3], messages[4]])
  await server.close()
  t.strictSame(await server.ended, { code: 0, signal: null }, 'a closed input is enough for a polite server')
  await t.rejects(server.send('{}'), { message: 'server "test" has ended' })
})

void t.test('a server that does not read holds the sender up, and its end frees it', async (t) => {
  const server = await spawnStdio(node('setInterval(() => {}, 1e6)'))
  let accepted = false
  const sent = server.send('x'.repeat(8 * 1024 * 1024)).then(() => {
    accepted = true
  })
  sent.catch(() => {})
  t.equal(await Promise.race([sent.then(() => 'accepted'), sleep(200, 'waiting')]), 'waiting')
  await server.close()
  await t.rejects(sent, { message: 'server "test" has ended' })
  t.notOk(accepted)
})

void t.test('of our environment a server sees PATH, HOME and the locale', async (t) => {
  const received = inbox()
  const server = await spawnStdio(
    node('console.log(JSON.stringify(process.env))', {
      inherited: {
        PATH: '/usr/bin:/bin',
        HOME: '/home/someone',
        LANG: 'C.UTF-8',
        LC_TIME: 'C',
        TMPDIR: '/tmp',
        TOKEN: 'secret',
        LC: 'no',
        NODE_EXTRA_CA_CERTS: '/none',
      },
      env: new Map([
        ['NAMED', 'by the author'],
        ['LANG', 'de_DE.UTF-8'],
      ]),
      onMessage: received.put,
    }),
  )
  const [line = ''] = await received.take(1)
  await server.ended
  // What every POSIX shell and the test runner set by themselves says nothing of ours.
  const parsed: object = JSON.parse(line)
  const added = /^(PWD|OLDPWD|SHLVL|_|NODE_OPTIONS|_TAPJS_.*)$/u
  const seen = Object.fromEntries(Object.entries(parsed).filter(([name]) => !added.test(name)))
  t.strictSame(seen, {
    PATH: '/usr/bin:/bin',
    HOME: '/home/someone',
    LANG: 'de_DE.UTF-8',
    LC_TIME: 'C',
    NAMED: 'by the author',
  })
})

void t.test('standard error goes to the log with the name of the server', async (t) => {
  const logged: unknown[] = []
  const log: StdioLog = { ...silent, info: (message, fields) => logged.push([message, fields]) }
  const server = await spawnStdio(node('console.error("one\\ntwo"); process.exitCode = 3', { log }))
  t.strictSame(await server.ended, { code: 3, signal: null })
  const fields = { server: 'test', from: 'stderr' }
  t.strictSame(logged, [
    ['one', fields],
    ['two', fields],
  ])
  t.equal(server.lastStderr(), 'two')
})

void t.test('closing ends the whole group, SIGTERM ignored or not', async (t) => {
  const received = inbox()
  const server = await spawnStdio(node(STUBBORN, { onMessage: received.put }))
  const pids = pidsOf((await received.take(1))[0])
  t.equal(pids.length, 2)
  t.ok(pids.every(isAlive))
  await server.close()
  t.strictSame(await server.ended, { code: null, signal: 'SIGKILL' })
  for (const pid of pids) t.ok(await diesInTime(pid), `${pid} is gone`)
})

void t.test('a server that ends takes along what it left behind', async (t) => {
  const received = inbox()
  const script = `
const child = require('node:child_process').spawn('sleep', ['1000'], { stdio: 'inherit' })
console.log(child.pid)
process.stdin.once('data', () => process.exit(5))`
  const server = await spawnStdio(node(script, { onMessage: received.put }))
  const [pid = 0] = pidsOf((await received.take(1))[0])
  t.ok(isAlive(pid))
  await server.send('{}')
  t.strictSame(await server.ended, { code: 5, signal: null })
  t.ok(await diesInTime(pid))
})

void t.test('what can not be started says why', async (t) => {
  const rows: readonly (readonly [string, Partial<StdioCommand>, string])[] = [
    ['no such command', { command: 'no-such-command' }, 'there is no command "no-such-command" on PATH'],
    ['no such file', { command: './no-such-file' }, 'there is no command "./no-such-file"'],
    ['no such directory', { cwd: '/no/such/directory' }, 'there is no directory /no/such/directory'],
    ['too long a command line', { args: ['x'.repeat(4 * 1024 * 1024)] }, 'spawn E2BIG'],
  ]
  for (const [name, more, message] of rows)
    await t.test(name, async (t) => {
      await t.rejects(spawnStdio(node(ECHO, more)), { message })
    })
})

/** Another process that runs `script` as we would; its first line of output is awaited. */
const elsewhere = async (
  t: Test,
  script: string,
): Promise<{ readonly parent: ChildProcess; readonly line: string }> => {
  const parent = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => parent.kill('SIGKILL'))
  const lines = createInterface({ input: parent.stdout })
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(parent, 'exit').then(() => Promise.reject(new Error('it ended'))),
  ])
  return { parent, line: String(line) }
}

void t.test('when we are killed, every child and grandchild is dead within two seconds', async (t) => {
  const { parent, line } = await elsewhere(
    t,
    `import { spawnStdio } from './src/upstreams/stdio-process.ts'
     await spawnStdio({
       name: 'test', command: process.execPath, args: ['-e', ${JSON.stringify(STUBBORN)}], cwd: process.cwd(),
       env: new Map(), inherited: process.env, log: { info() {}, warn() {} },
       onMessage: (line) => console.log(line.toString()),
     })`,
  )
  const pids = pidsOf(line)
  t.equal(pids.length, 2)
  t.ok(pids.every(isAlive))
  parent.kill('SIGKILL')
  for (const pid of pids) t.ok(await diesInTime(pid), `${pid} is gone`)
})
