/** Set-up does what is missing and nothing else, and says how to mend what it can't do; `.ci/run` counts. */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))

const DEPENDENCIES = 'installing dependencies (npm ci)'
const TAP = 'preparing tap'
const BUILD = 'building'

/** Installs what the build needs by linking it, and a tap that only prepares; the compiler is the real one. */
const FAKE_NPM = `
const fs = require('node:fs')
fs.appendFileSync('npm-asked', process.argv.slice(2).join(' ') + '\\n')
if (fs.existsSync('npm-fails')) { console.error('npm error code ENOTFOUND'); process.exit(1) }
fs.rmSync('node_modules', { recursive: true, force: true })
fs.mkdirSync('node_modules/.bin', { recursive: true })
for (const name of ['typescript', '@types']) fs.symlinkSync(${JSON.stringify(root)} + 'node_modules/' + name, 'node_modules/' + name)
fs.writeFileSync('node_modules/.bin/tap', 'require("node:fs").mkdirSync(".tap/plugins", { recursive: true })')
fs.writeFileSync('node_modules/.package-lock.json', '{}')
`

/** tap gives a preload to all Node that it starts, and the compiler does not bear it. */
const CLEAN = 'unset NODE_OPTIONS; exec "$0" "$@"'

interface Ran {
  readonly code: number | null
  /** The steps that were begun, in order. */
  readonly steps: readonly string[]
  readonly output: string
}

