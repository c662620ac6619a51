/** A snapshot as the YAML Envoy's documentation uses, secrets redacted; made from the very bytes that are sent. */
import { stringify } from 'yaml'
import { type Message, unpack, type Value } from './pack.ts'
import type { Snapshot } from './snapshot.ts'
import { messageName, SECRET, TYPE_URLS } from './type-url.ts'

const REDACTED = '[redacted]'

/** Certificates are public; keys and credentials are not. */
const redacted = (secret: Message): Message => ({
  ...secret,
  ...(secret['generic_secret'] === undefined ? {} : { generic_secret: { secret: { inline_string: REDACTED } } }),
  ...(secret['tls_certificate'] === undefined
    ? {}
    : {
        tls_certificate: {
          ...(isMessage(secret['tls_certificate']) ? secret['tls_certificate'] : {}),
          private_key: { inline_string: REDACTED },
        },
      }),
})

const isMessage = (value: Value | undefined): value is Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

const byName = <T>(entries: Iterable<readonly [string, T]>): readonly (readonly [string, T])[] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))

/** Every resource, by type in the order of delivery, then by name. */
export const rendered = (snapshot: Snapshot): Message => ({
  resources: TYPE_URLS.flatMap((type) =>
    byName(snapshot.types.get(type) ?? []).map(([, { bytes }]) => {
      const message = unpack(messageName(type), bytes)
      return { '@type': type, ...(type === SECRET ? redacted(message) : message) }
    }),
  ),
})

/** YAML text; equal snapshots give equal texts. */
export const render = (snapshot: Snapshot): string => yamlText(rendered(snapshot))

/** YAML without anchors and without folded lines, so that texts compare line by line. */
export const yamlText = (message: Message): string => stringify(message, { aliasDuplicateObjects: false, lineWidth: 0 })
