/** Whom this system trusts: Envoy has no certificates of its own, and what we fetch ourselves trusts whom Envoy does. */
import { existsSync, readFileSync } from 'node:fs'

const USUAL = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/ssl/cert.pem', // macOS
] as const

/** The file: `SSL_CERT_FILE` when set, as OpenSSL has it; else the first usual place where there is one, else the first of all. */
export const systemCa = (
  named: string | undefined = process.env['SSL_CERT_FILE'],
  exists: (path: string) => boolean = existsSync,
): string => (named !== undefined && named !== '' ? named : (USUAL.find(exists) ?? USUAL[0]))

/** PEM certificates: `ca`, else the system's. Undefined: those cannot be read, and Node's own have to do. */
export const trusted = (ca: string | undefined, file = systemCa()): string | undefined => {
  if (ca !== undefined) return ca
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
