/** A `tls:` group: whom to trust, and who we are. */
import type { Inspection } from './inspection.ts'
import type { UpstreamTls } from './model.ts'
import { authorities, keyPair } from './pem.ts'
import type { Path } from './place.ts'
import type { UpstreamTlsSheet } from './schema.ts'

export const upstreamTls = (inspection: Inspection, path: Path, sheet: UpstreamTlsSheet): UpstreamTls => {
  const has = (key: string): boolean => inspection.isWritten([...path, key])
  if (has('cert') && !has('key')) inspection.error([...path, 'cert'], 'a client certificate needs its key')
  if (has('key') && !has('cert')) inspection.error([...path, 'key'], 'a key needs its client certificate')
  const { ca: file, cert, key, sni } = sheet
  const ca = file === undefined ? undefined : authorities(inspection, [...path, 'ca'], file)
  const client = cert === undefined || key === undefined ? undefined : keyPair(inspection, path, { cert, key })
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(client === undefined ? {} : { client }),
    ...(sni === undefined ? {} : { sni }),
  }
}
