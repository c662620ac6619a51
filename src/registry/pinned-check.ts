/** Rules and limits that name tools, compared with the tools that were approved: without a lock nothing is known of them. */
import { meantHint } from './did-you-mean.ts'
import type { Inspection } from './inspection.ts'
import type { Lock } from './model.ts'
import { itemPath, listOf } from './patterns.ts'
import type { Path } from './place.ts'
import type { ServerSheet } from './schema.ts'

export const warnOfUnpinned = (
  inspection: Inspection,
  servers: Readonly<Record<string, ServerSheet>>,
  lock: Lock,
): void => {
  for (const [name, sheet] of Object.entries(servers)) {
    const pin = lock.get(name)
    if (pin === undefined) continue
    const known = [...pin.tools.keys()]
    for (const [path, tool] of named(['servers', name], sheet)) {
      if (tool.includes('*') || known.includes(tool) || inspection.isBroken(path)) continue
      inspection.warning(path, 'the server has no tool of this name in mcp.lock', meantHint(tool, known))
    }
  }
}

const named = (path: Path, { access, limits }: ServerSheet): readonly (readonly [Path, string])[] => [
  ...(Array.isArray(access) ? access : []).flatMap(({ tools }, index) => {
    const here = [...path, 'access', index, 'tools']
    return tools === undefined ? [] : listOf(tools).map((tool, at) => [itemPath(here, tools, at), tool] as const)
  }),
  ...Object.keys(limits?.tools ?? {}).map((tool) => [[...path, 'limits', 'tools', tool], tool] as const),
]
