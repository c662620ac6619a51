/** What can be said of rules before anybody asks: the registry's own tests, and rules about tools that nobody has. */
import type { Era } from '../mcp/versions.ts'
import { meantHint } from '../registry/did-you-mean.ts'
import type { Access, PolicyTest, Problem, Registry, Rule, Server } from '../registry/model.ts'
import { select } from '../registry/selection.ts'
import type { Asker } from './asker.ts'
import { explain } from './explain.ts'
import { judge } from './judge.ts'
import { matches } from './patterns.ts'
import type { Policy } from './policy.ts'
import { sampleOf } from './principal.ts'
import type { Thing } from './thing.ts'

/**
 * What `tests` says, compared with what is so, for clients of both eras whose address is not known. `resolve`: exposed name →
 * tool; `names`: the tools there are, for finding what was meant.
 */
export const runPolicyTests = (
  { tests }: Registry,
  policy: Policy,
  resolve: (exposed: string) => Thing | undefined,
  names: Iterable<string> = [],
): readonly Problem[] => {
  const known = [...names]
  return tests.flatMap((test, index) => {
    const askers = askersOf(test)
    return (['allowed', 'denied'] as const).flatMap((expected) =>
      test[expected].flatMap(({ tool, place }, at): readonly Problem[] => {
        const where = { severity: 'error', place, path: `tests[${index}].${expected}[${at}]` } as const
        const thing = resolve(tool)
        if (thing === undefined) return [{ ...where, message: `no tool is called "${tool}"`, ...meant(tool, known) }]
        const wrong = askers.filter((asker) => isAllowed(policy, asker, thing) !== (expected === 'allowed'))
        const [asker] = wrong
        if (asker === undefined) return []
        const only = wrong.length < askers.length ? ` for ${asker.era} clients` : ''
        return [{ ...where, ...found(policy, asker, thing, `${test.name}: ${tool} is`, only) }]
      }),
    )
  })
}

const eras: readonly Era[] = ['stateful', 'stateless']

const askersOf = ({ claims, view }: PolicyTest): readonly Asker[] => {
  const principal = sampleOf(claims)
  return eras.map((era) => ({ principal, view, era, address: '' }))
}

const isAllowed = (policy: Policy, asker: Asker, thing: Thing): boolean =>
  judge(policy, asker, 'tools/call', 'tools', thing).allowed

const meant = (name: string, known: readonly string[]): { readonly hint: string } | undefined => {
  const hint = meantHint(name, known)
  return hint === undefined ? undefined : { hint }
}

const found = (
  policy: Policy,
  asker: Asker,
  thing: Thing,
  start: string,
  only: string,
): Pick<Problem, 'message' | 'hint'> => {
  const { verdict, levels } = explain(policy, asker, 'tools/call', 'tools', thing)
  if (verdict.allowed) {
    const by = verdict.grounds.map(({ path, place }) => `${path} (line ${place.line})`).join(' and ')
    return { message: `${start} allowed${only}${by === '' ? ': no rule restricts it' : `, by ${by}`}` }
  }
  const level = levels.find(({ allowed }) => !allowed)
  const missing = (level?.rules ?? []).flatMap(({ path, reasons }) =>
    reasons.filter(({ holds }) => !holds).map(({ text }) => `${path}: ${text}`),
  )
  const why = level?.note ?? missing.slice(0, 3).join('; ')
  return { message: `${start} denied${only}, by ${level?.path ?? verdict.by}`, ...(why !== '' && { hint: why }) }
}

/**
 * Warnings about patterns of tools that match none. `toolsOf`: the own names of all tools of a server; undefined: not known. Rules
 * of the gateway and views are looked at when all servers are known.
 */
export const rulesWithoutTools = (
  { gateway, servers, views }: Registry,
  toolsOf: (server: string) => readonly string[] | undefined,
): readonly Problem[] => {
  const enabled = servers.filter((server) => server.enabled)
  const known = enabled.flatMap((server) => {
    const own = toolsOf(server.name)
    return own === undefined ? [] : [{ server, own: own.filter((name) => select(server.tools, name) !== undefined) }]
  })
  const inServers = known.flatMap(({ server, own }) =>
    rulesOf(server.access).flatMap((rule) => unmatched(rule, own, `server "${server.name}" shows no tool so named`)),
  )
  if (known.length < enabled.length) return inServers
  const exposed = known.flatMap(({ server, own }) => own.map((name) => exposedTool(server, name)))
  const none = 'no server shows a tool under this name'
  return [
    ...inServers,
    ...rulesOf(gateway.access).flatMap((rule) => unmatched(rule, exposed, none)),
    ...views.flatMap((view) => [
      ...unmatched({ ...view, path: `views.${view.name}` }, exposed, none),
      ...rulesOf(view.access).flatMap((rule) => unmatched(rule, exposed, none)),
    ]),
  ]
}

const rulesOf = (access: Access | undefined): readonly Rule[] => (access?.kind === 'rules' ? access.rules : [])

const exposedTool = (server: Server, own: string): string => server.prefix + (select(server.tools, own) ?? own)

const unmatched = (
  { path, place, tools = [] }: Pick<Rule, 'path' | 'place' | 'tools'>,
  names: readonly string[],
  message: string,
): readonly Problem[] =>
  tools
    .filter((pattern) => {
      const one = [pattern]
      return !names.some((name) => matches(one, name))
    })
    .map((pattern) => ({
      severity: 'warning',
      place,
      path: `${path}.tools`,
      message: `"${pattern}": ${message}`,
      ...meant(pattern, names),
    }))
