/** Tasks of both eras through a real gateway: whose they are, under which names, and what of them passes between the eras. */

import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import fc from 'fast-check'
import t from 'tap'
import { renameInResponse } from '../src/translation/task-ids.ts'
import { toClient, toServer } from '../src/upstreams/task-names.ts'
import { startEverything } from './support/everything.ts'
import { startGateway } from './support/gateway.ts'
import { RpcError, says } from './support/mcp-script.ts'
import type { McpServer } from './support/mcp-server.ts'
import { serveMcp } from './support/mcp-server.ts'
import { meta } from './support/mcp-stateless.ts'
import type { RawClient } from './support/raw-client.ts'
import { connect } from './support/raw-client.ts'
import type { JsonObject, Message } from './support/raw-json.ts'
import { asObject, message, rawMember } from './support/raw-json.ts'
import { pathOf, registry } from './support/stage.ts'
import type { ListenStream } from './support/stateless-client.ts'
import { stateless } from './support/stateless-client.ts'
import type { Task, TaskServer } from './support/task-server.ts'
import { EXTENSION, related, serveTasks, tool } from './support/task-server.ts'

await using old = await serveTasks('stateful')
await using other = await serveTasks('stateful')
await using fresh = await serveTasks('stateless')
await using none = await serveMcp({
  tools: [
    tool('may', 'optional', ({ received }) => says(received.text)),
    tool('must', 'required', () => says('never')),
  ],
})
await using without = await serveMcp({
  era: 'stateless',
  tools: [tool('work', undefined, ({ received }) => says(received.text))],
})
await using everything = await startEverything()
const stdio = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'))
await using gateway = await startGateway(
  registry({
    old: [old.mcp, { timeout: '1s' }],
    other: [other.mcp, {}],
    fresh: [fresh.mcp, { client: ['elicitation'] }],
    none: [none, {}],
    without: [without, { client: [] }],
    every: { url: everything.url },
    pipe: { command: process.execPath, args: [stdio, 'stdio'] },
    jobs: { command: process.execPath, args: [fileURLToPath(new URL('support/stdio-tasks.mjs', import.meta.url))] },
  }),
)
await gateway.settled()
const { url } = gateway

const TASK = { task: { ttl: 60_000 } }
const takesTasks = { extensions: { [EXTENSION]: {} } }

/** The task that a call makes, as the server and as the client know it. */
const begin = async (client: RawClient, server: TaskServer, name: string) => {
  const { message } = await client.send('tools/call', { name, arguments: {}, ...TASK })
  return { ...made(server), name: String(asObject(message.result?.['task'])['taskId']), message }
}
const made = (server: TaskServer): { readonly task: Task } => {
  const task = server.tasks.at(-1)
  if (task === undefined) throw new Error('no task was made')
  return { task }
}
const last = (server: McpServer, method: string) => {
  const received = server.received.findLast((one) => one.message?.method === method)
  if (received === undefined) throw new Error(`no ${method} arrived`)
  return received
}
const idsIn = ({ result }: Message): readonly string[] => {
  const tasks = result?.['tasks']
  return Array.isArray(tasks) ? tasks.map((task) => String(asObject(task)['taskId'])) : []
}

await t.test('only the ids change, and they change back', async (t) => {
  const rename = toClient('old')
  const back = toServer('old')
  const rows: Readonly<Record<string, readonly [method: string, from: string, to: string]>> = {
    'a task of the stateful era': [
      'tools/call',
      '{"task":{"taskId":ID},"taskId":"x"}',
      '{"task":{"taskId":NEW},"taskId":"x"}',
    ],
    'a task of the stateless era': [
      'tools/call',
      '{"resultType":"task","taskId":ID,"task":{"taskId":"x"}}',
      '{"resultType":"task","taskId":NEW,"task":{"taskId":"x"}}',
    ],
    'a result that is no task': [
      'tools/call',
      '{"resultType":"complete","taskId":"x"}',
      '{"resultType":"complete","taskId":"x"}',
    ],
    'what is told of one': [
      'tasks/get',
      '{"taskId":ID,"result":{"taskId":"x"}}',
      '{"taskId":NEW,"result":{"taskId":"x"}}',
    ],
    'what came of one': [
      'tasks/result',
      `{"taskId":"x","_meta":{"${meta('related-task')}":{"taskId":ID}}}`,
      `{"taskId":"x","_meta":{"${meta('related-task')}":{"taskId":NEW}}}`,
    ],
    'an id that is no string': ['tasks/get', '{"taskId":5}', '{"taskId":5}'],
  }
  for (const [name, [method, from, to]] of Object.entries(rows))
    await t.test(name, async () => {
      const ids = fc.string({ unit: 'grapheme' })
      fc.assert(
        fc.property(ids, (id) => {
          const said = (result: string, as: string) =>
            Buffer.from(
              ` {"result" :${result.replace('ID', () => JSON.stringify(id)).replace('NEW', () => JSON.stringify(as))},"n":9007199254740993}`,
            )
          const exposed = renameInResponse(method, said(from, ''), rename)
          return exposed.equals(said(to, `old~${id}`)) && renameInResponse(method, exposed, back).equals(said(from, ''))
        }),
        { numRuns: 50 },
      )
    })
})

