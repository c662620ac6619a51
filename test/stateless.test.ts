/** The stateless era's vocabulary: header values, arguments repeated as headers, the era of a request and the validation ladder. */
import fc from 'fast-check'
import t from 'tap'
import { decimalText, sameNumber } from '../src/mcp/decimal.ts'
import { decodeHeaderValue, encodeHeaderValue } from '../src/mcp/header-value.ts'
import { members } from '../src/mcp/json-text.ts'
import { type ParamHeader, paramFault, paramHeadersFor, readParamHeaders } from '../src/mcp/param-headers.ts'
import type { RequestHead } from '../src/mcp/request-head.ts'
import { type Message, scan } from '../src/mcp/scan.ts'
import { declaredFeatures, eraOf, statelessFault } from '../src/mcp/stateless-request.ts'

const base64 = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`

const encoded: readonly (readonly [string, string, string])[] = [
  ['plain', 'us-west1', 'us-west1'],
  ['spaces inside', 'us west  1', 'us west  1'],
  ['a URI', 'file:///a/b.json?x=1#y', 'file:///a/b.json?x=1#y'],
  ['beyond ASCII', 'Hello, 世界', '=?base64?SGVsbG8sIOS4lueVjA==?='],
  ['spaces around', ' padded ', '=?base64?IHBhZGRlZCA=?='],
  ['a newline', 'line1\nline2', '=?base64?bGluZTEKbGluZTI=?='],
  ['a tab inside', 'a\tb', base64('a\tb')],
  ['a NUL', 'a\0', base64('a\0')],
  ['nothing', '', '=?base64??='],
  ['what looks encoded', '=?base64?literal?=', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
  ['only the first marker', '=?base64?literal', '=?base64?literal'],
  ['only the last marker', 'literal?=', 'literal?='],
  ['markers that share a character', '=?base64?=', '=?base64?='],
  ['markers in capitals', '=?BASE64?YQ==?=', '=?BASE64?YQ==?='],
]
const decoded: readonly (readonly [string, string, string | undefined])[] = [
  ['space around', ' \t us-west1\t ', 'us-west1'],
  ['space around the markers', '  =?base64?SGVsbG8=?=  ', 'Hello'],
  ['nothing', '', ''],
  ['only space', '   ', ''],
  ['a tab inside', 'a\tb', 'a\tb'],
  ['base64 without markers', 'SGVsbG8=', 'SGVsbG8='],
  ['no padding', '=?base64?SGVsbG8?=', undefined],
  ['no alphabet', '=?base64?SGVs!!!bG8=?=', undefined],
  ['the alphabet of URLs', '=?base64?_-8=?=', undefined],
  ['too much padding', '=?base64?YQ===?=', undefined],
  ['padding inside', '=?base64?YQ==YQ==?=', undefined],
  ['a space in the base64', '=?base64?YQ ==?=', undefined],
  ['no UTF-8', `=?base64?${Buffer.from([0xc0, 0xaf]).toString('base64')}?=`, undefined],
  ['a control character', 'a\u0001b', undefined],
  ['a line break', 'a\r\nb', undefined],
  ['beyond ASCII', 'é', undefined],
  ['a space that is none of the header’s', '\u00a0a', undefined],
]
void t.test('header values', async (t) => {
  for (const [name, text, header] of encoded) {
    await t.test(name, async (t) => {
      t.equal(encodeHeaderValue(text), header)
      t.equal(decodeHeaderValue(header), text)
    })
  }
  for (const [name, header, text] of decoded)
    await t.test(`received: ${name}`, async (t) => t.equal(decodeHeaderValue(header), text))
  await t.test('every text comes back, in a value that no hop changes', async () => {
    const marked = fc
      .tuple(fc.constantFrom('=?base64?', '=?', ' ', ''), fc.string(), fc.constantFrom('?=', '=', '\t', ''))
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string(), marked), (text) => {
        const header = encodeHeaderValue(text)
        return (
          /^[!-~](?:[ -~]*[!-~])?$/.test(header) &&
          decodeHeaderValue(header) === text &&
          decodeHeaderValue(`\t ${header} `) === text
        )
      }),
      { numRuns: 3000 },
    )
  })
  await t.test('decoding is total', async () => {
    const marked = fc.string().map((text) => `=?base64?${text}?=`)
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), marked), (raw) => {
        const text = decodeHeaderValue(raw)
        return text === undefined || decodeHeaderValue(encodeHeaderValue(text)) === text
      }),
      { numRuns: 2000 },
    )
  })
})

const numbers: readonly (readonly [string, string, boolean])[] = [
  ['42', '42', true],
  ['42', '42.0', true],
  ['42', '4.2e1', true],
  ['42', '420e-1', true],
  ['0', '-0', true],
  ['0', '0.000e5', true],
  ['9007199254740993', '9007199254740993.0', true],
  ['9007199254740993', '9007199254740992', false],
  ['1e400', '10e399', true],
  ['1e400', '1e401', false],
  ['1', '-1', false],
  ['1', '10', false],
  ['1', '1.0000000000000000000001', false],
  ['42', '042', false],
  ['42', '+42', false],
  ['42', ' 42', false],
  ['42', '', false],
  ['42', '0x2a', false],
  ['42', '42n', false],
  ['1e9999999999', '1e9999999999', false],
]
const decimals: readonly (readonly [string, string])[] = [
  ['42', '42'],
  ['42.0', '42'],
  ['4.2e1', '42'],
  ['-1.50', '-1.5'],
  ['-0', '0'],
  ['1e-3', '0.001'],
  ['9007199254740993', '9007199254740993'],
  ['1E+21', '1000000000000000000000'],
  ['1e401', '1e401'],
  ['1e9999999999', '1e9999999999'],
]
void t.test('numbers', async (t) => {
  for (const [a, b, same] of numbers) {
    await t.test(`${a} and ${b}`, async (t) => {
      t.equal(sameNumber(a, b), same)
      t.equal(sameNumber(b, a), same)
    })
  }
  for (const [number, text] of decimals)
    await t.test(`${number} as text`, async (t) => t.equal(decimalText(number), text))
  await t.test('the same when JSON.parse says so, where it does not round', async () => {
    const spelt = fc.tuple(fc.integer({ min: -999, max: 999 }), fc.integer({ min: -3, max: 3 }), fc.boolean())
    const text = spelt.map(([whole, exponent, fraction]) => `${whole}${fraction ? '.0' : ''}e${exponent}`)
    fc.assert(
      fc.property(text, text, (a, b) => {
        const left: unknown = JSON.parse(a)
        const right: unknown = JSON.parse(b)
        return sameNumber(a, b) === (left === right)
      }),
      { numRuns: 2000 },
    )
  })
  await t.test('as text a number is the same, and a number', async () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer()), (number) => {
        const text = decimalText(JSON.stringify(number))
        return Number(text) === number && sameNumber(text, JSON.stringify(number)) && /^-?\d+(\.\d+)?$/.test(text)
      }),
      { numRuns: 2000 },
    )
  })
  await t.test('a million digits are read once', async (t) => {
    const long = `1${'0'.repeat(500_000)}1${'0'.repeat(500_000)}`
    t.ok(sameNumber(long, `${long}.${'0'.repeat(500_000)}`))
    t.equal(decimalText(long), long)
  })
})

const read = (schema: string | undefined): string => {
  const json = Buffer.from(schema === undefined ? '{}' : `{"inputSchema":${schema}}`)
  const found = readParamHeaders(json, members(json).get('inputSchema'))
  return found.ok
    ? found.params.map(({ header, key, path, type }) => `${header} ${key} ${path.join('>')} ${type}`).join('; ')
    : `refused: ${found.why}`
}
const properties = (text: string): string => `{"type":"object","properties":{${text}}}`
const nested = (levels: number): string =>
  `${'{"properties":{"a":'.repeat(levels)}{"type":"string","x-mcp-header":"H"}${'}}'.repeat(levels)}`
const schemas: readonly (readonly [string, string | undefined, string | RegExp])[] = [
  ['no schema', undefined, ''],
  ['no annotation', properties('"a":{"type":"string"}'), ''],
  [
    'all kinds',
    properties(
      '"r":{"type":"string","x-mcp-header":"Region"},"p":{"type":"integer","x-mcp-header":"p-1"},"b":{"x-mcp-header":"B","type":"boolean"}',
    ),
    'Region region r string; p-1 p-1 p integer; B b b boolean',
  ],
  [
    'in an object',
    properties('"a":{"properties":{"b":{"type":"string","x-mcp-header":"H"}},"type":"object"}'),
    'H h a>b string',
  ],
  ['spelt with an escape', properties('"a":{"type":"string","\\u0078-mcp-header":"H"}'), 'H h a string'],
  ['may be null', properties('"a":{"type":["string","null"],"x-mcp-header":"H"}'), 'H h a string'],
  ['a property of that name', properties('"x-mcp-header":{"type":"string"}'), ''],
  [
    'a property of that name with one',
    properties('"x-mcp-header":{"type":"string","x-mcp-header":"H"}'),
    'H h x-mcp-header string',
  ],
  [
    'in an example',
    properties('"a":{"type":"object","default":{"x-mcp-header":"H"},"enum":[{"x-mcp-header":"H"}]}'),
    '',
  ],
  ['__proto__', properties('"__proto__":{"type":"string","x-mcp-header":"H"}'), 'H h __proto__ string'],
  ['64 levels', nested(64), `H h ${Array.from({ length: 64 }, () => 'a').join('>')} string`],
  ['65 levels', nested(65), /^refused: a schema under "properties"/],
  ['100,000 levels', nested(100_000), /^refused: a schema under "properties"/],
  [
    'a list of 200,000 schemas',
    `{"oneOf":[${'{},'.repeat(200_000)}{"x-mcp-header":"H"}]}`,
    /^refused: .* under "oneOf"/,
  ],
  ['empty', properties('"a":{"type":"string","x-mcp-header":""}'), 'refused: "a" names no valid header'],
  ['no string', properties('"a":{"type":"string","x-mcp-header":1}'), 'refused: "a" names no valid header'],
  ['null', properties('"a":{"type":"string","x-mcp-header":null}'), 'refused: "a" names no valid header'],
  ['a space', properties('"a":{"type":"string","x-mcp-header":"My Region"}'), 'refused: "a" names no valid header'],
  ['a colon', properties('"a":{"type":"string","x-mcp-header":"A:B"}'), 'refused: "a" names no valid header'],
  ['beyond ASCII', properties('"a":{"type":"string","x-mcp-header":"Région"}'), 'refused: "a" names no valid header'],
  ['a tab', properties('"a":{"type":"string","x-mcp-header":"A\\t1"}'), 'refused: "a" names no valid header'],
  ['a line break', properties('"a":{"type":"string","x-mcp-header":"A\\r\\n"}'), 'refused: "a" names no valid header'],
  [
    'the same twice',
    properties('"a":{"type":"string","x-mcp-header":"H"},"b":{"type":"string","x-mcp-header":"H"}'),
    'refused: "a" and "b" have the same header, H',
  ],
  [
    'the same twice in another case and level',
    properties(
      '"a":{"type":"object","properties":{"c":{"type":"string","x-mcp-header":"my"}}},"b":{"type":"string","x-mcp-header":"MY"}',
    ),
    'refused: "b" and "a.c" have the same header, my',
  ],
  ...['object', 'array', 'null', 'number', 'text'].map(
    (type) =>
      [
        `of type ${type}`,
        properties(`"a":{"type":"${type}","x-mcp-header":"H"}`),
        'refused: "a" must be a string, an integer or a boolean to have a header',
      ] as const,
  ),
  ['of no type', properties('"a":{"x-mcp-header":"H"}'), /^refused: "a" must be/],
  ['of two types', properties('"a":{"type":["string","integer"],"x-mcp-header":"H"}'), /^refused: "a" must be/],
  ['of null alone', properties('"a":{"type":["null"],"x-mcp-header":"H"}'), /^refused: "a" must be/],
  ['at the root', '{"type":"object","x-mcp-header":"H"}', /^refused: the schema itself/],
  ...['items', 'additionalProperties', 'not', 'if', 'then', 'else', 'contains', 'propertyNames'].map(
    (keyword) =>
      [
        `under ${keyword}`,
        properties(`"a":{"${keyword}":{"type":"string","x-mcp-header":"H"}}`),
        `refused: a schema under "${keyword}" has x-mcp-header; only properties may`,
      ] as const,
  ),
  ...['oneOf', 'anyOf', 'allOf', 'prefixItems'].map(
    (keyword) =>
      [
        `under ${keyword}`,
        properties(`"a":{"${keyword}":[true,{"type":"string","x-mcp-header":"H"}]}`),
        `refused: a schema under "${keyword}" has x-mcp-header; only properties may`,
      ] as const,
  ),
  ...['$defs', 'definitions', 'patternProperties', 'dependentSchemas'].map(
    (keyword) =>
      [
        `under ${keyword}`,
        `{"${keyword}":{"a":{"type":"string","x-mcp-header":"H"}}}`,
        `refused: a schema under "${keyword}" has x-mcp-header; only properties may`,
      ] as const,
  ),
  [
    'under the properties of items',
    properties('"a":{"items":{"properties":{"b":{"type":"string","x-mcp-header":"H"}}}}'),
    /^refused: a schema under "properties"/,
  ],
]
void t.test('arguments that a schema repeats as headers', async (t) => {
  for (const [name, schema, expected] of schemas) {
    await t.test(name, async (t) => {
      const found = read(schema)
      if (typeof expected === 'string') t.equal(found, expected)
      else t.match(found, expected)
    })
  }
})

const region: ParamHeader = { header: 'Region', key: 'region', path: ['region'], type: 'string' }
const count: ParamHeader = { header: 'Count', key: 'count', path: ['page', 'count'], type: 'integer' }
const dry: ParamHeader = { header: 'Dry', key: 'dry', path: ['page', 'dry'], type: 'boolean' }
const all = [region, count, dry]

/** Arguments, the headers received with them, and what is wrong. */
const received: readonly (readonly [
  string,
  string | undefined,
  Readonly<Record<string, string>>,
  string | undefined,
])[] = [
  ['nothing of either', '{"query":"x"}', {}, undefined],
  ['no arguments', undefined, {}, undefined],
  ['arguments that are no object', '[1]', {}, undefined],
  [
    'all agree',
    '{"page":{"dry":false,"count":42},"region":"eu"}',
    { region: 'eu', count: '42', dry: 'false' },
    undefined,
  ],
  ['encoded', '{"region":"é"}', { region: base64('é') }, undefined],
  ['encoded without need', '{"region":"Hello"}', { region: '=?base64?SGVsbG8=?=' }, undefined],
  ['spelt with escapes', '{"r\\u0065gion":"\\u0065u"}', { region: 'eu' }, undefined],
  ['base64 without its first marker is literal', '{"region":"SGVsbG8="}', { region: 'SGVsbG8=' }, undefined],
  ['the empty text as nothing', '{"region":""}', { region: '' }, undefined],
  ['the empty text encoded', '{"region":""}', { region: '=?base64??=' }, undefined],
  ['an integer otherwise', '{"page":{"count":42}}', { count: '42.0' }, undefined],
  ['an integer with exponent', '{"page":{"count":4.2e1}}', { count: '42' }, undefined],
  ['a header nobody declared', '{}', { other: 'x' }, undefined],
  ['null', '{"region":null}', {}, undefined],
  ['an object where a text belongs', '{"region":{"a":1}}', {}, undefined],
  ['missing', '{"region":"eu"}', {}, 'Mcp-Param-Region is missing for "region"'],
  ['missing for the empty text', '{"region":""}', {}, 'Mcp-Param-Region is missing for "region"'],
  ['missing inside', '{"page":{"count":1}}', {}, 'Mcp-Param-Count is missing for "page.count"'],
  ['another value', '{"region":"eu"}', { region: 'us' }, 'Mcp-Param-Region differs from the body for "region"'],
  ['another case', '{"region":"eu"}', { region: 'EU' }, 'Mcp-Param-Region differs from the body for "region"'],
  ['no padding', '{"region":"Hello"}', { region: '=?base64?SGVsbG8?=' }, 'Mcp-Param-Region is malformed for "region"'],
  ['a control character', '{"region":"a\\u0001"}', { region: 'a\u0001' }, 'Mcp-Param-Region is malformed for "region"'],
  ['sent without a value', '{}', { region: 'eu' }, 'Mcp-Param-Region is sent without a value in the body for "region"'],
  [
    'sent without arguments',
    undefined,
    { region: 'eu' },
    'Mcp-Param-Region is sent without a value in the body for "region"',
  ],
  [
    'sent for null',
    '{"region":null}',
    { region: 'null' },
    'Mcp-Param-Region is sent without a value in the body for "region"',
  ],
  [
    'sent for an object',
    '{"region":{}}',
    { region: '{}' },
    'Mcp-Param-Region is sent without a value in the body for "region"',
  ],
  [
    'an integer that only rounds to the same',
    '{"page":{"count":9007199254740993}}',
    { count: '9007199254740992' },
    'Mcp-Param-Count differs from the body for "page.count"',
  ],
  [
    'a number that is text in the body',
    '{"page":{"count":"42.0"}}',
    { count: '42' },
    'Mcp-Param-Count differs from the body for "page.count"',
  ],
  [
    'no integer at all',
    '{"page":{"count":42}}',
    { count: 'many' },
    'Mcp-Param-Count differs from the body for "page.count"',
  ],
  [
    'a boolean in capitals',
    '{"page":{"dry":true}}',
    { dry: 'True' },
    'Mcp-Param-Dry differs from the body for "page.dry"',
  ],
  [
    'a path through a text',
    '{"page":"count"}',
    { count: '1' },
    'Mcp-Param-Count is sent without a value in the body for "page.count"',
  ],
]
const callOf = (args: string | undefined) => {
  const bytes = Buffer.from(
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{${args === undefined ? '' : `"arguments":${args},`}"name":"n"}}`,
  )
  return { bytes, at: messageOf(bytes).arguments }
}
const messageOf = (bytes: Buffer): Message => {
  const scanned = scan(bytes)
  if (!scanned.ok) throw new Error(`${scanned.reason}: ${bytes.toString()}`)
  return scanned.message
}
void t.test('arguments and their headers', async (t) => {
  for (const [name, args, headers, expected] of received) {
    await t.test(name, async (t) => {
      const { bytes, at } = callOf(args)
      t.equal(paramFault(all, new Map(Object.entries(headers)), bytes, at), expected)
    })
  }
  for (const [name, args, expected] of [
    ['all', '{"page":{"dry":false,"count":42.0},"region":"eu"}', { region: 'eu', count: '42', dry: 'false' }],
    ['encoded', '{"region":"é"}', { region: base64('é') }],
    ['the empty text', '{"region":""}', { region: '=?base64??=' }],
    ['a large integer', '{"page":{"count":9007199254740993}}', { count: '9007199254740993' }],
    ['null and absent', '{"region":null}', {}],
    ['no arguments', undefined, {}],
  ] as const) {
    await t.test(`made: ${name}`, async (t) => {
      const { bytes, at } = callOf(args)
      const headers = Object.entries(expected).map(([key, value]) => [`mcp-param-${key}`, value])
      t.same(paramHeadersFor(all, bytes, at), Object.fromEntries(headers))
    })
  }
  await t.test('what we send is what we accept, and nothing else', async () => {
    const scalar = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.maxSafeInteger(),
    )
    const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 2 }))
    const args = fc.record(
      { region: value, page: fc.oneof(value, fc.record({ count: value, dry: value }, { requiredKeys: [] })) },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(args, fc.constantFrom(...all), (of, other) => {
        const { bytes, at } = callOf(JSON.stringify(of))
        const sent = new Map(
          Object.entries(paramHeadersFor(all, bytes, at)).map(([name, value]) => [
            name.slice('mcp-param-'.length),
            value,
          ]),
        )
        const changed = new Map(sent)
        if (!changed.delete(other.key)) changed.set(other.key, 'x')
        return paramFault(all, sent, bytes, at) === undefined && paramFault(all, changed, bytes, at) !== undefined
      }),
      { numRuns: 2000 },
    )
  })
})

