/** The `gateway:` section: where we listen, and who may connect. */
import { rulesAccess } from './access.ts'
import { collide, isLoopback, readAddress } from './address.ts'
import { auth } from './auth.ts'
import type { Inspection } from './inspection.ts'
import { gatewayLimits } from './limits.ts'
import type { Address, AuditTarget, Gateway } from './model.ts'
import { keyPair } from './pem.ts'
import type { Path } from './place.ts'
import { policyClusters, policyFilters } from './policy.ts'
import type { GatewaySheet } from './schema.ts'

/** Addresses from the command line, which win over the file. */
export interface Overrides {
  readonly listen?: string
  readonly admin?: string
}

export const gateway = (inspection: Inspection, sheet: GatewaySheet, overrides: Overrides): Gateway => {
  const listen = address(inspection, sheet.listen, 'listen', overrides)
  const admin = address(inspection, sheet.admin, 'admin', overrides)
  const { open } = sheet
  // `open` that could not be read may have meant `true`: its own problem is enough
  const mayBeOpen = open || inspection.isBroken(['gateway', 'open'])
  const guarded = inspection.isWritten(['gateway', 'auth']) ? [admin] : [listen, admin]
  for (const { address, path } of guarded) {
    if (!isLoopback(address.host) && !mayBeOpen) {
      inspection.error(path, 'anybody could connect beyond loopback', 'use 127.0.0.1, or say gateway.open: true')
    }
  }
  if (collide(listen.address, admin.address)) inspection.error(admin.path, 'listen and admin need different ports')
  const audit = sheet.audit === undefined ? undefined : auditTarget(inspection, ['gateway', 'audit'], sheet.audit)
  const tls = sheet.tls === undefined ? undefined : keyPair(inspection, ['gateway', 'tls'], sheet.tls)
  const { access, limits } = sheet
  const issuer = sheet.auth === undefined ? undefined : auth(inspection, ['gateway', 'auth'], sheet.auth, sheet.url)
  return {
    listen: listen.address,
    admin: admin.address,
    ...(sheet.url === undefined ? {} : { url: sheet.url }),
    ...(tls === undefined ? {} : { tls }),
    origins: sheet.origins,
    open,
    maxBody: sheet.maxBody,
    filters: policyFilters(inspection, sheet.filters, Object.keys(sheet.clusters)),
    clusters: policyClusters(inspection, sheet.clusters),
    ...(audit === undefined ? {} : { audit }),
    ...(issuer === undefined ? {} : { auth: issuer }),
    ...(access === undefined ? {} : { access: rulesAccess(inspection, ['gateway', 'access'], access) }),
    ...(limits === undefined ? {} : { limits: gatewayLimits(inspection, ['gateway', 'limits'], limits) }),
    confirmMs: sheet.confirm,
  }
}

const auditTarget = (inspection: Inspection, path: Path, written: string): AuditTarget | undefined => {
  if (written === 'true' || written === 'false') {
    return inspection.error(path, 'must be the path of a file, or -', 'such as audit.jsonl')
  }
  const to = written === '-' ? written : inspection.appendable(path, written)
  return to === undefined ? undefined : { to, place: inspection.keyPlace(path) }
}

const address = (
  inspection: Inspection,
  written: Address,
  key: keyof Overrides,
  overrides: Overrides,
): { readonly address: Address; readonly path: Path } => {
  const override = overrides[key]
  if (override === undefined) return { address: written, path: ['gateway', key] }
  const form = readAddress(override)
  const path = [`--${key}`]
  if (!form.ok) inspection.error(path, form.message, form.hint)
  return { address: form.ok ? form.value : written, path }
}
