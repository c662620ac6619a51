/** Vetting: what a human is shown, what a confirmation is good for, and that nothing reaches a server before it is given. */

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import type { Test } from 'tap'
import t from 'tap'
import { confirmMessage } from '../src/broker/confirm-message.ts'
import { scan } from '../src/mcp/scan.ts'
import { type ConfirmedCall, confirmations } from '../src/sessions/confirmation.ts'
import { auditLines } from './support/audit-lines.ts'
import { type Action, confirmingClients } from './support/confirming-client.ts'
import { eventually, freePort, startGateway } from './support/gateway.ts'
import type { Call } from './support/mcp-script.ts'
import { RpcError, says } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import { connect, type RawClient, request } from './support/raw-client.ts'
import { asObject, type JsonObject, type Message, rawMember } from './support/raw-json.ts'
import { serveSse } from './support/sse-server.ts'
import { gate, pathOf, registry } from './support/stage.ts'
import { type StatelessSending, stateless } from './support/stateless-client.ts'
import { EXTENSION, serveTasks } from './support/task-server.ts'
import { inSeconds, signingKey } from './support/tokens.ts'

const row = { exposed: 'x_do', own: 'do', server: 'x', hints: '', params: [] }
/** What is shown for these arguments, as JSON text. */
const shownFor = (args: string | undefined, method = 'tools/call', changes: Partial<typeof row> = {}) => {
  const given = args === undefined ? '' : `,"arguments":${args}`
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{"name":"x_do"${given}}}`)
  const scanned = scan(bytes)
  if (!scanned.ok) throw new Error(scanned.reason)
  return confirmMessage(method, { ...row, ...changes }, scanned.message, bytes)
}
const HEAD = '[mcp-gateway] Please confirm: this is done only if you accept.\nServer: x\n'

await t.test('what a human is shown', async (t) => {
  const rows: Readonly<Record<string, readonly [string | undefined, string]>> = {
    'no arguments': [undefined, 'none'],
    'an empty object': [' {} ', 'none'],
    'no object': ['[1]', '[1]'],
    'one of each kind': [
      '{"a":"x","b":1,"c":true,"d":null,"e":[1,{"f":"g"}],"h":{}}',
      '\n  a: "x"\n  b: 1\n  c: true\n  d: null\n  e: [1, {"f": "g"}]\n  h: {}',
    ],
    'numbers as they were written': ['{"n":12345678901234567890.10e+2}', '\n  n: 12345678901234567890.10e+2'],
    'escapes that hide plain letters': ['{"cmd":"\\u0072m"}', '\n  cmd: "rm"'],
    'line ends, which could forge another argument': ['{"a":"x\\n  b: 1"}', '\n  a: "x\\n  b: 1"'],
    'a key that is no word': ['{"a: 1\\nb":2}', '\n  "a: 1\\nb": 2'],
    'a key as wide as nothing': ['{"":1,"\\u200b":2}', '\n  "": 1\n  "\\u{200b}": 2'],
    'text that runs backwards': ['{"a":"\u202etxt.exe"}', '\n  a: "\\u{202e}txt.exe"'],
    'tags that nothing draws': ['{"a":"b\u{e0041}"}', '\n  a: "b\\u{e0041}"'],
    'spaces that are none': ['{"a":"\u00a0\u3000\u2800\u2028"}', '\n  a: "\\u{a0}\\u{3000}\\u{2800}\\u{2028}"'],
    'what only looks like an escape': ['{"a":"\\\\u{202e}"}', '\n  a: "\\\\u{202e}"'],
    'terminal codes': ['{"a":"\\u001b[2K\u009b"}', '\n  a: "\\u001b[2K\\u{9b}"'],
    'half a character': ['{"a":"\\ud800"}', '\n  a: "\\ud800"'],
    'every script': ['{"a":"Zürich 東京 🎉"}', '\n  a: "Zürich 東京 🎉"'],
    'a key that objects have anyway': ['{"__proto__":{"b":1}}', '\n  __proto__: {"b": 1}'],
  }
  for (const [name, [args, shown]] of Object.entries(rows))
    await t.test(name, async (t) =>
      t.equal(shownFor(args), `${HEAD}Tool: x_do\nArguments:${shown.startsWith('\n') ? '' : ' '}${shown}`),
    )
  await t.test('a prompt', async (t) =>
    t.match(shownFor('{"a":"b"}', 'prompts/get'), 'Prompt: x_do\nArguments:\n  a: "b"'),
  )
  await t.test('a resource', async (t) =>
    t.equal(shownFor(undefined, 'resources/read', { exposed: 'f:///a?b' }), `${HEAD}Resource: f:///a?b`),
  )
  await t.test('a name that hides', async (t) =>
    t.match(shownFor(undefined, 'resources/read', { exposed: 'f:///a b\u202e' }), 'Resource: "f:///a b\\u{202e}"'),
  )
  await t.test('more than can be read', async (t) => {
    const room = 4000 - (shownFor('{"a":""}')?.length ?? 0)
    t.equal(shownFor(`{"a":"${'x'.repeat(room)}"}`)?.length, 4000)
    t.equal(shownFor(`{"a":"${'x'.repeat(room + 1)}"}`), undefined)
    t.equal(shownFor(`{"a":${' '.repeat(70_000)}1}`), undefined, 'nor is it searched for')
  })
  await t.test('nothing hidden, one line for each, and no two alike', async () => {
    const json = fc.oneof(fc.json({ stringUnit: 'binary' }), fc.json())
    const object = fc.dictionary(
      fc.string({ unit: 'binary' }),
      json.map((text): unknown => JSON.parse(text)),
      { maxKeys: 3 },
    )
    const lines = (args: object): string => shownFor(JSON.stringify(args)) ?? 'too long'
    fc.assert(
      fc.property(object, (args) => {
        const text = lines(args)
        const count = Object.keys(args).length
        const hidden = /[^\n\P{Cc}]|[\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\p{Cf}]/u.test(text)
        return text === 'too long' || (!hidden && text.split('\n').length === (count === 0 ? 4 : 4 + count))
      }),
    )
    fc.assert(
      fc.property(object, object, (one, other) => {
        const same = JSON.stringify(one) === JSON.stringify(other)
        return same || lines(one) !== lines(other) || lines(one) === 'too long'
      }),
    )
  })
})

