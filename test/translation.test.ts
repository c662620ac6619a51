/** Translation between the eras: what changes, what is refused, and that nothing else moves by a byte. */
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListToolsResultSchema,
} from '@modelcontextprotocol/sdk/types.js'
import fc from 'fast-check'
import t from 'tap'
import { entries, members, replaceSpans, textOf } from '../src/mcp/json-text.ts'
import type { MethodName } from '../src/mcp/methods.ts'
import { type Message, scan } from '../src/mcp/scan.ts'
import { answerOf, inputRequestOf, serverRequestOf } from '../src/translation/input-request.ts'
import { statefulNotification, statelessNotification } from '../src/translation/notification.ts'
import { type Changes, changeObject, objectEdits } from '../src/translation/object-edits.ts'
import { type StatefulEdits, statefulRequest } from '../src/translation/stateful-request.ts'
import { statefulResponse } from '../src/translation/stateful-response.ts'
import { type StatelessOptions, statelessRequest } from '../src/translation/stateless-request.ts'
import { type StatelessResponseOptions, statelessResponse } from '../src/translation/stateless-response.ts'
import { statefulTool } from '../src/translation/tool.ts'

/** What has to survive as it stands: integers beyond doubles, spelling, white space. */
const ODD = '{"big":9007199254740993, "one" : 1.0,"e":"\\u00e9\\/","n":[ ] }'

