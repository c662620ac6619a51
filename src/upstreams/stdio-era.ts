/** Finds out which era a process speaks: asked in the new one first, and in the old one when that brings nothing. */

import type { Era } from '../mcp/versions.ts'
import { judgeDiscover } from './era-probe.ts'
import { type Initialized, type Introduction, initializeBody, initializedBody, parseInitialized } from './handshake.ts'
import { pause } from './pause.ts'
import { wireRequest } from './stateless-wire.ts'
import type { Pipe } from './stdio-pipe.ts'
import { answerOf } from './upstream.ts'

export interface Introduced {
  readonly era: Era
  readonly initialized: Initialized
}

/** A server of the old era may say nothing at all to what it does not know. */
const UNANSWERED_MS = 3000

/** Speaks to it first; rejects with the reason when it does not take part. `wanted`: ask in this era alone. */
export const introduce = async (
  pipe: Pipe,
  as: Introduction,
  wanted: Era | undefined,
  signal: AbortSignal,
): Promise<Introduced> => {
  const stateful = async (): Promise<Introduced> => ({
    era: 'stateful',
    initialized: await initialize(pipe, as, signal),
  })
  if (wanted === 'stateful') return stateful()
  const id = pipe.nextId()
  const { body } = wireRequest(id, 'server/discover', '{}', as)
  const discovered = pipe.send(id, { id, body, timeoutMs: undefined, signal }).then(judgeDiscover)
  const early = await (wanted === 'stateless'
    ? discovered
    : Promise.race([discovered, pause(UNANSWERED_MS, signal).then(() => undefined)]))
  if (early?.speaks === 'stateless') return { era: 'stateless', initialized: early.initialized }
  if (early !== undefined && (wanted === 'stateless' || early.speaks === 'other')) throw new Error(early.why)
  if (early !== undefined) return stateful()
  // It may only be slow to start: whichever it answers first counts.
  const late = discovered.then(
    (verdict): Promise<Introduced> =>
      verdict.speaks === 'stateless'
        ? Promise.resolve({ era: 'stateless', initialized: verdict.initialized })
        : new Promise(() => undefined),
  )
  return Promise.race([late, stateful()])
}

const initialize = async (pipe: Pipe, as: Introduction, signal: AbortSignal): Promise<Initialized> => {
  const id = pipe.nextId()
  const body = initializeBody(id, as)
  const initialized = parseInitialized(answerOf(await pipe.send(id, { id, body, timeoutMs: undefined, signal })))
  if (typeof initialized === 'string') throw new Error(initialized)
  pipe.write(initializedBody)
  return initialized
}