await t.test('what a confirmation is good for', async (t) => {
  const call: ConfirmedCall = { principal: 'ann', view: '', server: 'x', method: 'tools/call', own: 'do', digest: 'd' }
  const stage = () => {
    const self = { nowMs: 1_000_000 }
    const made = confirmations({
      key: new Uint8Array(32),
      limitMs: () => 1000,
      inputMs: () => 5000,
      now: () => self.nowMs,
    })
    return { self, made }
  }
  const others: Readonly<Record<string, readonly [Partial<ConfirmedCall>, string]>> = {
    'the same call': [{}, 'asked'],
    'another principal': [{ principal: 'eve' }, 'invalid'],
    'another view': [{ view: 'v' }, 'invalid'],
    'another server': [{ server: 'y' }, 'other'],
    'another method': [{ method: 'prompts/get' }, 'other'],
    'another tool': [{ own: 'undo' }, 'other'],
    'other arguments': [{ digest: 'e' }, 'other'],
  }
  for (const [name, [changes, is]] of Object.entries(others))
    await t.test(name, async (t) => {
      const { made } = stage()
      t.equal(made.open(made.asked(call), { ...call, ...changes }).is, is)
    })
  await t.test('once', async (t) => {
    const { made } = stage()
    for (const sealed of [made.asked(call), made.confirmed(call, '"theirs"')]) {
      const opened = made.open(sealed, call)
      if ('use' in opened) opened.use()
      t.equal(made.open(sealed, call).is, 'other')
    }
  })
  await t.test('for so long', async (t) => {
    const { self, made } = stage()
    const [asked, confirmed] = [made.asked(call), made.confirmed(call, undefined)]
    self.nowMs += 1000
    t.equal(made.open(asked, call).is, 'asked')
    self.nowMs += 1
    t.equal(made.open(asked, call).is, 'late')
    t.match(made.open(confirmed, call), { is: 'confirmed', state: undefined })
    self.nowMs += 4000
    t.equal(made.open(confirmed, call).is, 'invalid')
  })
  await t.test('with the state of its server', async (t) => {
    const { made } = stage()
    t.match(made.open(made.confirmed(call, '{"any":"thing"}'), call), { is: 'confirmed', state: '{"any":"thing"}' })
  })
  await t.test('in the process that gave it', async (t) => {
    const { made } = stage()
    t.equal(stage().made.open(made.asked(call), call).is, 'other', 'after a restart a human is asked again')
  })
  await t.test('one principal cannot use up what others are asked', async (t) => {
    const { made } = stage()
    const theirs = made.asked(call)
    const flood = { ...call, principal: 'eve' }
    const first = made.asked(flood)
    for (let n = 0; n < 1024; n++) made.asked(flood)
    t.equal(made.open(first, flood).is, 'other')
    t.equal(made.open(theirs, call).is, 'asked')
  })
  await t.test('nothing but itself', async (t) => {
    const { made } = stage()
    const sealed = made.asked(call)
    const kinds = Array.from(sealed, (letter, at) => {
      const flipped = `${sealed.slice(0, at)}${letter === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`
      return made.open(flipped, call).is
    })
    t.same(new Set(kinds), new Set(['invalid']))
    t.equal(made.open('', call).is, 'invalid')
  })
})

/** Asks its own question first, and repeats what it was told. */
const nosy = async (call: Call) => {
  const { result } = await call.ask('elicitation/create', {
    message: 'which?',
    requestedSchema: { type: 'object', properties: { which: { type: 'string' } } },
  })
  return says(`told ${String(asObject(result)['action'])}`)
}
const offered = (name: string) => ({
  name,
  tools: [
    { name: 'free', run: ({ received }: Call) => says(received.text) },
    { name: 'danger', run: ({ arguments: args }: Call) => says(JSON.stringify(args)) },
    { name: 'danger2' },
    { name: 'danger_audited' },
    { name: 'danger_nosy', run: nosy },
  ],
  prompts: [{ name: 'p' }],
  resources: [{ uri: `${name}:secret` }],
  templates: [{ uriTemplate: `${name}:t/{id}`, matches: new RegExp(`^${name}:t/`) }],
  capabilities: { tools: {}, prompts: {}, resources: { subscribe: true }, completions: {} },
  caching: (method: string) =>
    method === 'resources/read' ? { ttlMs: 60_000, cacheScope: 'public' } : { ttlMs: 0, cacheScope: 'private' },
})
await using old = await serveMcp({ ...offered('old'), era: 'stateful' })
await using fresh = await serveMcp({ ...offered('new'), era: 'stateless' })
await using dual = await serveMcp({ ...offered('dual'), era: 'both' })
await using oldTasks = await serveTasks('stateful')
await using newTasks = await serveTasks('stateless')
await using events = await serveSse()
const servers: Readonly<Record<string, McpServer>> = { old, new: fresh, dual }

