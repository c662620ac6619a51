/** What the stateless era says about its methods. */
import type { MethodName } from '../mcp/methods.ts'

const CACHEABLE: ReadonlySet<string> = new Set<MethodName>([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
])
const MAY_NEED_INPUT: ReadonlySet<string> = new Set<MethodName>(['tools/call', 'prompts/get', 'resources/read'])

/** Whether its results must say how long they may be kept (2026-07-28 caching). */
export const isCacheable = (method: string): boolean => CACHEABLE.has(method)

/** Whether it may be answered with a request for input (2026-07-28 mrtr, supported requests). */
export const mayNeedInput = (method: string): boolean => MAY_NEED_INPUT.has(method)
