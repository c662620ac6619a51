/** Sealed ids and the session table: what is refused, what ends, what outlives a restart. */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { requestDigest, requestStates, type StateBinding } from '../src/sessions/request-state.ts'
import { sealedBox } from '../src/sessions/sealed-box.ts'
import { type SessionClaims, sealer } from '../src/sessions/session-id.ts'
import { sessionTable } from '../src/sessions/session-table.ts'

const claims: SessionClaims = {
  key: 'k',
  createdMs: 5,
  protocolVersion: '2025-11-25',
  capabilities: '{"elicitation":{}}',
  features: ['elicitation'],
  clientName: 'client',
  clientVersion: '1',
  principal: '',
  view: '',
}
const state = {
  principal: 'alice',
  view: '',
  server: 'weather',
  method: 'tools/call',
  digest: 'd',
  handle: 'h',
  expiresMs: 100,
}
const { key: _key, createdMs: _createdMs, ...negotiated } = claims

/** As everybody is while nobody is authenticated. */
const NOBODY = { principal: '', view: '' }

await t.test('a sealed id opens with its key only, and is visible ASCII', async (t) => {
  const one = sealer(randomBytes(32))
  const id = one.seal(claims)
  t.match(id, /^[\x21-\x7e]+$/)
  t.strictSame(one.open(id), claims)
  t.equal(sealer(randomBytes(32)).open(id), undefined)
  t.not(one.seal(claims), id, 'the same claims never give the same id twice')
})

/** Every way of changing a sealed text that leaves it looking like one. */
const forgeries = (t: Test, sealed: string, opens: (text: string) => boolean): void => {
  const bytes = Buffer.from(sealed, 'base64url')
  t.ok(opens(sealed))
  fc.assert(
    fc.property(fc.integer({ min: 0, max: bytes.length * 8 - 1 }), (bit) => {
      const forged = Buffer.from(bytes)
      forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      return !opens(forged.toString('base64url'))
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: bytes.length - 1 }),
      (length) => !opens(bytes.toString('base64url', 0, length)),
    ),
  )
  fc.assert(fc.property(fc.string(), (text) => !opens(text)))
  for (const other of [`${sealed}=`, ` ${sealed}`, `${sealed}\n`, sealed.replaceAll('-', '+'), '', 'x'])
    if (other !== sealed) t.notOk(opens(other))
}

await t.test('property: what has one bit flipped, is cut short or spelled otherwise does not open', async (t) => {
  const key = randomBytes(32)
  await t.test('a session id', async (t) => {
    const one = sealer(key)
    forgeries(t, one.seal(claims), (text) => one.open(text) !== undefined)
  })
  await t.test('a request state', async (t) => {
    const one = requestStates(key)
    forgeries(t, one.seal(state), (text) => one.open(text, state, 0) !== undefined)
  })
  await t.test('any text', async (t) => {
    const one = sealedBox(key, 'test')
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => one.open(one.seal(text)) === text))
    forgeries(t, one.seal(''), (text) => one.open(text) !== undefined)
  })
})

await t.test('what was sealed for one purpose does not open for another', async (t) => {
  const key = randomBytes(32)
  t.equal(requestStates(key).open(sealer(key).seal(claims), state, 0), undefined)
  t.equal(sealer(key).open(requestStates(key).seal(state)), undefined)
  t.equal(sealedBox(key, 'a').open(sealedBox(key, 'b').seal('text')), undefined)
})

await t.test('a request state opens for its own request, in its time', async (t) => {
  const states = requestStates(randomBytes(32))
  const sealed = states.seal(state)
  t.match(sealed, /^[\x21-\x7e]+$/)
  const rows: readonly { name: string; binding?: Partial<StateBinding>; nowMs?: number; handle: string | undefined }[] =
    [
      { name: 'at once', handle: 'h' },
      { name: 'at its last moment', nowMs: 100, handle: 'h' },
      { name: 'after it', nowMs: 101, handle: undefined },
      { name: 'another principal', binding: { principal: 'eve' }, handle: undefined },
      { name: 'another view', binding: { view: 'oncall' }, handle: undefined },
      { name: 'another server', binding: { server: 'other' }, handle: undefined },
      { name: 'another method', binding: { method: 'prompts/get' }, handle: undefined },
      { name: 'another request', binding: { digest: 'e' }, handle: undefined },
      {
        name: 'parts that only look alike together',
        binding: { principal: 'aliceweather', server: '' },
        handle: undefined,
      },
    ]
  for (const { name, binding, nowMs = 0, handle } of rows)
    await t.test(name, async (t) => t.equal(states.open(sealed, { ...state, ...binding }, nowMs), handle))
  t.equal(requestStates(randomBytes(32)).open(sealed, state, 0), undefined, 'another key')
})