const rules = [
  { tools: ['danger*', 'work'], prompts: '*', resources: '*', allow: 'anyone', confirm: true },
  { tools: '*', allow: 'anyone' },
]
const entry = { access: rules, client: ['elicitation'] }
const script = fileURLToPath(new URL('support/stdio-server.mjs', import.meta.url))
const piped = (era: string) => ({
  command: process.execPath,
  args: [script],
  env: { ERA: era },
  access: [
    { tools: 'echo', allow: 'anyone', confirm: true },
    { tools: '*', allow: 'anyone' },
  ],
})
const setup = {
  old: [old, entry],
  new: [fresh, entry],
  dual: [dual, entry],
  'old-tasks': [oldTasks.mcp, entry],
  'new-tasks': [newTasks.mcp, entry],
  events: { ...entry, url: `http://127.0.0.1:${events.port}/sse`, transport: 'sse', access: piped('').access },
  'old-pipe': piped('stateful'),
  'new-pipe': piped('stateless'),
} as const
const settings = { gateway: { audit: 'audit.jsonl' }, views: { v: { tools: ['old_*', 'new_*'] } } }
await using gateway = await startGateway(registry(setup, settings))
await gateway.settled()
const { url } = gateway

/** How often something was really done. */
const done = (server: McpServer): number =>
  ['tools/call', 'prompts/get', 'resources/read', 'resources/subscribe', 'completion/complete'].reduce(
    (sum, method) => sum + server.count(method),
    0,
  )
const each = async (
  t: Test,
  run: (t: Test, name: string, server: McpServer) => Promise<void>,
  which: readonly string[] = Object.keys(servers),
): Promise<void> => {
  for (const [name, server] of Object.entries(servers)) {
    if (!which.includes(name)) continue
    await t.test(name, async (t) => {
      server.forget()
      await run(t, name, server)
    })
  }
}

await t.test('the published clients', async (t) => {
  const things = {
    'tools/call': (name: string) => ({ shown: `Tool: ${name}_danger\nArguments:\n  a: "b"`, own: 'danger' }),
    'prompts/get': (name: string) => ({ shown: `Prompt: ${name}_p\nArguments:\n  a: "b"`, own: 'p' }),
    'resources/read': (name: string) => ({ shown: `Resource: ${name}:secret`, own: `${name}:secret` }),
  }
  for (const [mode, { open }] of Object.entries(confirmingClients))
    await t.test(mode, async (t) =>
      each(t, async (t, name, server) => {
        let action: Action = 'accept'
        await using client = await open(url, () => action)
        const args = { a: 'b' }
        const use = {
          'tools/call': () => client.call(`${name}_danger`, args),
          'prompts/get': () => client.get(`${name}_p`, args),
          'resources/read': () => client.read(`${name}:secret`),
        }
        for (const [method, run] of Object.entries(use))
          for (const answer of ['decline', 'cancel', 'accept'] as const)
            await t.test(`${method}, ${answer}`, async (t) => {
              server.forget()
              action = answer
              const before = client.shown.length
              if (answer === 'accept') await run()
              else await t.rejects(run(), { message: /a human has to agree to this, and did not/ })
              t.equal(client.shown.length, before + 1)
              const { shown } = things[method as keyof typeof things](name)
              t.equal(client.shown.at(-1), `${HEAD.replace('Server: x', `Server: ${name}`)}${shown}`)
              t.equal(done(server), answer === 'accept' ? 1 : 0)
              t.equal(server.count(method), answer === 'accept' ? 1 : 0)
            })
        await t.test('a call that nobody confirms asks nobody', async (t) => {
          const before = client.shown.length
          await client.call(`${name}_free`)
          t.equal(client.shown.length, before)
        })
        await t.test('a server that asks itself is heard after the gateway', async (t) => {
          action = 'accept'
          const before = client.shown.length
          t.match(await client.call(`${name}_danger_nosy`), says('told accept'))
          const [first, second, ...more] = client.shown.slice(before)
          t.match(first, `Tool: ${name}_danger_nosy`)
          t.match(second, /which\?$/)
          t.same(more, [])
        })
      }),
    )
  for (const [mode, { open }] of Object.entries(confirmingClients))
    await t.test(`${mode}, servers of our own`, async (t) => {
      for (const name of ['old-pipe', 'new-pipe'])
        await t.test(name, async (t) => {
          let action: Action = 'decline'
          await using client = await open(url, () => action)
          const echoed = async () =>
            JSON.stringify(await client.call(`${name}_seen`)).split(`said by ${mode}`).length - 1
          const call = () => client.call(`${name}_echo`, { text: `said by ${mode}` })
          await t.rejects(call(), { message: /did not/ })
          t.equal(await echoed(), 0)
          action = 'accept'
          t.match(await call(), says(`said by ${mode}`))
          t.equal(await echoed(), 1)
        })
    })
  for (const [mode, { open }] of Object.entries(confirmingClients))
    await t.test(`${mode}, a server of the old transport`, async (t) => {
      let action: Action = 'decline'
      await using client = await open(url, () => action)
      const call = () => client.call('events_echo', { text: `said by ${mode}` })
      const before = events.executions.get('echo') ?? 0
      await t.rejects(call(), { message: /did not/ })
      t.equal(events.executions.get('echo') ?? 0, before)
      action = 'accept'
      t.match(await call(), says(`said by ${mode}`))
      t.equal(events.executions.get('echo'), before + 1)
      t.match(client.shown.at(-1), 'Server: events\nTool: events_echo')
    })
  for (const [mode, { open, era }] of Object.entries(confirmingClients))
    await t.test(`${mode}, which cannot be asked`, async (t) =>
      each(t, async (t, name, server) => {
        await using client = await open(url, undefined)
        await t.rejects(client.call(`${name}_danger`), {
          message: era === 'stateful' ? /cannot ask one: .*does not declare elicitation/ : /client capability/,
        })
        t.equal(done(server), 0)
      }),
    )
})

