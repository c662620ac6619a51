/** For whom answers may be kept (2026-07-28 caching): servers here let anybody have theirs, the gateway only where nobody has a say in who gets them. */
import t from 'tap'
import { freePort, noServers, startGateway } from './support/gateway.ts'
import { serveMcp } from './support/mcp-server.ts'
import type { JsonObject } from './support/raw-json.ts'
import { rawMember } from './support/raw-json.ts'
import { pathOf, play, registry } from './support/stage.ts'
import { stateless } from './support/stateless-client.ts'
import { tokenMaker } from './support/token-maker.ts'

const port = await freePort()
const url = `http://127.0.0.1:${port}/mcp`
const tokens = await tokenMaker(url)
await using gateway = await startGateway(noServers, { port, files: tokens.files })

/** Nothing of it may change on its way but the scope. */
const contents = '[{"uri":"young:1","text":"n","x-n":9007199254740993}]'
await using young = await serveMcp({
  era: 'stateless',
  resources: [
    { uri: 'young:1', read: () => `{"contents":${contents},"cacheScope":"public","ttlMs":60000}` },
    { uri: 'young:none', read: () => '{"contents":[],"x":[ 1 ]}' },
  ],
  templates: [{ uriTemplate: 'young:t/{id}', matches: /^young:t\// }],
  caching: (method) => (method === 'resources/read' ? undefined : { ttlMs: 60_000, cacheScope: 'public' }),
})
/** Of the other era: what may be kept of it the registry says. */
await using old = await serveMcp({ era: 'stateful', resources: [{ uri: 'old:1' }] })

type Scope = 'public' | 'private'
interface Row {
  readonly young?: JsonObject
  readonly old?: JsonObject
  readonly more?: JsonObject
  readonly view?: string
  readonly lists: Scope
  readonly ofYoung: Scope
  readonly ofOld: Scope
}
const anyone = { access: [{ allow: 'anyone' }] }
const rows: Readonly<Record<string, Row>> = {
  'nobody has a say': { lists: 'public', ofYoung: 'public', ofOld: 'public' },
  'rules of its server': { young: anyone, lists: 'private', ofYoung: 'private', ofOld: 'public' },
  'rules of another server': { old: anyone, lists: 'private', ofYoung: 'public', ofOld: 'private' },
  'rules of the gateway': { more: { gateway: anyone }, lists: 'private', ofYoung: 'private', ofOld: 'private' },
  'rules of the view': {
    more: { views: { v: anyone } },
    view: '/v',
    lists: 'private',
    ofYoung: 'private',
    ofOld: 'private',
  },
  'rules of a view, elsewhere': { more: { views: { v: anyone } }, lists: 'public', ofYoung: 'public', ofOld: 'public' },
  'a view of some': {
    more: { views: { v: { resources: ['young:*', 'old:1'] } } },
    view: '/v',
    lists: 'private',
    ofYoung: 'private',
    ofOld: 'private',
  },
  'tokens, without rules': {
    more: { gateway: { url, auth: tokens.auth } },
    lists: 'private',
    ofYoung: 'private',
    ofOld: 'private',
  },
  'lists of each caller': {
    young: { forward: ['x-tenant'], lists: 'per-caller' },
    lists: 'private',
    ofYoung: 'private',
    ofOld: 'public',
  },
}

for (const [name, row] of Object.entries(rows)) {
  await t.test(name, async (t) => {
    const cache = { ttl: '1m', scope: 'public' }
    await play(gateway, registry({ young: [young, row.young ?? {}], old: [old, { cache, ...row.old }] }, row.more))
    const headers = { ...(await tokens.bearer({ sub: 'ann' })), 'x-tenant': 'blue' }
    await using client = stateless({ url: `${url}${row.view ?? ''}`, headers })
    const read = async (uri: string) => {
      young.forget()
      const { message } = await client.request('resources/read', { uri })
      if (message?.result === undefined) throw new Error(`${uri}: ${message?.raw}`)
      const way = young.received.find(({ message: got }) => got?.method === 'resources/read')
      return { raw: message.raw, result: message.result, way: way && pathOf(way) }
    }
    for (const method of ['tools/list', 'resources/list', 'resources/templates/list', 'server/discover']) {
      const { message } = await client.request(method)
      t.equal(message?.result?.['cacheScope'], row.lists, method)
    }
    const way = row.ofYoung === 'public' ? 'direct' : 'broker'
    for (const uri of ['young:1', 'young:none', 'young:t/7']) t.equal((await read(uri)).way, way, uri)
    const { raw, result } = await read('young:1')
    t.match(result, { cacheScope: row.ofYoung, ttlMs: 60_000 }, 'what it says of itself')
    t.equal(rawMember(raw, 'result', 'contents'), contents, 'and nothing else changed')
    t.notOk('cacheScope' in (await read('young:none')).result, 'nothing is said for a server that says nothing')
    t.match((await read('old:1')).result, { cacheScope: row.ofOld, ttlMs: 60_000 }, 'what the registry says of it')
  })
}