const messageOf = (text: string): Message => {
  const scanned = scan(Buffer.from(text))
  if (!scanned.ok) throw new Error(`${scanned.reason}: ${text}`)
  return scanned.message
}
const request = (method: string, params: string | undefined, id = '7'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"${method}"${params === undefined ? '' : `,"params":${params}`}}`
const result = (text: string, id = '7'): string => `{"jsonrpc":"2.0","id":${id},"result":${text}}`
const failure = (code: number, rest = '', id = '7'): string =>
  `{"jsonrpc":"2.0","id":${id},"error":{"code":${code},"message":"no \\u0061"${rest}}}`

// --- members set and taken out ------------------------------------------------------------------------------------

await t.test('members are set and taken out where they stand', async (t) => {
  const rows: readonly (readonly [name: string, from: string, changes: Changes, to: string])[] = [
    ['the first', '{"a":1, "b":2}', { a: undefined }, '{"b":2}'],
    ['the last', '{"a":1 , "b":2 }', { b: undefined }, '{"a":1 }'],
    ['one in between', '{"a":1,"b":2,"c":3}', { b: undefined }, '{"a":1,"c":3}'],
    ['two in a row at the end', '{"a":1,"b":2,"c":3}', { c: undefined, b: undefined }, '{"a":1}'],
    ['the first and the last', '{"a":1,"b":2,"c":3}', { a: undefined, c: undefined }, '{"b":2}'],
    ['the only one', '{ "a":1 }', { a: undefined }, '{  }'],
    ['the only one, for another', '{ "a":1 }', { a: undefined, b: '2' }, '{ "b":2 }'],
    ['the last, for another', '{"a":1,"b":2}', { b: undefined, c: '3' }, '{"a":1,"c":3}'],
    ['a value', '{"a": 1.0 ,"b":2}', { a: '"x"' }, '{"a": "x" ,"b":2}'],
    ['into an empty object', ' { } ', { a: '1', b: '2' }, ' {"a":1,"b":2 } '],
    ['a key in another spelling', '{"\\u0061":1,"b":2}', { a: undefined }, '{"b":2}'],
    ['a key that comes twice goes twice', '{"a":1,"b":2,"a":3}', { a: undefined }, '{"b":2}'],
    ['a key that comes twice is set once', '{"a":1,"b":2,"a":3}', { a: '4' }, '{"b":2,"a":4}'],
    ['within: changed', '{"m":{"a":1,"b":2},"n":0}', { m: { within: { a: undefined } } }, '{"m":{"b":2},"n":0}'],
    ['within: emptied, so gone', '{"n":0,"m":{"a":1}}', { m: { within: { a: undefined } } }, '{"n":0}'],
    [
      'within: two levels emptied',
      '{"n":0,"m":{"k":{"a":1}}}',
      { m: { within: { k: { within: { a: undefined } } } } },
      '{"n":0}',
    ],
    ['within: empty before stays', '{"m":{ },"n":0}', { m: { within: { a: undefined } } }, '{"m":{ },"n":0}'],
    [
      'within: made',
      '{"n":0}',
      { m: { within: { k: { within: { a: '1' } }, b: undefined } } },
      '{"n":0,"m":{"k":{"a":1}}}',
    ],
    ['within: nothing to make', '{"n":0}', { m: { within: { a: undefined } } }, '{"n":0}'],
    ['within: what is no object is replaced', '{"m":[1]}', { m: { within: { a: '1' } } }, '{"m":{"a":1}}'],
    [
      'within: what is no object stays when nothing is set',
      '{"m":[1]}',
      { m: { within: { a: undefined } } },
      '{"m":[1]}',
    ],
    [
      '__proto__ is a key like others',
      '{"__proto__":{"a":1},"b":2}',
      { b: undefined, constructor: undefined },
      '{"__proto__":{"a":1}}',
    ],
  ]
  for (const [name, from, changes, to] of rows)
    await t.test(name, async (t) => t.equal(changeObject(Buffer.from(from), changes).toString(), to))
})

/** JSON text of an object in any spelling: blanks, escapes, numbers that doubles do not hold. */
const blank = fc.constantFrom('', '', '', ' ', '\n\t')
const scalar = fc.constantFrom(
  '9007199254740993',
  '1.0',
  '-0',
  '1E+2',
  'null',
  'true',
  '""',
  '"\\u00e9"',
  '"}{,:"',
  '"\\"]"',
)
const keyed = (value: fc.Arbitrary<string>, keys: fc.Arbitrary<string>) =>
  fc
    .uniqueArray(fc.tuple(keys, value, blank, blank), { selector: ([key]) => key, maxLength: 4 })
    .map((all) => `{${all.map(([key, text, a, b]) => `${a}"${key}"${b}:${a}${text}${b}`).join(',')}}`)
const { value: anyValue } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    keyed(tie('value'), fc.constantFrom('k', 'x-y', '\\u006b2', 'é', '__proto__')),
    fc.array(tie('value'), { maxLength: 3 }).map((all) => `[${all.join(' , ')}]`),
  ),
}))
const keyName = fc.constantFrom('a', 'b', 'c', 'd')

await t.test('every member that stays keeps its bytes, and the rest is as asked for', async () => {
  const told = (text: string) =>
    new Map(entries(Buffer.from(text)).map(({ key, value }) => [key, textOf(Buffer.from(text), value)]))
  const change = fc.option(anyValue, { nil: undefined })
  fc.assert(
    fc.property(keyed(anyValue, keyName), fc.dictionary(keyName, change, { maxKeys: 4 }), (text, changes) => {
      const expected = told(text)
      for (const [key, value] of Object.entries(changes)) {
        if (value === undefined) expected.delete(key)
        else expected.set(key, value)
      }
      const after = changeObject(Buffer.from(text), changes).toString()
      JSON.parse(after)
      const found = told(after)
      return found.size === expected.size && [...expected].every(([key, value]) => found.get(key) === value)
    }),
    { numRuns: 2000 },
  )
})

// --- requests -----------------------------------------------------------------------------------------------------

const VERSION = '"io.modelcontextprotocol/protocolVersion":"2026-07-28"'
const CAPABILITIES = '"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}'
const CLIENT = '"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}'
const LEVEL = '"io.modelcontextprotocol/logLevel":"info"'
const ENVELOPE = `${VERSION},${CAPABILITIES},${CLIENT}`

await t.test('a stateless client’s request for a stateful server', async (t) => {
  const rows: readonly {
    name: string
    method: MethodName
    from: string
    edits?: StatefulEdits
    id?: string
    to: string | undefined
  }[] = [
    {
      name: 'the era’s own keys go, others stay',
      method: 'tools/call',
      from: `{"name":"a","arguments":${ODD},"_meta":{"traceparent":"00-1",${ENVELOPE},${LEVEL},"progressToken":1.0,"x/y":${ODD}}}`,
      to: `{"name":"a","arguments":${ODD},"_meta":{"traceparent":"00-1","progressToken":1.0,"x/y":${ODD}}}`,
    },
    {
      name: 'an emptied _meta goes',
      method: 'tools/call',
      from: `{"_meta":{${ENVELOPE}}, "name":"a"}`,
      to: '{"name":"a"}',
    },
    { name: 'emptied params go', method: 'tools/list', from: `{"_meta":{${ENVELOPE}}}`, to: undefined },
    {
      name: 'a key in another spelling goes too',
      method: 'tools/call',
      from: `{"name":"a","_meta":{"io.modelcontextprotocol\\/log\\u004cevel":"info"}}`,
      to: '{"name":"a"}',
    },
    {
      name: 'answers and state of a retry, and tasks',
      method: 'prompts/get',
      from: `{"inputResponses":{"k":{"action":"decline"}},"name":"p","task":{"ttl":1},"requestState":"s"}`,
      to: '{"name":"p"}',
    },
    {
      name: 'a tool’s own name, the same key among its arguments untouched',
      method: 'tools/call',
      from: '{"arguments":{"name":"x","requestState":"y","_meta":{"a":1}},"name":"s_\\u0061"}',
      edits: { name: 'a"b' },
      to: '{"arguments":{"name":"x","requestState":"y","_meta":{"a":1}},"name":"a\\"b"}',
    },
    {
      name: 'a prompt’s own name',
      method: 'prompts/get',
      from: '{"name":"s_p"}',
      edits: { name: 'p' },
      to: '{"name":"p"}',
    },
    {
      name: 'a resource’s own URI',
      method: 'resources/read',
      from: '{"uri":"s+a:b"}',
      edits: { name: 'a:b' },
      to: '{"uri":"a:b"}',
    },
    {
      name: 'completion of a prompt',
      method: 'completion/complete',
      from: `{"ref":{"type":"ref/prompt","name":"s_p"},"argument":{"name":"n","value":"v"},"_meta":{${ENVELOPE}}}`,
      edits: { name: 'p' },
      to: '{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"n","value":"v"}}',
    },
    {
      name: 'completion of a template',
      method: 'completion/complete',
      from: '{"ref":{"type":"ref/resource","uri":"s+a:{b}"},"argument":{"name":"b","value":""}}',
      edits: { name: 'a:{b}' },
      to: '{"ref":{"type":"ref/resource","uri":"a:{b}"},"argument":{"name":"b","value":""}}',
    },
    {
      name: 'id and progress token',
      method: 'tools/call',
      from: `{"name":"a","_meta":{"progressToken":"t",${VERSION}}}`,
      edits: { id: '"g-1"', progressToken: '"g-1"' },
      id: '"g-1"',
      to: '{"name":"a","_meta":{"progressToken":"g-1"}}',
    },
    {
      name: 'no progress that nobody asked for',
      method: 'tools/call',
      from: '{"name":"a"}',
      edits: { progressToken: '1' },
      to: '{"name":"a"}',
    },
    {
      name: 'nothing to change',
      method: 'tools/call',
      from: `{ "name":"a" , "arguments":${ODD}}`,
      to: `{ "name":"a" , "arguments":${ODD}}`,
    },
  ]
  for (const { name, method, from, edits = {}, id, to } of rows)
    await t.test(name, async (t) => {
      const text = request(method, from)
      t.equal(statefulRequest(Buffer.from(text), messageOf(text), edits).toString(), request(method, to, id))
    })
})

const OPTIONS: StatelessOptions = {
  id: '"g-2"',
  version: '2026-07-28',
  capabilities: '{"sampling":{}}',
  clientInfo: '{"name":"c","version":"1"}',
}

await t.test('a stateful client’s request for a stateless server', async (t) => {
  const rows: readonly {
    name: string
    from: string | undefined
    o?: Partial<StatelessOptions>
    to: string
  }[] = [
    { name: 'no params', from: undefined, to: `{"_meta":{${ENVELOPE}}}` },
    {
      name: 'no _meta',
      from: `{"name":"a","arguments":${ODD}}`,
      to: `{"name":"a","arguments":${ODD},"_meta":{${ENVELOPE}}}`,
    },
    {
      name: '_meta: progress token and trace context stay',
      from: '{"_meta":{"progressToken":9007199254740993,"traceparent":"00-1"},"name":"a"}',
      o: { logLevel: 'info' },
      to: `{"_meta":{"progressToken":9007199254740993,"traceparent":"00-1",${ENVELOPE},${LEVEL}},"name":"a"}`,
    },
    {
      name: 'what a client says in our place does not count',
      from: `{"name":"a","requestState":"x","inputResponses":{"k":{}},"_meta":{"io.modelcontextprotocol/clientCapabilities":{"roots":{}},${LEVEL}}}`,
      to: `{"name":"a","_meta":{${CAPABILITIES},${VERSION},${CLIENT}}}`,
    },
    {
      name: 'tasks are not asked for',
      from: '{"task":{"ttl":1},"name":"a"}',
      to: `{"name":"a","_meta":{${ENVELOPE}}}`,
    },
    { name: 'a _meta that is no object', from: '{"_meta":7,"name":"a"}', to: `{"_meta":{${ENVELOPE}},"name":"a"}` },
    {
      name: 'the request again, with answers and the server’s state byte for byte',
      from: '{"name":"a"}',
      o: { inputResponses: `{"k":{"action":"accept","content":${ODD}}}`, requestState: '"s\\u0061\\/"' },
      to: `{"name":"a","inputResponses":{"k":{"action":"accept","content":${ODD}}},"requestState":"s\\u0061\\/","_meta":{${ENVELOPE}}}`,
    },
  ]
  for (const { name, from, o = {}, to } of rows)
    await t.test(name, async (t) => {
      const text = request('tools/call', from)
      const bytes = statelessRequest(Buffer.from(text), messageOf(text), { ...OPTIONS, ...o })
      t.equal(bytes.toString(), request('tools/call', to, '"g-2"'))
      t.ok(scan(bytes).ok)
    })
})

// --- responses ----------------------------------------------------------------------------------------------------

/** An outcome in words: its text, what is wanted, or what is wrong. */
const told = (outcome: ReturnType<typeof statelessResponse> | ReturnType<typeof statefulResponse>): string => {
  switch (outcome.kind) {
    case 'response':
      return outcome.bytes.toString()
    case 'input':
      return [
        ...outcome.requests.map((each) => ('json' in each ? each.json : `${each.key} ${each.method} ${each.params}`)),
        ...('requestState' in outcome ? [String(outcome.requestState)] : []),
      ].join('\n')
    case 'invalid':
      return `invalid: ${outcome.why}`
    default:
      outcome satisfies never
      return ''
  }
}

const SERVER = '{"name":"s","version":"1"}'
const INTRODUCED = `"_meta":{"io.modelcontextprotocol/serverInfo":${SERVER}}`

await t.test('a stateful server’s response for a stateless client', async (t) => {
  const url = (id: string, rest = '') =>
    `{"mode":"url","message":"go","url":"https://a.example/","elicitationId":"${id}"${rest}}`
  const rows: readonly {
    name: string
    method?: MethodName
    from: string
    o?: Partial<StatelessResponseOptions>
    to: string
  }[] = [
    {
      name: 'a result is complete and says who made it',
      from: result(`{"content":[],"structuredContent":${ODD}}`, '3'),
      to: result(`{"content":[],"structuredContent":${ODD},"resultType":"complete",${INTRODUCED}}`),
    },
    {
      name: 'an error of the tool is a result like others',
      from: result('{"isError":true,"content":[{"type":"text","text":"no"}]}'),
      to: result(`{"isError":true,"content":[{"type":"text","text":"no"}],"resultType":"complete",${INTRODUCED}}`),
    },
    {
      name: 'who the server says it is stays',
      from: result('{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x","version":"2"}},"content":[]}'),
      to: result(
        '{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x","version":"2"}},"content":[],"resultType":"complete"}',
      ),
    },
    {
      name: 'a _meta of its own stays beside it',
      from: result('{"content":[],"_meta":{"x/y":1.0}}'),
      to: result(
        `{"content":[],"_meta":{"x/y":1.0,"io.modelcontextprotocol/serverInfo":${SERVER}},"resultType":"complete"}`,
      ),
    },
    {
      name: 'a result type that means nothing in its era',
      from: result('{"content":[],"resultType":"input_required","requestState":"s"}'),
      to: result(`{"content":[],"resultType":"complete","requestState":"s",${INTRODUCED}}`),
    },
    {
      name: 'a resource: nobody said that it may be kept',
      method: 'resources/read',
      from: result('{"contents":[]}'),
      to: result(`{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private",${INTRODUCED}}`),
    },
    {
      name: 'a resource: the registry said so',
      method: 'resources/read',
      from: result('{"contents":[],"ttlMs":5}'),
      o: { caching: { ttlMs: 60000, scope: 'public' } },
      to: result(`{"contents":[],"ttlMs":60000,"resultType":"complete","cacheScope":"public",${INTRODUCED}}`),
    },
    {
      name: 'a completion is never kept',
      method: 'completion/complete',
      from: result('{"completion":{"values":["a"],"total":1}}'),
      o: { caching: { ttlMs: 60000, scope: 'public' } },
      to: result(`{"completion":{"values":["a"],"total":1},"resultType":"complete",${INTRODUCED}}`),
    },
    {
      name: 'resource not found',
      method: 'resources/read',
      from: failure(-32002, ',"data":{"uri":"a:b"}'),
      to: failure(-32602, ',"data":{"uri":"a:b"}'),
    },
    { name: 'invalid params', from: failure(-32602, '', '3'), to: failure(-32602) },
    { name: 'method not found', from: failure(-32601), to: failure(-32601) },
    { name: 'a code of an application', from: failure(7, `,"data":${ODD}`), to: failure(7, `,"data":${ODD}`) },
    {
      name: 'a code that the era has no meaning for',
      from: failure(-32000, `,"data":${ODD}`),
      to: failure(-32603, `,"data":{"reason":"server-error","code":-32000,"data":${ODD}}`),
    },
    {
      name: 'the same without data',
      from: failure(-32099),
      to: failure(-32603, ',"data":{"reason":"server-error","code":-32099}'),
    },
    {
      name: 'a code of the client’s era that is not the server’s to use',
      from: failure(-32021, ',"data":{"requiredCapabilities":{"roots":{}}}'),
      to: failure(
        -32603,
        ',"data":{"reason":"server-error","code":-32021,"data":{"requiredCapabilities":{"roots":{}}}}',
      ),
    },
    {
      name: 'URLs to visit first',
      from: failure(
        -32042,
        `,"data":{"elicitations":[${url('1')},${url('2', `,"_meta":{"progressToken":1},"x":${ODD}`)}]}`,
      ),
      o: { label: '[s] ' },
      to: `{"method":"elicitation/create","params":{"mode":"url","message":"[s] go","url":"https://a.example/"}}
{"method":"elicitation/create","params":{"mode":"url","message":"[s] go","url":"https://a.example/","x":${ODD}}}`,
    },
    {
      name: 'URLs to visit first, where no input may be wanted',
      method: 'completion/complete',
      from: failure(-32042, `,"data":{"elicitations":[${url('1')}]}`),
      to: failure(-32603, `,"data":{"reason":"server-error","code":-32042,"data":{"elicitations":[${url('1')}]}}`),
    },
    {
      name: 'URLs to visit first, and none given',
      from: failure(-32042, ',"data":{"elicitations":[]}'),
      to: failure(-32603, ',"data":{"reason":"server-error","code":-32042,"data":{"elicitations":[]}}'),
    },
    {
      name: 'URLs to visit first, and a form among them',
      from: failure(-32042, `,"data":{"elicitations":[${url('1')},{"mode":"form"}]}`),
      to: failure(
        -32603,
        `,"data":{"reason":"server-error","code":-32042,"data":{"elicitations":[${url('1')},{"mode":"form"}]}}`,
      ),
    },
    {
      name: 'an error about a message whose id the server could not read',
      from: '{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}',
      to: '{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"},"id":7}',
    },
    {
      name: 'an error without a code',
      from: '{"jsonrpc":"2.0","id":7,"error":{"message":"x"}}',
      to: 'invalid: its error has no code',
    },
    {
      name: 'an error that is a string',
      from: '{"jsonrpc":"2.0","id":7,"error":"x"}',
      to: 'invalid: its error has no code',
    },
    {
      name: 'a code that is a string',
      from: '{"jsonrpc":"2.0","id":7,"error":{"code":"1"}}',
      to: 'invalid: its error has no code',
    },
    { name: 'a result that is no object', from: result('[]'), to: 'invalid: its result is not an object' },
    {
      name: 'a result and an error',
      from: '{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"x"}}',
      to: 'invalid: its response does not have either a result or an error',
    },
    {
      name: 'neither',
      from: '{"jsonrpc":"2.0","id":7}',
      to: 'invalid: its response does not have either a result or an error',
    },
  ]
  for (const { name, method = 'tools/call', from, o = {}, to } of rows)
    await t.test(name, async (t) => {
      const options = { id: '7', serverInfo: SERVER, caching: undefined, ...o }
      t.equal(told(statelessResponse(method, Buffer.from(from), options)), to)
    })
})

