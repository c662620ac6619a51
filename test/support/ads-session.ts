/** The stream function and a client joined by two queues, with every promise of the protocol checked on each message. */
import assert from 'node:assert/strict'
import { learn, noVerdicts, pruned, type Verdicts } from '../../src/xds/quarantine.ts'
import type { Entry, Snapshot } from '../../src/xds/snapshot.ts'
import type { DeltaRequest, Event, Send, Stream } from '../../src/xds/stream.ts'
import { newStream, step, unanswered } from '../../src/xds/subscription.ts'
import { CLUSTER, ROUTES } from '../../src/xds/type-url.ts'
import type { AdsClient } from './ads-client.ts'

/** Contents of a made-up world: name → version, per type; a route's version lists the clusters it leads to. */
export type World = ReadonlyMap<string, ReadonlyMap<string, string>>

const entry = (version: string): Entry => ({ version, bytes: Buffer.from(version) })

export const worldSnapshot = (world: World): Snapshot => ({
  version: JSON.stringify([...world].map(([type, names]) => [type, [...names]])),
  types: new Map(
    [...world].map(([type, names]) => [type, new Map([...names].map(([name, version]) => [name, entry(version)]))]),
  ),
})

/** The clusters that a route configuration of a made-up world names. */
export const routed = (version: string): readonly string[] => version.split(' ').filter((name) => name !== '')

export class AdsSession {
  stream: Stream = newStream
  snapshot: Snapshot | undefined
  verdicts: Verdicts = noVerdicts
  readonly responses: Send[] = []
  readonly requests: DeltaRequest[] = []
  readonly #client: AdsClient
  /** `type name version` that was refused alone: never to be seen again. */
  readonly #condemned = new Set<string>()
  #nonces = new Set<string>()
  #unanswered = new Map<string, Send>()
  #lastNonce = ''
  /** Once anything was refused, resending is allowed. */
  #refusals = 0
  /** A name subscribed again, or last seen in a response nobody answered, may be sent again. */
  readonly #askedAgain = new Set<string>()

  constructor(client: AdsClient) {
    this.#client = client
  }

  connect() {
    for (const lesson of unanswered(this.stream)) {
      this.verdicts = learn(this.verdicts, this.stream.envoy, lesson)
      if (lesson.kind === 'doubted') for (const name of lesson.names) this.#askedAgain.add(`${lesson.type} ${name}`)
    }
    this.stream = newStream
    this.responses.length = 0
    this.requests.length = 0
    this.#nonces = new Set()
    this.#unanswered = new Map()
    if (this.snapshot !== undefined) this.#take({ kind: 'publish', snapshot: this.snapshot, verdicts: this.verdicts })
    this.requests.push(...this.#client.connect())
  }

  publish(world: World) {
    this.snapshot = worldSnapshot(world)
    this.verdicts = pruned(this.verdicts, this.snapshot)
    this.#take({ kind: 'publish', snapshot: this.snapshot, verdicts: this.verdicts })
  }

  /** The server's process starts anew and remembers nothing. */
  forget() {
    this.verdicts = noVerdicts
    this.#condemned.clear()
  }

  subscribe(type: string, name: string) {
    this.requests.push(this.#client.subscribe(type, name))
  }

  unsubscribe(type: string, name: string) {
    this.requests.push(this.#client.unsubscribe(type, name))
  }

  /** An ACK that comes twice. */
  repeatNonce(type: string) {
    if (this.#lastNonce === '') return
    this.requests.push({ type, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: this.#lastNonce })
  }

  /** The server reads one request. */
  serve(): boolean {
    const request = this.requests.shift()
    if (request === undefined) return false
    if (request.nonce !== '' && this.#unanswered.get(request.type)?.nonce === request.nonce) {
      const answered = this.#unanswered.get(request.type)
      this.#unanswered.delete(request.type)
      this.#lastNonce = request.nonce
      if (request.error !== undefined && answered?.resources.size === 1)
        for (const [name, { version }] of answered.resources) this.#condemned.add(`${request.type} ${name} ${version}`)
    }
    if (this.stream.types.has(request.type))
      for (const name of [...request.subscribe, ...request.unsubscribe]) this.#askedAgain.add(`${request.type} ${name}`)
    this.#take({ kind: 'request', request })
    return true
  }

  /** The client reads one response and answers it. */
  deliver(): boolean {
    const response = this.responses.shift()
    if (response === undefined) return false
    if (response.type === CLUSTER) this.#checkRemoval(response)
    const answer = this.#client.receive(response)
    if (answer.error !== undefined) this.#refusals += 1
    this.requests.push(answer)
    if (response.type === ROUTES) this.#checkRoutes()
    return true
  }

  /** Both sides go on until neither has anything to say; fails when they never stop. */
  settle() {
    for (let turn = 0; turn < 5000; turn += 1) {
      const served = this.serve()
      const delivered = this.deliver()
      if (!served && !delivered) return
    }
    assert.fail('they never stop talking')
  }

  #take(event: Event) {
    const [stream, effects] = step(this.stream, event)
    this.stream = stream
    for (const effect of effects) {
      if (effect.kind === 'send') this.#sent(effect)
      else this.verdicts = learn(this.verdicts, stream.envoy, effect)
    }
  }

  #sent(send: Send) {
    assert.ok(!this.#nonces.has(send.nonce), 'a nonce is used once')
    this.#nonces.add(send.nonce)
    assert.ok(!this.#unanswered.has(send.type), 'one response per type is under way')
    assert.ok(send.resources.size === 0 || send.removed.length === 0, 'a response adds or removes')
    for (const [name, { version }] of send.resources) {
      const id = `${send.type} ${name} ${version}`
      assert.ok(!this.#condemned.has(id), `refused and sent again: ${id}`)
      const again = this.#askedAgain.delete(`${send.type} ${name}`)
      if (this.#refusals === 0 && !again)
        assert.notEqual(this.#client.applied(send.type).get(name), version, `sent although known: ${id}`)
    }
    this.#unanswered.set(send.type, send)
    this.responses.push(send)
  }

  #checkRemoval({ removed }: Send) {
    const leading = new Set([...this.#client.applied(ROUTES).values()].flatMap(routed))
    for (const name of removed) assert.ok(!leading.has(name), `cluster ${name} goes while a route leads to it`)
  }

  #checkRoutes() {
    if (this.#refusals > 0) return
    const clusters = this.#client.applied(CLUSTER)
    for (const name of [...this.#client.applied(ROUTES).values()].flatMap(routed))
      assert.ok(clusters.has(name), `a route leads to ${name}, which is not there yet`)
  }
}