await t.test('what is declared and listed', async (t) => {
  await t.test('to stateful clients', async (t) => {
    await using client = await connect(url)
    t.strictSame(asObject(client.initialized.result?.['capabilities'])['tasks'], {
      list: {},
      cancel: {},
      requests: { tools: { call: {} } },
    })
    const tools = new Map((await client.list('tools/list', 'tools')).map((one) => [one['name'], one['execution']]))
    t.strictSame(tools.get('old_work'), { taskSupport: 'optional' })
    t.strictSame(tools.get('old_must'), { taskSupport: 'required' })
    t.strictSame(tools.get('every_simulate-research-query'), { taskSupport: 'required' })
    t.ok(tools.has('none_may'))
    t.equal(tools.get('none_may'), undefined, 'the server has no tasks, so the tool does not speak of them')
    t.notOk(tools.has('none_must'), 'and this one could not be called')
    t.equal(tools.get('fresh_work'), undefined, 'its tasks are not of this era')
    t.notOk(tools.has('fresh_must'))
    t.match((await client.call('fresh_must')).error, { code: -32602, data: { reason: 'unknown-tool' } })
  })
  await t.test('to stateful clients of a revision before tasks', async (t) => {
    await using client = await connect(url, { protocolVersion: '2025-06-18' })
    t.notOk('tasks' in asObject(client.initialized.result?.['capabilities']))
    for (const method of ['tasks/list', 'tasks/get'])
      t.match((await client.send(method, { taskId: 'old~1' })).message.error, { code: -32601 }, method)
    old.mcp.forget()
    const { message } = await client.send('tools/call', { name: 'old_work', arguments: {}, ...TASK })
    t.match(message.result, says('done at once'))
    t.equal(rawMember(last(old.mcp, 'tools/call').text, 'params', 'task'), undefined)
  })
  await t.test('to stateless clients', async (t) => {
    await using client = stateless({ url, capabilities: takesTasks })
    const { message } = await client.request('server/discover')
    t.strictSame(asObject(message?.result?.['capabilities'])['extensions'], { [EXTENSION]: {} })
    t.notOk('tasks' in asObject(message?.result?.['capabilities']))
    const listed = (await client.request('tools/list')).message?.result?.['tools']
    const tools = new Map((Array.isArray(listed) ? listed : []).map((one) => [one.name, one.execution]))
    t.strictSame(tools.get('fresh_must'), { taskSupport: 'required' }, 'as the server sent it')
    t.ok(tools.has('old_work'))
    t.equal(tools.get('old_work'), undefined)
    t.notOk(tools.has('old_must'))
    t.match((await client.call('old_must')).error, { code: -32602, data: { reason: 'unknown-tool' } })
  })
  await t.test('in the status', async (t) => {
    const { tools } = await gateway.status()
    const paths = (name: string) => tools.find((one) => one.name === name)?.paths
    t.strictSame(paths('old_must'), { stateful: 'direct', stateless: 'hidden' })
    t.strictSame(paths('fresh_must'), { stateful: 'hidden', stateless: 'direct' })
  })
})