await t.test('a stateless server’s response for a stateful client', async (t) => {
  const wanted = (rest: string): string => result(`{"resultType":"input_required"${rest}}`)
  const form = '{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{}}}'
  const rows: readonly { name: string; method?: MethodName; from: string; to: string }[] = [
    {
      name: 'what the era does not know goes',
      from: result(
        `{"resultType":"complete","content":[],"structuredContent":${ODD},"_meta":{"io.modelcontextprotocol/serverInfo":${SERVER},"x":1.0}}`,
        '"g-1"',
      ),
      to: result(`{"content":[],"structuredContent":${ODD},"_meta":{"x":1.0}}`),
    },
    {
      name: 'caching hints go, and a _meta that only said who it is',
      method: 'resources/read',
      from: result(`{"contents":[ ],"ttlMs":5,"cacheScope":"public",${INTRODUCED},"resultType":"complete"}`),
      to: result('{"contents":[ ]}'),
    },
    { name: 'an empty result stays one', from: result('{"resultType":"complete"}'), to: result('{}') },
    { name: 'no result type is complete', from: result('{"content":[]}'), to: result('{"content":[]}') },
    {
      name: 'structured content that is no object, said as text too',
      from: result('{"resultType":"complete","content":[{"type":"text","text":"[1]"}],"structuredContent":[1]}'),
      to: result('{"content":[{"type":"text","text":"[1]"}]}'),
    },
    {
      name: 'the same, not said as text',
      from: result(
        '{"content":[{"type":"image","data":"","mimeType":"image/png"}],"structuredContent":[9007199254740993,"\\u00e9"]}',
      ),
      to: result(
        '{"content":[{"type":"image","data":"","mimeType":"image/png"},{"type":"text","text":"[9007199254740993,\\"\\\\u00e9\\"]"}]}',
      ),
    },
    {
      name: 'the same without content',
      from: result('{"structuredContent":null}'),
      to: result('{"content":[{"type":"text","text":"null"}]}'),
    },
    {
      name: 'input: all of it',
      from: wanted(
        `,"inputRequests":{"k\\u0031":{"method":"elicitation/create","params":${form}},"r":{"method":"roots/list"},"":{"method":"sampling/createMessage","params":${ODD}}},"requestState":"s\\u0061"`,
      ),
      to: `k1 elicitation/create ${form}\nr roots/list {}\n sampling/createMessage ${ODD}\n"s\\u0061"`,
    },
    { name: 'input: only state', method: 'prompts/get', from: wanted(',"requestState":""'), to: '""' },
    {
      name: 'input: only requests',
      method: 'resources/read',
      from: wanted(',"inputRequests":{"r":{"method":"roots/list","params":{}}}'),
      to: 'r roots/list {}\nundefined',
    },
    { name: 'input: neither', from: wanted(''), to: 'invalid: it wants input and does not say which' },
    {
      name: 'input where none may be wanted',
      method: 'completion/complete',
      from: wanted(',"requestState":"s"'),
      to: 'invalid: it wants input for completion/complete',
    },
    {
      name: 'input: state that is no string',
      from: wanted(',"requestState":7'),
      to: 'invalid: its requestState is not a string',
    },
    { name: 'input: a list', from: wanted(',"inputRequests":[]'), to: 'invalid: its inputRequests are not an object' },
    ...[
      ['of another method', '{"method":"ping","params":{}}'],
      ['without a method', '{"params":{}}'],
      ['that is no object', '7'],
      ['without params', '{"method":"elicitation/create"}'],
      ['with params that are a list', '{"method":"roots/list","params":[]}'],
    ].map(([name, each]) => ({
      name: `input: a request ${name}`,
      from: wanted(`,"inputRequests":{"ok":{"method":"roots/list"},"x":${each}}`),
      to: 'invalid: its input request "x" is not one of this revision',
    })),
    {
      name: 'input: a key twice',
      from: wanted(',"inputRequests":{"k":{"method":"roots/list"},"\\u006b":{"method":"roots/list"}}'),
      to: 'invalid: two of its input requests have the same key',
    },
    ...['"task"', '"Complete"', '7', 'null', '{}'].map((type) => ({
      name: `a result of the type ${type}`,
      from: result(`{"resultType":${type}}`),
      to: `invalid: its result is of an unknown type, ${type}`,
    })),
    {
      name: 'resource not found',
      method: 'resources/read',
      from: failure(-32602, ',"data":{"uri":"a:b"}'),
      to: failure(-32002, ',"data":{"uri":"a:b"}'),
    },
    { name: 'invalid params', from: failure(-32602), to: failure(-32602) },
    { name: 'a code of an application', from: failure(-1, `,"data":${ODD}`, '"g"'), to: failure(-1, `,"data":${ODD}`) },
    {
      name: 'a capability is missing',
      from: failure(-32021, ',"data":{"requiredCapabilities":{"sampling":{},"roots":{}}}'),
      to: '{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server needs the capability sampling and roots, which the client did not declare or the gateway does not let it use: no a","data":{"reason":"server-error","code":-32021,"data":{"requiredCapabilities":{"sampling":{},"roots":{}}}}}}',
    },
    {
      name: 'a capability is missing, and which is not said',
      from: failure(-32021),
      to: '{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server needs a capability, which the client did not declare or the gateway does not let it use: no a","data":{"reason":"server-error","code":-32021}}}',
    },
    {
      name: 'headers that do not match',
      from: failure(-32020),
      to: '{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server did not accept the headers of the request: no a","data":{"reason":"server-error","code":-32020}}}',
    },
    {
      name: 'a revision it does not speak',
      from: failure(-32022, ',"data":{"supported":["2027-01-01"],"requested":"2026-07-28"}'),
      to: '{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server does not speak the revision of the request: no a","data":{"reason":"server-error","code":-32022,"data":{"supported":["2027-01-01"],"requested":"2026-07-28"}}}}',
    },
    { name: 'a result that is no object', from: result('"x"'), to: 'invalid: its result is not an object' },
    {
      name: 'an error without a code',
      from: '{"jsonrpc":"2.0","id":7,"error":{}}',
      to: 'invalid: its error has no code',
    },
    {
      name: 'neither',
      from: '{"jsonrpc":"2.0","id":7}',
      to: 'invalid: its response does not have either a result or an error',
    },
  ]
  for (const { name, method = 'tools/call', from, to } of rows)
    await t.test(name, async (t) => t.equal(told(statefulResponse(method, Buffer.from(from), { id: '7' })), to))
})

