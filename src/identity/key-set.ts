/** An issuer's keys, kept fresh: fetched at the start, every ten minutes and when a token names one that is not known. */
import { createLocalJWKSet, type JWTVerifyGetKey } from 'jose'
import type { Clock } from '../clock.ts'
import type { Auth } from '../registry/model.ts'
import { keysAt, metadataUrls } from './discovery.ts'
import type { Fetched } from './fetch-json.ts'
import { publicKeys } from './public-keys.ts'

/** The keys of one moment; another object as soon as they differ. */
export interface Keys {
  /** As JSON, the same for the same keys. */
  readonly jwks: string
  readonly count: number
  readonly find: JWTVerifyGetKey
}

export interface KeyStatus {
  /** How many are known. */
  readonly keys: number
  /** When they were last fetched; undefined: never yet, or they come from a file. */
  readonly fetchedMs: number | undefined
  /** Why the last attempt failed. Older keys stay in force. */
  readonly problem: string | undefined
}

export interface KeySet {
  keys(): Keys | undefined
  /** A token was signed with a key that is not among them: they are fetched anew, if that is not too soon. */
  missed(): Promise<void>
  /** Resolves when the first attempt is over. */
  readonly settled: Promise<void>
  status(): KeyStatus
  close(): Promise<void>
}

/** What a key set needs of the world. */
export interface KeySetMeans extends Clock {
  readonly get: (url: string) => Promise<Fetched>
  readonly close: () => Promise<void>
  /** There are other keys than before. */
  readonly onChange: () => void
  readonly onProblem: (problem: string) => void
}

const REFRESH_MS = 600_000
/** Of the time between two refreshes: many gateways do not ask at once. */
const SPREAD = 0.2
/** After a failure; doubled with each further one. */
const RETRY_MS = 1000
const MOST_RETRY_MS = 30_000
/** While there are no keys at all, every request is refused. */
const MOST_RETRY_WITHOUT_MS = 5000
/** Anybody can make up tokens with unknown keys. */
const MISSED_MS = 30_000

export const keySet = ({ issuer, jwks }: Pick<Auth, 'issuer' | 'jwks'>, means: KeySetMeans): KeySet => {
  let keys: Keys | undefined
  let fetchedMs: number | undefined
  let problem: string | undefined
  let failures = 0
  let missedMs = Number.NEGATIVE_INFINITY
  let attempting: Promise<void> | undefined
  let cancel: () => void = () => undefined
  let closed = false

  const take = (document: unknown, from: string): string | undefined => {
    const found = publicKeys(document)
    if (found.length === 0) return `${from} holds no public key that signatures can be verified with`
    const text = JSON.stringify({ keys: found })
    if (text === keys?.jwks) return undefined
    keys = { jwks: text, count: found.length, find: createLocalJWKSet({ keys: [...found] }) }
    means.onChange()
    return undefined
  }
  const fetchOnce = async (): Promise<string | undefined> => {
    const at = jwks.kind === 'url' ? ({ ok: true, url: jwks.url } as const) : await discovered(issuer, means.get)
    if (!at.ok) return at.problem
    const fetched = await means.get(at.url)
    return closed ? undefined : fetched.ok ? take(fetched.document, at.url) : fetched.problem
  }
  const attempt = (): Promise<void> => {
    cancel()
    attempting ??= fetchOnce().then((failed) => {
      attempting = undefined
      if (closed) return
      if (failed !== undefined && failed !== problem) means.onProblem(failed)
      problem = failed
      failures = failed === undefined ? 0 : failures + 1
      if (failed === undefined) fetchedMs = means.now()
      const mostMs = keys === undefined ? MOST_RETRY_WITHOUT_MS : MOST_RETRY_MS
      const pauseMs = failures === 0 ? REFRESH_MS : Math.min(RETRY_MS * 2 ** (failures - 1), mostMs)
      cancel = means.after(pauseMs * (1 + SPREAD * (means.random() - 0.5)), () => void attempt())
    })
    return attempting
  }

  const inFile = (text: string): void => {
    try {
      problem = take(JSON.parse(text), 'the file of gateway.auth.jwks')
    } catch {
      problem = 'the file of gateway.auth.jwks is not JSON'
    }
    if (problem !== undefined) means.onProblem(problem)
  }
  const settled = jwks.kind === 'file' ? Promise.resolve(inFile(jwks.text)) : attempt()

  return {
    keys: () => keys,
    async missed() {
      if (jwks.kind === 'file' || closed) return
      if (attempting === undefined) {
        if (means.now() - missedMs < MISSED_MS) return
        missedMs = means.now()
      }
      await attempt()
    },
    settled,
    status: () => ({ keys: keys?.count ?? 0, fetchedMs, problem }),
    async close() {
      closed = true
      cancel()
      await means.close()
    },
  }
}

/** The first document that is the issuer's counts; when none is, what was wrong with the first says most. */
const discovered = async (issuer: string, get: KeySetMeans['get']): Promise<ReturnType<typeof keysAt>> => {
  let first: ReturnType<typeof keysAt> | undefined
  for (const url of metadataUrls(issuer)) {
    const fetched = await get(url)
    const at = fetched.ok ? keysAt(fetched.document, issuer, url) : fetched
    if (at.ok) return at
    first ??= at
  }
  return first ?? { ok: false, problem: `${issuer} says nowhere where its keys are` }
}