await t.test('the digest of a request', async (t) => {
  t.equal(requestDigest('a'), requestDigest('a', '{}'), 'no arguments are empty ones')
  const others = [
    requestDigest('b'),
    requestDigest('a', '{"n":9007199254740993}'),
    requestDigest('a', '{"n":9007199254740992}'),
    requestDigest('a","b'),
  ]
  t.equal(new Set([requestDigest('a'), ...others]).size, 5)
})

const tableAt = (key: Uint8Array, now: () => number) => sessionTable({ sealer: sealer(key), idleMs: () => 1000, now })

await t.test('the table', async (t) => {
  const key = randomBytes(32)
  let nowMs = 1_000_000
  const table = tableAt(key, () => nowMs)

  await t.test('finds what it began, not what ended', async (t) => {
    const { id, session } = table.begin(negotiated)
    t.equal(table.find(id, NOBODY), session)
    table.end(session)
    t.equal(table.find(id, NOBODY), undefined)
    t.equal(table.find(id, NOBODY), undefined, 'still dead the second time')
  })
  await t.test('a forged id is nobody', async (t) => t.equal(table.find('forged', NOBODY), undefined))
  await t.test('idle sessions are named, used ones are not', async (t) => {
    const a = table.begin(negotiated)
    const b = table.begin(negotiated)
    nowMs += 900
    table.find(b.id, NOBODY)
    nowMs += 200
    t.strictSame(table.sweep(), [a.session])
  })
  await t.test('a server’s session leads to its owner, also after the server lost it', async (t) => {
    const { session } = table.begin(negotiated)
    table.bind(session, 'weather', { id: 'one', protocolVersion: '2025-11-25' })
    t.equal(table.owner('weather', 'one'), session)
    t.equal(table.owner('other', 'one'), undefined)
    table.bind(session, 'weather', undefined)
    t.equal(session.servers.size, 0)
    t.equal(table.owner('weather', 'one'), session)
    table.end(session)
    t.equal(table.owner('weather', 'one'), undefined)
  })
  await t.test('a session that no id leads to owns nothing here', async (t) => {
    const session = { claims, servers: new Map(), directCalls: new Map(), lastUsedMs: 0 }
    table.bind(session, 'weather', { id: 'two', protocolVersion: '2025-11-25' })
    t.equal(session.servers.size, 1)
    t.equal(table.owner('weather', 'two'), undefined)
  })
})

await t.test('with the same key an id outlives a restart; an ended one does not come back', async (t) => {
  const key = randomBytes(32)
  let nowMs = 1_000_000
  const before = tableAt(key, () => nowMs)
  const kept = before.begin(negotiated)
  nowMs += 10
  const after = tableAt(key, () => nowMs)
  const revived = after.find(kept.id, NOBODY)
  t.equal(revived?.claims.key, kept.session.claims.key)
  t.equal(after.find(kept.id, NOBODY), revived, 'the same session each time')
  if (revived !== undefined) after.end(revived)
  t.equal(after.find(kept.id, NOBODY), undefined, 'ended here, although the seal is good')
  nowMs += 8 * 24 * 3600 * 1000
  t.equal(
    tableAt(key, () => nowMs).find(before.begin(negotiated).id, NOBODY),
    undefined,
    'made in the same millisecond by another process',
  )
  const old = tableAt(key, () => 0).begin(negotiated)
  t.equal(tableAt(key, () => nowMs).find(old.id, NOBODY), undefined, 'too old')
})
