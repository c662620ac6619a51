/** An Envoy as an ADS server sees it: applies, refuses and reports what a real one was seen to, without sockets. */
import type { DeltaRequest, Send } from '../../src/xds/stream.ts'

/** `field`: nothing of the response is applied. `meaning`: all but the bad resource is, though it is never reported. */
export type Badness = 'field' | 'meaning'

export interface ClientOptions {
  readonly envoy: string
  /** Types asked for without names. */
  readonly wildcards: readonly string[]
  /** Types asked for by name. */
  readonly named: ReadonlyMap<string, ReadonlySet<string>>
  readonly bad: (type: string, name: string, version: string) => Badness | undefined
}

interface Held {
  readonly names: Set<string>
  /** What it works with. */
  readonly applied: Map<string, string>
  /** What it tells on its next stream. */
  readonly reported: Map<string, string>
}

export interface AdsClient {
  /** The first requests of a new stream. */
  connect(): readonly DeltaRequest[]
  /** Takes a response; the ACK or NACK. */
  receive(response: Send): DeltaRequest
  subscribe(type: string, name: string): DeltaRequest
  unsubscribe(type: string, name: string): DeltaRequest
  applied(type: string): ReadonlyMap<string, string>
  wants(type: string, name: string): boolean
}

const request = (type: string, fields: Partial<DeltaRequest> = {}): DeltaRequest => ({
  type,
  subscribe: [],
  unsubscribe: [],
  initialVersions: new Map(),
  nonce: '',
  ...fields,
})

export const adsClient = (options: ClientOptions): AdsClient => {
  const types = new Map<string, Held>(
    [...options.wildcards.map((type) => [type, new Set<string>()] as const), ...options.named].map(([type, names]) => [
      type,
      { names: new Set(names), applied: new Map(), reported: new Map() },
    ]),
  )
  const held = (type: string): Held => {
    const found = types.get(type)
    if (found === undefined) throw new Error(`a response of type ${type}, which was not asked for`)
    return found
  }
  const wildcard = (type: string) => options.wildcards.includes(type)
  return {
    connect: () =>
      [...types].map(([type, { names, reported }], index) =>
        request(type, {
          ...(index === 0 ? { envoy: options.envoy } : {}),
          subscribe: [...names],
          initialVersions: new Map([...reported].filter(([name]) => wildcard(type) || names.has(name))),
        }),
      ),
    receive({ type, nonce, resources, removed }) {
      const { applied, reported } = held(type)
      const faults = [...resources].flatMap(([name, { version }]) => {
        const badness = wildcard(type) || held(type).names.has(name) ? options.bad(type, name, version) : undefined
        return badness === undefined ? [] : [{ name, badness }]
      })
      const nothing = faults.some(({ badness }) => badness === 'field')
      for (const name of removed) {
        applied.delete(name)
        reported.delete(name)
      }
      for (const [name, { version }] of resources) {
        if (nothing || faults.some((fault) => fault.name === name)) continue
        if (!wildcard(type) && !held(type).names.has(name)) continue // dropped meanwhile
        applied.set(name, version)
        if (faults.length === 0) reported.set(name, version)
      }
      return request(type, {
        nonce,
        ...(faults.length === 0 ? {} : { error: `refused: ${faults.map(({ name }) => name).join(', ')}` }),
      })
    },
    subscribe(type, name) {
      held(type).names.add(name)
      return request(type, { subscribe: [name] })
    },
    unsubscribe(type, name) {
      const { names, applied, reported } = held(type)
      names.delete(name)
      applied.delete(name)
      reported.delete(name)
      return request(type, { unsubscribe: [name] })
    },
    applied: (type) => held(type).applied,
    wants: (type, name) => wildcard(type) || held(type).names.has(name),
  }
}