const KEY = 'mcp-gateway:confirm'
const FORMS = { elicitation: {} }
const asked = (message: Message | undefined): JsonObject => {
  const result = message?.result ?? {}
  if (result['resultType'] !== 'input_required') throw new Error(`nothing is asked: ${message?.raw}`)
  return result
}
const isAsked = (message: Message | undefined): boolean => Object.hasOwn(asObject(asked(message)['inputRequests']), KEY)
const yes = (message: Message | undefined, answer: unknown = { action: 'accept' }): JsonObject => ({
  requestState: asked(message)['requestState'],
  inputResponses: { [KEY]: answer },
})
const errorOf = (message: Message | undefined) => message?.error

await t.test('a stateless client', async (t) => {
  await using client = stateless({ url, capabilities: FORMS })
  const send = async (name: string, more: JsonObject = {}, sending: StatelessSending = {}) =>
    (await client.request('tools/call', { name, arguments: { a: 1 }, ...more }, sending)).message
  /** What the first request is answered with, and how often the retry then has it done. */
  const rows: Readonly<
    Record<string, (t: Test, name: string, first: Message | undefined) => Promise<{ readonly done: number }>>
  > = {
    accepted: async (t, name, first) => {
      const last = await send(`${name}_danger`, yes(first))
      t.match(last?.result, { ...says('{"a":1}'), resultType: 'complete' })
      return { done: 1 }
    },
    declined: async (t, name, first) => {
      const error = { code: -32603, data: { reason: 'not-confirmed', answer: 'declined', server: name } }
      t.match(errorOf(await send(`${name}_danger`, yes(first, { action: 'decline' }))), error)
      t.ok(isAsked(await send(`${name}_danger`, yes(first))), 'a no is no yes later')
      return { done: 0 }
    },
    cancelled: async (t, name, first) => {
      const error = { data: { reason: 'not-confirmed', answer: 'cancelled' } }
      t.match(errorOf(await send(`${name}_danger`, yes(first, { action: 'cancel' }))), error)
      return { done: 0 }
    },
    'changed arguments': async (t, name, first) => {
      const other = { arguments: { a: 2 } }
      const again = await send(`${name}_danger`, { ...yes(first), ...other })
      t.ok(isAsked(again))
      t.match(again?.raw, 'a: 2')
      t.match((await send(`${name}_danger`, { ...yes(again), ...other }))?.result, says('{"a":2}'))
      return { done: 1 }
    },
    'another tool': async (t, name, first) => {
      t.ok(isAsked(await send(`${name}_danger2`, yes(first))))
      return { done: 0 }
    },
    'another server': async (t, name, first) => {
      t.ok(isAsked(await send(`${name === 'old' ? 'new' : 'old'}_danger`, yes(first))))
      return { done: 0 }
    },
    'used twice': async (t, name, first) => {
      await send(`${name}_danger`, yes(first))
      t.ok(isAsked(await send(`${name}_danger`, yes(first))))
      return { done: 1 }
    },
    'used twice at once': async (t, name, first) => {
      const both = await Promise.all([send(`${name}_danger`, yes(first)), send(`${name}_danger`, yes(first))])
      t.same(new Set(both.map((one) => one?.result?.['resultType'])), new Set(['complete', 'input_required']))
      return { done: 1 }
    },
    'an answer without the state': async (t, name) => {
      t.ok(isAsked(await send(`${name}_danger`, { inputResponses: { [KEY]: { action: 'accept' } } })))
      return { done: 0 }
    },
    'the state without an answer': async (t, name, first) => {
      const { requestState } = yes(first)
      t.ok(isAsked(await send(`${name}_danger`, { requestState })))
      t.ok(isAsked(await send(`${name}_danger`, { requestState, inputResponses: { other: { action: 'accept' } } })))
      return { done: 0 }
    },
    'answers that are none': async (t, name, first) => {
      for (const answer of [null, 1, 'accept', [], {}, { action: 'yes' }, { action: ['accept'] }])
        t.match(errorOf(await send(`${name}_danger`, yes(first, answer))), {
          code: -32602,
          data: { reason: 'bad-params' },
        })
      await send(`${name}_danger`, yes(first))
      return { done: 1 }
    },
    'a state of nobody': async (t, name, first) => {
      const text = String(yes(first)['requestState'])
      for (const requestState of ['', 'x', `${text}A`, text.slice(1), `B${text.slice(1)}`, 5, { a: 1 }])
        t.match(errorOf(await send(`${name}_danger`, { ...yes(first), requestState })), {
          code: -32602,
          data: { reason: 'bad-request-state' },
        })
      return { done: 0 }
    },
    'in another view': async (t, name, first) => {
      const body = { name: `${name}_danger`, arguments: { a: 1 }, ...yes(first) }
      await using inside = stateless({ url: `${url}/v`, capabilities: FORMS })
      const { message } = await inside.request('tools/call', body)
      t.match(errorOf(message), { data: { reason: 'bad-request-state' } })
      return { done: 0 }
    },
  }
  for (const [what, run] of Object.entries(rows))
    await t.test(what, async (t) =>
      each(
        t,
        async (t, name, server) => {
          const first = await send(`${name}_danger`)
          t.match(asked(first), {
            requestState: /^confirm\.[\w-]{40,}$/,
            inputRequests: {
              [KEY]: {
                method: 'elicitation/create',
                params: {
                  message: /Tool: .*\nArguments:\n {2}a: 1$/,
                  requestedSchema: { type: 'object', properties: {} },
                },
              },
            },
          })
          t.equal(done(server), 0)
          const { done: times } = await run(t, name, first)
          t.equal(done(server), times)
        },
        ['old', 'new'],
      ),
    )

  await t.test('what the server gets is what the client would have sent it', async (t) => {
    fresh.forget()
    const first = await send('new_danger', { arguments: { n: 1, text: 'ü' } })
    const answered = yes(first)
    await send('new_danger', {
      ...answered,
      arguments: { n: 1, text: 'ü' },
      inputResponses: { ...asObject(answered['inputResponses']), other: { action: 'accept' } },
    })
    const [got] = fresh.received.filter(({ message }) => message?.method === 'tools/call')
    t.equal(rawMember(got?.text ?? '', 'params', 'arguments'), '{"n":1,"text":"ü"}')
    t.equal(rawMember(got?.text ?? '', 'params', 'requestState'), undefined)
    t.equal(rawMember(got?.text ?? '', 'params', 'inputResponses'), undefined)
  })

  await t.test('a server’s own question keeps what was confirmed, once', async (t) =>
    each(
      t,
      async (t, name) => {
        const tool = `${name}_danger_nosy`
        const first = await send(tool)
        const second = await send(tool, yes(first))
        const theirs = asked(second)
        t.notOk(isAsked(second))
        const inputResponses = Object.fromEntries(
          Object.keys(asObject(theirs['inputRequests'])).map((key) => [key, { action: 'accept', content: {} }]),
        )
        const retry = { requestState: theirs['requestState'], inputResponses }
        t.ok(isAsked(await send(tool, { ...retry, arguments: { a: 2 } })), 'not for other arguments')
        t.ok(isAsked(await send(`${name}_danger2`, retry)), 'not for another tool')
        t.match((await send(tool, retry))?.result, says('told accept'))
        t.ok(isAsked(await send(tool, retry)), 'not twice')
      },
      ['old', 'new'],
    ),
  )

  await t.test('a resource that was confirmed is not to be kept', async (t) =>
    each(t, async (t, name) => {
      const params = { uri: `${name}:secret` }
      const first = (await client.request('resources/read', params)).message
      const last = (await client.request('resources/read', { ...params, ...yes(first) })).message
      t.match(last?.result, { ttlMs: 0, cacheScope: 'private' })
    }),
  )

  await t.test('one that cannot be asked', async (t) => {
    const missing = { code: -32021, data: { requiredCapabilities: { elicitation: { form: {} } } } }
    const clients: Readonly<Record<string, readonly [JsonObject, boolean]>> = {
      'nothing declared': [{}, false],
      'URLs only': [{ elicitation: { url: {} } }, false],
      'forms and URLs': [{ elicitation: { url: {}, form: {} } }, true],
      forms: [{ elicitation: { form: {} } }, true],
      'elicitation, of which nothing is said': [{ elicitation: {} }, true],
    }
    for (const [what, [capabilities, can]] of Object.entries(clients))
      await t.test(what, async (t) =>
        each(t, async (t, name, server) => {
          const reply = await client.request('tools/call', { name: `${name}_danger` }, { capabilities })
          if (can) t.ok(isAsked(reply.message))
          else {
            t.match(errorOf(reply.message), missing)
            t.equal(reply.status, 400)
          }
          t.equal(done(server), 0)
        }),
      )
  })

  await t.test('more than can be shown', async (t) =>
    each(t, async (t, name, server) => {
      const message = await send(`${name}_danger`, { arguments: { a: 'x'.repeat(5000) } })
      t.match(errorOf(message), { data: { reason: 'confirmation-too-large' } })
      t.equal(done(server), 0)
    }),
  )

  await t.test('a call that becomes a task', async (t) => {
    newTasks.mcp.forget()
    const sending = { capabilities: { ...FORMS, extensions: { [EXTENSION]: {} } } }
    const first = await send('new-tasks_work', {}, sending)
    t.equal(newTasks.mcp.count('tools/call'), 0)
    const last = await send('new-tasks_work', yes(first), sending)
    t.match(last?.result, { resultType: 'task' })
    t.equal(newTasks.mcp.count('tools/call'), 1)
  })

  await t.test('methods that nobody is asked about', async (t) =>
    each(t, async (t, name, server) => {
      const ref = { type: 'ref/prompt', name: `${name}_p` }
      const { message } = await client.request('completion/complete', { ref, argument: { name: 'a', value: '' } })
      t.match(errorOf(message), { data: { reason: 'cannot-confirm' } })
      t.equal(done(server), 0)
    }),
  )
})

