/** MCP's vocabulary: the strict scan, byte-exact splicing, server-sent events, methods, versions and request heads. */
import fc from 'fast-check'
import t from 'tap'
import { elements, members, replaceSpans, stringOf, textOf } from '../src/mcp/json-text.ts'
import {
  META_CLIENT_CAPABILITIES,
  META_CLIENT_INFO,
  META_LOG_LEVEL,
  META_PROTOCOL_VERSION,
} from '../src/mcp/meta-keys.ts'
import { isDirect, isMethod, isMethodOf, methods } from '../src/mcp/methods.ts'
import { type Edge, examine, type RequestHead } from '../src/mcp/request-head.ts'
import { type Message, type Scan, type Span, scan } from '../src/mcp/scan.ts'
import { rename } from '../src/mcp/splice.ts'
import { SseDecoder, type SseEvent, sseEvent } from '../src/mcp/sse.ts'
import { type Era, negotiate } from '../src/mcp/versions.ts'

const call = (params: string, id = '1') => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`

/** A scan in words: kind, id, method and the raw text of each span; or the refusal and the id it can be sent to. */
const told = (body: string | Uint8Array): string => {
  const bytes = Buffer.from(body)
  const scanned = scan(bytes)
  if (!scanned.ok) return `${scanned.reason}${scanned.id === undefined ? '' : ` ${scanned.id}`}`
  const { kind, id, method, ...rest } = scanned.message
  const spans = Object.entries(rest).filter((entry): entry is [string, Span] => entry[1] !== undefined)
  return [kind, id, method, ...spans.map(([key, span]) => `${key}=${textOf(bytes, span)}`)]
    .filter((word) => word !== undefined)
    .join(' ')
}

const ABOUT_ITSELF = `{"${META_PROTOCOL_VERSION}":"v","${META_CLIENT_CAPABILITIES}":{"roots":{}},"${META_CLIENT_INFO}":7,"${META_LOG_LEVEL}":null}`
const bodies: readonly (readonly [string, string | Uint8Array, string])[] = [
  ['a call', call('{"name":"a_b"}'), 'request 1 tools/call params={"name":"a_b"} name="a_b"'],
  ['white space everywhere', ` {\n"jsonrpc" : "2.0"\t,\r\n"id":2 , "method":"ping" } \n`, 'request 2 ping'],
  ['a string id as sent', call('{}', '"\\u0041"'), 'request "\\u0041" tools/call params={}'],
  ['a huge integer id as sent', call('{}', '9007199254740993'), 'request 9007199254740993 tools/call params={}'],
  ['a fractional id as sent', call('{}', '1.0'), 'request 1.0 tools/call params={}'],
  ['an escaped method', '{"jsonrpc":"2.0","id":1,"method":"tools\\/c\\u0061ll"}', 'request 1 tools/call'],
  ['an escaped key', call('{"n\\u0061me":"x"}'), 'request 1 tools/call params={"n\\u0061me":"x"} name="x"'],
  [
    'the name after its double',
    call('{"arguments":{"name":"y"},"name":"x"}'),
    'request 1 tools/call params={"arguments":{"name":"y"},"name":"x"} name="x" arguments={"name":"y"}',
  ],
  ['a name that is no string', call('{"name":7}'), 'request 1 tools/call params={"name":7}'],
  [
    'a progress token',
    call('{"_meta":{"progressToken":"p"}}'),
    'request 1 tools/call params={"_meta":{"progressToken":"p"}} meta={"progressToken":"p"} metaProgressToken="p"',
  ],
  [
    'a reference',
    call('{"ref":{"type":"ref/prompt","name":"x"}}'),
    'request 1 tools/call params={"ref":{"type":"ref/prompt","name":"x"}} refName="x"',
  ],
  [
    'a template reference',
    call('{"ref":{"uri":"a://{b}"}}'),
    'request 1 tools/call params={"ref":{"uri":"a://{b}"}} refUri="a://{b}"',
  ],
  ['a cursor', call('{"cursor":"c"}'), 'request 1 tools/call params={"cursor":"c"} cursor="c"'],
  [
    'a cancellation',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1.0}}',
    'notification notifications/cancelled params={"requestId":1.0} requestId=1.0',
  ],
  [
    'progress',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":3}}',
    'notification notifications/progress params={"progressToken":3} progressToken=3',
  ],
  ['a response', '{"jsonrpc":"2.0","id":"s","result":{"a":1}}', 'response "s" result={"a":1}'],
  [
    'an error response',
    '{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}}',
    'response 3 error={"code":1,"message":""}',
  ],
  ['an error about nothing', '{"jsonrpc":"2.0","id":null,"error":{}}', 'response error={}'],
  [
    '64 levels',
    call(`{"a":${'['.repeat(62)}${']'.repeat(62)}}`),
    `request 1 tools/call params={"a":${'['.repeat(62)}${']'.repeat(62)}}`,
  ],
  ['65 levels', call(`{"a":${'['.repeat(63)}${']'.repeat(63)}}`), 'too-deep 1'],
  ['a million levels', '{"a":'.repeat(1_000_000), 'too-deep'],
  ['nothing', '', 'empty'],
  ['white space only', ' \r\n', 'empty'],
  ['a byte order mark', Buffer.from(`\ufeff${call('{}')}`), 'byte-order-mark'],
  ['invalid UTF-8', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]), 'not-utf8'],
  ['a surrogate as UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'not-utf8'],
  ['a second value', `${call('{}')}{}`, 'trailing 1'],
  ['a NUL behind', `${call('{}')}\0`, 'trailing 1'],
  ['a batch', `[${call('{}')}]`, 'batch'],
  ['an empty batch', '[]', 'batch'],
  ['a scalar', '42', 'not-jsonrpc'],
  ['cut off', '{"jsonrpc":"2.0","id":9', 'unparsable'],
  ['cut off after the id', '{"jsonrpc":"2.0","id":9,', 'unparsable 9'],
  ['a trailing comma', '{"a":1,}', 'unparsable'],
  ['a trailing comma in an array', '{"a":[1,]}', 'unparsable'],
  ['a comment', '{/**/}', 'unparsable'],
  ['single quotes', "{'a':1}", 'unparsable'],
  ['a raw newline in a string', '{"a":"\n"}', 'unparsable'],
  ['a leading zero', '{"a":01}', 'unparsable'],
  ['NaN', '{"a":NaN}', 'unparsable'],
  ['a lone minus', '{"a":-}', 'unparsable'],
  ['half an escape', '{"a":"\\u12"}', 'unparsable'],
  ['an unknown escape', '{"a":"\\x"}', 'unparsable'],
  ['the wrong bracket', '{"a":[1}', 'unparsable'],
  ['two methods', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', 'duplicate-key 1'],
  ['two ids', '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', 'duplicate-key'],
  ['two names', call('{"name":"a","name":"b"}'), 'duplicate-key 1'],
  ['two names, one escaped', call('{"name":"a","n\\u0061me":"b"}'), 'duplicate-key 1'],
  ['two names, both escaped', call('{"\\u006eame":"a","n\\u0061me":"b"}'), 'duplicate-key 1'],
  ['two keys deep inside', call('{"arguments":{"a":[{"b":1,"b":2}]}}'), 'duplicate-key 1'],
  [
    'two keys among many',
    call(`{"arguments":{${Array.from({ length: 40 }, (_, i) => `"k${i % 39}":1`).join()}}}`),
    'duplicate-key 1',
  ],
  ['keys that only a lenient reader confuses', call('{"arguments":{"\\ud800":1,"\\ud801":2}}'), 'duplicate-key 1'],
  ['the id after a duplicate', '{"jsonrpc":"2.0","method":"ping","method":"ping","id":5}', 'duplicate-key 5'],
  [
    'the same key at different levels',
    call('{"name":"a","arguments":{"name":"b","arguments":[{"name":1},{"name":2}]}}'),
    'request 1 tools/call params={"name":"a","arguments":{"name":"b","arguments":[{"name":1},{"name":2}]}} name="a" arguments={"name":"b","arguments":[{"name":1},{"name":2}]}',
  ],
  ['Method', '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/list"}', 'case-variant 1'],
  ['a variant alone', '{"jsonrpc":"2.0","id":1,"METHOD":"ping"}', 'case-variant 1'],
  ['a variant in params', call('{"name":"a","Name":"b"}'), 'case-variant 1'],
  ['a variant spelt with an escape', call('{"\\u004eame":"b"}'), 'case-variant 1'],
  ['a variant by Unicode folding', call('{"argument\u017f":{}}'), 'case-variant 1'],
  ['a variant of the token', call('{"_meta":{"ProgressToken":1}}'), 'case-variant 1'],
  [
    'a variant in arguments is a key like any other',
    call('{"arguments":{"Name":1,"name":2}}'),
    'request 1 tools/call params={"arguments":{"Name":1,"name":2}} arguments={"Name":1,"name":2}',
  ],
  [
    'what a stateless request says of itself',
    call(`{"_meta":${ABOUT_ITSELF}}`),
    `request 1 tools/call params={"_meta":${ABOUT_ITSELF}} meta=${ABOUT_ITSELF} metaProtocolVersion="v" metaClientCapabilities={"roots":{}} metaClientInfo=7 metaLogLevel=null`,
  ],
  [
    'answers to questions, and the state that goes with them',
    call('{"inputResponses":{"a":{}},"requestState":"s"}'),
    'request 1 tools/call params={"inputResponses":{"a":{}},"requestState":"s"} requestState="s" inputResponses={"a":{}}',
  ],
  ['a state that is no string', call('{"requestState":7}'), 'request 1 tools/call params={"requestState":7}'],
  ['a variant of a key of the stateless era', call('{"RequestState":"s"}'), 'case-variant 1'],
  ['a variant of the answers', call('{"inputresponses":{}}'), 'case-variant 1'],
  ['a variant of the version', call('{"_meta":{"io.modelcontextprotocol/ProtocolVersion":"v"}}'), 'case-variant 1'],
  ['a variant of its prefix', call('{"_meta":{"io.ModelContextProtocol/logLevel":"v"}}'), 'case-variant 1'],
  [
    'the longest variant there is, by Unicode folding',
    call('{"_meta":{"\u0131o.modelcontextprotocol/cl\u0131entCapab\u0131l\u0131t\u0131e\u017f":{}}}'),
    'case-variant 1',
  ],
  [
    'a variant of a feature that a client can be asked for',
    call('{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"Elicitation":{}}}}'),
    'case-variant 1',
  ],
  [
    'a feature elsewhere is a key like any other',
    call('{"_meta":{"a/clientCapabilities":{"Elicitation":{}}}}'),
    'request 1 tools/call params={"_meta":{"a/clientCapabilities":{"Elicitation":{}}}} meta={"a/clientCapabilities":{"Elicitation":{}}}',
  ],
  [
    'the version twice',
    call('{"_meta":{"io.modelcontextprotocol/protocolVersion":"v","io.modelcontextprotocol/protocolVersion":"w"}}'),
    'duplicate-key 1',
  ],
  [
    'the keys of the stateless era outside of their place',
    call('{"io.modelcontextprotocol/protocolVersion":"v","arguments":{"requestState":"s"}}'),
    'request 1 tools/call params={"io.modelcontextprotocol/protocolVersion":"v","arguments":{"requestState":"s"}} arguments={"requestState":"s"}',
  ],
  ['a key that some parsers end at a NUL', call('{"name":"a","name\\u0000":"b"}'), 'case-variant 1'],
  ['__proto__', call('{"__proto__":{"name":"x"}}'), 'request 1 tools/call params={"__proto__":{"name":"x"}}'],
  ['no version', '{"id":1,"method":"ping"}', 'not-jsonrpc 1'],
  ['version 2.00', '{"jsonrpc":"2.00","id":1,"method":"ping"}', 'not-jsonrpc 1'],
  ['a numeric version', '{"jsonrpc":2.0,"id":1,"method":"ping"}', 'not-jsonrpc 1'],
  ['a null id', '{"jsonrpc":"2.0","id":null,"method":"ping"}', 'not-jsonrpc'],
  ['a structured id', '{"jsonrpc":"2.0","id":{},"method":"ping"}', 'not-jsonrpc'],
  ['params as an array', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 'not-jsonrpc 1'],
  ['a method that is no string', '{"jsonrpc":"2.0","id":1,"method":1}', 'not-jsonrpc 1'],
  ['a request with a result', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', 'not-jsonrpc 1'],
  ['result and error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', 'not-jsonrpc 1'],
  ['neither', '{"jsonrpc":"2.0","id":1}', 'not-jsonrpc 1'],
  ['a result for nobody', '{"jsonrpc":"2.0","id":null,"result":{}}', 'not-jsonrpc'],
]
void t.test('scan', async (t) => {
  for (const [name, body, expected] of bodies) await t.test(name, async (t) => t.equal(told(body), expected))
  await t.test('a view into larger memory', async (t) => {
    const padded = Buffer.from(`xx${call('{"name":"n"}')}yy`)
    const view = new Uint8Array(padded.buffer, padded.byteOffset + 2, padded.length - 4)
    t.equal(told(view), 'request 1 tools/call params={"name":"n"} name="n"')
  })
})

/** JSON texts in every spelling: white space, escapes, number forms; keys of an object differ. */
const blank = fc.constantFrom('', '', '', ' ', '\n\t', '\r\n ')
const letter = fc.oneof(
  fc.constantFrom('a', 'name', '"', '\\', 'é', '𝄞', '\n', '\u007f', '_'),
  fc.string({ unit: 'grapheme', maxLength: 3 }),
)
const spell = (text: string, escape: boolean): string =>
  escape
    ? `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
    : JSON.stringify(text)
