/** The MCP Inspector's command line: a process for every request, and a daemon of its own that keeps the connection. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Era } from '../../src/mcp/versions.ts'
import type { Child } from './child.ts'
import { startChild } from './child.ts'
import type { PublishedClient } from './published-client.ts'
import { answers } from './published-client.ts'
import type { JsonObject } from './raw-json.ts'
import { asObject } from './raw-json.ts'

const launcher = new URL(
  '../../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js',
  import.meta.url,
)
const single = fileURLToPath(launcher)
const kept = fileURLToPath(new URL('../../mcpdo/build/mcp-bin.js', launcher))
const keeper = fileURLToPath(new URL('../../mcpdo/build/mcpdod.js', launcher))

const names = { stateful: 'legacy', stateless: 'modern' } as const

const run = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<JsonObject> => {
  const child = promisify(execFile)(process.execPath, [...args], { timeout: 60_000, env: { ...process.env, ...env } })
  child.child.stdin?.end()
  return asObject(JSON.parse((await child).stdout))
}

/** The command that asks once and ends: the tools' names. */
export const inspectOnce = async (url: string, era: Era): Promise<readonly string[]> => {
  const options = ['--cli', url, '--transport', 'http', '--protocol-era', names[era], '--format', 'json']
  const { result } = await run([single, ...options, '--method', 'tools/list'])
  return namesIn(asObject(result), 'tools', 'name')
}

/** A connection that is kept: it can be asked, and hears of changes. It shows no progress and cannot cancel a call. */
export const inspector = async (url: string, era: Era): Promise<PublishedClient> => {
  const dir = await mkdtemp(path.join(tmpdir(), 'inspector-'))
  const env = {
    HOME: dir,
    MCP_INSPECTOR_DAEMON_DIR: dir,
    MCP_INSPECTOR_DAEMON_TOKEN: randomBytes(16).toString('hex'),
    MCP_INSPECTOR_SECRET_STORE: 'file',
  }
  const command = [kept, '--format', 'json', '--plain']
  const ask = (...args: string[]) => run([...command, ...args], env)
  const daemon = startChild([keeper], { env })
  const watching: Child[] = []
  const dispose = async (): Promise<void> => {
    for (const child of watching) await child.stop()
    await daemon.stop()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    // Asking for its state is the only request that would not start another one.
    for (let pid: unknown; pid !== daemon.pid; ) {
      if (daemon.exit !== undefined) throw new Error(daemon.log())
      pid = await ask('daemon', 'status').then(
        (status) => status['pid'],
        () => undefined,
      )
    }
    await ask('connect', url, '--era', names[era], '--connection', 'gateway')
  } catch (error) {
    await dispose()
    throw error
  }
  const request = (...args: string[]) => ask('@gateway', ...args)
  const list = async (method: string, key: string, name: string) => namesIn(await request(method), key, name)

  /** Fills in the form of whoever asks, until nobody does. */
  const answered = async (said: JsonObject): Promise<JsonObject> => {
    const { elicitationId } = asObject(said['elicitationPending'])
    if (typeof elicitationId !== 'string') return said
    return answered(await ask('elicitation/respond', elicitationId, JSON.stringify(answers.elicitation.content)))
  }
  return {
    tools: () => list('tools/list', 'tools', 'name'),
    call: async (name, args = {}) =>
      answered(await request('tools/call', name, '--tool-args-json', JSON.stringify(args))),
    prompts: () => list('prompts/list', 'prompts', 'name'),
    get: (name, args = {}) =>
      request(
        'prompts/get',
        name,
        ...Object.entries(args).flatMap(([key, value]) => ['--prompt-args', `${key}=${value}`]),
      ),
    resources: () => list('resources/list', 'resources', 'uri'),
    read: (uri) => request('resources/read', uri),
    templates: () => list('resources/templates/list', 'resourceTemplates', 'uriTemplate'),
    complete: async (prompt, argument, value) => {
      const what = ['--complete-ref-type', 'ref/prompt', '--complete-ref', prompt]
      const said = await request(
        'prompts/complete',
        ...what,
        '--complete-arg-name',
        argument,
        '--complete-arg-value',
        value,
      )
      return [said['values']].flat().map(String)
    },
    watch: async (uri) => {
      const child = startChild([...command, '@gateway', 'resources/subscribe', uri], { env })
      watching.push(child)
      await child.says(/"subscribed"/)
      return { updated: child.says(/"resources\/updated"/) }
    },
    [Symbol.asyncDispose]: dispose,
  }
}

const namesIn = (result: JsonObject, key: string, name: string): readonly string[] => {
  const items = result[key]
  if (!Array.isArray(items)) throw new Error(`no ${key}: ${JSON.stringify(result)}`)
  return items.map((item) => String(asObject(item)[name]))
}
