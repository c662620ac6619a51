/** A tool that asks, at a stateful server, for a stateless client that takes its time: through a real Envoy and a full pool. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { startGateway } from './support/gateway.ts'
import { says } from './support/mcp-script.ts'
import { serveMcp } from './support/mcp-server.ts'
import { asObject, type Message } from './support/raw-json.ts'
import { gate, registry } from './support/stage.ts'
import { stateless } from './support/stateless-client.ts'

/** What a person takes for an answer; longer than the server may be silent, and than gateways usually wait. */
const THINKING_MS = 30_000

const cancelled = gate()
await using server = await serveMcp({
  name: 'old',
  era: 'stateful',
  tools: [
    {
      name: 'ask',
      async run(call) {
        call.cancelled.addEventListener('abort', () => cancelled.open())
        const { result } = await call.ask('elicitation/create', {
          message: String(call.arguments['who']),
          requestedSchema: { type: 'object', properties: {} },
        })
        return says(JSON.stringify(result))
      },
    },
  ],
})
const pool = { size: 2, input: '33s' }
await using gateway = await startGateway(registry({ old: [server, { timeout: '1s' }] }, { sessions: { pool } }))
await gateway.settled()
await using client = stateless({ url: gateway.url, capabilities: { elicitation: {} } })

const state = ({ result, raw }: Message): unknown => {
  if (result?.['resultType'] !== 'input_required') throw new Error(raw)
  return result['requestState']
}
const answersTo = ({ result }: Message, answer: object) =>
  Object.fromEntries(Object.keys(asObject(result?.['inputRequests'])).map((key) => [key, answer]))

await t.test('a call waits for its client, whoever else comes meanwhile', async (t) => {
  const patient = await client.call('old_ask', { who: 'patient' })
  const abandoned = await client.call('old_ask', { who: 'abandoned' })
  t.match(patient.result, { resultType: 'input_required' })

  const refused = await client.request('tools/call', { name: 'old_ask', arguments: { who: 'third' } })
  t.equal(refused.status, 503)
  t.equal(refused.headers['retry-after'], '1')
  t.match(refused.message?.error, { code: -32603, data: { reason: 'pool-full' } })

  await pause(THINKING_MS)
  const { message: done } = await client.request('tools/call', {
    name: 'old_ask',
    arguments: { who: 'patient' },
    inputResponses: answersTo(patient, { action: 'accept', content: { by: 'hand' } }),
    requestState: state(patient),
  })
  t.match(done?.result, {
    resultType: 'complete',
    content: [{ text: '{"action":"accept","content":{"by":"hand"}}' }],
  })
  t.equal(server.executions.get('ask'), 2, 'nothing ran twice, and the refused call not at all')

  await cancelled.opened
  t.equal(server.cancelled.length, 1, 'only the abandoned one')
  const late = await client.request('tools/call', {
    name: 'old_ask',
    arguments: { who: 'abandoned' },
    requestState: state(abandoned),
  })
  t.match(late.message?.error, { code: -32602, data: { reason: 'bad-request-state' } })
})