await t.test('a stateful client', async (t) => {
  const session = (answer: (question: Message) => JsonObject | undefined, capabilities: JsonObject = FORMS) =>
    connect(url, { capabilities, answers: { 'elicitation/create': answer } })
  const silent = () => undefined
  const question = async (client: RawClient, number = 0): Promise<Message> =>
    (
      await client.next(
        (heard) => heard === client.heard.filter(({ message }) => message.method === 'elicitation/create')[number],
      )
    ).message

  await t.test('answers that are none', async (t) => {
    const answers: Readonly<Record<string, () => JsonObject>> = {
      'no action': () => ({}),
      'another action': () => ({ action: 'yes' }),
      'an error': () => {
        throw new RpcError(-32602, 'no forms here')
      },
    }
    for (const [what, answer] of Object.entries(answers))
      await t.test(what, async (t) =>
        each(t, async (t, name, server) => {
          await using client = await session(answer)
          const { error } = await client.call(`${name}_danger`)
          t.match(error, { code: -32603, data: { reason: 'cannot-confirm', server: name } })
          t.equal(done(server), 0)
        }),
      )
  })

  await t.test('one that cannot be asked', async (t) => {
    const clients: Readonly<Record<string, readonly [JsonObject, RegExp]>> = {
      'nothing declared': [{}, /does not declare elicitation/],
      'URLs only': [{ elicitation: { url: {} } }, /URLs only/],
    }
    for (const [what, [capabilities, words]] of Object.entries(clients))
      await t.test(what, async (t) =>
        each(t, async (t, name, server) => {
          await using client = await session(silent, capabilities)
          const { error } = await client.call(`${name}_danger`)
          t.match(error, { message: words, data: { reason: 'cannot-confirm' } })
          t.equal(done(server), 0)
        }),
      )
  })

  await t.test('only the answer to the question counts', async (t) => {
    old.forget()
    await using client = await session(silent)
    await using stranger = await session(silent)
    const running = client.call('old_danger', { a: 1 })
    const { id } = await question(client)
    const accept = (as: unknown): string => JSON.stringify({ jsonrpc: '2.0', id: as, result: { action: 'accept' } })
    t.equal((await stranger.post(accept(id))).status, 400, 'another session’s')
    t.equal((await client.post(accept(`${String(id)}0`))).status, 400, 'another id’s')
    t.equal(done(old), 0)
    t.equal((await client.post(accept(id))).status, 202)
    t.match((await running).result, says('{"a":1}'))
    t.equal((await client.post(accept(id))).status, 400, 'a second one')
    t.equal(done(old), 1)
  })

  await t.test('one that gives up', async (t) => {
    const ways: Readonly<Record<string, (client: RawClient, abort: AbortController) => unknown>> = {
      'by a notification': (client) => client.notify('notifications/cancelled', { requestId: 'mine' }),
      'by ending its session': (client) => client.delete(),
    }
    for (const [what, give] of Object.entries(ways))
      await t.test(what, async (t) => {
        old.forget()
        await using client = await session(silent)
        const abort = new AbortController()
        const running = client.post(
          '{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"old_danger"}}',
          { signal: abort.signal },
        )
        const { id } = await question(client)
        await give(client, abort)
        const reply = await client.post(JSON.stringify({ jsonrpc: '2.0', id, result: { action: 'accept' } }))
        t.not(reply.status, 202, 'nobody waits for the answer')
        t.same(
          (await running).messages.filter(({ method }) => method === undefined),
          [],
        )
        t.equal(done(old), 0)
      })
  })

  await t.test('more than can be shown', async (t) =>
    each(t, async (t, name, server) => {
      await using client = await session(() => ({ action: 'accept' }))
      const { error } = await client.call(`${name}_danger`, { a: 'x'.repeat(5000) })
      t.match(error, { data: { reason: 'confirmation-too-large' } })
      t.equal(done(server), 0)
      t.same(client.heard, [])
    }),
  )

  await t.test('a call that becomes a task', async (t) => {
    oldTasks.mcp.forget()
    let action = 'decline'
    await using client = await session(() => ({ action }))
    const send = () => client.send('tools/call', { name: 'old-tasks_work', arguments: {}, task: { ttl: 60_000 } })
    t.match((await send()).message.error, { data: { reason: 'not-confirmed' } })
    t.equal(oldTasks.mcp.count('tools/call'), 0)
    action = 'accept'
    t.match((await send()).message.result, { task: { taskId: String } })
    t.equal(oldTasks.mcp.count('tools/call'), 1)
  })

  await t.test('methods that nobody is asked about', async (t) =>
    each(t, async (t, name, server) => {
      await using client = await session(() => ({ action: 'accept' }))
      const ref = { type: 'ref/prompt', name: `${name}_p` }
      const rows: readonly (readonly [string, JsonObject])[] = [
        ['completion/complete', { ref, argument: { name: 'a', value: '' } }],
        ['resources/subscribe', { uri: `${name}:secret` }],
      ]
      for (const [method, params] of rows)
        t.match((await client.send(method, params)).message.error, { data: { reason: 'cannot-confirm' } })
      t.equal(done(server), 0)
      t.same(client.heard, [])
    }),
  )

  await t.test('what is direct stays direct, and what is confirmed is not', async (t) =>
    each(
      t,
      async (t, name, server) => {
        await using client = await connect(url, { capabilities: {} })
        await client.call(`${name}_free`)
        server.forget()
        await client.call(`${name}_free`)
        t.match((await client.call(`${name}_danger`)).error, { data: { reason: 'cannot-confirm' } })
        const [first, ...more] = server.received.filter(({ message }) => message?.method === 'tools/call')
        t.equal(first && pathOf(first), 'direct')
        t.same(more, [])
      },
      ['old', 'dual'],
    ),
  )

  await t.test('what changes while a human is asked was not confirmed', async (t) => {
    const denied = { ...entry, access: [{ tools: 'free', allow: 'anyone' }] }
    const renamed = { ...entry, tools: { rename: { danger2: 'danger', danger: 'peril' } } }
    const changes: Readonly<Record<string, readonly [JsonObject, (tools: readonly string[]) => boolean]>> = {
      'it is no longer allowed': [denied, (tools) => !tools.includes('old_danger')],
      'the name leads elsewhere': [renamed, (tools) => tools.includes('old_peril')],
    }
    for (const [what, [changed, isThere]] of Object.entries(changes))
      await t.test(what, async (t) => {
        old.forget()
        const [reached, open] = [gate(), gate()]
        await using client = await connect(url, {
          capabilities: FORMS,
          answers: {
            'elicitation/create': async () => {
              reached.open()
              await open.opened
              return { action: 'accept' }
            },
          },
        })
        const running = client.call('old_danger')
        await reached.opened
        await gateway.edit(registry({ ...setup, old: [old, changed] }, settings))
        await eventually('changed', gateway.child, async () => isThere(await client.tools()) || undefined)
        open.open()
        t.match((await running).error, { data: { reason: 'not-confirmed', answer: 'changed' } })
        t.equal(done(old), 0)
        await gateway.edit(registry(setup, settings))
      })
  })
})

