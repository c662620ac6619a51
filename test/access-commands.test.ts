/** `can-i`, `plan` and the tests of `validate`: what rules say before anybody runs into them. */
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import t from 'tap'
import { type Ran, run } from './support/command.ts'
import { startGateway } from './support/gateway.ts'
import type { Tool } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'

const tool = (name: string, annotations: object = {}): Tool => ({
  name,
  definition: { name, description: name, inputSchema: { type: 'object' }, annotations },
})
await using server = await serveMcp({
  name: 'github',
  tools: [tool('get_file', { readOnlyHint: true }), tool('merge_pull'), tool('delete_repo')],
})

const rules = `
    access:
      - tools: ["get_*"]
        allow: { groups: [dev, platform] }
      - tools: ["merge_*"]
        allow: { groups: platform }
        confirm: true
      - tools: ["*"]
        when: "tool.annotations.readOnlyHint && claims.email.endsWith('@example.com')"`
const tests = `tests:
  - name: a developer
    claims: { sub: ann, groups: [dev] }
    allowed: [gh_get_file]
    denied: [gh_merge_pull]
  - name: a mail address
    claims: { sub: eve, email: eve@example.com }
    allowed: [gh_get_file]
`
const registryWith = (access: string, more = ''): string => `gateway:
  url: https://mcp.example.com/mcp
  auth: { issuer: "https://idp.example.com", jwks: jwks.json }
servers:
  github:
    url: ${server.url}
    prefix: gh_
    tools: { exclude: [delete_repo] }${access}
views:
  reading: { tools: ["gh_get_*"] }
${more}`

const JWKS = JSON.stringify({
  keys: [
    {
      kty: 'OKP',
      crv: 'Ed25519',
      alg: 'EdDSA',
      use: 'sig',
      kid: 'a',
      x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
    },
  ],
})
await using gateway = await startGateway(registryWith(rules, tests), { files: { 'jwks.json': JWKS } })
await gateway.settled()
const admin = ['--admin', new URL(gateway.admin).host]
const claims = {
  dev: { sub: 'ann', groups: ['dev'] },
  platform: { sub: 'bob', groups: 'platform' },
  none: { sub: 'x' },
}
const as = async (who: keyof typeof claims): Promise<readonly string[]> => {
  const file = path.join(gateway.dir, `${who}.json`)
  await writeFile(file, JSON.stringify(claims[who]))
  return ['--as', file]
}
const beside = async (name: string, text: string): Promise<string> => {
  const file = path.join(gateway.dir, name)
  await writeFile(file, text)
  return file
}