// --- questions, notifications, tools ------------------------------------------------------------------------------

await t.test('a stateful server’s question as an input request', async (t) => {
  const rows: readonly (readonly [
    name: string,
    method: string,
    params: string | undefined,
    kept: string | undefined,
  ])[] = [
    [
      'a form',
      'elicitation/create',
      `{"message":"m","requestedSchema":${ODD}}`,
      `{"message":"m","requestedSchema":${ODD}}`,
    ],
    [
      'a URL without the id that only its end refers to',
      'elicitation/create',
      '{"mode":"url","elicitationId":"e","message":"m","url":"u:"}',
      '{"mode":"url","message":"m","url":"u:"}',
    ],
    [
      'no progress, for nobody could tell',
      'sampling/createMessage',
      `{"_meta":{"progressToken":1},"messages":[],"maxTokens":1.0,"task":{}}`,
      '{"messages":[],"maxTokens":1.0}',
    ],
    ['other _meta', 'roots/list', '{"_meta":{"progressToken":1,"x":1.0}}', '{"_meta":{"x":1.0}}'],
    ['roots', 'roots/list', undefined, undefined],
  ]
  for (const [name, method, params, kept] of rows)
    await t.test(name, async (t) =>
      t.same(inputRequestOf(Buffer.from(request(method, params))), {
        method,
        json: `{"method":"${method}"${kept === undefined ? '' : `,"params":${kept}`}}`,
      }),
    )
  t.equal(answerOf('"q"', `{"roots":[ ],"x":${ODD}}`).toString(), result(`{"roots":[ ],"x":${ODD}}`, '"q"'))
  t.equal(answerOf('1.0', Buffer.from('{"é":1}')).toString(), result('{"é":1}', '1.0'))
})