await t.test('a stateful client’s tasks', async (t) => {
  await t.test('the whole life of one', async (t) => {
    await using client = await connect(url)
    await client.call('old_plain')
    old.mcp.forget()
    const { task, name, message: created } = await begin(client, old, 'old_work')
    t.equal(name, `old~${task.id}`)
    t.equal(pathOf(last(old.mcp, 'tools/call')), 'broker')
    t.match(created.raw, /"n":9007199254740993,"f":1\.0,/)
    t.strictSame(created.result?.['_meta'], { k: 1 })
    const got = (await client.send('tasks/get', { taskId: name })).message
    t.match(got.result, { taskId: name, status: 'working', ttl: 60_000 })
    t.match(got.raw, /"n":9007199254740993,"f":1\.0,/)
    t.equal(rawMember(last(old.mcp, 'tasks/get').text, 'params', 'taskId'), JSON.stringify(task.id))
    old.change(task, 'completed')
    const result = (await client.send('tasks/result', { taskId: name })).message.result
    t.match(result, { ...says(`completed ${task.id}`), _meta: { ...related(name), k: 1 } })
  })
  await t.test('without the wish for one, a call is a call', async (t) => {
    await using client = await connect(url)
    await client.call('old_plain')
    old.mcp.forget()
    t.match((await client.call('old_work')).result, says('done at once'))
    t.equal(pathOf(last(old.mcp, 'tools/call')), 'direct')
  })
  await t.test('the wish is kept from a server that has none', async (t) => {
    await using client = await connect(url)
    for (const turn of ['first', 'second']) {
      none.forget()
      await client.send('tools/call', '{"name":"none_may","task":{},"_meta":{"k":1e2}}')
      t.equal(rawMember(last(none, 'tools/call').text, 'params'), '{"name":"may","_meta":{"k":1e2}}', turn)
    }
  })
  await t.test('a result is waited for as long as it takes', async (t) => {
    await using client = await connect(url)
    const { task, name } = await begin(client, old, 'old_work')
    const result = client.send('tasks/result', { taskId: name })
    await old.mcp.nextOf('tasks/result')
    old.mcp.script.before = ({ message: asked }) =>
      asked?.params?.['name'] === 'plain' ? new Promise<void>(() => undefined) : undefined
    t.match((await client.call('old_plain')).error, { code: -32603, data: { reason: 'server-silent' } })
    old.mcp.script.before = undefined
    old.change(task, 'completed')
    t.match((await result).message.result, says(`completed ${task.id}`))
  })
  await t.test('what the server asks and tells carries the client’s name of the task', async (t) => {
    await using client = await connect(url, {
      capabilities: { elicitation: {} },
      answers: {
        'elicitation/create': ({ params }) => ({ action: 'decline', _meta: { ...asObject(params?.['_meta']), k: 1 } }),
      },
    })
    await client.stream()
    const { task, name } = await begin(client, old, 'old_work')
    const result = client.send('tasks/result', { taskId: name })
    const answer = message(
      await old.ask(task, 'elicitation/create', {
        message: 'which?',
        requestedSchema: { type: 'object', properties: {} },
        task: { ttl: 1 },
      }),
    )
    const asked = await client.next(({ message }) => message.method === 'elicitation/create')
    t.strictSame(asked.message.params, {
      message: '[old] which?',
      requestedSchema: { type: 'object', properties: {} },
      _meta: related(name),
    })
    t.strictSame(answer.result, { action: 'decline', _meta: { ...related(task.id), k: 1 } })
    const session = last(old.mcp, 'tasks/result').headers['mcp-session-id']
    const news = { taskId: task.id, status: 'working', _meta: related(task.id) }
    await old.mcp.until(() => (old.mcp.streams > 0 ? true : undefined))
    old.mcp.notify('notifications/tasks/status', news, String(session))
    const heard = await client.next(({ message }) => message.method === 'notifications/tasks/status')
    t.strictSame(heard.message.params, { taskId: name, status: 'working', _meta: related(name) })
    old.change(task, 'completed')
    await result
  })
  await t.test('the list has the session’s own tasks of all servers', async (t) => {
    await using client = await connect(url)
    await using stranger = await connect(url)
    t.strictSame(idsIn((await client.send('tasks/list')).message), [])
    const first = await begin(client, old, 'old_work')
    await begin(stranger, old, 'old_work')
    const second = await begin(client, other, 'other_work')
    const third = await begin(client, old, 'old_must')
    const { message } = await client.send('tasks/list')
    t.strictSame(idsIn(message), [first.name, third.name, second.name])
    t.match(message.result, { tasks: [{ taskId: first.name, status: 'working', ttl: 60_000 }] })
    t.match((await client.send('tasks/list', { cursor: '1' })).message.error, { code: -32602 })
  })
  await t.test('a server that does not answer is left out of the list', async (t) => {
    await using client = await connect(url)
    await begin(client, old, 'old_work')
    const kept = await begin(client, other, 'other_work')
    old.mcp.script.methods = {
      ...old.mcp.script.methods,
      'tasks/list': () => {
        throw new RpcError(-32603, 'no')
      },
    }
    t.strictSame(idsIn((await client.send('tasks/list')).message), [kept.name])
  })
  await t.test('cancelled', async (t) => {
    await using client = await connect(url)
    const { task, name } = await begin(client, other, 'other_work')
    t.match((await client.send('tasks/cancel', { taskId: name })).message.result, { taskId: name, status: 'cancelled' })
    t.equal(task.status, 'cancelled')
  })
  await t.test('of a process that all share, its maker alone hears', async (t) => {
    const answers = { 'elicitation/create': () => ({ action: 'decline' }) }
    await using maker = await connect(url, { capabilities: { elicitation: {} }, answers })
    await using caller = await connect(url, { capabilities: { elicitation: {} }, answers })
    for (const client of [maker, caller]) await client.stream()
    const made = await maker.send('tools/call', '{"name":"jobs_job","task":{},"_meta":{"progressToken":1.0}}')
    t.match(made.message.result, { task: { taskId: 'jobs~job-0' } })
    const nudged = await caller.call('jobs_nudge')
    t.match(nudged.result, says('{"action":"decline"}'), 'the maker was asked')
    t.strictSame(caller.heard, [])
    const _meta = related('jobs~job-0')
    t.match(
      maker.heard.map(({ message: { method, params } }) => ({ method, params })),
      [
        { method: 'notifications/progress', params: { progressToken: 1, progress: 1, _meta } },
        { method: 'notifications/tasks/status', params: { taskId: 'jobs~job-0', status: 'input_required' } },
        { method: 'elicitation/create', params: { message: '[jobs] which?', _meta } },
      ],
    )
    t.match(maker.heard[0]?.message.raw, /"progressToken":1\.0/)
    await maker.delete()
    t.match((await caller.call('jobs_nudge')).result, says('{"code":-32603,'), 'nobody is asked in its place')
  })
  await t.test('nobody else’s', async (t) => {
    await using client = await connect(url)
    await using stranger = await connect(url)
    const { task, name } = await begin(client, other, 'other_work')
    await stranger.call('other_plain')
    other.mcp.forget()
    const rows: Readonly<Record<string, unknown>> = {
      'of another session': name,
      'the server’s own id': task.id,
      'at another server': name.replace('other~', 'old~'),
      'never made': 'other~t~99',
      'of no server': 'nobody~1',
      'no name at all': 'x',
      empty: '',
      'a number': 5,
    }
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel'])
      for (const [what, taskId] of Object.entries(rows))
        t.match((await stranger.send(method, { taskId })).message.error, { code: -32602 }, `${method}: ${what}`)
    t.equal(other.mcp.received.length, 0, 'no server was asked')
  })
})

