/** The audit log while it is being written: a bounded queue in order, behind it a file that may fail for a while. */
import { setTimeout } from 'node:timers/promises'
import type { Sink } from './audit-file.ts'

export interface AuditLogState {
  /** Lines written since the start. */
  readonly lines: number
  /** Of the last one; empty before the first. */
  readonly hash: string
  /** Lines not written yet. */
  readonly waiting: number
  /** Lines that had to be dropped. */
  readonly lost: number
  /** Why nothing can be written at the moment. */
  readonly fault?: string
}

export interface AuditLog {
  /** Takes a JSON object's text; returns at once. */
  append(body: string): void
  state(): AuditLogState
  /** Writes what is waiting, if it can be written now. */
  close(): Promise<void>
}

interface AuditLogOptions {
  readonly sink: Sink
  /** Told once when it begins to fail, and once when it goes on. */
  readonly onFault: (reason: string) => void
  readonly onHealed: () => void
  /** How long after a failure the next attempt is made. */
  readonly retryMs?: number
  /** The most that may wait, in characters. */
  readonly mostWaiting?: number
}

const BATCH = 1000

export const auditLog = (options: AuditLogOptions): AuditLog => {
  const { sink, onFault, onHealed, retryMs = 1000, mostWaiting = 16 * 1024 * 1024 } = options
  const closing = new AbortController()
  let waiting: string[] = []
  let size = 0
  let lines = 0
  let hash = ''
  /** Since the last line that was taken. */
  let dropped = 0
  let lost = 0
  let fault: string | undefined
  let working: Promise<void> | undefined

  const work = async (): Promise<void> => {
    await setTimeout(0) // what comes together is written together
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH)
      try {
        hash = await sink.write(batch)
      } catch (error) {
        const began = fault === undefined
        fault = error instanceof Error ? error.message : String(error)
        if (began) onFault(fault)
        if (closing.signal.aborted) break
        await setTimeout(retryMs, undefined, { signal: closing.signal }).catch(() => undefined)
        continue
      }
      waiting = waiting.slice(batch.length)
      for (const { length } of batch) size -= length
      lines += batch.length
      if (fault !== undefined) onHealed()
      fault = undefined
    }
    working = undefined
  }
  return {
    append(body) {
      if (size + body.length > mostWaiting) {
        dropped++
        lost++
        return
      }
      // The chain itself says where something is missing.
      const taken = dropped === 0 ? body : `${body.slice(0, -1)},"lost":${dropped}}`
      dropped = 0
      waiting.push(taken)
      size += taken.length
      working ??= work()
    },
    state: () => ({ lines, hash, waiting: waiting.length, lost, ...(fault !== undefined && { fault }) }),
    async close() {
      closing.abort()
      await working
      sink.close()
    },
  }
}
