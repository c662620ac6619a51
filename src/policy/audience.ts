/** Whom a token has to be for. */
import { resourceOf } from '../mcp/protected-resource.ts'

/** `audience` is the token's `aud`. A token for all of the gateway is good for its views; one for a view is good there only. */
export const isFor = (audience: unknown, expected: string, view: string): boolean => {
  const named: readonly unknown[] = Array.isArray(audience) ? audience : [audience]
  return named.some((one) => one === expected || one === resourceOf(expected, view))
}
