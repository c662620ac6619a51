/** The `tests:` section: sample claims and what must come of them. */

import { type ClaimsRead, namesBeside, unreadClaims } from './claims-read.ts'
import { meantHint } from './did-you-mean.ts'
import type { Inspection } from './inspection.ts'
import { jsonMap } from './json.ts'
import { isObject } from './json-object.ts'
import { type Json, type PolicyTest } from './model.ts'
import type { Path } from './place.ts'
import type { PolicyTestSheet } from './schema-access.ts'

/** `read`: what the registry's rules look at. */
export const policyTests = (
  inspection: Inspection,
  sheets: readonly PolicyTestSheet[],
  views: readonly string[],
  read: ClaimsRead,
): readonly PolicyTest[] =>
  sheets.flatMap((sheet, index) => {
    const path = ['tests', index]
    const claims = sampleClaims(inspection, [...path, 'claims'], sheet.claims)
    const inFile = typeof sheet.claims === 'string'
    if (claims !== undefined) warnOfClaims(inspection, [...path, 'claims'], claims, read, inFile)
    checkView(inspection, [...path, 'view'], sheet.view, views)
    if (sheet.allowed.length + sheet.denied.length === 0 && !inspection.isBroken(path)) {
      inspection.errorAtKey(path, 'it expects nothing', 'add allowed or denied')
    }
    const expected = (key: 'allowed' | 'denied'): PolicyTest['allowed'] =>
      sheet[key].map((tool, at) => ({ tool, place: inspection.keyPlace([...path, key, at]) }))
    checkTools(inspection, path, sheet)
    if (claims === undefined) return []
    return {
      name: sheet.name ?? `tests[${index}]`,
      place: inspection.keyPlace(path),
      claims,
      view: sheet.view ?? '',
      allowed: expected('allowed'),
      denied: expected('denied'),
    }
  })

type Claims = Readonly<Record<string, Json>>

const sampleClaims = (inspection: Inspection, path: Path, written: PolicyTestSheet['claims']): Claims | undefined => {
  if (typeof written !== 'string') return jsonMap(written)
  const text = inspection.read(path, written)
  const claims = text === undefined ? undefined : claimsIn(text)
  if (text !== undefined && claims === undefined) {
    inspection.error(path, 'the file must hold claims as JSON', '{ "sub": "ann", … }')
  }
  return claims
}

const claimsIn = (text: string): Claims | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? jsonMap(value) : undefined
  } catch {
    return undefined
  }
}

/** Of a whole token kept in a file only what looks mistyped is worth a word. */
const warnOfClaims = (inspection: Inspection, path: Path, claims: Claims, read: ClaimsRead, inFile: boolean): void => {
  if (read === 'any') return
  for (const names of unreadClaims(claims, read)) {
    const hint = meantHint(names.at(-1) ?? '', namesBeside(names, read))
    if (hint === undefined && inFile) continue
    inspection.warning([...path, ...names], 'no rule looks at this claim', hint)
  }
}

const checkView = (inspection: Inspection, path: Path, view: string | undefined, views: readonly string[]): void => {
  if (view === undefined || view === '' || views.includes(view)) return
  inspection.error(path, 'there is no such view', meantHint(view, views))
}

const checkTools = (inspection: Inspection, path: Path, { allowed, denied }: PolicyTestSheet): void => {
  for (const [key, tools] of Object.entries({ allowed, denied })) {
    for (const [index, tool] of tools.entries()) {
      const here = [...path, key, index]
      if (!/^[A-Za-z0-9_.-]+$/.test(tool)) inspection.error(here, 'must be the name of a tool, as clients see it')
      else if (tools.indexOf(tool) !== index) inspection.warning(here, 'this stands here twice')
      else if (key === 'denied' && allowed.includes(tool)) inspection.error(here, 'it is expected to be allowed too')
    }
  }
}