const V = '2026-07-28'
const version = (text: string): string => `"io.modelcontextprotocol/protocolVersion":${text}`
const capabilities = (text: string): string => `"io.modelcontextprotocol/clientCapabilities":${text}`
const valid = `${version(`"${V}"`)},${capabilities('{}')}`
const request = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${params}}}`
const notification = (params: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{${params}}}`
const list = (meta: string): string => request('tools/list', `"_meta":{${meta}}`)
const named = (method: string, params: string): string => request(method, `${params}"_meta":{${valid}}`)
const response = '{"jsonrpc":"2.0","id":1,"result":{}}'

const eras: readonly (readonly [string, string, string | undefined, string])[] = [
  ['a version in the body', list(valid), undefined, 'stateless'],
  ['a version in both', list(valid), V, 'stateless'],
  ['a version in the body against an old header', list(valid), '2025-11-25', 'stateless'],
  ['a version in the body of no text', list(version('7')), undefined, 'stateless'],
  ['an old version in the body', list(version('"2025-11-25"')), undefined, 'stateless'],
  ['initialize with a version in the body', request('initialize', `"_meta":{${valid}}`), V, 'stateless'],
  ['initialize', request('initialize', '"protocolVersion":"2025-11-25"'), undefined, 'stateful'],
  ['initialize with a stateless header', request('initialize', ''), V, 'stateful'],
  ['no version', list(''), undefined, 'stateful'],
  ['an empty version', list(''), '', 'stateful'],
  ['a stateful header', list(''), '2025-11-25', 'stateful'],
  ['an older stateful header', list(''), '2025-03-26', 'stateful'],
  ['a header older than all we know', list(''), '2024-11-05', 'stateful'],
  ['a stateless header', list(''), V, 'stateless'],
  ['a header newer than all we know', list(''), '2099-01-01', 'stateless'],
  ['a header that is no date', list(''), 'v999.0.0', 'stateless'],
  ['capabilities alone', list(capabilities('{}')), undefined, 'stateful'],
  ['a response', response, undefined, 'stateful'],
  ['a response with a stateless header', response, V, 'stateless'],
  ['a notification', notification(''), undefined, 'stateful'],
  ['a notification with a stateless header', notification(''), V, 'stateless'],
]
void t.test('the era of a request', async (t) => {
  for (const [name, body, protocolVersion, expected] of eras) {
    await t.test(name, async (t) => t.equal(eraOf({ protocolVersion }, messageOf(Buffer.from(body))), expected))
  }
})

