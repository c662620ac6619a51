/** The published conformance suite: our fixture server passes it, and through the gateway the same comes out. */
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Scenario } from './support/conformance.ts'
import { conformance } from './support/conformance.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'

const REVISION = '2025-11-25'

/** What the revision requires of a server. Written out: a suite that runs less must not go unnoticed. */
const scored = [
  'server-initialize',
  'logging-set-level',
  'ping',
  'completion-complete',
  'tools-list',
  'tools-call-simple-text',
  'tools-call-image',
  'tools-call-audio',
  'tools-call-embedded-resource',
  'tools-call-mixed-content',
  'tools-call-with-logging',
  'tools-call-error',
  'tools-call-with-progress',
  'tools-call-sampling',
  'tools-call-elicitation',
  'elicitation-sep1034-defaults',
  'server-sse-multiple-streams',
  'elicitation-sep1330-enums',
  'resources-list',
  'resources-read-text',
  'resources-read-binary',
  'resources-templates-read',
  'resources-subscribe',
  'resources-unsubscribe',
  'prompts-list',
  'prompts-get-simple',
  'prompts-get-with-args',
  'prompts-get-embedded-resource',
  'prompts-get-with-image',
  'dns-rebinding-protection',
]
/** Run and compared, although the revision does not count them. */
const unscored = ['server-session-lifecycle', 'json-schema-2020-12', 'server-sse-polling']

const named = (results: readonly Scenario[], which: boolean) =>
  results.filter((one) => one.scored === which).map(({ name }) => name)

await using server = await serveFixture()
const direct = await conformance(server.url, REVISION)

await t.test('the fixture server passes', async (t) => {
  t.equal(scored.length, 30)
  t.same(named(direct, true), scored)
  t.same(named(direct, false), unscored)
  for (const { name, passed, shortfalls, why } of direct) t.ok(passed && shortfalls.length === 0, name, { why })
})

await t.test('a server that is not there passes nothing', async (t) => {
  const results = await conformance('http://127.0.0.1:1/mcp', REVISION)
  t.same(
    results.filter(({ passed }) => passed).map(({ name }) => name),
    [],
  )
})

await t.test('through the gateway the result is the same', async (t) => {
  const text = await readFile(new URL('./conformance-expected.yaml', import.meta.url), 'utf8')
  const expected = z.record(z.string(), z.record(z.string(), z.string())).parse(parse(text))[REVISION] ?? {}
  await using gateway = await startGateway(`servers:
  fixture: { url: "${server.url}", prefix: "", client: [elicitation, sampling, roots] }
`)
  await gateway.settled()
  const through = await conformance(gateway.url, REVISION)
  t.same(named(through, true), scored)
  t.same(named(through, false), unscored)
  for (const [at, { name, passed, shortfalls, why }] of through.entries()) {
    const wanted = direct[at]
    const same = passed === wanted?.passed && shortfalls.join() === wanted.shortfalls.join()
    if (Object.hasOwn(expected, name))
      t.notOk(same, `${name}: the expected difference is there`, { why: expected[name] })
    else t.ok(same, name, { shortfalls, why })
  }
  t.same(
    Object.keys(expected).filter((name) => !named(direct, true).concat(unscored).includes(name)),
    [],
    'no exception is for a scenario that does not exist',
  )
})