const literal = fc
  .tuple(fc.array(letter, { maxLength: 3 }), fc.boolean())
  .map(([parts, escape]) => spell(parts.join(''), escape))
const number = fc.oneof(
  fc.constantFrom('0', '-0', '1.0', '9007199254740993', '1e400', '-1.25E-7', '123456789012345678901234567890'),
  fc.integer().map(String),
)
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    literal,
    number,
    fc.constantFrom('true', 'false', 'null'),
    fc
      .tuple(blank, fc.array(tie('value'), { maxLength: 4 }))
      .map(([space, parts]) => `[${space}${parts.join(`${space},${space}`)}${space}]`),
    fc
      .tuple(
        blank,
        fc.uniqueArray(fc.tuple(literal, tie('value')), { maxLength: 12, selector: ([key]) => JSON.parse(key) }),
      )
      .map(
        ([space, parts]) =>
          `{${space}${parts.map(([key, part]) => `${key}${space}:${part}`).join(`${space},`)}${space}}`,
      ),
  ),
}))

const parses = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
const GRAMMAR: ReadonlySet<string> = new Set(['unparsable', 'trailing', 'empty'])

void t.test('scan, by property', async (t) => {
  await t.test('agrees with JSON.parse on what is JSON', async () => {
    // One character is changed, so that about half of the texts are broken.
    const mutated = fc
      .tuple(
        value,
        fc.nat(),
        fc.constantFrom('', '', '{', '}', '"', ',', ':', '0', '.', '\\', 'e', '-', ' ', '\u0001'),
        fc.boolean(),
      )
      .map(([text, at, put, drop]) => {
        const body = `{"params":${text}}`
        const cut = at % body.length
        return `${body.slice(0, cut)}${put}${body.slice(drop ? cut + 1 : cut)}`
      })
    fc.assert(
      fc.property(mutated, (text) => {
        const scanned = scan(Buffer.from(text))
        if (scanned.ok) return false // never JSON-RPC: no version
        if (scanned.reason === 'not-utf8' || scanned.reason === 'batch' || scanned.reason === 'too-deep') return true
        return GRAMMAR.has(scanned.reason) !== parses(text)
      }),
      { numRuns: 5000 },
    )
  })
  await t.test('accepts every request whose keys differ', async () => {
    fc.assert(
      fc.property(value, number, (text, id) => {
        const body = Buffer.from(call(`{"arguments":${text},"name":"n"}`, id))
        const scanned = scan(body)
        return (
          scanned.ok &&
          scanned.message.id === id &&
          scanned.message.name !== undefined &&
          textOf(body, scanned.message.name) === '"n"'
        )
      }),
      { numRuns: 2000 },
    )
  })
  await t.test('finds what JSON.parse finds, where it lies', async () => {
    // The keys in any order, some of them missing, in any spelling; between them keys that mean nothing.
    const object = (known: Readonly<Record<string, fc.Arbitrary<string>>>) =>
      fc
        .tuple(
          fc.record(known, { requiredKeys: [] }),
          fc.dictionary(fc.constantFrom('x', 'io.modelcontextprotocol/x', ''), value, { maxKeys: 2 }),
          fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
          fc.boolean(),
          blank,
        )
        .map(([named, more, order, escape, space]) => {
          const parts = Object.entries({ ...named, ...more }).map(([key, part], i) => ({
            part,
            key,
            at: order[i] ?? 0,
          }))
          parts.sort((a, b) => a.at - b.at)
          return `{${parts.map(({ key, part }) => `${space}${spell(key, escape)}${space}:${part}${space}`).join()}}`
        })
    const string = fc.string({ unit: 'grapheme', maxLength: 4 }).map((text) => JSON.stringify(text))
    const params = object({
      name: string,
      uri: string,
      cursor: string,
      ref: object({ name: string, uri: string }),
      arguments: value,
      requestState: string,
      inputResponses: value,
      _meta: object({
        progressToken: fc.oneof(string, number),
        [META_PROTOCOL_VERSION]: value,
        [META_CLIENT_CAPABILITIES]: object({ elicitation: value, roots: value }),
        [META_CLIENT_INFO]: value,
        [META_LOG_LEVEL]: value,
      }),
    })
    const places: readonly (readonly [Exclude<keyof Message, 'kind' | 'id' | 'method'>, ...string[]])[] = [
      ['params', 'params'],
      ['name', 'params', 'name'],
      ['uri', 'params', 'uri'],
      ['cursor', 'params', 'cursor'],
      ['refName', 'params', 'ref', 'name'],
      ['refUri', 'params', 'ref', 'uri'],
      ['arguments', 'params', 'arguments'],
      ['requestState', 'params', 'requestState'],
      ['inputResponses', 'params', 'inputResponses'],
      ['meta', 'params', '_meta'],
      ['metaProgressToken', 'params', '_meta', 'progressToken'],
      ['metaProtocolVersion', 'params', '_meta', META_PROTOCOL_VERSION],
      ['metaClientCapabilities', 'params', '_meta', META_CLIENT_CAPABILITIES],
      ['metaClientInfo', 'params', '_meta', META_CLIENT_INFO],
      ['metaLogLevel', 'params', '_meta', META_LOG_LEVEL],
    ]
    fc.assert(
      fc.property(params, (text) => {
        const body = Buffer.from(call(text))
        const scanned = scan(body)
        if (!scanned.ok) return false
        return places.every(([of, ...path]) => {
          let expected: unknown = JSON.parse(body.toString())
          for (const key of path) {
            const inside: readonly (readonly [string, unknown])[] =
              typeof expected === 'object' && expected !== null ? Object.entries(expected) : []
            expected = new Map(inside).get(key)
          }
          const span = scanned.message[of]
          return span === undefined
            ? expected === undefined
            : JSON.stringify(JSON.parse(textOf(body, span))) === JSON.stringify(expected)
        })
      }),
      { numRuns: 2000 },
    )
  })
  await t.test('refuses a key that comes twice, at any depth and in any spelling', async () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 20 }),
        fc.nat(),
        fc.boolean(),
        fc.nat(40),
        (keys, which, escape, depth) => {
          const doubled = [...keys, keys[which % keys.length] ?? '']
          const object = `{${doubled.map((key, i) => `${spell(key, escape && i === doubled.length - 1)}:${i}`).join()}}`
          const scanned = scan(Buffer.from(call(`{"arguments":${'['.repeat(depth)}${object}${']'.repeat(depth)}}`)))
          return !scanned.ok && scanned.reason === 'duplicate-key' && scanned.id === '1'
        },
      ),
    )
  })
  await t.test('is total', async () => {
    const total = (bytes: Uint8Array): boolean => {
      const scanned: Scan = scan(bytes)
      return scanned.ok || scanned.reason.length > 0
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), total), { numRuns: 2000 })
    fc.assert(
      fc.property(
        fc
          .array(fc.constantFrom(...'{}[]",:\\u0019.eE+- tfn'.split('')), { maxLength: 60 })
          .map((list) => Buffer.from(list.join(''))),
        total,
      ),
      { numRuns: 5000 },
    )
  })
  await t.test('one scan leaves nothing for the next', async () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(value, fc.constantFrom(...bodies.map(([, body]) => body.toString().slice(0, 500)))), {
          maxLength: 5,
        }),
        (before) => {
          for (const text of before) scan(Buffer.from(text))
          return told(call('{"name":"n"}')) === 'request 1 tools/call params={"name":"n"} name="n"'
        },
      ),
    )
  })
})