await t.test('a rule that changes between question and answer', async (t) => {
  /** With the servers of this test, and nobody asked about them, or the other way round. */
  const asking = (confirm: boolean) => {
    const access = [{ tools: '*', allow: 'anyone', confirm }]
    return registry({ ...setup, old: [old, { ...entry, access }], new: [fresh, { ...entry, access }] }, settings)
  }
  await using client = stateless({ url, capabilities: FORMS })
  const send = async (tool: string, more: JsonObject = {}) =>
    (await client.request('tools/call', { name: tool, arguments: { a: 1 }, ...more })).message
  const changed = async (confirm: boolean): Promise<void> => {
    await gateway.edit(asking(confirm))
    await gateway.settled()
  }
  const answers = (message: Message | undefined): JsonObject => ({
    requestState: asked(message)['requestState'],
    inputResponses: Object.fromEntries(
      Object.keys(asObject(asked(message)['inputRequests'])).map((key) => [key, { action: 'accept', content: {} }]),
    ),
  })
  const rows: Readonly<Record<string, (t: Test, name: string) => Promise<{ readonly done: number }>>> = {
    'nobody need confirm any more: a yes': async (t, name) => {
      const first = await send(`${name}_danger`)
      await changed(false)
      t.match((await send(`${name}_danger`, yes(first)))?.result, says('{"a":1}'))
      return { done: 1 }
    },
    'nobody need confirm any more: a no': async (t, name) => {
      const first = await send(`${name}_danger`)
      await changed(false)
      const refused = { data: { reason: 'not-confirmed', answer: 'declined' } }
      t.match(errorOf(await send(`${name}_danger`, yes(first, { action: 'decline' }))), refused)
      return { done: 0 }
    },
    'nobody need confirm any more: the server’s own question': async (t, name) => {
      const second = await send(`${name}_danger_nosy`, yes(await send(`${name}_danger_nosy`)))
      await changed(false)
      t.match((await send(`${name}_danger_nosy`, answers(second)))?.result, says('told accept'))
      return { done: name === 'new' ? 2 : 1 }
    },
    'somebody has to confirm now: the server’s own question': async (t, name) => {
      const first = await send(`${name}_danger_nosy`)
      const before = done(name === 'new' ? fresh : old)
      await changed(true)
      const again = await send(`${name}_danger_nosy`, answers(first))
      // The one has given the client a state that is not ours, the other none at all.
      if (name === 'old') t.match(errorOf(again), { data: { reason: 'bad-request-state' } })
      else t.ok(isAsked(again))
      return { done: before }
    },
  }
  for (const [what, run] of Object.entries(rows))
    await t.test(what, async (t) =>
      each(
        t,
        async (t, name, server) => {
          await changed(!what.startsWith('somebody'))
          server.forget()
          const { done: times } = await run(t, name)
          t.equal(done(server), times)
          t.notMatch(
            server.received.map(({ text }) => text).join(),
            /confirm\.|mcp-gateway:confirm/,
            'the answer is ours',
          )
        },
        ['old', 'new'],
      ),
    )
  await t.test('a stateful client: a no', async (t) => {
    await changed(true)
    old.forget()
    await using client = await connect(url, {
      capabilities: FORMS,
      answers: {
        'elicitation/create': async () => {
          await changed(false)
          return { action: 'decline' }
        },
      },
    })
    t.match((await client.call('old_danger')).error, { data: { reason: 'not-confirmed', answer: 'declined' } })
    t.equal(done(old), 0)
  })
  await gateway.edit(registry(setup, settings))
  await gateway.settled()
})

