/** Every example: what its author writes, what Envoy gets of it (`UPDATE=1` rewrites that), and what then happens. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { keysInFile } from '../src/identity/public-keys.ts'
import { runPolicyTests } from '../src/policy/check.ts'
import { namedTool } from '../src/policy/named-tool.ts'
import { policyOf } from '../src/policy/policy.ts'
import type { Problem, Registry } from '../src/registry/model.ts'
import { parseRegistry } from '../src/registry/parse.ts'
import { type Message, pack } from '../src/xds/pack.ts'
import { render } from '../src/xds/render.ts'
import { nothingLive, resources } from '../src/xds/resources.ts'
import { runPaths } from '../src/xds/run-paths.ts'
import { type Snapshot, snapshot } from '../src/xds/snapshot.ts'
import { messageName, TYPE_URLS } from '../src/xds/type-url.ts'
import type { Example } from './support/conversation.ts'
import { addressVariable, play, readExample, urlVariable } from './support/conversation.ts'
import { type ConversationServer, startServer } from './support/conversation-server.ts'
import { validateConfig } from './support/envoy.ts'
import { noServers, startGateway } from './support/gateway.ts'
import { staticEnvoy } from './support/static-envoy.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const folders = readdirSync(path.join(root, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
const at = (name: string, file: string): string => path.join(root, 'examples', name, file)
const read = (name: string, file: string): string => readFileSync(at(name, file), 'utf8')

const updating = process.env['UPDATE'] === '1'
const PARTS = ['registry.yaml', 'envoy.yaml', 'conversation.yaml', 'README.md']

await t.test('every example is complete', async (t) => {
  t.ok(folders.length >= 8)
  for (const { name } of folders) {
    const missing = PARTS.filter((part) => !existsSync(at(name, part)) && !(updating && part === 'envoy.yaml'))
    t.same(missing, [], name)
  }
})

const examples = folders.map(({ name }) => readExample(path.join(root, 'examples', name)))

// --- what Envoy gets ------------------------------------------------------------------------------------------------

/** The same on every machine. */
const run = runPaths('/run/mcp-gateway', 'envoy')
const SYSTEM_CA = '/etc/ssl/certs/ca-certificates.crt'
const FIRST_PORT = 3001

/** Servers at fixed addresses, in the order of the conversation. */
const fixedVariables = ({ conversation: { servers, variables } }: Example): Record<string, string> => ({
  ...variables,
  ...Object.fromEntries(
    Object.entries(servers).flatMap(([name, server], index) => {
      const scheme = 'tls' in server && server.tls !== undefined ? 'https' : 'http'
      const address = `127.0.0.1:${FIRST_PORT + index}`
      return [
        [urlVariable(name), `${scheme}://${address}/mcp`],
        [addressVariable(name), address],
      ]
    }),
  ),
})

const sentFor = (example: Example): Snapshot => {
  const file = at(example.name, 'registry.yaml')
  const readFile = (name: string): string => readFileSync(example.fileOf(name), 'utf8')
  const parsed = parseRegistry(read(example.name, 'registry.yaml'), { file, env: fixedVariables(example), readFile })
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems))
  t.same(parsed.warnings, [], `${example.name}: no warnings`)
  t.same(testsOf(parsed.registry), [], `${example.name}: its own tests`)
  const live = { ...nothingLive, jwks: keysInFile(parsed.registry.gateway.auth) }
  return snapshot(resources(parsed.registry, run, SYSTEM_CA, live))
}

const testsOf = (registry: Registry): readonly Problem[] =>
  runPolicyTests(registry, policyOf(registry), (name) => namedTool(registry, name))

type Written = Message & { readonly '@type': string; readonly name: string }

await t.test('what Envoy gets', async (t) => {
  for (const example of examples) {
    await t.test(example.name, async (t) => {
      const sent = sentFor(example)
      const golden = at(example.name, 'envoy.yaml')
      if (updating) writeFileSync(golden, render(sent))
      const text = readFileSync(golden, 'utf8')
      t.equal(text, render(sent), 'envoy.yaml is up to date; UPDATE=1 npx tap test/examples.test.ts rewrites it')
      const secrets = Object.values(example.conversation.servers).flatMap((server) =>
        'credential' in server && server.credential !== undefined ? [server.credential.value] : [],
      )
      for (const kept of [root, 'PRIVATE KEY', ...secrets]) t.notOk(text.includes(kept), `without "${kept}"`)

      const { resources: written }: { readonly resources: readonly Written[] } = parse(text)
      t.equal(
        written.length,
        TYPE_URLS.reduce((sum, type) => sum + (sent.types.get(type)?.size ?? 0), 0),
      )
      for (const { '@type': type, ...message } of written) {
        const bytes = pack(messageName(type), message) // throws on a type or a field that is not known
        const same = Buffer.from(sent.types.get(type)?.get(message.name)?.bytes ?? []).equals(bytes)
        if (!JSON.stringify(message).includes('[redacted]')) t.ok(same, `${message.name}: the very bytes`)
      }
      await t.resolves(validateConfig(staticEnvoy(sent, run)), 'a real Envoy takes all of it')
    })
  }
})

// --- what then happens ----------------------------------------------------------------------------------------------

/** As in the checkout: an example may refer to what is two folders up. */
const stage = await mkdtemp(path.join(tmpdir(), 'examples-'))
t.teardown(() => rm(stage, { recursive: true, force: true }))
const dir = path.join(stage, 'examples', 'running')
await mkdir(dir, { recursive: true })
await symlink(path.join(root, 'node_modules'), path.join(stage, 'node_modules'))

await t.test('what then happens', async (t) => {
  // The gateway's variables are fixed when it starts, so every server is there before.
  const servers = new Map<string, ConversationServer>()
  const variables = new Map<string, string>()
  const define = (name: string, value: string): void => {
    if (variables.has(name)) throw new Error(`two examples define ${name}`)
    variables.set(name, value)
  }
  for (const example of examples) {
    const { directory, conversation } = example
    for (const [name, value] of Object.entries(conversation.variables)) define(name, value)
    for (const [name, server] of Object.entries(conversation.servers)) {
      const running = await startServer(name, server, directory, example.fileOf)
      t.teardown(() => running[Symbol.asyncDispose]())
      servers.set(name, running)
      define(urlVariable(name), running.url)
      define(addressVariable(name), new URL(running.url).host)
    }
  }
  const env = { ...Object.fromEntries(variables), NODE_OPTIONS: '' }
  // One worker, so that the access log has the order of the requests.
  await using gateway = await startGateway(noServers, { dir, env, args: ['--access-log', '--concurrency', '1'] })
  for (const example of examples) {
    await t.test(example.name, (t) => play(t, gateway, example, read(example.name, 'registry.yaml'), servers))
  }
  t.notMatch(gateway.log(), 'starting it again', 'one Envoy did it all')
})