const named = (body: Buffer): Span => {
  const scanned = scan(body)
  const message: Message | undefined = scanned.ok ? scanned.message : undefined
  if (message?.name === undefined) throw new Error(`no name in ${body.toString()}`)
  return message.name
}
const spliced: readonly (readonly [string, string, string])[] = [
  [
    'plain',
    '{"name":"gh_search","arguments":{"n":9007199254740993,"x":1.0}}',
    '{"name":"search","arguments":{"n":9007199254740993,"x":1.0}}',
  ],
  [
    'the name stands earlier, in the arguments',
    '{"arguments":{"name":"gh_search"},"name":"gh_search"}',
    '{"arguments":{"name":"gh_search"},"name":"search"}',
  ],
  [
    'the name stands earlier, as text',
    '{"arguments":{"a":"\\"name\\":\\"gh_search\\""},"name":"gh_search"}',
    '{"arguments":{"a":"\\"name\\":\\"gh_search\\""},"name":"search"}',
  ],
  ['the name is escaped', '{"name":"\\u0067h_search"}', '{"name":"search"}'],
  ['its underscore is escaped', '{"name":"gh\\u005fsearch"}', '{"name":"search"}'],
  ['its key is escaped', '{"n\\u0061me" : "gh_search" }', '{"n\\u0061me" : "search" }'],
]
void t.test('splice', async (t) => {
  for (const [name, before, after] of spliced) {
    await t.test(name, async (t) => {
      const body = Buffer.from(call(before))
      t.equal(rename(body, named(body), 'search').toString(), call(after))
    })
  }
  await t.test('rename and un-rename are inverse; nothing outside the name changes', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 12 })
    fc.assert(
      fc.property(value, value, text, text, (first, last, from, to) => {
        const body = Buffer.from(call(`{"arguments":${first},"name":${JSON.stringify(from)},"more":${last}}`))
        const before = named(body)
        const renamed = rename(body, before, to)
        const after = named(renamed)
        return (
          stringOf(renamed, after) === to &&
          renamed.subarray(0, after.start).equals(body.subarray(0, before.start)) &&
          renamed.subarray(after.end).equals(body.subarray(before.end)) &&
          rename(renamed, after, from).equals(body)
        )
      }),
    )
  })
})

