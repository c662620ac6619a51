/** Whether the keys of `gateway.auth` can be had, asked for as the gateway does, once. */
import { realClock } from '../clock.ts'
import { fetchJson } from '../identity/fetch-json.ts'
import { keySet } from '../identity/key-set.ts'
import type { Auth } from '../registry/model.ts'
import { trusted } from '../xds/system-ca.ts'

export interface LiveKeys {
  readonly issuer: string
  readonly ok: boolean
  /** How many can verify tokens. */
  readonly keys: number
  /** Why there are none. */
  readonly error?: string
}

/** Never rejects. */
export const liveKeys = async (auth: Auth): Promise<LiveKeys> => {
  const fetching = fetchJson(trusted(auth.ca))
  const nothing = (): undefined => undefined
  const asked = keySet(auth, {
    get: (url) => fetching.get(url),
    close: () => fetching.close(),
    ...realClock,
    after: () => nothing,
    onChange: nothing,
    onProblem: nothing,
  })
  await asked.settled
  const { keys, problem: error } = asked.status()
  await asked.close()
  return { issuer: auth.issuer, ok: keys > 0, keys, ...(error !== undefined && { error }) }
}
