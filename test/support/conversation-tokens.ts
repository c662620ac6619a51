/** The tokens of a conversation's people, signed with a key made for it. */
import type { Conversation } from './conversation-file.ts'
import { inSeconds, signingKey } from './tokens.ts'

export interface ConversationTokens {
  /** Beside the registry: name → content. */
  readonly files: ReadonlyMap<string, string>
  /** Name → token. */
  readonly of: ReadonlyMap<string, string>
}

const AN_HOUR_S = 3600

export const tokensOf = async ({ tokens, people }: Conversation): Promise<ConversationTokens> => {
  if (tokens === undefined) return { files: new Map(), of: new Map() }
  const key = await signingKey('ES256')
  const made = Object.entries(people).map(async ([name, claims]) => {
    const said = { sub: name, exp: inSeconds(AN_HOUR_S), ...tokens.claims, ...claims }
    return [name, await key.sign(said)] as const
  })
  return {
    files: new Map([[tokens.keys, JSON.stringify({ keys: [key.published] })]]),
    of: new Map(await Promise.all(made)),
  }
}