await t.test('every answer is told apart in the audit log', async (t) => {
  let action = 'accept'
  await using old_ = await connect(url, {
    capabilities: FORMS,
    answers: { 'elicitation/create': () => ({ action }) },
  })
  await using new_ = stateless({ url, capabilities: FORMS, answers: { 'elicitation/create': () => ({ action }) } })
  for (action of ['accept', 'decline', 'cancel']) {
    await old_.call('old_danger_audited', { secret: 'hush' })
    await new_.complete('tools/call', { name: 'new_danger_audited', arguments: { secret: 'hush' } })
  }
  await new_.call('new_danger_audited', {}, { capabilities: {} })
  const wanted = {
    stateful: ['confirmed', 'not-confirmed-declined', 'not-confirmed-cancelled'],
    stateless: [
      'not-confirmed-asked',
      'confirmed',
      'not-confirmed-asked',
      'not-confirmed-declined',
      'not-confirmed-asked',
      'not-confirmed-cancelled',
      'cannot-confirm',
    ],
  }
  const audit = path.join(gateway.dir, 'audit.jsonl')
  const lines = await eventually('audited', gateway.child, async () => {
    const found = (await auditLines(audit)).filter(({ tool }) => tool === 'danger_audited')
    return found.length < 10 ? undefined : found
  })
  t.notMatch(await readFile(audit, 'utf8'), /hush/)
  for (const [era, reasons] of Object.entries(wanted)) {
    const told = lines.filter((line) => line['era'] === era)
    t.same(
      told.map((line) => (line['confirmed'] === true ? 'confirmed' : line['reason'])),
      reasons,
      era,
    )
    t.same(
      told.map((line) => line['decision']),
      reasons.map((reason) => (reason === 'confirmed' ? 'allowed' : 'refused')),
    )
  }
})

