/** The published conformance suite, in both eras: our fixture server passes it, the same comes out through the gateway, and translated what can be. */
import { readFile } from 'node:fs/promises'
import type { Test } from 'tap'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Scenario } from './support/conformance.ts'
import { conformance } from './support/conformance.ts'
import { serveFixture } from './support/fixture-server.ts'
import { startGateway } from './support/gateway.ts'

/** What a revision requires of a server, written out: a suite that runs less must not go unnoticed. */
interface Required {
  readonly count: number
  readonly scored: readonly string[]
  /** Run and compared, although the revision does not count them. */
  readonly unscored: readonly string[]
  /** Of those, what the fixture server does not offer. */
  readonly absent: readonly string[]
}

const revisions: Readonly<Record<string, Required>> = {
  '2025-11-25': {
    count: 30,
    scored: [
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
    ],
    unscored: ['server-session-lifecycle', 'json-schema-2020-12', 'server-sse-polling'],
    absent: [],
  },
  '2026-07-28': {
    count: 37,
    scored: [
      'server-stateless',
      'completion-complete',
      'tools-list',
      'tools-call-simple-text',
      'tools-call-image',
      'tools-call-audio',
      'tools-call-embedded-resource',
      'tools-call-mixed-content',
      'tools-call-error',
      'tools-call-with-progress',
      'server-sse-multiple-streams',
      'resources-list',
      'resources-read-text',
      'resources-read-binary',
      'resources-templates-read',
      'sep-2164-resource-not-found',
      'prompts-list',
      'prompts-get-simple',
      'prompts-get-with-args',
      'prompts-get-embedded-resource',
      'prompts-get-with-image',
      'dns-rebinding-protection',
      'caching',
      'input-required-result-basic-elicitation',
      'input-required-result-basic-sampling',
      'input-required-result-basic-list-roots',
      'input-required-result-request-state',
      'input-required-result-multiple-input-requests',
      'input-required-result-multi-round',
      'input-required-result-missing-input-response',
      'input-required-result-non-tool-request',
      'input-required-result-result-type',
      'input-required-result-unsupported-methods',
      'input-required-result-tampered-state',
      'input-required-result-capability-check',
      'input-required-result-ignore-extra-params',
      'input-required-result-validate-input',
    ],
    unscored: [
      'tasks-lifecycle',
      'tasks-capability-negotiation',
      'tasks-wire-fields',
      'tasks-request-state-removal',
      'tasks-mrtr-input',
      'tasks-request-headers',
      'tasks-dispatch-and-envelope',
      'tasks-status-notifications',
      'tasks-required-task-error',
      'tasks-mrtr-composition',
      'json-schema-2020-12',
      'http-header-validation',
      'http-custom-header-server-validation',
    ],
    absent: [
      'tasks-lifecycle',
      'tasks-capability-negotiation',
      'tasks-wire-fields',
      'tasks-request-state-removal',
      'tasks-mrtr-input',
      'tasks-request-headers',
      'tasks-dispatch-and-envelope',
      'tasks-status-notifications',
      'tasks-required-task-error',
      'tasks-mrtr-composition',
    ],
  },
}

/** Where the result through the gateway is another: what does not succeed there, what cannot be tried there, and why. */
const difference = z
  .strictObject({
    why: z.string(),
    /** `check id: STATUS` */
    shortfalls: z.array(z.string()).default([]),
    /** Ids of checks that succeed directly. */
    untried: z.array(z.string()).default([]),
  })
  .refine(({ shortfalls, untried }) => shortfalls.length + untried.length > 0, 'nothing differs')
const differences = z
  .record(z.string(), z.record(z.string(), difference).nullable())
  .parse(parse(await readFile(new URL('./conformance-expected.yaml', import.meta.url), 'utf8')))

const named = (results: readonly Scenario[], which: boolean) =>
  results.filter((one) => one.scored === which).map(({ name }) => name)

const direct = new Map<string, readonly Scenario[]>()
{
  await using server = await serveFixture()
  for (const [revision, { count, scored, unscored, absent }] of Object.entries(revisions)) {
    const results = await conformance(server.url, revision)
    direct.set(revision, results)
    await t.test(`${revision}: the fixture server passes`, async (t) => {
      t.equal(scored.length, count)
      t.same(named(results, true), scored)
      t.same(named(results, false), unscored)
      for (const { name, passed, shortfalls, why } of results) {
        const complete = passed && shortfalls.length === 0
        t.equal(complete, !absent.includes(name), name, { why })
      }
    })
    await t.test(`${revision}: a server that is not there passes nothing`, async (t) => {
      const nothing = await conformance('http://127.0.0.1:1/mcp', revision)
      t.same(
        nothing.filter(({ passed, shortfalls }) => passed && shortfalls.length === 0).map(({ name }) => name),
        [],
      )
    })
  }
}

/** The same as directly, but for what the file says; and all that the file says. */
const compare = (t: Test, arrangement: string, revision: string, through: readonly Scenario[]) => {
  const expected = differences[arrangement] ?? {}
  const own = direct.get(revision) ?? []
  t.same(
    through.map(({ name }) => name),
    own.map(({ name }) => name),
  )
  for (const [at, { name, shortfalls, succeeded, why }] of through.entries()) {
    const entry = Object.hasOwn(expected, name) ? expected[name] : undefined
    const directly: Pick<Scenario, 'shortfalls' | 'succeeded'> = own[at] ?? { shortfalls: [], succeeded: [] }
    const failing = entry?.shortfalls ?? directly.shortfalls
    const missing = new Set([...failing.map((text) => text.slice(0, text.lastIndexOf(':'))), ...(entry?.untried ?? [])])
    const succeeding = directly.succeeded.filter((check) => entry === undefined || !missing.has(check))
    if (entry !== undefined) {
      const same = failing.join() === directly.shortfalls.join() && succeeding.length === directly.succeeded.length
      t.notOk(same, `${name}: the entry says a difference`)
      const unknown = entry.untried.filter((check) => !directly.succeeded.includes(check))
      t.same(unknown, [], `${name}: what is untried succeeds directly`)
    }
    t.same({ shortfalls, succeeded }, { shortfalls: failing, succeeded: succeeding }, name, { why, reason: entry?.why })
  }
  const names = own.map(({ name }) => name)
  t.same(
    Object.keys(expected).filter((name) => !names.includes(name)),
    [],
    'every entry is about a scenario',
  )
}

const arrangements = [
  ['both eras', 'both', '2025-11-25'],
  ['both eras', 'both', '2026-07-28'],
  ['stateless client, stateful server', 'stateful', '2026-07-28'],
  ['stateful client, stateless server', 'stateless', '2025-11-25'],
] as const

for (const [what, eras, revision] of arrangements) {
  const arrangement = `${what}, ${revision}`
  await t.test(`through the gateway: ${arrangement}`, async (t) => {
    await using server = await serveFixture({ eras })
    await using gateway = await startGateway(`servers:
  fixture: { url: "${server.url}", prefix: "", client: [elicitation, sampling, roots] }
`)
    await gateway.settled()
    const through = await conformance(gateway.url, revision)
    compare(t, arrangement, revision, through)
    if (eras !== 'both') return
    const short = through.filter(({ scored, passed, shortfalls }) => scored && !(passed && shortfalls.length === 0))
    t.same(
      short.map(({ name }) => name),
      [],
      'every scored scenario passes',
    )
  })
}

t.same(
  Object.keys(differences).filter(
    (name) => !arrangements.some(([what, , revision]) => name === `${what}, ${revision}`),
  ),
  [],
  'every list of differences is about an arrangement',
)
