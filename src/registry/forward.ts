/** Which of the client's headers a server gets, and whether what it offers depends on them. */
import type { Credentials } from './credential.ts'
import type { Inspection } from './inspection.ts'
import type { HttpServer } from './model.ts'
import type { Path } from './place.ts'
import type { ServerSheet } from './schema.ts'

export const forwarded = (
  inspection: Inspection,
  path: Path,
  { forward, lists }: ServerSheet,
  credentials: Credentials,
): Pick<HttpServer, 'forward' | 'perCaller'> => {
  for (const [index, header] of forward.entries())
    checkHeader(inspection, [...path, 'forward', index], header, credentials)
  for (const [index, header] of forward.entries()) {
    if (forward.indexOf(header) !== index) inspection.error([...path, 'forward', index], 'this stands here twice')
  }
  const perCaller = lists === 'per-caller'
  const written = (...key: readonly string[]): boolean => inspection.isWritten([...path, ...key])
  if (perCaller && !written('forward') && !written('credential', 'exchange')) {
    const hint = 'add forward or credential.exchange'
    inspection.error([...path, 'lists'], 'the server cannot tell callers apart', hint)
  }
  return { forward, perCaller }
}

const checkHeader = (
  inspection: Inspection,
  path: Path,
  header: string,
  { credential, oauth, exchange }: Credentials,
): void => {
  const taken = oauth === undefined && exchange === undefined ? credential?.header : 'authorization'
  if (header === taken) return inspection.error(path, "the server's credential is in this header")
  if (header === 'authorization') {
    const hint = 'credential.exchange gets it one of its own'
    return inspection.warning(path, "the server gets the client's own token, and could use it elsewhere", hint)
  }
  if (header === 'cookie') inspection.warning(path, "the server gets all of the client's cookies")
}