void t.test('json text', async (t) => {
  await t.test('members and elements are what JSON.parse finds', async () => {
    const walked = (bytes: Buffer, span: Span): unknown => {
      const text = textOf(bytes, span)
      if (text.startsWith('{')) {
        return Object.fromEntries([...members(bytes, span)].map(([key, part]) => [key, walked(bytes, part)]))
      }
      if (text.startsWith('[')) return elements(bytes, span).map((part) => walked(bytes, part))
      return text.startsWith('"') ? stringOf(bytes, span) : JSON.parse(text)
    }
    fc.assert(
      fc.property(value, (text) => {
        const bytes = Buffer.from(text)
        return JSON.stringify(walked(bytes, { start: 0, end: bytes.length })) === JSON.stringify(JSON.parse(text))
      }),
      { numRuns: 2000 },
    )
  })
  await t.test('several edits, in any order', async (t) => {
    const bytes = Buffer.from('{"a":1,"b":[true]}')
    const found = members(bytes)
    const edits = ['b', 'a'].flatMap((key) => {
      const span = found.get(key)
      return span === undefined ? [] : [{ span, with: `"${key}"` }]
    })
    t.equal(replaceSpans(bytes, edits).toString(), '{"a":"a","b":"b"}')
    t.throws(() => replaceSpans(bytes, [...edits, ...edits]), RangeError)
  })
  await t.test('broken text ends, if only by a SyntaxError', async () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...'{}[]",:\\1 t'.split('')), { maxLength: 40 }), (list) => {
        const bytes = Buffer.from(list.join(''))
        try {
          return members(bytes).size <= bytes.length && elements(bytes).length <= bytes.length
        } catch (error) {
          return error instanceof SyntaxError
        }
      }),
      { numRuns: 2000 },
    )
  })
})