await t.test('can-i', async (t) => {
  const canI = async (who: keyof typeof claims, name: string, ...more: readonly string[]): Promise<Ran> =>
    run(['can-i', gateway.file, name, ...(await as(who)), ...admin, ...more])
  for (const [who, name, more, expected] of [
    [
      'dev',
      'gh_get_file',
      [],
      { code: 0, out: /^allowed: gh_get_file \(get_file of github\)\n.*\n.*access\[0\] \(.*registry\.yaml:10:9\)/ },
    ],
    ['dev', 'gh_merge_pull', [], { code: 1, out: /^denied: (.|\n)*groups: needs "platform", has "dev"/ }],
    ['platform', 'gh_merge_pull', [], { code: 0, out: /^allowed, once a human has confirmed it/ }],
    ['none', 'gh_get_file', [], { code: 1, out: /^denied(.|\n)*when: cannot be worked out/ }],
    ['dev', 'gh_get_fil', [], { code: 1, out: /did you mean "gh_get_file"/ }],
    ['dev', 'gh_delete_repo', [], { code: 1, out: /no tool is called "gh_delete_repo"/ }],
    ['platform', 'gh_merge_pull', ['--view', 'reading'], { code: 1, out: /^denied/ }],
    ['platform', 'gh_get_file', ['--view', 'reading'], { code: 0, out: /^allowed/ }],
    ['dev', 'gh_get_file', ['--view', 'writing'], { code: 1, err: /has no view "writing"/ }],
  ] as const)
    await t.test(`${who} ${name} ${more.join(' ')}`, async (t) => {
      t.match(await canI(who, name, ...more), expected)
    })
  await t.test('rules of every level, scopes, roles', async (t) => {
    const levels = await beside(
      'levels.yaml',
      registryWith(
        `
    access: [{ tools: "get_*", allow: { scopes: "repo:read repo:list" } }, { tools: "merge_*", allow: { groups: dev } }]`,
      )
        .replace('\nservers:', '\n  access: [{ allow: { scopes: use } }]\nservers:')
        .replace(
          'tools: ["gh_get_*"] }',
          'tools: ["gh_*"], access: [{ tools: gh_get_file, allow: { groups: [dev] } }] }',
        ),
    )
    const byRoles = await beside('roles.yaml', registryWith('\n    access: roles'))
    const holder = (scope: string) => ({ sub: 'ann', groups: ['dev'], scope })
    const role = (name: string) => ({ sub: 'ann', resource_access: { github: { roles: [name] } } })
    const place = (path: string): RegExp => new RegExp(`${path} \\(.*\\.yaml:\\d+:\\d+\\)`)
    const rows: readonly (readonly [string, string, object, string, readonly string[], number, readonly RegExp[]])[] = [
      [
        'one scope of many',
        levels,
        holder('repo:read'),
        'gh_get_file',
        [],
        1,
        [/^denied/, place('✗ gateway.access\\[0\\]'), /scopes that would do: use repo:read repo:list/],
      ],
      ['all of them', levels, holder('use repo:read repo:list'), 'gh_get_file', [], 0, [/^allowed/]],
      [
        'all of them, in a view',
        levels,
        holder('use repo:read repo:list'),
        'gh_get_file',
        ['--view', 'reading'],
        0,
        ['gateway', 'servers.github', 'views.reading'].map((level) => place(`✓ ${level}.access\\[0\\]`)),
      ],
      [
        'what only the view denies',
        levels,
        holder('use'),
        'gh_merge_pull',
        ['--view', 'reading'],
        1,
        [/^denied/, /✓ servers\.github\.access/, /✗ views\.reading\.access/],
      ],
      ['a role', byRoles, role('tool:get_*'), 'gh_get_file', [], 0, [/^allowed/, /servers\.github\.access/]],
      ['another role', byRoles, role('tool:gh_get_file'), 'gh_get_file', [], 1, [/^denied/, /servers\.github\.access/]],
    ]
    for (const [name, file, claims, tool, more, code, says] of rows)
      await t.test(name, async (t) => {
        const ran = await run(['can-i', file, tool, '--as', '-', ...admin, ...more], { input: JSON.stringify(claims) })
        t.equal(ran.code, code)
        for (const words of says) t.match(ran.out, words)
      })
  })
  await t.test('for programs', async (t) => {
    const { out, code } = await canI('dev', 'gh_get_file', '--json')
    t.equal(code, 0)
    t.match(JSON.parse(out), { allowed: true, own: 'get_file', server: 'github', verdict: { allowed: true } })
  })
  await t.test('claims from standard input', async (t) => {
    const args = ['can-i', gateway.file, 'gh_get_file', '--as', '-', ...admin]
    t.match(await run(args, { input: JSON.stringify(claims.dev) }), { code: 0 })
    t.match(await run(args, { input: 'no JSON' }), { code: 1, err: /it is not JSON/ })
    t.match(await run(args, { input: '[]' }), { code: 1, err: /one JSON object/ })
    t.match(await run(args, { input: 'eyJhbGciOiJub25lIn0.e30.' }), { code: 1, err: /this is a token/ })
  })
  await t.test('no gateway', async (t) =>
    t.match(await run(['can-i', gateway.file, 'x', ...(await as('dev')), '--admin', '127.0.0.1:9']), { code: 3 }),
  )
})

await t.test('validate runs the tests', async (t) => {
  t.match(await run(['validate', gateway.file, '--live']), { code: 0, out: /2 tests passed, fine/ })
  await t.test('annotations are known from the server only', async (t) =>
    t.match(await run(['validate', gateway.file]), { code: 1, err: /a mail address: gh_get_file is denied/ }),
  )
  const wrong = await beside(
    'wrong.yaml',
    registryWith(rules, tests.replace(/allowed: \[gh_get_file\]\n {4}denied: .*/, 'denied: [gh_get_file]')),
  )
  await t.test('one that fails has a place and a reason', async (t) =>
    t.match(await run(['validate', wrong]), {
      code: 1,
      err: /wrong\.yaml:\d+:\d+: error: tests\[0\]\.denied\[0\]: a developer: gh_get_file is allowed, by servers\.github\.access\[0\]/,
    }),
  )
  const unmatched = await beside('unmatched.yaml', registryWith(rules.replace('merge_*', 'marge_*')))
  await t.test('a rule about a tool that nobody has', async (t) =>
    t.match(await run(['validate', unmatched, '--live']), { code: 0, err: /"marge_\*".*no tool/ }),
  )
})

