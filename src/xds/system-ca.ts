/** The file with the certificates this system trusts; Envoy has none of its own. */
import { existsSync } from 'node:fs'

const USUAL = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/ssl/cert.pem', // macOS
] as const

/** `SSL_CERT_FILE` when set, as OpenSSL has it; else the first usual place where there is one, else the first of all. */
export const systemCa = (
  named: string | undefined = process.env['SSL_CERT_FILE'],
  exists: (path: string) => boolean = existsSync,
): string => (named !== undefined && named !== '' ? named : (USUAL.find(exists) ?? USUAL[0]))