const shown = ({ event, data, id, retry }: SseEvent): string =>
  [
    event,
    data.toString(),
    ...(id === undefined ? [] : [`id=${id}`]),
    ...(retry === undefined ? [] : [`retry=${retry}`]),
  ].join('|')
const streams: readonly (readonly [string, string, readonly string[]])[] = [
  ['one event', 'data: x\n\n', ['message|x']],
  ['no space after the colon', 'data:x\n\n', ['message|x']],
  ['only one space is taken', 'data:  x\n\n', ['message| x']],
  ['carriage returns', 'data: x\r\rdata: y\r\r', ['message|x', 'message|y']],
  ['both', 'event: a\r\ndata: x\r\n\r\n', ['a|x']],
  ['several lines', 'data: x\ndata\ndata: y\n\n', ['message|x\n\ny']],
  ['a priming event', 'id: 7\ndata: \n\n', ['message||id=7']],
  ['an event without data is none', 'event: a\nid: 7\n\ndata: x\n\n', ['message|x|id=7']],
  ['comments', ': hi\n:\ndata: x\n: more\n\n', ['message|x']],
  [
    'the id stays',
    'id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n',
    ['message|a|id=1', 'message|b|id=1', 'message|c|id='],
  ],
  ['an id with NUL is none', 'id: a\0b\ndata: x\n\n', ['message|x']],
  ['retry', 'retry: 1500\ndata: x\n\nretry: 1x\ndata: y\n\n', ['message|x|retry=1500', 'message|y']],
  ['unknown fields', 'Data: y\nfoo\ndata : z\ndata: x\n\n', ['message|x']],
  ['a byte order mark', '\ufeffdata: x\n\n', ['message|x']],
  ['an unfinished event', 'data: x\n\ndata: y\n', ['message|x']],
  ['multi-byte characters', 'data: é𝄞\n\n', ['message|é𝄞']],
]
const decode = (bytes: Uint8Array, cuts: readonly number[]): string[] => {
  const decoder = new SseDecoder(1000)
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).flatMap((end, i) => decoder.push(bytes.slice(places[i], end)).map(shown))
}
void t.test('server-sent events', async (t) => {
  for (const [name, text, expected] of streams) {
    await t.test(name, async (t) => {
      const bytes = Buffer.from(text)
      t.same(decode(bytes, []), expected)
      t.same(decode(bytes, [...bytes.keys()]), expected, 'byte by byte')
    })
  }
  await t.test('chunking makes no difference', async () => {
    const piece = fc.constantFrom(
      'data',
      'data: ',
      'x',
      'é',
      '\n',
      '\n',
      '\r',
      '\r\n',
      ':',
      'id: 3',
      'event:e',
      'retry:5',
      '\n\n',
      '\ufeff',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.array(fc.nat(), { maxLength: 12 }), (pieces, cuts) => {
        const bytes = Buffer.from(pieces.join(''))
        return JSON.stringify(decode(bytes, cuts)) === JSON.stringify(decode(bytes, []))
      }),
      { numRuns: 3000 },
    )
  })
  await t.test('what is encoded is decoded', async () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const [event, ...more] = new SseDecoder(10_000).push(sseEvent(Buffer.from(text)))
        return more.length === 0 && event?.data.toString() === Buffer.from(text.replaceAll(/\r\n|\r/g, '\n')).toString()
      }),
    )
  })
  await t.test('an endless line and an endless event are refused', async (t) => {
    const line = new SseDecoder(100)
    t.same(line.push(Buffer.from('data: '.padEnd(60, 'x'))), [])
    t.throws(() => line.push(Buffer.alloc(60, 'x')), { message: /larger than 100 bytes/ })
    const event = new SseDecoder(100)
    t.throws(() => event.push(Buffer.from('data: 0123456789\n'.repeat(20))), { message: /larger than 100 bytes/ })
  })
})