await t.test('an input request as a question to a stateful client', async (t) => {
  const tool = (output: string) => `{"name":"t","inputSchema":{"type":"object"}${output}}`
  const use = (structured: string) =>
    `{"role":"user","content":[{"type":"tool_result","toolUseId":"u","content":[]${structured}}]}`
  const rows: readonly (readonly [name: string, method: string, params: string, sent: string])[] = [
    [
      'a form',
      'elicitation/create',
      '{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"n":{"type":"number","maximum":1.0}}}}',
      '{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"n":{"type":"number","maximum":1.0}}}}',
    ],
    [
      'a URL gets the id that the era insists on',
      'elicitation/create',
      '{"mode":"url","message":"m","url":"https://a.example/"}',
      '{"mode":"url","message":"m","url":"https://a.example/","elicitationId":"g-9"}',
    ],
    [
      'an id that the server gave stays',
      'elicitation/create',
      '{"mode":"url","message":"m","url":"https://a.example/","elicitationId":"e"}',
      '{"mode":"url","message":"m","url":"https://a.example/","elicitationId":"e"}',
    ],
    [
      'sampling with tools and what they returned',
      'sampling/createMessage',
      `{"messages":[${use(',"structuredContent":[1.0]')},${use(',"structuredContent":{"a":1.0}')},{"role":"user","content":{"type":"text","text":"structuredContent"}}],"maxTokens":9,"tools":[${tool(',"outputSchema":{"type":"array"}')},${tool(',"outputSchema":{"type":"object"}')}]}`,
      `{"messages":[{"role":"user","content":[{"type":"tool_result","toolUseId":"u","content":[{"type":"text","text":"[1.0]"}]}]},${use(',"structuredContent":{"a":1.0}')},{"role":"user","content":{"type":"text","text":"structuredContent"}}],"maxTokens":9,"tools":[${tool('')},${tool(',"outputSchema":{"type":"object"}')}]}`,
    ],
    ['roots', 'roots/list', '{}', '{}'],
    ['a progress token that leads nowhere', 'roots/list', '{"_meta":{"progressToken":1}}', '{}'],
  ]
  for (const [name, method, params, sent] of rows)
    await t.test(name, async (t) => {
      const bytes = serverRequestOf('"g-9"', { method, params })
      t.equal(bytes.toString(), request(method, sent, '"g-9"'))
      if (method === 'elicitation/create') ElicitRequestSchema.parse(JSON.parse(bytes.toString()))
      if (method === 'sampling/createMessage') CreateMessageRequestSchema.parse(JSON.parse(bytes.toString()))
    })
  const numbered = serverRequestOf('7', {
    method: 'elicitation/create',
    params: '{"mode":"url","message":"m","url":"https://a.example/"}',
  })
  t.match(numbered.toString(), '"elicitationId":"7"')
})