await t.test('plan', async (t) => {
  const plan = (file: string, ...more: readonly string[]): Promise<Ran> => run(['plan', file, ...admin, ...more])
  await t.test('the same', async (t) => t.match(await plan(gateway.file), { code: 0, out: 'nothing would change\n' }))
  const next = await beside(
    'next.yaml',
    registryWith(rules.replace('groups: platform', 'groups: [dev]'), tests.replace('denied: [gh_merge_pull]', ''))
      .replace('exclude: [delete_repo]', 'exclude: [get_file]')
      .replace('allowed: [gh_get_file]', 'allowed: [gh_merge_pull]')
      .concat('    denied: [gh_delete_repo]\n'),
  )
  await t.test('tools, rules and who may call what', async (t) => {
    const { out, code } = await plan(next)
    t.match(out, /rules\n {2}\+ servers\.github\.access: tools merge_\* for groups dev, confirmed by a human/)
    t.match(out, /tools\n {2}\+ gh_delete_repo\n {2}- gh_get_file/)
    t.match(out, /who is like "a developer" may call\n {2}\+ gh_merge_pull\n {2}- gh_get_file/)
    t.equal(code, 1, 'the second sample expects a tool that is gone')
  })
  await t.test('rules of the gateway and of a view, and what a human has to confirm', async (t) => {
    const more = await beside(
      'confirm.yaml',
      registryWith(
        rules.replace('groups: [dev, platform] }', 'groups: [dev, platform] }\n        confirm: true'),
        tests,
      )
        .replace('\nservers:', '\n  access: [{ tools: "gh_get_*", allow: anyone }]\nservers:')
        .replace('tools: ["gh_get_*"] }', 'tools: ["gh_get_*"], access: [{ allow: { groups: dev } }] }'),
    )
    const { out, code } = await plan(more)
    t.match(out, /servers: changed github, gateway\.access, views/)
    t.match(out, /\+ gateway\.access: tools gh_get_\* for anyone/)
    t.match(out, /\+ views\.reading\.access: everything for groups dev/)
    t.match(out, /- servers\.github\.access: tools get_\* for groups dev or platform\n/)
    t.match(out, /who is like "a developer" may call\n {2}~ gh_get_file: now a human has to confirm it/)
    t.equal(code, 0)
    const back = await plan(gateway.file, '--against', more)
    t.match(back.out, /~ gh_get_file: no human has to confirm it any more/)
  })
  await t.test('clients of one era, and a rule about a tool that nobody has', async (t) => {
    const narrow = await beside(
      'narrow.yaml',
      registryWith(
        rules
          .replace('groups: [dev, platform] }', 'groups: [dev, platform] }\n        when: request.era == "stateful"')
          .replace('merge_*', 'marge_*'),
        tests.replace('    allowed: [gh_get_file]\n    denied', '    denied'),
      ),
    )
    const { out, err, code } = await plan(narrow)
    t.match(out, /who is like "a developer" may call\n {2}- gh_get_file \(stateless clients\)\n/)
    t.match(err, /narrow\.yaml:\d+:\d+: warning: servers\.github\.access\[1\]\.tools.*"marge_\*".*no tool/)
    t.equal(code, 0, 'a warning')
  })
  await t.test('such a rule in the file that is in force', async (t) => {
    await gateway.edit(registryWith(rules.replace('merge_*', 'marge_*'), tests))
    const { problems } = await gateway.status()
    t.match(problems, [{ severity: 'warning', path: 'servers.github.access[1].tools', message: /"marge_\*".*no tool/ }])
    t.ok(problems[0]?.place)
    await gateway.edit(registryWith(rules, tests))
    t.same((await gateway.status()).problems, [])
  })
  await t.test('what only a restart can change', async (t) => {
    const moved = await beside(
      'moved.yaml',
      (await readFile(gateway.file, 'utf8')).replace('gateway:', 'gateway:\n  listen: 127.0.0.1:7'),
    )
    t.match((await plan(moved)).out, /needs a restart, and is refused without one: gateway\.listen\n/)
    t.match(JSON.parse((await plan(moved, '--json')).out), { restart: ['gateway.listen'] })
  })
  await t.test('for programs', async (t) => {
    const { out } = await plan(next, '--json')
    t.match(JSON.parse(out), {
      tools: { added: ['gh_delete_repo'], removed: ['gh_get_file'] },
      failing: [{ path: 'tests[1].allowed[0]' }],
    })
  })
  await t.test("Envoy's resources", async (t) => {
    const more = await beside(
      'more.yaml',
      (await readFile(gateway.file, 'utf8')).replace('views:', '  other: { url: "http://127.0.0.1:9/mcp" }\nviews:'),
    )
    const { out, code } = await plan(more)
    t.match(out, /servers: added other/)
    t.match(
      out,
      /Envoy's resources\n {2}\+ Cluster mcp\.other\n {2}\+ Cluster direct\.other\n {2}~ RouteConfiguration mcp_edge/,
    )
    t.match(out, /the tools of other are not known before it runs/)
    t.equal(code, 0)
  })
  await t.test('against another file', async (t) => {
    const copy = path.join(gateway.dir, 'copy.yaml')
    await copyFile(gateway.file, copy)
    t.match(await plan(copy, '--against', next), { code: 0, out: /- gh_delete_repo/ })
  })
  await t.test('a bad one', async (t) =>
    t.match(await plan(await beside('bad.yaml', 'servers: {}')), { code: 1, err: /there are no servers/ }),
  )
})