void t.test('methods', async (t) => {
  t.same(Object.keys(methods).filter(isDirect), ['tools/call', 'prompts/get', 'resources/read'])
  for (const name of ['__proto__', 'constructor', 'toString', '', 'Tools/call', 'tools/call '])
    t.notOk(isMethod(name) || isDirect(name) || isMethodOf('stateless', name), name)
  const only = (era: Era, other: Era) =>
    Object.keys(methods).filter((name) => isMethodOf(era, name) && !isMethodOf(other, name))
  t.same(only('stateless', 'stateful'), ['server/discover', 'subscriptions/listen', 'tasks/update'])
  t.same(only('stateful', 'stateless'), [
    'initialize',
    'ping',
    'resources/subscribe',
    'resources/unsubscribe',
    'logging/setLevel',
    'tasks/result',
    'tasks/list',
    'notifications/initialized',
    'notifications/progress',
    'notifications/roots/list_changed',
  ])
})

void t.test('versions', async (t) => {
  for (const [asked, answered] of [
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2025-03-26', '2025-03-26'],
    ['2024-11-05', '2025-11-25'],
    ['2026-07-28', '2025-11-25'],
    ['', '2025-11-25'],
    [undefined, '2025-11-25'],
  ] as const) {
    t.equal(negotiate(asked), answered, String(asked))
  }
})

