/** `mcp.lock`: the definitions somebody approved, as YAML that people can read and compare line by line. */
import { Document, isNode, parseDocument, visit } from 'yaml'
import { z } from 'zod'
import type { Lock, Place, Problem, ServerPin, ToolPin } from '../registry/model.ts'
import { type Path, pathText, placesOf } from '../registry/place.ts'
import { FIELDS, pinned } from './definition.ts'

const HEAD = ` The definitions of tools that were approved. With this file beside the registry, a tool that is new or says
 something else is withheld: \`mcp-gateway diff\` shows what differs, \`mcp-gateway approve\` takes it in here.
 Not written by hand: each sha256 belongs to what stands under it.`

const sheet = z.strictObject({
  version: z.literal(1),
  servers: z.array(
    z.strictObject({
      name: z.string(),
      instructions: z.string().optional(),
      tools: z.array(
        z.strictObject({
          name: z.string(),
          sha256: z.string(),
          title: z.unknown().optional(),
          description: z.unknown().optional(),
          inputSchema: z.unknown().optional(),
          outputSchema: z.unknown().optional(),
          annotations: z.unknown().optional(),
        }),
      ),
    }),
  ),
})
type Sheet = z.infer<typeof sheet>
type ToolSheet = Sheet['servers'][number]['tools'][number]

export type ParsedLock =
  | { readonly ok: true; readonly lock: Lock }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Never throws. `file` is what the problems are said to be in. */
export const parseLock = (text: string, file: string): ParsedLock => {
  const placeOf = placesOf(text)
  const problem = (place: Place, path: Path, message: string): Problem => ({
    severity: 'error',
    file,
    place,
    path: pathText(path),
    message,
    hint: 'take back the last good one, or write it anew with: mcp-gateway lock',
  })
  const failed = (...problems: readonly Problem[]): ParsedLock => ({ ok: false, problems })
  const read = written(text)
  if ('offset' in read) return failed(problem(placeOf(read.offset), [], read.message))
  const { document, value } = read
  const place = (path: Path): Place => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true)
      if (isNode(node)) return placeOf(node.range?.[0] ?? 0)
    }
    return placeOf(0)
  }
  const parsed = sheet.safeParse(value)
  if (!parsed.success)
    return failed(
      ...parsed.error.issues.map((issue) => {
        const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))
        return problem(place(path), path, 'this is not what mcp-gateway writes there')
      }),
    )
  const problems: Problem[] = []
  const lock = new Map<string, ServerPin>()
  for (const [at, { name, instructions, tools }] of parsed.data.servers.entries()) {
    const pins = new Map<string, ToolPin>()
    const here = ['servers', at]
    if (lock.has(name)) problems.push(problem(place(here), here, 'this server stands here twice'))
    for (const [index, tool] of tools.entries()) {
      const path = [...here, 'tools', index]
      const pin = pinned(tool.name, definitionIn(tool))
      if (pins.has(tool.name)) problems.push(problem(place(path), path, 'this tool stands here twice'))
      else if (pin.sha256 !== tool.sha256)
        problems.push(problem(place(path), path, 'the sha256 does not belong to this definition'))
      pins.set(tool.name, pin)
    }
    lock.set(name, { ...(instructions !== undefined && { instructions }), tools: pins })
  }
  return problems.length > 0 ? failed(...problems) : { ok: true, lock }
}

const definitionIn = (tool: ToolSheet): ToolPin['definition'] =>
  Object.fromEntries(FIELDS.filter((field) => tool[field] !== undefined).map((field) => [field, tool[field]]))

type Written =
  | { readonly document: Document; readonly value: unknown }
  | { readonly offset: number; readonly message: string }

const written = (text: string): Written => {
  try {
    const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' })
    const [error] = document.errors
    if (error !== undefined) return { offset: error.pos[0], message: `it is not YAML: ${error.message}` }
    return { document, value: document.toJS({ maxAliasCount: 0 }) }
  } catch {
    return { offset: 0, message: 'it is nested too deeply or has aliases' }
  }
}

/** Equal locks give equal texts, in whatever order they were put together. */
export const printLock = (lock: Lock): string => {
  const servers = byName(lock).map(([name, { instructions, tools }]) => ({
    name,
    ...(instructions !== undefined && { instructions }),
    tools: byName(tools).map(([tool, { sha256, definition }]) => ({
      name: tool,
      sha256,
      ...Object.fromEntries(
        FIELDS.filter((field) => definition[field] !== undefined).map((field) => [field, definition[field]]),
      ),
    })),
  }))
  const document = new Document({ version: 1, servers }, { aliasDuplicateObjects: false })
  visit(document, {
    // A block does not keep everything at its ends, nor line ends of other kinds.
    Scalar: (_, node) => {
      if (typeof node.value === 'string' && /[\r\p{Zl}\p{Zp}\ufeff]|^\s|[^\S\n]\n*$/u.test(node.value))
        node.type = 'QUOTE_DOUBLE'
    },
  })
  document.commentBefore = HEAD
  return document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER })
}

const byName = <T>(entries: Iterable<readonly [string, T]>): readonly (readonly [string, T])[] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
