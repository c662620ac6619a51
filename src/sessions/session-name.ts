/** What a client's session is called where people can read it: a name that reveals nothing and opens nothing. */
import { createHash } from 'node:crypto'
import type { ClientSession } from './session-table.ts'

const names = new WeakMap<ClientSession, string>()

/** The same in every process that knows the session. */
export const sessionName = (session: ClientSession): string => {
  let name = names.get(session)
  if (name === undefined) {
    name = createHash('sha256').update(session.claims.key).digest('base64url').slice(0, 12)
    names.set(session, name)
  }
  return name
}
