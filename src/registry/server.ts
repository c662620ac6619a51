/** One entry of `servers:`, reached over HTTP or started by us. */
import { dirname } from 'node:path'
import { serverAccess } from './access.ts'
import { isLoopback } from './address.ts'
import { chosen } from './chosen.ts'
import { credentials } from './credential.ts'
import { forwarded } from './forward.ts'
import type { Inspection } from './inspection.ts'
import { serverLimits } from './limits.ts'
import type { Access, HttpServer, Served, Server, StdioServer } from './model.ts'
import { keyText, type Path } from './place.ts'
import type { Shown } from './rule-check.ts'
import type { ServerSheet } from './schema.ts'
import { upstreamTls } from './upstream-tls.ts'

/** Keys that mean something for one kind of server only. */
const kindKeys = {
  url: ['transport', 'credential', 'tls', 'forward', 'lists'],
  command: ['args', 'env', 'cwd'],
} as const

/** What the rest of the file says about every server. */
interface Surroundings {
  readonly maxBody: number
  readonly defaultAccess: Access | undefined
}

/** Undefined when the entry names neither a URL nor a command; its problems are reported. */
export const server = (
  inspection: Inspection,
  name: string,
  sheet: ServerSheet,
  { maxBody, defaultAccess }: Surroundings,
): Server | undefined => {
  const path = ['servers', name]
  const selections = {
    tools: chosen(inspection, [...path, 'tools'], sheet.tools, 'name'),
    prompts: chosen(inspection, [...path, 'prompts'], sheet.prompts, 'name'),
    resources: {
      ...chosen(inspection, [...path, 'resources'], sheet.resources, 'uri'),
      prefix: sheet.resources.prefix,
    },
  }
  checkName(inspection, path, name)
  checkKind(inspection, path)
  checkClient(inspection, path, sheet)
  const access = accessOf(inspection, path, sheet, selections, defaultAccess)
  const limits =
    sheet.limits === undefined ? undefined : serverLimits(inspection, [...path, 'limits'], sheet.limits, maxBody)
  const served = {
    name,
    place: inspection.keyPlace(path),
    ...(sheet.description === undefined ? {} : { description: sheet.description }),
    enabled: sheet.enabled,
    required: sheet.required,
    prefix: prefix(inspection, path, name, sheet),
    ...selections,
    client: sheet.client,
    ...(sheet.era === undefined ? {} : { era: sheet.era }),
    ...(sheet.cache === undefined ? {} : { cache: { ttlMs: sheet.cache.ttl, scope: sheet.cache.scope } }),
    ...(sheet.auto === undefined ? {} : { auto: sheet.auto }),
    ...(access === undefined ? {} : { access }),
    ...(limits === undefined ? {} : { limits }),
    timeoutMs: sheet.timeout,
    listTimeoutMs: sheet.listTimeout,
  }
  if (sheet.required && !sheet.enabled) {
    inspection.warning([...path, 'required'], 'a server that is not enabled is never waited for')
  }
  if (inspection.isWritten([...path, 'command'])) {
    const process = stdio(inspection, path, sheet)
    return process === undefined ? undefined : { ...served, ...process }
  }
  const upstream = http(inspection, path, sheet)
  return upstream === undefined ? undefined : { ...served, ...upstream }
}

const accessOf = (
  inspection: Inspection,
  path: Path,
  { access }: ServerSheet,
  shown: Shown,
  defaultAccess: Surroundings['defaultAccess'],
): Access | undefined => {
  return access === undefined ? defaultAccess : serverAccess(inspection, [...path, 'access'], access, shown)
}

/** Envoy's clusters of our own are named like those of servers. */
const TAKEN: ReadonlySet<string> = new Set(['broker', 'closed'])

