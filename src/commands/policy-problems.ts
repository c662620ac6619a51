/** What a registry's own tests say of the tools that are known, and its rules about tools that nobody has. */
import type { KnownTools } from '../catalog/offer.ts'
import type { Problem, Registry } from '../registry/model.ts'

/** `known`: the tools of servers that were asked; undefined: none was, and what the lock says has to do. */
export const policyProblems = async (registry: Registry, known?: KnownTools): Promise<readonly Problem[]> => {
  const { offers } = await import('../catalog/offer.ts')
  const { rulesWithoutTools, runPolicyTests } = await import('../policy/check.ts')
  const { namedTool } = await import('../policy/named-tool.ts')
  const { policyOf } = await import('../policy/policy.ts')
  const all = offers(registry, known ?? new Map())
  const resolve = (name: string) => all.get(name) ?? namedTool(registry, name)
  return [
    ...runPolicyTests(registry, policyOf(registry), resolve, all.keys()),
    ...(known === undefined ? [] : rulesWithoutTools(registry, (server) => known.get(server)?.map(({ own }) => own))),
  ]
}