await t.test('the extension', async (t) => {
  await t.test('the whole life of a task', async (t) => {
    await using client = stateless({ url, capabilities: { ...takesTasks, elicitation: {} } })
    fresh.mcp.forget()
    const created = await client.call('fresh_work')
    const { task } = made(fresh)
    const taskId = `fresh~${task.id}`
    t.match(created.result, { resultType: 'task', taskId, status: 'working' })
    t.match(created.raw, /"n":9007199254740993,"f":1\.0,/)
    t.equal(pathOf(last(fresh.mcp, 'tools/call')), 'broker')
    t.match(last(fresh.mcp, 'tools/call').text, new RegExp(EXTENSION))

    const inputRequests = { q: { method: 'elicitation/create', params: { message: 'which?' } } }
    fresh.change(task, 'input_required', { inputRequests })
    const got = (await client.request('tasks/get', { taskId })).message
    t.match(got?.result, { resultType: 'complete', taskId, status: 'input_required', inputRequests })
    const asked = last(fresh.mcp, 'tasks/get')
    t.equal(asked.message?.params?.['taskId'], task.id)
    t.equal(asked.headers['mcp-name'], `=?base64?${Buffer.from(task.id).toString('base64')}?=`)

    const inputResponses = { q: { action: 'accept', content: {} } }
    const updated = await client.request('tasks/update', { taskId, inputResponses })
    t.match(updated.message?.result, { resultType: 'complete' })
    t.match(task.more, { answered: inputResponses })

    t.match((await client.request('tasks/cancel', { taskId })).message?.result, { resultType: 'complete' })
    t.equal(task.status, 'cancelled')
  })
  await t.test('a client that does not take tasks gets none', async (t) => {
    await using client = stateless({ url })
    fresh.mcp.forget()
    t.match((await client.call('fresh_work')).result, says('done at once'))
    t.equal(pathOf(last(fresh.mcp, 'tools/call')), 'direct')
    // Over the broker, since what it declares is more than the server may ask for.
    const rude = await client.request(
      'tools/call',
      { name: 'fresh_work', arguments: { rude: true } },
      { capabilities: { sampling: {} } },
    )
    t.equal(rude.status, 502)
    t.match(rude.message?.error, { code: -32603, data: { reason: 'server-invalid' } })
  })
  await t.test('a server without the extension is not told of it', async (t) => {
    await using client = stateless({ url, capabilities: { ...takesTasks, elicitation: {} } })
    without.forget()
    await client.call('without_work')
    t.strictSame(asObject(last(without, 'tools/call').message?.params?.['_meta'])[meta('clientCapabilities')], {})
  })
  await t.test('a stateful server makes no task of it', async (t) => {
    await using client = stateless({ url, capabilities: takesTasks })
    old.mcp.forget()
    const { message } = await client.request('tools/call', { name: 'old_work', arguments: {}, ...TASK })
    t.match(message?.result, says('done at once'))
    t.equal(rawMember(last(old.mcp, 'tools/call').text, 'params', 'task'), undefined)
  })
  await t.test('nor does a stateless one for a stateful client', async (t) => {
    await using client = await connect(url)
    const { message } = await client.send('tools/call', { name: 'fresh_work', arguments: {}, ...TASK })
    t.match(message.result, says('done at once'))
  })

  await t.test('what is refused', async (t) => {
    await using client = stateless({ url, capabilities: takesTasks })
    await client.call('fresh_work')
    const { task } = made(fresh)
    const taskId = `fresh~${task.id}`
    fresh.change(task, 'input_required', { inputRequests: { q: { method: 'roots/list' } } })
    const required = { requiredCapabilities: takesTasks }
    const rows: Readonly<
      Record<string, readonly [sending: JsonObject, params: JsonObject, status: number, error: JsonObject]>
    > = {
      'no Mcp-Name': [{ headers: { 'mcp-name': undefined } }, { taskId }, 400, { code: -32020 }],
      'another Mcp-Name': [{ headers: { 'mcp-name': 'fresh~x' } }, { taskId }, 400, { code: -32020 }],
      'not declared': [{ capabilities: {} }, { taskId }, 400, { code: -32021, data: required }],
      'declared as no object': [
        { capabilities: { extensions: { [EXTENSION]: true } } },
        { taskId },
        400,
        { code: -32021 },
      ],
      'the server’s own id': [{}, { taskId: task.id }, 200, { code: -32602, data: { reason: 'unknown-task' } }],
      'at a server without tasks': [{}, { taskId: 'without~1' }, 200, { code: -32602 }],
      'at a stateful server': [{}, { taskId: 'old~1' }, 200, { code: -32602 }],
      'never made': [{}, { taskId: 'fresh~no' }, 200, { code: -32602, message: 'Task not found' }],
      'no id': [{}, {}, 200, { code: -32602 }],
      'input it may not ask for': [{}, { taskId }, 502, { code: -32603, data: { reason: 'not-allowed' } }],
    }
    for (const [name, [sending, params, status, error]] of Object.entries(rows))
      await t.test(name, async (t) => {
        const reply = await client.request('tasks/get', params, sending)
        t.equal(reply.status, status)
        t.match(reply.message?.error, error)
      })
    for (const method of ['tasks/list', 'tasks/result'])
      t.match(await client.request(method, { taskId }), { status: 404, message: { error: { code: -32601 } } }, method)
  })

  await t.test('news', async (t) => {
    await using client = stateless({ url, capabilities: takesTasks })
    const taskIds = [await client.call('fresh_work'), await client.call('fresh_work')].map(({ result }) =>
      String(result?.['taskId']),
    )
    const [wanted, unwanted] = fresh.tasks.slice(-2)
    if (wanted === undefined || unwanted === undefined) throw new Error('no tasks')
    const own = ({ id }: Task) => ({ taskId: id, status: 'completed', result: { content: [] } })
    const newsOf = (stream: ListenStream, status: string) =>
      stream.next(({ method, params }) => method === 'notifications/tasks' && params?.['status'] === status)

    const stream = await client.listen({ taskIds: [taskIds[0], 'fresh', 'old~1', 'nobody~1'] }, { id: '7' })
    t.strictSame(stream.heard[0]?.params?.['notifications'], { taskIds: [taskIds[0]] })
    const listening = await fresh.mcp.until(() =>
      fresh.mcp.listening.find(({ filter }) => Array.isArray(filter['taskIds'])),
    )
    t.strictSame(listening.filter, { taskIds: [wanted.id] })
    t.match(listening.received.message?.params?.['_meta'], { [meta('clientCapabilities')]: takesTasks })

    listening.notify('notifications/tasks', { ...own(unwanted), status: 'failed' })
    listening.notify('notifications/tasks', { ...own(wanted), inputRequests: { q: { method: 'roots/list' } } })
    listening.notify('notifications/tasks', own(wanted))
    t.strictSame((await newsOf(stream, 'completed')).params, {
      ...own(wanted),
      taskId: taskIds[0],
      _meta: { [meta('subscriptionId')]: 7 },
    })
    t.equal(stream.heard.length, 2, 'neither of a task it did not ask for, nor with what it may not be asked')

    fresh.change(wanted, 'cancelled')
    listening.cut()
    t.match((await newsOf(stream, 'cancelled')).params, { taskId: taskIds[0], _meta: { [meta('subscriptionId')]: 7 } })
    stream.close()
    await fresh.mcp.until(() =>
      fresh.mcp.listening.some(({ filter }) => Array.isArray(filter['taskIds'])) ? undefined : true,
    )

    const refused = await client.listen({ taskIds }, { capabilities: {} })
    t.equal(refused.status, 400)
    t.match(refused.heard[0]?.error, { code: -32021, data: { requiredCapabilities: takesTasks } })
    const nothing = await client.listen({ taskIds: ['fresh'] })
    await nothing.ended
    t.match(nothing.heard, [{ params: { notifications: {} } }, { result: { resultType: 'complete' } }])
    t.match((await client.listen({ taskIds: 'x' })).heard[0]?.error, { code: -32602 })
  })
})