const head: RequestHead = {
  method: 'POST',
  path: '/mcp',
  host: 'localhost',
  origin: undefined,
  contentType: 'application/json',
  contentEncoding: undefined,
  accept: 'application/json, text/event-stream',
  contentLength: undefined,
  sessionId: undefined,
  protocolVersion: V,
  mcpMethod: undefined,
  mcpName: undefined,
  mcpParams: new Map(),
}
const listing: RequestHead = { ...head, mcpMethod: 'tools/list' }
const calling = (mcpName: string | undefined, mcpMethod = 'tools/call'): RequestHead => ({
  ...head,
  mcpMethod,
  mcpName,
})
const bad = (meta: string, detail: string) => [list(meta), listing, `bad-meta: ${detail}`] as const
const ladder: Readonly<Record<string, readonly [string, RequestHead, string | undefined]>> = {
  'a list': [list(valid), listing, undefined],
  'a call': [named('tools/call', '"name":"a",'), calling('a'), undefined],
  'a prompt': [named('prompts/get', '"name":"a",'), calling('a', 'prompts/get'), undefined],
  'a resource': [named('resources/read', '"uri":"a://b",'), calling('a://b', 'resources/read'), undefined],
  'space around the name': [named('tools/call', '"name":"a",'), calling(' a\t'), undefined],
  'an encoded name': [named('tools/call', '"name":"é",'), calling(base64('é')), undefined],
  'a name encoded without need': [named('tools/call', '"name":"a",'), calling(base64('a')), undefined],
  'a name that looks encoded, encoded': [
    named('tools/call', '"name":"=?base64?YQ==?=",'),
    calling(base64('=?base64?YQ==?=')),
    undefined,
  ],
  'a name spelt with an escape': [named('tools/call', '"name":"\\u0061",'), calling('a'), undefined],
  'a name where none is asked for': [list(valid), { ...listing, mcpName: 'a' }, undefined],
  'a completion': [
    named('completion/complete', '"ref":{"type":"ref/prompt","name":"a"},'),
    { ...head, mcpMethod: 'completion/complete' },
    undefined,
  ],
  'a method that nobody knows': [named('x/y', ''), { ...head, mcpMethod: 'x/y' }, undefined],
  __proto__: [named('__proto__', ''), { ...head, mcpMethod: '__proto__' }, undefined],
  'a call of nothing': [named('tools/call', ''), calling(undefined), undefined],
  'a session id is ignored': [list(valid), { ...listing, sessionId: 's' }, undefined],
  'all that _meta may hold': [
    list(
      `${version(`"${V}"`)},${capabilities('{"elicitation":{"form":{}},"sampling":{},"roots":{},"extensions":{}}')},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/logLevel":"debug","progressToken":1,"traceparent":"x"`,
    ),
    listing,
    undefined,
  ],
  'a response': [response, head, 'response-refused: clients send requests and notifications, never responses'],
  'another version in the header': [
    list(`${version('"v999.0.0"')},${capabilities('{}')}`),
    listing,
    'header-mismatch: MCP-Protocol-Version is "2026-07-28", the body says "v999.0.0"',
  ],
  'a stateful version in the header': [
    list(valid),
    { ...listing, protocolVersion: '2025-11-25' },
    'header-mismatch: MCP-Protocol-Version is "2025-11-25", the body says "2026-07-28"',
  ],
  'versions that disagree, and all else wrong too': [
    list(version('"x"')),
    head,
    'header-mismatch: MCP-Protocol-Version is "2026-07-28", the body says "x"',
  ],
  'no params': ['{"jsonrpc":"2.0","id":1,"method":"tools/list"}', listing, 'bad-meta: _meta is missing'],
  'no _meta': [request('tools/list', ''), listing, 'bad-meta: _meta is missing'],
  '_meta of another kind': [request('tools/list', '"_meta":[]'), listing, 'bad-meta: _meta is not an object'],
  'no version': bad(capabilities('{}'), '_meta has no io.modelcontextprotocol/protocolVersion'),
  'no capabilities': bad(version(`"${V}"`), '_meta has no io.modelcontextprotocol/clientCapabilities'),
  'a version of another kind': bad(
    `${version('7')},${capabilities('{}')}`,
    'io.modelcontextprotocol/protocolVersion is not a string',
  ),
  'a null version': bad(
    `${version('null')},${capabilities('{}')}`,
    'io.modelcontextprotocol/protocolVersion is not a string',
  ),
  'capabilities of another kind': bad(
    `${version(`"${V}"`)},${capabilities('["roots"]')}`,
    'io.modelcontextprotocol/clientCapabilities is not an object',
  ),
  'a feature of another kind': bad(
    `${version(`"${V}"`)},${capabilities('{"roots":{},"sampling":true}')}`,
    'io.modelcontextprotocol/clientCapabilities has a sampling that is not an object',
  ),
  'a client of another kind': bad(
    `${valid},"io.modelcontextprotocol/clientInfo":"c"`,
    'io.modelcontextprotocol/clientInfo is not an object with a name and a version',
  ),
  'a client without version': bad(
    `${valid},"io.modelcontextprotocol/clientInfo":{"name":"c","version":1}`,
    'io.modelcontextprotocol/clientInfo is not an object with a name and a version',
  ),
  'a log level nobody knows': bad(
    `${valid},"io.modelcontextprotocol/logLevel":"loud"`,
    'io.modelcontextprotocol/logLevel is not a log level',
  ),
  'a log level of another kind': bad(
    `${valid},"io.modelcontextprotocol/logLevel":3`,
    'io.modelcontextprotocol/logLevel is not a log level',
  ),
  'incomplete _meta before missing headers': [
    list(version(`"${V}"`)),
    { ...head, protocolVersion: undefined },
    'bad-meta: _meta has no io.modelcontextprotocol/clientCapabilities',
  ],
  'an unknown version': [
    list(`${version('"v999.0.0"')},${capabilities('{}')}`),
    { ...listing, protocolVersion: 'v999.0.0' },
    'unsupported-revision: the gateway does not speak "v999.0.0" [v999.0.0]',
  ],
  'an unknown version in the header alone': [
    request('tools/list', ''),
    { ...listing, protocolVersion: '2099-01-01' },
    'unsupported-revision: the gateway does not speak "2099-01-01" [2099-01-01]',
  ],
  'a stateful version in the body': [
    list(`${version('"2025-11-25"')},${capabilities('{}')}`),
    { ...listing, protocolVersion: undefined },
    'unsupported-revision: the gateway does not speak "2025-11-25" [2025-11-25]',
  ],
  'an unknown version before missing headers': [
    list(`${version('"x"')},${capabilities('{}')}`),
    { ...head, protocolVersion: 'x' },
    'unsupported-revision: the gateway does not speak "x" [x]',
  ],
  'no version header': [
    list(valid),
    { ...listing, protocolVersion: undefined },
    'header-mismatch: MCP-Protocol-Version is missing',
  ],
  'no method header': [list(valid), head, 'header-mismatch: Mcp-Method is missing'],
  'another method': [
    list(valid),
    { ...head, mcpMethod: 'prompts/list' },
    'header-mismatch: Mcp-Method is "prompts/list", the body says "tools/list"',
  ],
  'the method in capitals': [
    list(valid),
    { ...head, mcpMethod: 'TOOLS/LIST' },
    'header-mismatch: Mcp-Method is "TOOLS/LIST", the body says "tools/list"',
  ],
  'an encoded method, which is not decoded': [
    list(valid),
    { ...head, mcpMethod: base64('tools/list') },
    'header-mismatch: Mcp-Method is "=?base64?dG9vbHMvbGlzdA==?=", the body says "tools/list"',
  ],
  'no name header': [named('tools/call', '"name":"a",'), calling(undefined), 'header-mismatch: Mcp-Name is missing'],
  'another name': [
    named('tools/call', '"name":"a",'),
    calling('b'),
    'header-mismatch: Mcp-Name is "b", the body says "a"',
  ],
  'another uri': [
    named('resources/read', '"name":"a","uri":"b",'),
    calling('a', 'resources/read'),
    'header-mismatch: Mcp-Name is "a", the body says "b"',
  ],
  'a name for a call of nothing': [
    named('tools/call', ''),
    calling('a'),
    'header-mismatch: Mcp-Name is "a", the body says nothing',
  ],
  'a name for a call of a number': [
    named('tools/call', '"name":7,'),
    calling('7'),
    'header-mismatch: Mcp-Name is "7", the body says nothing',
  ],
  'a name whose base64 is broken': [
    named('tools/call', '"name":"Hello",'),
    calling('=?base64?SGVsbG8?='),
    'header-mismatch: Mcp-Name is malformed',
  ],
  'a name that only looks encoded in the body': [
    named('tools/call', '"name":"=?base64?YQ==?=",'),
    calling('=?base64?YQ==?='),
    'header-mismatch: Mcp-Name is "a", the body says "=?base64?YQ==?="',
  ],
  'a name that no header can carry': [
    named('tools/call', '"name":"\\ud800",'),
    calling(base64('\ud800')),
    'header-mismatch: Mcp-Name is "\ufffd", the body says "\\ud800"',
  ],
  'a very long name': [
    named('tools/call', `"name":"${'x'.repeat(5000)}",`),
    calling('a'),
    `header-mismatch: Mcp-Name is "a", the body says "${'x'.repeat(80)}…"`,
  ],
  'a notification': [notification(`"_meta":{${valid}}`), head, undefined],
  'a notification of the header alone': [notification(''), head, undefined],
  'a notification of the body alone': [
    notification(`"_meta":{${version(`"${V}"`)}}`),
    { ...head, protocolVersion: undefined },
    undefined,
  ],
  'a notification with its method': [notification(''), { ...head, mcpMethod: 'notifications/cancelled' }, undefined],
  'a notification with another method': [
    notification(''),
    { ...head, mcpMethod: 'tools/list' },
    'header-mismatch: Mcp-Method is "tools/list", the body says "notifications/cancelled"',
  ],
  'a notification whose versions disagree': [
    notification(`"_meta":{${version('"x"')}}`),
    head,
    'header-mismatch: MCP-Protocol-Version is "2026-07-28", the body says "x"',
  ],
  'a notification with a version of another kind': [
    notification(`"_meta":{${version('7')}}`),
    head,
    'bad-meta: io.modelcontextprotocol/protocolVersion is not a string',
  ],
  'a notification in an unknown version': [
    notification(''),
    { ...head, protocolVersion: '2099-01-01' },
    'unsupported-revision: the gateway does not speak "2099-01-01" [2099-01-01]',
  ],
}
void t.test('what is wrong with a stateless request', async (t) => {
  for (const [name, [body, sent, expected]] of Object.entries(ladder)) {
    await t.test(name, async (t) => {
      const bytes = Buffer.from(body)
      const fault = statelessFault(sent, messageOf(bytes), bytes)
      const requested = fault?.requested === undefined ? '' : ` [${fault.requested}]`
      t.equal(fault === undefined ? undefined : `${fault.reason}: ${fault.detail}${requested}`, expected)
    })
  }
  await t.test('total over heads and bodies; whatever passes has headers that say what the body says', async () => {
    const method = fc.constantFrom('tools/call', 'prompts/get', 'resources/read', 'tools/list', 'initialize')
    const maybe = fc.constantFrom(undefined, V, '2025-11-25', 'x')
    const name = fc.constantFrom('a', 'é', '=?base64?YQ==?=', '')
    fc.assert(
      fc.property(method, name, maybe, fc.option(method), fc.option(name), fc.boolean(), (...of) => {
        const [of0, text, protocolVersion, mcpMethod, mcpName, complete] = of
        const said = JSON.stringify(text)
        const bytes = Buffer.from(request(of0, `"name":${said},"uri":${said},"_meta":{${complete ? valid : ''}}`))
        const sent = {
          ...head,
          protocolVersion,
          mcpMethod: mcpMethod ?? undefined,
          mcpName: mcpName === null ? undefined : encodeHeaderValue(mcpName),
        }
        const agree =
          complete &&
          protocolVersion === V &&
          mcpMethod === of0 &&
          (of0 === 'tools/list' || of0 === 'initialize' || mcpName === text)
        return (statelessFault(sent, messageOf(bytes), bytes) === undefined) === agree
      }),
      { numRuns: 2000 },
    )
  })
})

void t.test('what a client declares', async (t) => {
  for (const [name, meta, expected] of [
    ['nothing', capabilities('{}'), []],
    ['no capabilities', '', []],
    [
      'all',
      capabilities('{"roots":{},"x":{},"sampling":{"tools":{}},"elicitation":{"form":{}}}'),
      ['elicitation', 'sampling', 'roots'],
    ],
    ['one', capabilities('{"sampling" : {} }'), ['sampling']],
    ['one spelt with an escape', capabilities('{"\\u0072oots":{}}'), ['roots']],
    ['no object', capabilities('{"roots":true,"sampling":null}'), []],
    ['capabilities that are no object', capabilities('["roots"]'), []],
    ['extensions alone', capabilities('{"extensions":{"roots":{}}}'), []],
  ] as const) {
    await t.test(name, async (t) => {
      const bytes = Buffer.from(list(meta))
      t.same(declaredFeatures(bytes, messageOf(bytes)), expected)
    })
  }
})