await t.test('notifications', async (t) => {
  const note = (method: string, params?: string): string =>
    `{"jsonrpc":"2.0","method":"notifications/${method}"${params === undefined ? '' : `,"params":${params}`}}`
  const subscribed = '"io.modelcontextprotocol/subscriptionId":7'
  const rows: readonly (readonly [
    to: 'stateless' | 'stateful',
    name: string,
    from: string,
    told: string | undefined,
  ])[] = [
    [
      'stateless',
      'progress gets the latest token',
      note('progress', '{"progressToken":1,"progress":1.0}'),
      note('progress', '{"progressToken":"t","progress":1.0}'),
    ],
    [
      'stateless',
      'log',
      note('message', `{"level":"info","data":${ODD}}`),
      note('message', `{"level":"info","data":${ODD}}`),
    ],
    ['stateless', 'of a kind nobody knows', note('x', ODD), note('x', ODD)],
    ['stateless', 'a question withdrawn', note('cancelled', '{"requestId":1}'), undefined],
    ['stateless', 'a URL visited', note('elicitation/complete', '{"elicitationId":"e"}'), undefined],
    ['stateless', 'a task', note('tasks/status', '{"taskId":"t"}'), undefined],
    ['stateless', 'a resource changed', note('resources/updated', '{"uri":"a:b"}'), undefined],
    ['stateless', 'tools changed', note('tools/list_changed'), undefined],
    ['stateless', 'prompts changed', note('prompts/list_changed'), undefined],
    ['stateless', 'resources changed', note('resources/list_changed'), undefined],
    [
      'stateful',
      'progress',
      note('progress', '{"progressToken":1.0,"progress":1}'),
      note('progress', '{"progressToken":1.0,"progress":1}'),
    ],
    [
      'stateful',
      'a resource changed',
      note('resources/updated', `{"_meta":{${subscribed}},"uri":"a:b"}`),
      note('resources/updated', '{"uri":"a:b"}'),
    ],
    ['stateful', 'tools changed', note('tools/list_changed', `{"_meta":{${subscribed}}}`), note('tools/list_changed')],
    [
      'stateful',
      'other _meta stays',
      note('message', `{"_meta":{"x":1.0,${subscribed}},"level":"info"}`),
      note('message', '{"_meta":{"x":1.0},"level":"info"}'),
    ],
    [
      'stateful',
      'the listening acknowledged',
      note('subscriptions/acknowledged', `{"notifications":{},"_meta":{${subscribed}}}`),
      undefined,
    ],
    ['stateful', 'the listening ended', note('cancelled', '{"requestId":7}'), undefined],
  ]
  const translate = {
    stateless: (bytes: Buffer) => statelessNotification(bytes, { progressToken: '"t"' }),
    stateful: statefulNotification,
  }
  for (const [to, name, from, expected] of rows)
    await t.test(`${to}: ${name}`, async (t) => t.equal(translate[to](Buffer.from(from))?.toString(), expected))
  const progress = Buffer.from(note('progress', '{"progressToken":1,"progress":1}'))
  t.equal(statelessNotification(progress), progress, 'the token of the only request stays')
})

