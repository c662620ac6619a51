/** Sealed ids and the session table: what is refused, what ends, what outlives a restart. */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
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
}
const { key: _key, createdMs: _createdMs, ...negotiated } = claims

await t.test('a sealed id opens with its key only, and is visible ASCII', async (t) => {
  const one = sealer(randomBytes(32))
  const id = one.seal(claims)
  t.match(id, /^[\x21-\x7e]+$/)
  t.strictSame(one.open(id), claims)
  t.equal(sealer(randomBytes(32)).open(id), undefined)
  t.not(one.seal(claims), id, 'the same claims never give the same id twice')
})

await t.test('property: an id with one flipped bit, or another spelling of the same bytes, is no id', async (t) => {
  const one = sealer(randomBytes(32))
  const id = one.seal(claims)
  const bytes = Buffer.from(id, 'base64url')
  fc.assert(
    fc.property(fc.integer({ min: 0, max: bytes.length * 8 - 1 }), (bit) => {
      const forged = Buffer.from(bytes)
      forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      return one.open(forged.toString('base64url')) === undefined
    }),
    { numRuns: 500 },
  )
  fc.assert(fc.property(fc.string(), (text) => one.open(text) === undefined))
  for (const other of [`${id}=`, ` ${id}`, `${id}\n`, id.replaceAll('-', '+'), '', 'x'])
    if (other !== id) t.equal(one.open(other), undefined)
})

const tableAt = (key: Uint8Array, now: () => number) => sessionTable({ sealer: sealer(key), idleMs: () => 1000, now })

await t.test('the table', async (t) => {
  const key = randomBytes(32)
  let nowMs = 1_000_000
  const table = tableAt(key, () => nowMs)

  await t.test('finds what it began, not what ended', async (t) => {
    const { id, session } = table.begin(negotiated)
    t.equal(table.find(id), session)
    table.end(session)
    t.equal(table.find(id), undefined)
    t.equal(table.find(id), undefined, 'still dead the second time')
  })
  await t.test('a forged id is nobody', async (t) => t.equal(table.find('forged'), undefined))
  await t.test('idle sessions are named, used ones are not', async (t) => {
    const a = table.begin(negotiated)
    const b = table.begin(negotiated)
    nowMs += 900
    table.find(b.id)
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
})

await t.test('with the same key an id outlives a restart; an ended one does not come back', async (t) => {
  const key = randomBytes(32)
  let nowMs = 1_000_000
  const before = tableAt(key, () => nowMs)
  const kept = before.begin(negotiated)
  nowMs += 10
  const after = tableAt(key, () => nowMs)
  const revived = after.find(kept.id)
  t.equal(revived?.claims.key, kept.session.claims.key)
  t.equal(after.find(kept.id), revived, 'the same session each time')
  if (revived !== undefined) after.end(revived)
  t.equal(after.find(kept.id), undefined, 'ended here, although the seal is good')
  nowMs += 8 * 24 * 3600 * 1000
  t.equal(
    tableAt(key, () => nowMs).find(before.begin(negotiated).id),
    undefined,
    'made in the same millisecond by another process',
  )
  const old = tableAt(key, () => 0).begin(negotiated)
  t.equal(tableAt(key, () => nowMs).find(old.id), undefined, 'too old')
})