/** A checkout with the parts of this one that set-up itself needs. */
const checkout = (
  t: Test,
): { readonly at: (path: string) => string; readonly setup: (env?: object) => Promise<Ran> } => {
  const directory = t.testdir({
    'package.json': '{"type":"commonjs"}',
    'package-lock.json': '{"lockfileVersion":3}',
    'npm-cli.js': FAKE_NPM,
    envoy: '#!/bin/sh\necho "envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL"\n',
    old: '#!/bin/sh\necho "envoy  version: abc/1.38.0/Clean/RELEASE/BoringSSL"\n',
    cache: {},
    scripts: {},
    src: { registry: {} },
  })
  const at = (path: string): string => join(directory, path)
  for (const path of [
    '.taprc',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/setup.mjs',
    'src/envoy',
    'src/process',
    'src/registry/model.ts',
  ]) {
    cpSync(join(root, path), at(path), { recursive: true })
  }
  writeFileSync(at('src/package.json'), '{"type":"module"}')
  mkdirSync(at('dist'))
  writeFileSync(at('dist/package.json'), '{"type":"module"}')
  for (const binary of ['envoy', 'old']) chmodSync(at(binary), 0o755)
  const setup = async (more: object = {}): Promise<Ran> => {
    const child = spawn('/bin/sh', ['-c', CLEAN, process.execPath, 'scripts/setup.mjs'], {
      cwd: directory,
      env: {
        ...process.env,
        npm_execpath: at('npm-cli.js'),
        MCP_GATEWAY_ENVOY: at('envoy'),
        XDG_CACHE_HOME: at('cache'),
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    const [stdout, output, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
    t.equal(stdout, '', 'standard output is left to what comes after')
    const steps = [...output.matchAll(/^setup: (.+)$/gmu)].map(([, line]) => line ?? '')
    return { code, steps: steps.filter((line) => [DEPENDENCIES, TAP, BUILD].includes(line)), output }
  }
  return { at, setup }
}

void t.test('only what changed is done again', async (t) => {
  const { at, setup } = checkout(t)
  const rows: readonly (readonly [string, () => void, readonly string[]])[] = [
    ['a fresh clone', () => {}, [DEPENDENCIES, TAP, BUILD]],
    ['nothing', () => {}, []],
    ['a source', () => writeFileSync(at('src/added.ts'), 'export const added = 1\n'), [BUILD]],
    ['a source is removed', () => rmSync(at('src/added.ts')), [BUILD]],
    ['the build is removed', () => rmSync(at('dist/envoy'), { recursive: true }), [BUILD]],
    ['the settings of the compiler', () => utimesSync(at('tsconfig.json'), 1, 1), [BUILD]],
    ['the settings of tap', () => writeFileSync(at('.taprc'), 'jobs: 1\n'), [TAP]],
    ['what tap prepared is removed', () => rmSync(at('.tap'), { recursive: true }), [TAP]],
    [
      'the lock file',
      () => writeFileSync(at('package-lock.json'), '{"lockfileVersion":3,"x":1}'),
      [DEPENDENCIES, TAP, BUILD],
    ],
    ['the dependencies are removed', () => rmSync(at('node_modules'), { recursive: true }), [DEPENDENCIES, TAP, BUILD]],
    ['an install that broke off', () => rmSync(at('node_modules/.package-lock.json')), [DEPENDENCIES, TAP, BUILD]],
    [
      'the lock file, and npm was run by hand',
      () => {
        writeFileSync(at('package-lock.json'), '{"lockfileVersion":3,"x":2}')
        writeFileSync(at('node_modules/.package-lock.json'), '{}')
        const later = Date.now() / 1000 + 10
        utimesSync(at('node_modules/.package-lock.json'), later, later)
      },
      [TAP, BUILD],
    ],
    ['nothing again', () => {}, []],
  ]
  for (const [name, change, steps] of rows) {
    change()
    const ran = await setup()
    t.strictSame([ran.code, ran.steps], [0, steps], `${name}\n${ran.output}`)
    if (steps.length === 0) t.equal(ran.output, '', `${name}: not a word`)
    t.ok(existsSync(at('dist/envoy/find.js')))
    t.equal(
      existsSync(at('dist/added.js')),
      existsSync(at('src/added.ts')),
      `${name}: the build has no more than the source`,
    )
  }
  t.match(readFileSync(at('npm-asked'), 'utf8'), /^(ci --include=dev\n){4}$/u)
})

void t.test('what can not be done is one line and the mend, exit code 3', async (t) => {
  const { at, setup } = checkout(t)
  const problem = (ran: Ran): readonly string[] => ran.output.split('\n').filter((line) => line.startsWith('setup: '))

  writeFileSync(at('npm-fails'), '')
  const npm = await setup()
  t.equal(npm.code, 3)
  t.match(npm.output, /npm error code ENOTFOUND/u, "npm's own words")
  t.match(problem(npm).at(-2), /"installing dependencies \(npm ci\)" failed with exit code 1/u)
  t.match(problem(npm).at(-1), /^setup: to mend it: /u)
  const missing = await setup({ npm_execpath: '', PATH: '/nowhere' })
  t.equal(missing.code, 3)
  t.match(problem(missing).at(-2), /^setup: npm could not be started/u)

  rmSync(at('npm-fails'))
  writeFileSync(at('src/broken.ts'), 'export const broken: number = "text"\n')
  const build = await setup()
  t.equal(build.code, 3)
  t.match(build.output, /src\/broken\.ts\(1,14\): error TS2322/u)
  rmSync(at('src/broken.ts'))
  const mended = await setup()
  t.strictSame([mended.code, mended.steps], [0, [BUILD]], 'the steps before are not repeated')

  const old = await setup({ MCP_GATEWAY_ENVOY: at('old') })
  t.equal(old.code, 3)
  t.match(problem(old)[0], /^setup: MCP_GATEWAY_ENVOY: .*\/old is Envoy 1\.38\.0; Envoy 1\.39\.3 or later is needed/u)
  t.match(old.output, /setup: to mend it: any of these gets you one:\n(.*\n)*.*docker/u)
  const none = await setup({ MCP_GATEWAY_ENVOY: '', PATH: '/nowhere' })
  t.equal(none.code, 3)
  t.match(problem(none)[0], /^setup: no Envoy: none is on PATH, and none could be fetched: /u)
})

void t.test('the last line of .ci/run is the count', async (t) => {
  const tapOutput = (summary: string): string => `TAP version 14\nok 1 - a\n# ${summary}\n# time=1ms\n`
  const rows: readonly (readonly [string, string, number, string, number])[] = [
    ['all passed', tapOutput('{ total: 12, pass: 12 }'), 0, '12 passed, 0 failed', 0],
    ['some failed', tapOutput('{ total: 5, pass: 3, fail: 2 }'), 1, '3 passed, 2 failed', 1],
    ['some skipped', tapOutput('{ total: 5, pass: 3, skip: 1, todo: 1 }'), 0, '3 passed, 0 failed', 0],
    ['none ran', tapOutput('{ total: 0 }'), 0, '0 passed, 1 failed', 1],
    ['the check before them failed', 'error TS1: no\n', 2, '0 passed, 1 failed', 2],
    ['the run broke off', tapOutput('{ total: 5, pass: 5 }'), 137, '5 passed, 1 failed', 137],
    ['said by a test, and the end is missing', '    # { total: 9, pass: 9 }\n', 0, '0 passed, 1 failed', 1],
  ]
  const directory = t.testdir({ '.ci': {}, scripts: {}, bin: {} })
  cpSync(join(root, '.ci/run'), `${directory}/.ci/run`)
  cpSync(join(root, 'scripts/count-tests.mjs'), `${directory}/scripts/count-tests.mjs`)
  symlinkSync(process.execPath, `${directory}/bin/node`)
  for (const [name, said, exit, last, code] of rows) {
    writeFileSync(`${directory}/said`, said)
    writeFileSync(`${directory}/bin/npm`, `#!/bin/sh\n[ "$*" = test ] || exit 9\ncat said\nexit ${exit}\n`)
    chmodSync(`${directory}/bin/npm`, 0o755)
    // From elsewhere: it finds its own place.
    const child = spawn('bash', [`${directory}/.ci/run`], {
      cwd: '/',
      env: { ...process.env, PATH: `${directory}/bin:${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    const [output, status] = await Promise.all([text(child.stdout), ended])
    t.ok(output.startsWith(said), `${name}: what the tests say is shown`)
    t.strictSame([output.trimEnd().split('\n').at(-1), status], [last, code], name)
  }
})