await t.test('tools for stateful clients', async (t) => {
  const tool = (rest: string, input = '{"type":"object"}') =>
    `{"x-new":${ODD}, "name":"t","inputSchema":${input}${rest}}`
  const rows: readonly (readonly [name: string, from: string, to: string])[] = [
    ['no output schema', tool(''), tool('')],
    ['an object', tool(',"outputSchema":{"type" : "object"}'), tool(',"outputSchema":{"type" : "object"}')],
    ['an array', tool(',"outputSchema":{"type":"array"}'), tool('')],
    ['an object or nothing', tool(',"outputSchema":{"type":["object","null"]}'), tool('')],
    ['either of two', tool(',"outputSchema":{"oneOf":[]}'), tool('')],
    ['anything', tool(',"outputSchema":true'), tool('')],
    [
      'properties of any kind and of none',
      tool(
        ',"outputSchema":{"type":"object","properties":{"c":true}}',
        '{"type":"object","properties":{"a":true,"__proto__":false,"b":{"x":true}}}',
      ),
      tool(
        ',"outputSchema":{"type":"object","properties":{"c":{}}}',
        '{"type":"object","properties":{"a":{},"__proto__":{"not":{}},"b":{"x":true}}}',
      ),
    ],
  ]
  for (const [name, from, to] of rows)
    await t.test(name, async (t) => {
      const item = Buffer.from(from)
      const tool = statefulTool(item)
      t.equal(tool.toString(), to)
      t.equal(tool === item, from === to, 'the same buffer when nothing differs')
      ListToolsResultSchema.parse({ tools: [JSON.parse(tool.toString())] })
    })
})