await t.test('the demonstration server, with the SDK’s own client', async (t) => {
  const connected = async () => {
    const client = new Client({ name: 'someone', version: '1.0.0' }, { capabilities: { elicitation: {} } })
    const asked: JsonObject[] = []
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params)
      return { action: 'accept', content: { interpretation: 'snake' } }
    })
    await client.connect(new StreamableHTTPClientTransport(new URL(url)))
    await client.listTools()
    return { client, asked }
  }
  /** Both servers are busy at the same time, and so is a second client of the process that all share. */
  const research = async (server: string, topic: string) => {
    const { client, asked } = await connected()
    const { tasks } = client.experimental
    const said: string[] = []
    let taskId = ''
    let text = ''
    const stream = tasks.callToolStream({
      name: `${server}_simulate-research-query`,
      arguments: { topic, ambiguous: true },
    })
    for await (const message of stream) {
      said.push(message.type)
      if (message.type === 'taskCreated') taskId = message.task.taskId
      if (message.type === 'result') text = JSON.stringify(message.result)
      if (message.type === 'error') throw message.error
    }
    const listed = (await tasks.listTasks()).tasks.map((task) => task.taskId)
    const { status } = await tasks.getTask(taskId)
    await client.close()
    return { said, taskId, text, listed, status, asked }
  }
  const rows = ['every', 'pipe', 'pipe'] as const
  const done = await Promise.all(rows.map((server, at) => research(server, `python ${at}`)))
  for (const [at, server] of rows.entries())
    await t.test(`${server}, ${at}`, async (t) => {
      const run = done[at]
      if (run === undefined) throw new Error('it did not run')
      t.match(run.taskId, new RegExp(`^${server}~.`))
      t.match(run.text, new RegExp(`python ${at} \\(snake\\)`), 'its own question was answered')
      t.match(run.asked, [{ message: new RegExp(`^\\[${server}\\] .*python ${at}`), _meta: related(run.taskId) }])
      t.equal(run.asked.length, 1)
      t.strictSame(run.listed, [run.taskId])
      t.equal(run.status, 'completed')
      t.match(run.text, JSON.stringify(related(run.taskId)).slice(1, -1))
    })
})