const edge: Edge = {
  path: '/mcp',
  views: new Set(['oncall', 'on-call-2']),
  hosts: new Set(['mcp.example.com', '10.0.0.7']),
  origins: new Set(['https://app.example.com']),
  maxBody: 1000,
}
const post: RequestHead = {
  method: 'POST',
  path: '/mcp',
  host: '127.0.0.1:8080',
  origin: undefined,
  contentType: 'application/json',
  contentEncoding: undefined,
  accept: 'application/json, text/event-stream',
  contentLength: '10',
  sessionId: undefined,
  protocolVersion: undefined,
  mcpMethod: undefined,
  mcpName: undefined,
  mcpParams: new Map(),
}
const get: RequestHead = { ...post, method: 'GET', accept: 'text/event-stream', sessionId: 's', contentType: undefined }
const heads: readonly (readonly [string, RequestHead, string])[] = [
  ['a POST', post, 'post'],
  ['a GET', get, 'get'],
  ['a DELETE, which accepts nothing', { ...get, method: 'DELETE', accept: undefined }, 'delete'],
  ['a query', { ...post, path: '/mcp?x=1' }, 'post'],
  ['another path', { ...post, path: '/mcpx' }, 'wrong-path'],
  ['a view', { ...post, path: '/mcp/oncall' }, 'post at oncall'],
  ['a view with a query', { ...post, path: '/mcp/on-call-2?x=/mcp/y' }, 'post at on-call-2'],
  ['a GET at a view', { ...get, path: '/mcp/oncall' }, 'get at oncall'],
  ['a refusal at a view', { ...post, path: '/mcp/oncall', method: 'PUT' }, 'wrong-verb at oncall'],
  ['a view that there is not', { ...post, path: '/mcp/x' }, 'unknown-view'],
  ['a member of Object', { ...post, path: '/mcp/constructor' }, 'unknown-view'],
  ['the beginning of a view', { ...post, path: '/mcp/on' }, 'unknown-view'],
  ['a view in another case', { ...post, path: '/mcp/Oncall' }, 'wrong-path'],
  ['a view spelt with an escape', { ...post, path: '/mcp/%6fncall' }, 'wrong-path'],
  ['a path below a view', { ...post, path: '/mcp/oncall/x' }, 'wrong-path'],
  ['a slash behind a view', { ...post, path: '/mcp/oncall/' }, 'wrong-path'],
  ['a slash behind the path', { ...post, path: '/mcp/' }, 'wrong-path'],
  ['a slash and a query', { ...post, path: '/mcp?/oncall' }, 'post'],
  ['a fragment', { ...post, path: '/mcp/oncall#x' }, 'wrong-path'],
  ['no path', { ...post, path: undefined }, 'wrong-path'],
  ['PUT', { ...post, method: 'PUT' }, 'wrong-verb'],
  ['post', { ...post, method: 'post' }, 'wrong-verb'],
  ['localhost', { ...post, host: 'LocalHost:1' }, 'post'],
  ['IPv6 loopback', { ...post, host: '[::1]:8080' }, 'post'],
  ['our name', { ...post, host: 'mcp.example.com' }, 'post'],
  ['our address', { ...post, host: '10.0.0.7:8080' }, 'post'],
  ['another host', { ...post, host: 'evil.example.com' }, 'foreign-host'],
  ['a host that begins as ours', { ...post, host: 'localhost.evil.example.com' }, 'foreign-host'],
  ['a host with user', { ...post, host: 'localhost@evil.example.com' }, 'foreign-host'],
  ['no host', { ...post, host: undefined }, 'foreign-host'],
  ['a loopback origin', { ...post, origin: 'http://localhost:5173' }, 'post'],
  ['an IPv6 loopback origin', { ...post, origin: 'https://[::1]' }, 'post'],
  ['our origin', { ...post, origin: 'https://app.example.com' }, 'post'],
  ['our origin over http', { ...post, origin: 'http://app.example.com' }, 'foreign-origin'],
  ['another origin', { ...post, origin: 'https://evil.example.com' }, 'foreign-origin'],
  ['an origin that begins as loopback', { ...post, origin: 'http://localhost.evil.example.com' }, 'foreign-origin'],
  ['the null origin', { ...post, origin: 'null' }, 'foreign-origin'],
  ['the null origin on GET', { ...get, origin: 'null' }, 'foreign-origin'],
  ['a charset', { ...post, contentType: 'application/json; charset="UTF-8"' }, 'post'],
  ['another charset', { ...post, contentType: 'application/json; charset=utf-16' }, 'content-type'],
  ['another type', { ...post, contentType: 'application/jsonrpc' }, 'content-type'],
  ['two types', { ...post, contentType: 'application/json, text/plain' }, 'content-type'],
  ['no type', { ...post, contentType: undefined }, 'content-type'],
  ['identity', { ...post, contentEncoding: 'identity' }, 'post'],
  ['gzip', { ...post, contentEncoding: 'gzip' }, 'content-encoding'],
  ['accepts anything', { ...post, accept: '*/*' }, 'post'],
  ['accepts both families', { ...post, accept: 'application/*, text/*;q=0.5' }, 'post'],
  ['accepts JSON alone', { ...post, accept: 'application/json' }, 'not-acceptable'],
  ['accepts events alone', { ...post, accept: 'text/event-stream' }, 'not-acceptable'],
  ['refuses events', { ...post, accept: 'application/json, text/event-stream;q=0' }, 'not-acceptable'],
  ['no Accept', { ...post, accept: undefined }, 'not-acceptable'],
  ['a GET that wants JSON', { ...get, accept: 'application/json' }, 'not-acceptable'],
  ['as large as may be', { ...post, contentLength: '1000' }, 'post'],
  ['too large', { ...post, contentLength: '1001' }, 'too-large'],
  ['chunked', { ...post, contentLength: undefined }, 'post'],
  ['a known version', { ...post, protocolVersion: '2025-06-18' }, 'post'],
  ['a version that the body decides about', { ...post, protocolVersion: '2026-07-28' }, 'post'],
  ['an unknown version that the body decides about', { ...post, protocolVersion: '2099-01-01' }, 'post'],
  ['a GET in a stateful version', { ...get, protocolVersion: '2025-03-26' }, 'get'],
  ['a GET in a stateless version', { ...get, protocolVersion: '2026-07-28' }, 'wrong-verb'],
  ['a stateless GET that accepts nothing', { ...get, protocolVersion: '2026-07-28', accept: undefined }, 'wrong-verb'],
  ['a DELETE in a stateless version', { ...get, method: 'DELETE', protocolVersion: '2026-07-28' }, 'wrong-verb'],
  [
    'a stateless GET from a foreign origin',
    { ...get, protocolVersion: '2026-07-28', origin: 'null' },
    'foreign-origin',
  ],
  ['a GET in an unknown version', { ...get, protocolVersion: '2099-01-01' }, 'unsupported-version'],
  ['a GET without session', { ...get, sessionId: undefined }, 'no-session-id'],
  ['a DELETE without session', { ...get, method: 'DELETE', sessionId: '' }, 'no-session-id'],
]
void t.test('request head', async (t) => {
  for (const [name, head, expected] of heads) {
    await t.test(name, async (t) => {
      const examined = examine(head, edge)
      const what = examined.ok ? examined.verb : examined.reason
      t.equal(examined.view === '' ? what : `${what} at ${examined.view}`, expected)
    })
  }
})
