/** What a stateless client carries while a human is asked, and while what was confirmed goes on: sealed, bound to one call, good once. */

import { randomBytes } from 'node:crypto'
import { dropOldest } from '../bounded.ts'
import { openList, sealedBox } from './sealed-box.ts'

/** What a human is asked about, and for whom. */
export interface ConfirmedCall {
  /** The key of the principal; empty while nobody is authenticated. */
  readonly principal: string
  readonly view: string
  readonly server: string
  readonly method: string
  /** The server's own name for it, or its URI. */
  readonly own: string
  /** Of what the request names and its arguments. */
  readonly digest: string
}

/** What a state that came back is good for. */
export type Opened =
  /** Nothing: it is none of ours, somebody else's, of another view, or was confirmed too long ago. */
  | { readonly is: 'invalid' }
  /** A human has to be asked: it was given for another call, or is used up. */
  | { readonly is: 'other' }
  /** A human was asked about this call, and had time enough. */
  | { readonly is: 'late' }
  /** A human was asked about this call; `use` when the answer is known. */
  | { readonly is: 'asked'; readonly use: () => void }
  /** A human confirmed this call, whose server wanted input of its own. `state`: the server's, as raw JSON. */
  | { readonly is: 'confirmed'; readonly state: string | undefined; readonly use: () => void }

export interface Confirmations {
  /** How long a human has. */
  limitMs(): number
  /** For a client whose human is to be asked about this call. */
  asked(call: ConfirmedCall): string
  /** For a client that goes on with a call that was confirmed. `state`: what the server gave it, as raw JSON. */
  confirmed(call: ConfirmedCall, state: string | undefined): string
  open(sealed: string, call: ConfirmedCall): Opened
}

export interface ConfirmationOptions {
  /** 32 bytes. */
  readonly key: Uint8Array
  readonly limitMs: () => number
  /** How long a client has to go on with what was confirmed. */
  readonly inputMs: () => number
  /** Ms since the epoch. */
  readonly now: () => number
}

/** In front of what is sealed, so that it is known for what it is also where nobody has to confirm anything any more. */
const PREFIX = 'confirm.'

/** Whether a client's state is one of these, or wants to be. */
export const isConfirmation = (state: string): boolean => state.startsWith(PREFIX)

/** Of one principal; beyond that its oldest have to be asked for again. */
const MOST_OPEN = 1024
const SWEEP_MS = 60_000

/**
 * That a state is good once is kept here and nowhere else: one that is not known to be open is used up, so that after a
 * restart a human is rather asked again.
 */
export const confirmations = ({ key, limitMs, inputMs, now }: ConfirmationOptions): Confirmations => {
  const box = sealedBox(key, 'mcp-gateway confirmation 1')
  /** Principal → the states it may still use, the oldest first, and until when. */
  const open = new Map<string, Map<string, number>>()
  let sweptMs = now()

  const sweep = (nowMs: number): void => {
    if (nowMs - sweptMs < SWEEP_MS) return
    sweptMs = nowMs
    for (const [principal, theirs] of open) {
      for (const [id, expiresMs] of theirs) if (expiresMs < nowMs) theirs.delete(id)
      if (theirs.size === 0) open.delete(principal)
    }
  }
  const remember = (principal: string, expiresMs: number): string => {
    const id = randomBytes(16).toString('base64url')
    const theirs = open.get(principal) ?? new Map<string, number>()
    open.set(principal, theirs.set(id, expiresMs))
    dropOldest(theirs, MOST_OPEN)
    return id
  }
  const seal = (call: ConfirmedCall, stage: Stage, forMs: number, state: string | null): string => {
    const nowMs = now()
    sweep(nowMs)
    const expiresMs = nowMs + forMs
    const id = remember(call.principal, expiresMs)
    return PREFIX + box.seal(JSON.stringify([expiresMs, id, stage, state, ...bound(call)]))
  }

  return {
    limitMs,
    asked: (call) => seal(call, 'asked', limitMs(), null),
    confirmed: (call, state) => seal(call, 'confirmed', Math.max(limitMs(), inputMs()), state ?? null),
    open(sealed, call) {
      const list = isConfirmation(sealed) ? openList(box, sealed.slice(PREFIX.length)) : []
      const [expiresMs, id, stage, state, ...rest] = list
      if (typeof expiresMs !== 'number' || typeof id !== 'string') return { is: 'invalid' }
      const [principal, view, ...others] = bound(call)
      if (rest[0] !== principal || rest[1] !== view) return { is: 'invalid' }
      if (JSON.stringify(rest.slice(2)) !== JSON.stringify(others)) return { is: 'other' }
      if (expiresMs < now()) return { is: stage === 'asked' ? 'late' : 'invalid' }
      const theirs = open.get(call.principal)
      if (theirs?.has(id) !== true) return { is: 'other' }
      const use = (): void => void theirs.delete(id)
      if (stage === 'asked') return { is: 'asked', use }
      return { is: 'confirmed', state: typeof state === 'string' ? state : undefined, use }
    },
  }
}

type Stage = 'asked' | 'confirmed'

const bound = ({ principal, view, server, method, own, digest }: ConfirmedCall): readonly string[] => [
  principal,
  view,
  server,
  method,
  own,
  digest,
]
