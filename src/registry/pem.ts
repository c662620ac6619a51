/** Certificates and private keys from PEM files, checked before Envoy sees them. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { Inspection } from './inspection.ts'
import { type KeyPair, Secret } from './model.ts'
import type { Path } from './place.ts'

const block = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

const read = <T>(make: () => T): T | undefined => {
  try {
    return make()
  } catch {
    return undefined // whatever OpenSSL says names its own source files
  }
}

interface Chain {
  readonly text: string
  readonly leaf: X509Certificate
}

const chain = (inspection: Inspection, path: Path, file: string): Chain | undefined => {
  const text = inspection.read(path, file)
  if (text === undefined) return undefined
  const certificates = (text.match(block) ?? []).map((pem) => read(() => new X509Certificate(pem)))
  const [leaf] = certificates
  if (leaf === undefined || certificates.includes(undefined)) {
    return inspection.error(path, 'the file must hold PEM certificates', 'they start with -----BEGIN CERTIFICATE-----')
  }
  return { text, leaf }
}

/** The certificates a server's own is verified with. */
export const authorities = (inspection: Inspection, path: Path, file: string): string | undefined =>
  chain(inspection, path, file)?.text

const privateKey = (inspection: Inspection, path: Path, text: string): KeyObject | undefined => {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    return inspection.error(path, 'the private key must not be encrypted')
  }
  const key = read(() => createPrivateKey(text))
  if (key === undefined) return inspection.error(path, 'the file must hold a PEM private key')
  return key
}

const curves: ReadonlySet<unknown> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

/** What Envoy loads; anything else it refuses, and the whole listener or cluster with it. */
const loadable = ({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean =>
  type === 'ed25519' ||
  (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) ||
  (type === 'ec' && curves.has(details?.namedCurve))

/** A certificate chain and the key that belongs to it. */
export const keyPair = (
  inspection: Inspection,
  path: Path,
  files: { readonly cert: string; readonly key: string },
): KeyPair | undefined => {
  const certificate = chain(inspection, [...path, 'cert'], files.cert)
  const text = inspection.read([...path, 'key'], files.key)
  const key = text === undefined ? undefined : privateKey(inspection, [...path, 'key'], text)
  if (certificate === undefined || text === undefined || key === undefined) return undefined
  if (!certificate.leaf.checkPrivateKey(key)) {
    return inspection.error([...path, 'key'], 'the key does not belong to the certificate')
  }
  if (!loadable(key)) {
    const hint = 'it takes RSA of 2048 bits or more, P-256, P-384, P-521 and Ed25519'
    return inspection.error([...path, 'key'], 'Envoy does not take this kind of key', hint)
  }
  return { cert: certificate.text, key: new Secret(text) }
}
