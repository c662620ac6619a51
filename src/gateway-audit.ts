/** Joins what Envoy reports of each finished request with what the broker knows of it, and keeps the audit log the registry names. */

import { setTimeout } from 'node:timers/promises'
import type { AuditStatus } from './admin/status.ts'
import { dropOldest } from './bounded.ts'
import { appending, standardOutput } from './observe/audit-file.ts'
import { type AuditLog, auditLog } from './observe/audit-log.ts'
import { auditRecord, type Finished, type Told } from './observe/audit-record.ts'
import type { AuditTarget } from './registry/model.ts'

interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface GatewayAudit {
  /** What the registry in force says; absent: no audit log. */
  use(target: AuditTarget | undefined): void
  /** A request begins. Of one at the broker, what `told` says once Envoy reports its end counts. */
  heard(decision: string, told?: Told): void
  record(finished: readonly Finished[]): void
  status(): AuditStatus | undefined
  /** Resolves when Envoy has reported the end of every request that began, or takes too long. */
  reported(): Promise<void>
  /** Resolves when everything recorded so far is written, or can't be. */
  close(): Promise<void>
}

/** Requests whose end Envoy has yet to report. Beyond that the oldest are known by Envoy's words alone. */
const MOST_BEGUN = 65_536
/** Envoy reports once a second. */
const REPORT_MS = 2000
const LOOK_AGAIN_MS = 10

/** `registry`: the file that rules stand in, as records call it. */
export const gatewayAudit = (log: Log, registry: string): GatewayAudit => {
  const begun = new Map<string, Told | undefined>()
  let open: { readonly to: string; readonly writing: AuditLog } | undefined
  let closing: Promise<void> = Promise.resolve()

  const end = (): void => {
    if (open === undefined) return
    const { to, writing } = open
    open = undefined
    begun.clear()
    closing = closing
      .then(() => writing.close())
      .then(() => {
        const { waiting } = writing.state()
        if (waiting > 0) log.error('the end of the audit log could not be written', { file: to, lines: waiting })
      })
  }
  const begin = (to: string): AuditLog => {
    const torn = (): void => log.warn('the last line of the audit log was incomplete; it was cut off', { file: to })
    return auditLog({
      sink: to === '-' ? standardOutput() : appending(to, torn),
      onFault: (reason) => log.error('the audit log cannot be written; its lines wait', { file: to, reason }),
      onHealed: () => log.info('the audit log is written again', { file: to }),
    })
  }
  return {
    use(target) {
      if (target?.to === open?.to) return
      end()
      if (target !== undefined) open = { to: target.to, writing: begin(target.to) }
    },
    heard(decision, told) {
      if (open === undefined || decision === '') return
      begun.set(decision, told)
      dropOldest(begun, MOST_BEGUN)
    },
    record(finished) {
      if (open === undefined) return
      for (const one of finished) {
        open.writing.append(auditRecord(one, registry, begun.get(one.requestId)))
        begun.delete(one.requestId)
      }
    },
    status: () => (open === undefined ? undefined : { to: open.to, ...open.writing.state() }),
    async reported() {
      const deadlineMs = performance.now() + REPORT_MS
      while (begun.size > 0 && performance.now() < deadlineMs) await setTimeout(LOOK_AGAIN_MS)
    },
    async close() {
      end()
      await closing
    },
  }
}
