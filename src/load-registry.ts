/** Reads a registry file into a value, or into problems worded for a person; tells what differs between two. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { StartProblem, unreadText } from './envoy/start-problem.ts'
import { lockFileOf, readLock } from './lock-file.ts'
import { auditFault } from './observe/audit-file.ts'
import { formatProblem } from './registry/format-problem.ts'
import { keyPlace } from './registry/key-place.ts'
import type { Lock, Problem, Registry, Server } from './registry/model.ts'
import { parseRegistry } from './registry/parse.ts'

/** A registry file that is not one, at start. */
export class RegistryProblems extends Error {
  readonly problems: readonly Problem[]
  readonly text: string
  constructor(problems: readonly Problem[], text: string) {
    super('the registry has problems')
    this.problems = problems
    this.text = text
  }
}

interface Read {
  /** Hash of the file and of everything it refers to. */
  readonly version: string
  readonly source: string
  readonly files: readonly string[]
  /** The problems or warnings as lines. */
  readonly text: string
  format(problems: readonly Problem[]): string
}

export type Loaded =
  | (Read & { readonly ok: true; readonly registry: Registry; readonly warnings: readonly Problem[] })
  | (Read & { readonly ok: false; readonly problems: readonly Problem[] })

interface Options {
  readonly file: string
  readonly overrides: { readonly listen?: string; readonly admin?: string }
  /** False: without the lock beside it. */
  readonly locked?: boolean
}

/** `text`: what the file says, when it was read already. */
export const loadRegistry = ({ file, overrides, locked: pinned = true }: Options, text?: string): Loaded => {
  const source = text ?? readText(file)
  const hash = createHash('sha256').update(source)
  const readFile = (path: string): string => {
    const content = readFileSync(path, 'utf8')
    hash.update(content)
    return content
  }
  const locked = pinned ? readLock(file, (content) => hash.update(content)) : ({ ok: true, lock: undefined } as const)
  const lock = locked.ok ? locked.lock : undefined
  const parsed = parseRegistry(source, { file, env: process.env, readFile, auditFault, overrides, lock })
  const format = (problems: readonly Problem[]): string =>
    problems.map((problem) => formatProblem(file, problem, source)).join('\n')
  const read = { version: hash.digest('hex').slice(0, 12), source, files: [...parsed.files, lockFileOf(file)], format }
  if (!parsed.ok || !locked.ok) {
    const problems = [...(parsed.ok ? parsed.warnings : parsed.problems), ...(locked.ok ? [] : locked.problems)]
    return { ...read, ok: false, problems, text: format(problems) }
  }
  return { ...read, ok: true, registry: parsed.registry, warnings: parsed.warnings, text: format(parsed.warnings) }
}

const readText = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new StartProblem(
      `cannot read ${file}: ${unreadText(error)}`,
      'give the path of a registry, or write one: see docs/registry.md',
    )
  }
}

/** What cannot change while running, as problems of the text of the registry `after`. */
export const restartNeeded = (before: Registry, after: Registry, text: string): readonly Problem[] => {
  const rows: readonly (readonly [key: string, before: unknown, after: unknown])[] = [
    ['gateway.listen', before.gateway.listen, after.gateway.listen],
    ['gateway.admin', before.gateway.admin, after.gateway.admin],
    ['gateway.tls', before.gateway.tls === undefined, after.gateway.tls === undefined],
    ['sessions.key', before.sessions.key?.reveal(), after.sessions.key?.reveal()],
  ]
  return rows
    .filter(([, old, next]) => JSON.stringify(old) !== JSON.stringify(next))
    .map(([path]) => ({
      severity: 'error',
      place: keyPlace(text, path),
      path,
      message: 'a change of this needs a restart',
    }))
}

/** `added weather, removed files, changed github, gateway.access`. */
export const whatChanged = (before: Registry, after: Registry): string => {
  const old = new Map(before.servers.filter(({ enabled }) => enabled).map((server) => [server.name, server]))
  const now = new Map(after.servers.filter(({ enabled }) => enabled).map((server) => [server.name, server]))
  const added = [...now.keys()].filter((name) => !old.has(name))
  const removed = [...old.keys()].filter((name) => !now.has(name))
  const changed = [...now]
    .filter(([name, server]) => old.has(name) && print(old.get(name)) !== print(server))
    .map(([name]) => name)
    .concat(shared.filter(([, part]) => printed(part(before)) !== printed(part(after))).map(([path]) => path))
  return [
    ...(added.length === 0 ? [] : [`added ${added.join(', ')}`]),
    ...(removed.length === 0 ? [] : [`removed ${removed.join(', ')}`]),
    ...(changed.length === 0 ? [] : [`changed ${changed.join(', ')}`]),
    ...lockChanged(before.lock, after.lock),
  ].join('; ')
}

const lockChanged = (before: Lock | undefined, after: Lock | undefined): readonly string[] => {
  if (before === after || printed(before) === printed(after)) return []
  return [after === undefined ? 'without mcp.lock every tool counts as approved' : 'took over mcp.lock']
}

/** What counts for more than one server. Never shown: it holds secrets. */
const shared: readonly (readonly [path: string, part: (registry: Registry) => unknown])[] = [
  ['gateway.url', ({ gateway }) => gateway.url],
  ['gateway.tls', ({ gateway: { tls } }) => tls && [tls.cert, tls.key.reveal()]],
  ['gateway.origins', ({ gateway }) => gateway.origins],
  ['gateway.maxBody', ({ gateway }) => gateway.maxBody],
  ['gateway.filters', ({ gateway }) => gateway.filters],
  ['gateway.clusters', ({ gateway }) => gateway.clusters.map((each) => [each, each.tls?.client?.key.reveal()])],
  ['gateway.audit', ({ gateway }) => gateway.audit],
  ['gateway.auth', ({ gateway }) => gateway.auth],
  ['gateway.access', ({ gateway }) => gateway.access],
  ['gateway.limits', ({ gateway }) => gateway.limits],
  ['gateway.confirm', ({ gateway }) => gateway.confirmMs],
  ['views', ({ views }) => views],
  ['sessions', ({ sessions: { idleMs, pool } }) => [idleMs, pool]],
  ['tests', ({ tests }) => tests],
]

/** Never shown: it holds secrets. */
const print = (server: Server | undefined): string => {
  if (server?.kind !== 'http') return printed(server)
  const { credential, oauth, exchange, tls } = server
  const secrets = [credential?.value, oauth?.secret, exchange?.secret, tls.client?.key]
  return printed([server, secrets.map((secret) => secret?.reveal())])
}

/** Without places, which move when lines above them change. */
const printed = (value: unknown): string =>
  JSON.stringify([value], (key, each: unknown) =>
    key === 'place' ? undefined : each instanceof Map ? [...each] : each,
  )