// --- there and back -----------------------------------------------------------------------------------------------

/** Members that neither era gives a meaning to, and those that both do. */
const member = fc.constantFrom('arguments', 'x-new', 'content', 'description', 'messages', 'k')
const metaMember = fc.constantFrom('progressToken', 'traceparent', 'baggage', 'example.com/x', 'k')
const nonEmpty = (text: string): boolean => members(Buffer.from(text)).size > 0
const metaText = keyed(scalar, metaMember).filter(nonEmpty)
const withMeta = fc
  .tuple(keyed(anyValue, member), fc.option(metaText, { nil: undefined }), fc.boolean())
  .map(([text, meta, first]) => {
    if (meta === undefined) return text
    const [open, close] = nonEmpty(text) ? (first ? ['', ','] : [',', '']) : ['', '']
    return first ? `{"_meta":${meta}${close}${text.slice(1)}` : `${text.slice(0, -1)}${open}"_meta":${meta}}`
  })
const id = fc.constantFrom('1', '9007199254740993', '1.0', '"\\u0061"', '""')
const runs = { numRuns: 1000 }

await t.test('a request that went to the other era and back is the same, byte for byte', async () => {
  const o = { ...OPTIONS, logLevel: 'debug', requestState: '"s"', inputResponses: '{"k":{}}' }
  fc.assert(
    fc.property(withMeta.filter(nonEmpty), id, (params, id) => {
      const text = request('tools/call', params, id)
      const there = statelessRequest(Buffer.from(text), messageOf(text), o)
      return statefulRequest(there, messageOf(there.toString()), { id }).toString() === text
    }),
    runs,
  )
})

await t.test('a response that went to the other era and back is the same, byte for byte', async () => {
  const methods = fc.constantFrom<MethodName>('tools/call', 'resources/read', 'prompts/get', 'completion/complete')
  fc.assert(
    fc.property(withMeta, id, methods, (text, id, method) => {
      const from = result(text, id)
      const there = statelessResponse(method, Buffer.from(from), { id: '0', serverInfo: SERVER, caching: undefined })
      return there.kind === 'response' && told(statefulResponse(method, there.bytes, { id })) === from
    }),
    runs,
  )
})

/** The same members of a result and of its `_meta`, each with its bytes, in one order: what is put back comes last. */
const sorted = (response: string): string => {
  const bytes = Buffer.from(response)
  const at = members(bytes).get('result')
  if (at === undefined) return response
  return entries(bytes, at)
    .map(({ key, value }) =>
      key === '_meta'
        ? entries(bytes, value)
            .map(({ key, value }) => `${key} ${textOf(bytes, value)}`)
            .toSorted((a, b) => (a < b ? -1 : 1))
            .join()
        : `${key} ${textOf(bytes, value)}`,
    )
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join('\n')
}

await t.test('a stateless response keeps all but its era’s own members on its way there and back', async () => {
  const own = { resultType: '"complete"', _meta: { within: { 'io.modelcontextprotocol/serverInfo': SERVER } } }
  fc.assert(
    fc.property(withMeta, (text) => {
      const from = changeObject(Buffer.from(result(text)), { result: { within: own } })
      const there = statefulResponse('tools/call', from, { id: '"x"' })
      if (there.kind !== 'response') return false
      const back = told(
        statelessResponse('tools/call', there.bytes, { id: '7', serverInfo: SERVER, caching: undefined }),
      )
      return sorted(back) === sorted(from.toString())
    }),
    runs,
  )
})

await t.test('a question and its answer keep every byte', async () => {
  const method = fc.constantFrom('elicitation/create', 'roots/list')
  fc.assert(
    fc.property(method, keyed(anyValue, member), anyValue, id, (method, params, answer, id) => {
      const asked = serverRequestOf(id, { method, params })
      return (
        asked.toString() === request(method, params, id) &&
        inputRequestOf(asked).json === `{"method":"${method}","params":${params}}` &&
        answerOf(id, answer).toString() === result(answer, id)
      )
    }),
    runs,
  )
})

await t.test('whatever a stateless tool returns is a result of the stateful era, and says the same', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.boolean(), (structuredContent, isError) => {
      const text = JSON.stringify({ resultType: 'complete', content: [], structuredContent, isError })
      const outcome = statefulResponse('tools/call', Buffer.from(result(text)), { id: '7' })
      if (outcome.kind !== 'response') return false
      const { result: got } = JSON.parse(outcome.bytes.toString())
      const [block] = CallToolResultSchema.parse(got).content
      // What the schema's reader makes of it has no key `__proto__`, so what it says is taken from the text.
      const said = got.structuredContent ?? (block?.type === 'text' ? JSON.parse(block.text) : undefined)
      return JSON.stringify(said) === JSON.stringify(structuredContent)
    }),
    runs,
  )
})

await t.test('edits of one object do not meet those of another around it', async (t) => {
  const bytes = Buffer.from('{"a":{"b":1}}')
  const span = members(bytes).get('a')
  t.ok(span)
  if (span === undefined) return
  const edits = objectEdits(bytes, span, { c: '2' })
  t.equal(replaceSpans(bytes, edits).toString(), '{"a":{"b":1,"c":2}}')
})
