/** The registry's text → a value to trust, or all of its problems. Pure: files and the environment are arguments. */
import { rolesAccess } from './access.ts'
import { claimsRead } from './claims-read.ts'
import { fillIn } from './fill-in.ts'
import { gateway, type Overrides } from './gateway.ts'
import { type Inspection, inspect } from './inspection.ts'
import type { Environment } from './interpolate.ts'
import type { Lock, Problem, Registry, Server } from './model.ts'
import { warnOfUnpinned } from './pinned-check.ts'
import { before, type Path, pathText, placesOf } from './place.ts'
import { isVerbatim } from './policy.ts'
import { policyTests } from './policy-tests.ts'
import type { Sheet } from './schema.ts'
import { server } from './server.ts'
import { sessions } from './sessions.ts'
import { readSyntax, type Syntax, unquotedVariable } from './syntax.ts'
import { views } from './views.ts'
import { readWritten } from './written.ts'

export interface ParseOptions {
  /** The registry file: what paths in it are relative to. */
  readonly file: string
  readonly env: Environment
  /** A file's text, by its absolute path. Throws, as `readFileSync` does. */
  readonly readFile: (path: string) => string
  /** Why an audit log can't be kept in this file; undefined: it can. */
  readonly auditFault?: (path: string) => string | undefined
  readonly overrides?: Overrides
  /** What was approved of the servers' tools: becomes part of the registry, and rules are compared with it. */
  readonly lock?: Lock | undefined
}

/** `files`: every certificate and secret the registry refers to, absolute, the missing ones among them. */
export type ParseResult =
  | {
      readonly ok: true
      readonly registry: Registry
      readonly warnings: readonly Problem[]
      readonly files: readonly string[]
    }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly files: readonly string[] }

/** Never throws. Problems stand in the order of the file; warnings are among them when there are errors too. */
export const parseRegistry = (text: string, options: ParseOptions): ParseResult => {
  const { file, env, readFile, auditFault = () => undefined, overrides = {}, lock } = options
  const placeOf = placesOf(text)
  const syntax = readSyntax(text)
  const broken = syntaxProblems(syntax, placeOf)
  if (broken.length > 0 || syntax.document === undefined) return { ok: false, problems: broken, files: [] }
  const inspection = inspect(file, readFile, auditFault)
  const written = readWritten(syntax.document, { unquoted: syntax.unquoted, placeOf, env, inspection, isVerbatim })
  const sheet = fillIn(written ?? {}, inspection)
  const registry = sheet === undefined ? undefined : build(inspection, sheet, overrides, lock)
  const problems = inspection.problems.toSorted((a, b) => before(a.place, b.place))
  const files = [...inspection.files]
  return registry === undefined || problems.some(({ severity }) => severity === 'error')
    ? { ok: false, problems, files }
    : { ok: true, registry, warnings: problems, files }
}

/** One mistake makes a YAML parser stumble on and on: the first on each line is the one to mend. */
const syntaxProblems = ({ errors, unquoted }: Syntax, placeOf: ReturnType<typeof placesOf>): readonly Problem[] => {
  if (errors.length === 0) return []
  const all = [...unquoted.map(({ start }) => ({ offset: start, ...unquotedVariable })), ...errors].map(
    ({ offset, message, hint }): Problem => {
      return { severity: 'error', place: placeOf(offset), path: '', message, ...(hint === undefined ? {} : { hint }) }
    },
  )
  const sorted = all.toSorted((a, b) => before(a.place, b.place))
  return sorted.filter(({ place }, index) => place.line !== sorted[index - 1]?.place.line)
}

const build = (inspection: Inspection, sheet: Sheet, overrides: Overrides, lock: Lock | undefined): Registry => {
  const entry = gateway(inspection, sheet.gateway, overrides)
  const entries = Object.entries(sheet.servers ?? {})
  const surroundings = {
    maxBody: entry.maxBody,
    defaultAccess: sheet.defaults.access === undefined ? undefined : rolesAccess(inspection, ['defaults', 'access']),
  }
  const servers = entries.flatMap(([name, each]) => server(inspection, name, each, surroundings) ?? [])
  const parts = views(inspection, sheet.views)
  // a rule that could not be read may look at any claim
  const read = inspection.isBroken([]) ? 'any' : claimsRead(entry, servers, parts)
  const path = ['servers']
  if (!inspection.isWritten(path))
    inspection.error(path, 'there are no servers', 'add servers: with a name and a url under it')
  else if (entries.length === 0 && !inspection.isBroken(path)) inspection.error(path, 'there are no servers')
  else if (entries.length > 0 && entries.every(([, { enabled }]) => !enabled))
    inspection.warning(path, 'no server is enabled')
  warnOfPrefixes(inspection, servers)
  if (lock !== undefined) warnOfUnpinned(inspection, sheet.servers ?? {}, lock)
  return {
    gateway: entry,
    servers,
    sessions: sessions(inspection, sheet.sessions),
    views: parts,
    tests: policyTests(inspection, sheet.tests, Object.keys(sheet.views), read),
    ...(lock === undefined ? {} : { lock }),
  }
}

/** Empty prefixes are meant; others that are equal rarely are. */
const warnOfPrefixes = (inspection: Inspection, servers: readonly Server[]): void => {
  const owners = new Map<string, string>()
  for (const { name, prefix, enabled } of servers) {
    if (prefix === '' || !enabled) continue
    const owner = owners.get(prefix)
    const here: Path = ['servers', name, 'prefix']
    if (owner !== undefined)
      inspection.warning(here, `${pathText(['servers', owner])} has the same prefix, so names may clash`)
    else owners.set(prefix, name)
  }
}
