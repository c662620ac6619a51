/** Keeps one token of our own fresh: renewed well before it expires, asked for again while it cannot be had. */
import type { Clock } from '../clock.ts'
import type { Secret } from '../registry/model.ts'
import type { Issued, NotIssued } from './token-endpoint.ts'

export interface TokenStatus {
  readonly obtainedMs: number | undefined
  /** Undefined: there is no token, or nobody knows. */
  readonly expiresMs: number | undefined
  /** Why there is none, or no new one. */
  readonly problem: string | undefined
}

export interface TokenSource {
  /** As it is now. */
  readonly token: Secret | undefined
  /** Waits for the first answer; a string says why there is no token. Never rejects. */
  first(): Promise<Secret | string>
  status(): TokenStatus
  /** The server does not take it: another one is asked for, unless this one is quite new. */
  renew(): void
  close(): void
}

interface Options extends Clock {
  readonly ask: () => Promise<Issued | NotIssued>
  /** There is another token, or none any more. */
  readonly onChange: () => void
  /** It cannot be had; told once for each reason. */
  readonly onProblem: (problem: string) => void
  /** One that is still good. */
  readonly seed?: Held | undefined
}

interface Held {
  readonly token: Secret
  readonly obtainedMs: number
  readonly expiresMs: number | undefined
}

/** The part of its life after which a token is renewed. */
const RENEWED_AFTER = 0.8
/** How often a token is renewed whose end nobody knows. */
const UNKNOWN_LIFE_MS = 5 * 60_000
const LONGEST_PAUSE_MS = 24 * 3600_000
const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 60_000
/** A server that takes none of them must not have one asked for with every call. */
const NEW_MS = 30_000

export const tokenSource = (options: Options): TokenSource & { readonly held: Held | undefined } => {
  const { ask, now, after, random, onChange, onProblem } = options
  let held = options.seed
  let problem: string | undefined
  let failures = 0
  let asking = false
  let closed = false
  let cancelNext: () => void = () => undefined
  let cancelEnd: () => void = () => undefined
  let answered: () => void = () => undefined
  const first = new Promise<void>((resolve) => {
    answered = resolve
  })

  const next = (ms: number): void => {
    cancelNext()
    cancelNext = after(Math.min(ms, LONGEST_PAUSE_MS), () => void attempt())
  }
  const endAt = (expiresMs: number): void => {
    cancelEnd()
    const left = expiresMs - now()
    cancelEnd = after(Math.min(Math.max(left, 0), LONGEST_PAUSE_MS), () => {
      if (left > LONGEST_PAUSE_MS) endAt(expiresMs)
      else {
        held = undefined
        onChange()
      }
    })
  }
  const attempt = async (): Promise<void> => {
    if (asking || closed) return
    asking = true
    cancelNext()
    const answer = await ask()
    asking = false
    if (closed) return
    if (answer.ok) {
      const { token, lifeMs } = answer
      const nowMs = now()
      held = { token, obtainedMs: nowMs, expiresMs: lifeMs === undefined ? undefined : nowMs + lifeMs }
      problem = undefined
      failures = 0
      cancelEnd()
      if (held.expiresMs !== undefined) endAt(held.expiresMs)
      next(Math.max((lifeMs ?? UNKNOWN_LIFE_MS / RENEWED_AFTER) * RENEWED_AFTER, FIRST_RETRY_MS))
      onChange()
    } else {
      if (problem !== answer.detail) onProblem(answer.detail)
      problem = answer.detail
      const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** failures++, LONGEST_RETRY_MS)
      next(pauseMs * (0.75 + random() / 2))
    }
    answered()
  }
  if (held?.expiresMs !== undefined) endAt(held.expiresMs)
  void attempt()

  return {
    get token() {
      return held?.token
    },
    get held() {
      return held
    },
    async first() {
      if (held === undefined && !closed) await first
      return held?.token ?? problem ?? 'there is no token'
    },
    status: () => ({ obtainedMs: held?.obtainedMs, expiresMs: held?.expiresMs, problem }),
    renew() {
      if (held !== undefined && now() - held.obtainedMs > NEW_MS) void attempt()
    },
    close() {
      closed = true
      cancelNext()
      cancelEnd()
      answered()
    },
  }
}
