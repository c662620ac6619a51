/** What a request for completions is about. */
import { members } from './json-text.ts'
import type { Message, Span } from './message.ts'

/** Where the name or the URI stands; undefined: there is none, or both, which two readers could take for two things. */
export const completed = (
  { params, refName, refUri }: Message,
  bytes: Buffer,
): { readonly kind: 'prompts' | 'resources'; readonly at: Span } | undefined => {
  const ref = params === undefined ? undefined : members(bytes, params).get('ref')
  const said = ref === undefined ? undefined : members(bytes, ref)
  if (said?.has('name') === said?.has('uri')) return undefined
  if (refName !== undefined) return { kind: 'prompts', at: refName }
  return refUri === undefined ? undefined : { kind: 'resources', at: refUri }
}
