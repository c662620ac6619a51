/** Views and whose things are: what is told where, what belongs to whom, and what changes for whom, through a real gateway. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { freePort, noServers, startGateway } from './support/gateway.ts'
import type { Tool } from './support/mcp-script.ts'
import { says } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { RawClient } from './support/raw-client.ts'
import { ACCEPT, connect, request, rpc } from './support/raw-client.ts'
import type { JsonObject } from './support/raw-json.ts'
import { asObject } from './support/raw-json.ts'
import { gate, play, registry } from './support/stage.ts'
import { stateless } from './support/stateless-client.ts'
import { EXTENSION, serveTasks } from './support/task-server.ts'
import { tokenMaker } from './support/token-maker.ts'

const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
const tokens = await tokenMaker(url)
await using gateway = await startGateway(noServers, { port, files: tokens.files })

const asks: Tool = {
  name: 'ask',
  run: async (call) => {
    const { result } = await call.ask('elicitation/create', { message: 'Sure?', requestedSchema: {} })
    return says(JSON.stringify(result))
  },
}
const hold = gate()
await using old = await serveMcp({
  name: 'old',
  instructions: 'Old ways.',
  tools: [{ name: 'read' }, asks, { name: 'wait', run: () => hold.opened.then(() => says('done')) }],
  resources: [{ uri: 'doc://old/a' }, { uri: 'doc://old/b' }],
})
await using young = await serveMcp({
  name: 'young',
  era: 'stateless',
  instructions: 'New ways.',
  tools: [{ name: 'read' }],
  resources: [{ uri: 'doc://young/a' }],
  caching: () => ({ ttlMs: 60_000, cacheScope: 'public' }),
})
await using tasks = await serveTasks('stateful')
await using extended = await serveTasks('stateless')

const at = (view: string): string => (view === '' ? url : `${url}/${view}`)
const both = { old: [old, { client: ['elicitation'] }], young: [young, {}] } as const
const VIEWS = {
  oncall: { tools: ['old_*'], resources: ['doc://old/*'], instructions: 'Be careful.' },
  rest: { tools: ['young_*'], resources: ['doc://young/*'] },
}
const AUTH = { gateway: { url, auth: tokens.auth } }
const ann = { sub: 'ann', groups: ['dev'] }
const bob = { sub: 'bob', groups: ['dev'] }

const textOf = ({ result }: { readonly result?: JsonObject | undefined }): unknown => {
  const content = result?.['content']
  return Array.isArray(content) ? asObject(content[0])['text'] : undefined
}
const reasonOf = (error: unknown): unknown => asObject(asObject(error)['data'])['reason']
const changes = ({ heard }: Pick<RawClient, 'heard'>): readonly (string | undefined)[] =>
  heard.map(({ message }) => message.method).filter((method) => method?.endsWith('/list_changed'))

// --- views --------------------------------------------------------------------------------------------------------

await t.test('views', async (t) => {
  await play(gateway, registry(both, { views: VIEWS }))

  await t.test('an unknown one', async (t) => {
    const rows = {
      'a stateful POST': { body: rpc('1', 'initialize', {}), headers: ACCEPT },
      'a stateless POST': {
        body: rpc('1', 'tools/list', {}),
        headers: { ...ACCEPT, 'mcp-protocol-version': '2026-07-28' },
      },
      'a GET': { headers: { accept: 'text/event-stream', 'mcp-session-id': 'x' } },
      'a DELETE': { method: 'DELETE', headers: { 'mcp-session-id': 'x' } },
    }
    for (const [name, sent] of Object.entries(rows))
      await t.test(name, async (t) => {
        for (const path of ['nothing', 'oncall/more', 'Oncall']) {
          const { status, messages } = await request(at(path), sent)
          t.equal(status, 404)
          t.match(String(reasonOf(messages[0]?.error)), /^(unknown-view|wrong-path)$/)
        }
      })
  })

  await t.test('a session belongs to its own', async (t) => {
    for (const home of ['', 'oncall', 'rest'])
      await t.test(home === '' ? 'none' : home, async (t) => {
        await using client = await connect(at(home))
        for (const elsewhere of ['', 'oncall', 'rest'].filter((view) => view !== home)) {
          const rows = {
            POST: { body: rpc('1', 'ping'), headers: client.headers },
            GET: { headers: { ...client.headers, accept: 'text/event-stream' } },
            DELETE: { method: 'DELETE', headers: client.headers },
          }
          for (const [verb, sent] of Object.entries(rows)) {
            const { status, messages } = await request(at(elsewhere), sent)
            t.same([status, reasonOf(messages[0]?.error)], [404, 'unknown-session'], `${verb} at ${elsewhere}`)
          }
        }
        t.ok((await client.send('ping')).message.result, 'it is still good at home')
      })
  })

  await t.test('instructions: its own, then those of servers that it shows something of', async (t) => {
    const rows = {
      '': '[old]\nOld ways.\n\n[young]\nNew ways.',
      oncall: 'Be careful.\n\n[old]\nOld ways.',
      rest: '[young]\nNew ways.',
    }
    for (const [view, told] of Object.entries(rows))
      await t.test(view === '' ? 'none' : view, async (t) => {
        await using client = await connect(at(view))
        t.equal(client.initialized.result?.['instructions'], told)
        await using other = stateless({ url: at(view) })
        t.equal((await other.request('server/discover')).message?.result?.['instructions'], told)
      })
  })

  await t.test('what changes is told where it is seen', async (t) => {
    await using here = await connect(at('oncall'))
    await using there = await connect(at('rest'))
    const streams = await Promise.all([here.stream(), there.stream()])
    await using listener = stateless({ url: at('oncall') })
    const hears = await listener.listen({ toolsListChanged: true })
    await using deaf = stateless({ url: at('rest') })
    const elsewhere = await deaf.listen({ toolsListChanged: true })
    const listed = ({ method }: { readonly method?: string | undefined }): boolean =>
      method === 'notifications/tools/list_changed'
    const before = old.script.tools
    old.setTools([...before, { name: 'more' }])
    await Promise.all([here.next(({ message }) => listed(message)), hears.next(listed)])
    young.setTools([{ name: 'read' }, { name: 'more' }])
    await Promise.all([there.next(({ message }) => listed(message)), elsewhere.next(listed)])
    t.same([changes(here).length, changes(there).length], [1, 1])
    t.same([hears.heard.filter(listed).length, elsewhere.heard.filter(listed).length], [1, 1])
    for (const stream of [...streams, hears, elsewhere]) stream.close()
    await Promise.allSettled([...streams, hears, elsewhere].map(({ ended }) => ended))
    old.script.tools = before
    young.script.tools = [{ name: 'read' }]
  })

  await t.test('what a server waits for goes on only in the same one', async (t) => {
    await play(gateway, registry(both, { views: { ...VIEWS, other: { tools: ['*'] } } }))
    const capabilities = { elicitation: {} }
    await using client = stateless({ url: at('oncall'), capabilities })
    await using other = stateless({ url: at('other'), capabilities })
    const { message } = await client.request('tools/call', { name: 'old_ask', arguments: {} })
    const { requestState, inputRequests } = message?.result ?? {}
    const [key = ''] = Object.keys(asObject(inputRequests))
    const retry = {
      name: 'old_ask',
      arguments: {},
      requestState,
      inputResponses: { [key]: { action: 'accept', content: {} } },
    }
    const refused = await other.request('tools/call', retry)
    t.equal(reasonOf(refused.message?.error), 'bad-request-state')
    const done = await client.request('tools/call', retry)
    t.match(textOf(done.message ?? {}), /accept/)
  })
})

await t.test('how long, and for whom, lists may be kept', async (t) => {
  const rows: Readonly<
    Record<string, { readonly more: JsonObject; readonly access?: unknown; readonly scope: string }>
  > = {
    'no rules': { more: {}, scope: 'public' },
    'a view without rules': { more: { views: { all: { tools: ['*'] } } }, scope: 'private' },
    rules: { more: {}, access: [{ tools: '*', allow: 'anyone' }], scope: 'private' },
    'rules of the view': { more: { views: { all: { access: [{ tools: '*', allow: 'anyone' }] } } }, scope: 'private' },
    tokens: { more: AUTH, scope: 'private' },
  }
  for (const [name, { more, access, scope }] of Object.entries(rows))
    await t.test(name, async (t) => {
      await play(gateway, registry({ young: [young, access === undefined ? {} : { access }] }, more))
      const view = more['views'] === undefined ? '' : 'all'
      await using client = stateless({ url: at(view), headers: await tokens.bearer(ann) })
      for (const method of ['tools/list', 'server/discover']) {
        const { message } = await client.request(method)
        t.same([message?.result?.['ttlMs'], message?.result?.['cacheScope']], [60_000, scope], method)
      }
    })
})

// --- whose it is --------------------------------------------------------------------------------------------------

await t.test('tokens', async (t) => {
  await play(gateway, registry(both, { ...AUTH, views: VIEWS }))

  await t.test('where to get one is told without one', async (t) => {
    const known = `http://127.0.0.1:${port}/.well-known/oauth-protected-resource`
    const rows = {
      [known]: url,
      [`${known}/mcp`]: url,
      [`${known}/mcp/oncall`]: at('oncall'),
      [`${known}/mcp/nothing`]: undefined,
    }
    for (const [document, resource] of Object.entries(rows))
      await t.test(new URL(document).pathname, async (t) => {
        const { status, text, headers } = await request(document)
        t.equal(status, resource === undefined ? 404 : 200)
        t.match(headers['content-type'], /^application\/json/)
        if (resource !== undefined) t.match(JSON.parse(text), { resource, bearer_methods_supported: ['header'] })
      })
  })

  await t.test('without a good one', async (t) => {
    const rows: Readonly<Record<string, { readonly headers: Record<string, string>; readonly says: RegExp }>> = {
      none: { headers: {}, says: /^Bearer resource_metadata="[^"]+\/oauth-protected-resource\/mcp\/oncall"$/ },
      'one for something else': {
        headers: await tokens.bearer(ann, 'https://other.example.com'),
        says: /error="invalid_token"|resource_metadata=/,
      },
    }
    for (const [name, { headers, says: challenge }] of Object.entries(rows))
      await t.test(name, async (t) => {
        const got = await request(at('oncall'), {
          body: rpc('1', 'initialize', {}),
          headers: { ...ACCEPT, ...headers },
        })
        t.equal(got.status, 401)
        t.match(String(got.headers['www-authenticate']), challenge)
        t.equal(got.messages.length, 1, 'and says so as JSON-RPC')
      })
  })

  await t.test('a view’s token is good there alone', async (t) => {
    const headers = await tokens.bearer(ann, at('oncall'))
    const ways = { '': 401, oncall: 200, rest: 401 }
    for (const [view, status] of Object.entries(ways)) {
      const body = rpc('1', 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {} })
      t.equal((await request(at(view), { body, headers: { ...ACCEPT, ...headers } })).status, status, view)
    }
  })

  await t.test('a session is its principal’s', async (t) => {
    await using client = await connect(url, { headers: await tokens.bearer(ann) })
    t.ok((await client.call('old_read')).result)
    const stolen = { ...client.headers, ...(await tokens.bearer(bob)) }
    old.forget()
    const rows = {
      POST: { body: rpc('1', 'tools/call', { name: 'old_read' }), headers: stolen },
      GET: { headers: { ...stolen, accept: 'text/event-stream' } },
      DELETE: { method: 'DELETE', headers: stolen },
    }
    for (const [verb, sent] of Object.entries(rows)) {
      const { status, messages } = await request(url, sent)
      t.same([status, reasonOf(messages[0]?.error)], [404, 'unknown-session'], verb)
    }
    t.equal(old.count('tools/call'), 0)
    t.ok((await client.send('ping')).message.result, 'nor is it over for its owner')
  })

  await t.test('what a server waits for goes on for the same principal only', async (t) => {
    const capabilities = { elicitation: {} }
    await using client = stateless({ url, capabilities, headers: await tokens.bearer(ann) })
    await using thief = stateless({ url, capabilities, headers: await tokens.bearer(bob) })
    const { message } = await client.request('tools/call', { name: 'old_ask', arguments: {} })
    const { requestState, inputRequests } = message?.result ?? {}
    const [key = ''] = Object.keys(asObject(inputRequests))
    const inputResponses = { [key]: { action: 'accept', content: {} } }
    const retry = { name: 'old_ask', arguments: {}, requestState, inputResponses }
    t.equal(reasonOf((await thief.request('tools/call', retry)).message?.error), 'bad-request-state')
    t.match(textOf((await client.request('tools/call', retry)).message ?? {}), /accept/)
  })
})

await t.test('tasks', async (t) => {
  const capabilities = { extensions: { [EXTENSION]: {} } }
  const begin = async (headers: Record<string, string>, view = ''): Promise<string> => {
    await using client = stateless({ url: at(view), capabilities, headers })
    const { message } = await client.request('tools/call', { name: 'extended_work', arguments: {} })
    return String(message?.result?.['taskId'])
  }
  const access = [{ tools: 'work', allow: { groups: 'dev' } }]
  const entries = { extended: [extended.mcp, { access }] } as const
  const more = { ...AUTH, views: { all: { tools: ['*'] } } }
  await play(gateway, registry(entries, more))

  await t.test('of a stateless client', async (t) => {
    const taskId = await begin(await tokens.bearer(ann))
    const [, ...others] = [taskId, await begin(await tokens.bearer(bob))]
    t.notOk(others.includes(taskId))
    const flipped = taskId.replace(/\.(.)/, (_, one: string) => `.${one === 'A' ? 'B' : 'A'}`)
    const rows: Readonly<
      Record<
        string,
        { readonly claims: JsonObject; readonly view?: string; readonly id?: string; readonly ok: boolean }
      >
    > = {
      'its own, with another token': { claims: { ...ann, more: 1 }, ok: true },
      'another principal’s': { claims: bob, ok: false },
      'the same principal’s by another client': { claims: { ...ann, azp: 'another' }, ok: false },
      'in another view': { claims: ann, view: 'all', ok: false },
      'no longer allowed to call its tool': { claims: { ...ann, groups: [] }, ok: false },
      'by the server’s own name for it': { claims: ann, id: `extended~${extended.tasks[0]?.id}`, ok: false },
      forged: { claims: ann, id: flipped, ok: false },
    }
    for (const [name, { claims, view = '', id = taskId, ok }] of Object.entries(rows))
      await t.test(name, async (t) => {
        await using client = stateless({ url: at(view), capabilities, headers: await tokens.bearer(claims) })
        extended.mcp.forget()
        for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel'].slice(0, ok ? 1 : 3)) {
          const { message } = await client.request(method, { taskId: id, inputResponses: {} })
          if (ok) t.equal(message?.result?.['taskId'], id)
          else t.equal(reasonOf(message?.error), 'unknown-task', method)
          t.equal(extended.mcp.count(method), ok ? 1 : 0)
        }
        const stream = await client.listen({ taskIds: [id], toolsListChanged: true })
        const granted = asObject(stream.heard[0]?.params?.['notifications'])['taskIds']
        t.same(granted, ok ? [id] : undefined)
        stream.close()
        await stream.ended.catch(() => undefined)
      })
  })

  await t.test('of a session', async (t) => {
    await play(gateway, registry({ tasks: [tasks.mcp, { access }] }, more))
    await using client = await connect(url, { headers: await tokens.bearer(ann) })
    const { message } = await client.send('tools/call', { name: 'tasks_work', arguments: {}, task: { ttl: 60_000 } })
    const taskId = String(asObject(message.result?.['task'])['taskId'])
    t.ok((await client.send('tasks/get', { taskId })).message.result)
    const shut = { headers: await tokens.bearer({ ...ann, groups: [] }) }
    tasks.mcp.forget()
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
      t.equal(reasonOf((await client.send(method, { taskId }, shut)).message.error), 'unknown-task', method)
      t.equal(tasks.mcp.count(method), 0)
    }
    t.same((await client.send('tasks/list', {}, shut)).message.result?.['tasks'], [])
    t.match((await client.send('tasks/list')).message.result?.['tasks'], [{ taskId }])
  })
})

// --- what changes -------------------------------------------------------------------------------------------------

const DEV = [{ tools: '*', resources: '*', allow: { groups: 'dev' } }]

await t.test('what is denied is unknown to the client, and denied in the records', async (t) => {
  await play(gateway, registry({ old: [old, { access: DEV }] }, AUTH))
  const headers = await tokens.bearer({ ...ann, groups: [] })
  await using client = await connect(url, { headers })
  await using other = stateless({ url, headers })
  const said = [
    (await client.call('old_read')).error,
    (await other.request('tools/call', { name: 'old_read', arguments: {} })).message?.error,
  ]
  const { refusals } = await gateway.status()
  for (const error of said) {
    t.equal(reasonOf(error), 'unknown-tool')
    const { decision } = asObject(asObject(error)['data'])
    t.match(
      refusals.find((one) => one.decision === decision),
      { reason: 'denied', status: 200 },
    )
  }
})

await t.test('another token in the same session: other lists, and that is told', async (t) => {
  await play(gateway, registry({ old: [old, { access: DEV }] }, AUTH))
  await using client = await connect(url, { headers: await tokens.bearer({ ...ann, groups: [] }) })
  const stream = await client.stream()
  t.same(await client.tools(), [])
  const more = { headers: await tokens.bearer(ann) }
  t.ok((await client.send('ping', {}, more)).message.result)
  await client.next(({ message }) => message.method === 'notifications/tools/list_changed')
  t.match((await client.send('tools/list', {}, more)).message.result?.['tools'], [{ name: 'old_read' }])
  stream.close()
  await stream.ended.catch(() => undefined)
})

await t.test('rules that change: told to those whose lists change', async (t) => {
  const only = (...groups: readonly string[]) =>
    registry({ old: [old, { access: [{ tools: '*', resources: '*', allow: { groups } }] }] }, AUTH)
  await play(gateway, only('dev', 'ops'))
  await using client = await connect(url, { headers: await tokens.bearer(ann) })
  await using other = await connect(url, { headers: await tokens.bearer({ ...bob, groups: ['ops'] }) })
  const streams = await Promise.all([client.stream(), other.stream()])
  for (const one of [client, other]) {
    await one.call('old_read')
    t.ok((await one.send('resources/subscribe', { uri: 'doc://old/a' })).message.result)
  }
  await old.until(() => (old.streams >= 2 ? true : undefined))
  await play(gateway, only('ops'))
  await client.next(({ message }) => message.method === 'notifications/tools/list_changed')
  t.same(await client.tools(), [])
  old.notify('notifications/resources/updated', { uri: 'doc://old/a' })
  const say = (data: string) => old.notify('notifications/message', { level: 'info', data })
  const said =
    (data: string) =>
    ({ message }: RawClient['heard'][number]): boolean =>
      message.method === 'notifications/message' && message.params?.['data'] === data
  say('after')
  await other.next(said('after'))
  await play(gateway, only('dev', 'ops'))
  say('later')
  for (const one of [client, other]) await one.next(said('later'))
  t.notOk(client.heard.some(said('after')), 'who may have nothing of a server hears nothing of it')
  const updates = ({ heard }: RawClient): number =>
    heard.filter(({ message }) => message.method === 'notifications/resources/updated').length
  t.same([updates(client), updates(other)], [0, 1], 'news of a resource is for those who may read it')
  t.same(changes(other), [])
  for (const stream of streams) stream.close()
  await Promise.allSettled(streams.map(({ ended }) => ended))
})

await t.test('who may not connect any more hears nothing any more', async (t) => {
  const free = { gateway: { url } }
  const other = { gateway: { url, auth: { ...tokens.auth, issuer: 'https://other.example.com' } } }
  const elsewhere = { gateway: { url, auth: { ...tokens.auth, audience: 'https://other.example.com/mcp' } } }
  const rows: Readonly<Record<string, readonly [before: JsonObject, after: JsonObject, view: string, ends: boolean]>> =
    {
      'nothing changes': [AUTH, AUTH, '', false],
      'tokens are asked for': [free, AUTH, '', true],
      'tokens are not asked for': [AUTH, free, '', true],
      'another issuer’s are': [AUTH, other, '', true],
      'those for another audience are': [AUTH, elsewhere, '', true],
      'a view goes': [{ ...AUTH, views: VIEWS }, AUTH, 'oncall', true],
      'another view goes': [{ ...AUTH, views: VIEWS }, { ...AUTH, views: { oncall: VIEWS.oncall } }, 'oncall', false],
    }
  for (const [name, [before, after, view, ends]] of Object.entries(rows))
    await t.test(name, async (t) => {
      await play(gateway, registry(both, before))
      const headers = before === free ? {} : await tokens.bearer(ann)
      await using client = await connect(at(view), { headers })
      await using listener = stateless({ url: at(view), headers })
      const streams = [await client.stream(), await listener.listen({ toolsListChanged: true })]
      let over = 0
      const ended = streams.map((stream) => stream.ended.then(() => void over++))
      await play(gateway, registry(both, after))
      if (ends) await Promise.all(ended)
      t.equal(over, ends ? 2 : 0)
      for (const stream of streams) stream.close()
      await Promise.allSettled(ended)
    })
})

await t.test('who may have nothing of a server does not say how much it logs', async (t) => {
  const script = fileURLToPath(new URL('support/stdio-server.mjs', import.meta.url))
  const pipe = { command: process.execPath, args: [script], access: [{ tools: '*', allow: { subjects: 'ann' } }] }
  await play(gateway, registry({ pipe }, AUTH))
  await using client = await connect(url, { headers: await tokens.bearer(ann) })
  await using other = await connect(url, { headers: await tokens.bearer(bob) })
  for (const [who, level] of [
    [other, 'debug'],
    [client, 'error'],
  ] as const)
    t.ok((await who.send('logging/setLevel', { level })).message.result)
  const seen = String(textOf(await client.call('pipe_seen')))
  t.match(seen, '"level":"error"')
  t.notMatch(seen, '"level":"debug"')
})

// --- how much -----------------------------------------------------------------------------------------------------

await t.test('limits of one principal', async (t) => {
  const entries = { old: [old, { limits: { concurrent: 1, body: '1KiB' } }] } as const
  await play(gateway, registry(entries, { gateway: { ...AUTH.gateway, limits: { streams: 1 } } }))
  const headers = await tokens.bearer(ann)

  await t.test('calls under way', async (t) => {
    await using client = await connect(url, { headers })
    await using other = await connect(url, { headers: await tokens.bearer(bob) })
    await client.call('old_read')
    old.forget()
    const first = client.call('old_wait')
    await old.nextOf('tools/call')
    const { message, reply } = await client.send('tools/call', { name: 'old_read' })
    t.same([reply.status, reasonOf(message.error)], [429, 'too-many-calls'])
    t.equal(reply.headers['retry-after'], '1')
    t.ok((await other.call('old_read')).result, 'another has room of their own')
    hold.open()
    t.equal(textOf(await first), 'done')
    t.ok((await client.call('old_read')).result, 'there is room again')
  })

  await t.test('a server’s largest request', async (t) => {
    await using client = await connect(url, { headers })
    old.forget()
    const { message, reply } = await client.send('tools/call', { name: 'old_read', arguments: { x: 'x'.repeat(1024) } })
    t.same([reply.status, reasonOf(message.error)], [413, 'too-large'])
    t.equal(old.count('tools/call'), 0)
  })

  await t.test('streams', async (t) => {
    await using client = await connect(url, { headers })
    const stream = await client.stream()
    await using second = await connect(url, { headers })
    t.equal((await second.stream()).status, 429)
    await using third = stateless({ url, headers })
    const refused = await third.listen({ toolsListChanged: true })
    t.equal(reasonOf(refused.heard[0]?.error), 'too-many-own-streams')
    await using other = stateless({ url, headers: await tokens.bearer(bob) })
    const allowed = await other.listen({ toolsListChanged: true })
    t.equal(allowed.heard[0]?.method, 'notifications/subscriptions/acknowledged')
    const again = await client.stream()
    t.equal(again.status, 200, 'one that takes the place of its own')
    for (const one of [stream, again, allowed]) one.close()
    await Promise.allSettled([stream, again, allowed].map(({ ended }) => ended))
  })
})
