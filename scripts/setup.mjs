/** Set-up of a checkout in plain Node: dependencies, build, Envoy; nothing is done that is done already. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const at = (...parts) => join(root, ...parts)

/** In node_modules, so that it goes with what it tells of. */
const STAMP = at('node_modules', '.mcp-gateway-setup.json')
const NODE_FLOOR = [20, 19]

/** One clear line and the mend; exit code 3: something could not be started. */
class Unmet extends Error {
  constructor(message, mend) {
    super(message)
    this.mend = mend
  }
}

const say = (text) => process.stderr.write(`setup: ${text}\n`)

const readJson = (path) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return {}
  }
}
const digest = (text) => createHash('sha256').update(text).digest('hex')
const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Runs a step; what it prints is kept out of our standard output, which belongs to the command that follows. */
const run = (title, command, args, mend) => {
  say(title)
  const started = Date.now()
  const { error, status, signal } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (error !== undefined) throw new Unmet(`${command} could not be started: ${error.message}`, mend)
  if (signal !== null) throw new Unmet(`"${title}" was ended by ${signal}`, 'run npm run setup again')
  if (status !== 0) throw new Unmet(`"${title}" failed with exit code ${status}; its own words are above`, mend)
  say(`${title}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

const checkNode = () => {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])) return
  throw new Unmet(
    `this is Node ${process.versions.node}, and ${NODE_FLOOR.join('.')} or later is needed`,
    'install a current Node, for instance with your version manager',
  )
}

/** The npm that runs us, or the one on PATH. */
const npm = () => {
  const own = process.env['npm_execpath'] ?? ''
  return /npm-cli\.c?js$/u.test(own) ? { command: process.execPath, before: [own] } : { command: 'npm', before: [] }
}

/** Whether npm itself has installed after the lock file was last written. */
const installedByHand = () => {
  const installed = modified(at('node_modules', '.package-lock.json'))
  return installed > 0 && installed >= modified(at('package-lock.json'))
}

const installDependencies = (stamp) => {
  const lock = digest(readFileSync(at('package-lock.json')))
  const installed = existsSync(at('node_modules', '.package-lock.json'))
  if (installed && (stamp.lock === lock || installedByHand())) return { ...stamp, lock }
  const { command, before } = npm()
  // The build and the tests need what a production setting would leave out.
  run(
    'installing dependencies (npm ci)',
    command,
    [...before, 'ci', '--include=dev'],
    'see that npm reaches its registry',
  )
  return { lock }
}

/** tap is compiled for the plugins that .taprc names; without this the first test run still has the old ones. */
const buildTap = (stamp) => {
  const tap = digest(`${stamp.lock} ${readFileSync(at('.taprc'), 'utf8')}`)
  if (stamp.tap === tap && existsSync(at('.tap', 'plugins'))) return stamp
  run(
    'preparing tap',
    process.execPath,
    [at('node_modules', '.bin', 'tap'), 'build'],
    'remove node_modules and try again',
  )
  return { ...stamp, tap }
}

const filesIn = (directory) =>
  readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()

const outputOf = (source) => source.replace(at('src'), at('dist')).replace(/\.ts$/u, '.js')
const sourceOf = (output) => output.replace(at('dist'), at('src')).replace(/\.js$/u, '.ts')

const compile = (stamp) => {
  const sources = filesIn(at('src'))
  const states = [...sources, at('tsconfig.json'), at('tsconfig.build.json')].map((file) => {
    const { mtimeMs, size } = statSync(file)
    return `${file} ${mtimeMs} ${size}`
  })
  const build = digest([stamp.lock, ...states].join('\n'))
  const compiled = sources.filter((source) => source.endsWith('.ts') && !source.endsWith('.d.ts'))
  const complete = compiled.every((source) => existsSync(outputOf(source)))
  if (stamp.build === build && complete) return stamp
  // The compiler remembers what it wrote and would not write it again.
  if (!complete) rmSync(at('dist', '.tsbuildinfo'), { force: true })
  const tsc = at('node_modules', 'typescript', 'bin', 'tsc')
  run('building', process.execPath, [tsc, '-p', 'tsconfig.build.json'], 'mend what the compiler names')
  // What has no source any more would still be packed and imported.
  const stale = filesIn(at('dist')).filter((file) => file.endsWith('.js') && !existsSync(sourceOf(file)))
  for (const file of stale) rmSync(file)
  return { ...stamp, build }
}

const findEnvoy = async () => {
  const built = (file) => import(pathToFileURL(at('dist', 'envoy', file)).href)
  const { findEnvoy: find } = await built('find.js')
  try {
    const envoy = await find({ env: process.env, terminal: process.stderr.isTTY === true, say })
    if (envoy.warning !== undefined) say(envoy.warning)
  } catch (error) {
    throw typeof error?.hint === 'string' ? new Unmet(error.message, error.hint) : error
  }
}

try {
  checkNode()
  let stamp = readJson(STAMP)
  const before = JSON.stringify(stamp)
  // Written after each step: one that fails does not repeat those before it.
  for (const step of [installDependencies, buildTap, compile]) {
    stamp = step(stamp)
    if (JSON.stringify(stamp) !== before) writeFileSync(STAMP, JSON.stringify(stamp))
  }
  await findEnvoy()
} catch (error) {
  if (!(error instanceof Unmet)) throw error
  say(error.message)
  say(`to mend it: ${error.mend}`)
  process.exitCode = 3
}