await t.test('nobody answers in time', async (t) => {
  await gateway.edit(registry(setup, { ...settings, gateway: { ...settings.gateway, confirm: '20ms' } }))
  old.forget()
  const heard: Message[] = []
  await using client = await connect(url, { capabilities: FORMS })
  await using other = stateless({ url, capabilities: FORMS })
  const params = { name: 'old_danger', arguments: {} }
  const first = (await other.request('tools/call', params)).message
  for (const _ of [1, 2]) {
    const reply = await client.post(
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"old_danger","arguments":{}}}',
    )
    heard.push(...reply.messages)
  }
  const [ask, withdrawn, refused] = heard
  t.match(ask, { method: 'elicitation/create' })
  t.match(withdrawn, { method: 'notifications/cancelled', params: { requestId: ask?.id } })
  t.match(refused?.error, { data: { reason: 'not-confirmed', answer: 'timeout' } })
  const late = (await other.request('tools/call', { ...params, ...yes(first) })).message
  t.match(late?.error, { data: { reason: 'not-confirmed', answer: 'timeout' } })
  t.equal(done(old), 0)
  t.equal((await request(`${gateway.admin}/ready`)).status, 200)
})

await t.test('a confirmation is its principal’s', async (t) => {
  const key = await signingKey('ES256')
  const port = await freePort()
  const resource = `http://127.0.0.1:${port}/mcp`
  const issuer = 'https://idp.example.com'
  const claims = { iss: issuer, aud: resource, exp: inSeconds(600) }
  const [ann = {}, eve = {}] = await Promise.all(
    ['ann', 'eve'].map(async (sub) => ({ authorization: `Bearer ${await key.sign({ ...claims, sub })}` })),
  )
  await using guarded = await startGateway(
    registry(
      {
        old: [old, { access: [{ tools: 'danger', allow: { subjects: ['ann', 'eve'] }, confirm: true }] }],
        new: [fresh, { access: [{ tools: 'danger', allow: { subjects: ['ann', 'eve'] }, confirm: true }] }],
      },
      { gateway: { url: resource, auth: { issuer, jwks: 'keys.json' } } },
    ),
    { port, files: { 'keys.json': JSON.stringify({ keys: [key.published] }) } },
  )
  await guarded.settled()
  for (const [name, server] of Object.entries({ old, new: fresh })) {
    await t.test(`a stateless client of ${name}`, async (t) => {
      server.forget()
      const send = async (headers: Record<string, string>, more: JsonObject = {}) => {
        await using client = stateless({ url: resource, capabilities: FORMS, headers })
        return (await client.request('tools/call', { name: `${name}_danger`, arguments: {}, ...more })).message
      }
      const first = await send(ann)
      t.match(errorOf(await send(eve, yes(first))), { data: { reason: 'bad-request-state' } })
      t.equal(done(server), 0)
      t.match((await send(ann, yes(first)))?.result, says('{}'))
      t.equal(done(server), 1)
    })
    await t.test(`a stateful client of ${name}`, async (t) => {
      server.forget()
      await using client = await connect(resource, { capabilities: FORMS, headers: ann })
      const running = client.call(`${name}_danger`)
      const { message } = await client.next((heard) => heard.message.method === 'elicitation/create')
      const answer = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { action: 'accept' } })
      t.equal((await client.post(answer, { headers: eve })).status, 404)
      t.equal(done(server), 0)
      t.equal((await client.post(answer)).status, 202)
      t.match((await running).result, says('{}'))
      t.equal(done(server), 1)
    })
  }
})
