/** What a stateless client carries from an answer that asks for input to its retry: sealed, and bound to who asked what. */
import { createHash } from 'node:crypto'
import { openList, sealedBox } from './sealed-box.ts'

/** Whom a state was given to, and for which request; one that comes back from anywhere else is refused. */
export interface StateBinding {
  readonly principal: string
  readonly view: string
  readonly server: string
  readonly method: string
  /** Of what the request names and its arguments. */
  readonly digest: string
}

export interface RequestState extends StateBinding {
  /** The suspended call; empty: nothing waits, the retry is a call of its own. */
  readonly handle: string
  /** Ms since the epoch. */
  readonly expiresMs: number
}

export interface RequestStates {
  seal(state: RequestState): string
  /** The handle of a state that this key sealed for this binding and that has not expired; undefined for anything else. */
  open(sealed: string, binding: StateBinding, nowMs: number): string | undefined
}

/** `key` has 32 bytes. */
export const requestStates = (key: Uint8Array): RequestStates => {
  const box = sealedBox(key, 'mcp-gateway request state 2')
  return {
    seal: (state) => box.seal(JSON.stringify([state.expiresMs, state.handle, ...bound(state)])),
    open(sealed, binding, nowMs) {
      const [expiresMs, handle, ...rest] = openList(box, sealed)
      if (typeof expiresMs !== 'number' || typeof handle !== 'string' || expiresMs < nowMs) return undefined
      return JSON.stringify(rest) === JSON.stringify(bound(binding)) ? handle : undefined
    },
  }
}

const bound = ({ principal, view, server, method, digest }: StateBinding): readonly string[] => [
  principal,
  view,
  server,
  method,
  digest,
]

/** Of a request's name (or URI) and the text of its arguments as its client wrote it; no arguments are the same as empty ones. */
export const requestDigest = (name: string, args = '{}'): string =>
  createHash('sha256')
    .update(JSON.stringify([name, args]))
    .digest('base64url')