const checkName = (inspection: Inspection, path: Path, name: string): void => {
  if (TAKEN.has(name)) {
    inspection.errorAtKey(path, `"${name}" is a name the gateway uses itself`, 'choose another')
    return
  }
  if (/^[a-z][a-z0-9-]*$/.test(name)) return
  const better = name.toLowerCase().replaceAll(/[_\s.]+/g, '-')
  const hint = /^[a-z][a-z0-9-]*$/.test(better) ? `did you mean "${better}"?` : undefined
  const message = `"${keyText(name)}" is not a server name: lower-case letters, digits and hyphens, a letter first`
  inspection.errorAtKey(path, message, hint)
}

const checkKind = (inspection: Inspection, path: Path): void => {
  const has = (key: string): boolean => inspection.isWritten([...path, key])
  if (has('url') && has('command')) {
    const later = [...path, 'command']
    return inspection.errorAtKey(later, 'a server has a url or a command, not both')
  }
  if (!has('url') && !has('command')) return inspection.errorAtKey(path, 'a server needs a url or a command')
  const [kind, foreign] = has('url') ? (['url', kindKeys.command] as const) : (['command', kindKeys.url] as const)
  for (const key of foreign.filter(has)) {
    const message = `${key} means nothing for a server with a ${kind}`
    inspection.errorAtKey([...path, key], message)
  }
}

const checkClient = (inspection: Inspection, path: Path, { client }: ServerSheet): void => {
  for (const [index, feature] of client.entries()) {
    if (client.indexOf(feature) !== index) inspection.error([...path, 'client', index], 'this stands here twice')
  }
}

const prefix = (inspection: Inspection, path: Path, name: string, sheet: ServerSheet): string => {
  const written = sheet.prefix ?? `${name}_`
  if (sheet.prefix !== undefined && !/^[A-Za-z0-9_.-]*$/.test(sheet.prefix)) {
    inspection.error([...path, 'prefix'], 'has characters that no tool name may have', 'use A-Z a-z 0-9 _ . -')
  }
  return written
}

const http = (inspection: Inspection, path: Path, sheet: ServerSheet): Omit<HttpServer, keyof Served> | undefined => {
  const { url: endpoint } = sheet
  const shown = sheet.credential === undefined ? {} : credentials(inspection, [...path, 'credential'], sheet.credential)
  const passed = forwarded(inspection, path, sheet, shown)
  const tls = upstreamTls(inspection, [...path, 'tls'], sheet.tls ?? {})
  if (endpoint === undefined) return undefined
  if (!endpoint.tls && sheet.tls !== undefined) inspection.errorAtKey([...path, 'tls'], 'tls needs an https URL')
  if (!endpoint.tls && sheet.credential !== undefined && !isLoopback(endpoint.host)) {
    inspection.warning([...path, 'url'], 'the credential travels unencrypted', 'use https')
  }
  if (sheet.transport === 'sse' && sheet.era === 'stateless') {
    inspection.error([...path, 'era'], 'a server with the transport of 2024-11-05 is always stateful', 'leave era out')
  }
  return {
    kind: 'http',
    transport: sheet.transport ?? 'streamable',
    endpoint,
    ...shown,
    ...passed,
    tls,
  }
}

const stdio = (inspection: Inspection, path: Path, sheet: ServerSheet): Omit<StdioServer, keyof Served> | undefined => {
  const { command } = sheet
  if (command === undefined) return undefined
  if (command === '' || command.includes('\0')) inspection.error([...path, 'command'], 'must be a program')
  for (const [index, argument] of (sheet.args ?? []).entries()) {
    if (argument.includes('\0')) inspection.error([...path, 'args', index], 'must not have a NUL character in it')
  }
  const env = new Map(Object.entries(sheet.env ?? {}))
  for (const [name, value] of env) {
    const here = [...path, 'env', name]
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      inspection.errorAtKey(here, 'is not the name of an environment variable')
    } else if (value.includes('\0')) inspection.error(here, 'must not have a NUL character in it')
  }
  const home = dirname(inspection.resolve('registry'))
  return {
    kind: 'stdio',
    command: command.includes('/') ? inspection.resolve(command) : command,
    args: sheet.args ?? [],
    env,
    cwd: sheet.cwd === undefined ? home : inspection.resolve(sheet.cwd),
  }
}
