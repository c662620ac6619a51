/** Every way in which an external processor was seen to fail, as scripts for one that can be broken. */
import loader from '@grpc/proto-loader'
import type { Reaction } from './breakable-processor.ts'

export interface Failure {
  readonly name: string
  /** What it does about each message of one request. */
  readonly script: readonly (readonly Reaction[])[]
  /** `request`: nothing may be forwarded. `response`: the server has answered. `none`: for comparison, all is well. */
  readonly about: 'request' | 'response' | 'none'
}

const definition = loader.loadSync('envoy/service/ext_proc/v3/external_processor.proto', {
  includeDirs: ['protos'],
  keepCase: true,
})
const service = definition['envoy.service.ext_proc.v3.ExternalProcessor']
if (service === undefined || 'format' in service || service['Process'] === undefined) throw new Error('no such service')
const { responseSerialize } = service['Process']

const CLOSE: Reaction = { status: 0 }
const ERROR: Reaction = { status: 13 }
const SKIP = 2
const head = (response: object = {}, more: object = {}): Reaction =>
  responseSerialize({ request_headers: { response }, ...more })
const body = (response: object): Reaction => responseSerialize({ request_body: { response } })
const answered = (response: object = {}): Reaction => responseSerialize({ response_headers: { response } })
const set = (key: string, value: string, as: 'raw_value' | 'value' = 'raw_value') => ({
  header: { key, [as]: as === 'value' ? value : Buffer.from(value) },
  append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
})
const sets = (...set_headers: readonly object[]) => ({ header_mutation: { set_headers } })
const rerouted = { clear_route_cache: true }

/** `chosen`: the header that proves a decision, and a value of it that leads to a server. */
export const failures = (chosen: { readonly header: string; readonly cluster: string }): readonly Failure[] => {
  const onwards = set(chosen.header, chosen.cluster)
  const direct = body({ ...sets(onwards), ...rerouted })
  const spliced = (...length: readonly object[]) =>
    body({ ...sets(onwards, ...length), ...rerouted, body_mutation: { body: Buffer.from('{"new":1}') } })
  /** Asks to see the response as well. */
  const curious = head(
    {},
    {
      mode_override: {
        request_header_mode: 1,
        request_body_mode: 2,
        response_header_mode: 1,
        request_trailer_mode: SKIP,
        response_trailer_mode: SKIP,
      },
    },
  )
  const rows = (about: Failure['about'], scripts: Readonly<Record<string, Failure['script']>>): readonly Failure[] =>
    Object.entries(scripts).map(([name, script]) => ({ name, about, script }))
  return [
    ...rows('none', {
      'nothing wrong': [[head()], [direct, CLOSE]],
      'a new body with its length': [[head()], [spliced(set('content-length', '9')), CLOSE]],
      'the response is judged, too': [[curious], [direct], [answered(), CLOSE]],
    }),
    ...rows('request', {
      'a new body without its length': [[head()], [spliced(), CLOSE]],
      'a new body with a wrong length': [[head()], [spliced(set('content-length', '3')), CLOSE]],
      'no clear_route_cache with the body': [[head()], [body(sets(onwards)), CLOSE]],
      'no clear_route_cache with the head': [[head(sets(onwards), { mode_override: { request_body_mode: 0 } }), CLOSE]],
      'value in place of raw_value': [
        [head()],
        [body({ ...sets(set(chosen.header, chosen.cluster, 'value')), ...rerouted }), CLOSE],
      ],
      'only another authority': [[head()], [body({ ...sets(set(':authority', chosen.cluster)), ...rerouted }), CLOSE]],
      'a cluster that does not exist': [
        [head()],
        [body({ ...sets(set(chosen.header, 'direct.none')), ...rerouted }), CLOSE],
      ],
      'an answer that says nothing': [[head()], [body({}), CLOSE]],
      'killed while it owes the head': [['die']],
      'killed while it owes the body': [[head()], ['die']],
      'a gRPC error in place of the head': [[ERROR]],
      'a gRPC error in place of the body': [[head()], [ERROR]],
      'hangs on the head': [['hang']],
      'hangs on the body': [[head()], ['hang']],
      'an answer nobody asked for': [[direct]],
      'the head twice': [
        [head(), head()],
        [direct, CLOSE],
      ],
      'bytes that are no message': [[Buffer.from([0xff, 0xff])]],
      'a clean close in place of the head': [[CLOSE]],
      'a clean close in place of the body': [[head()], [CLOSE]],
    }),
    ...rows('response', {
      'a clean close in place of the response': [[curious], [direct], [CLOSE]],
      'a gRPC error in place of the response': [[curious], [direct], [ERROR]],
      'hangs on the response': [[curious], [direct], ['hang']],
      'killed while it owes the response': [[curious], [direct], ['die']],
    }),
  ]
}
