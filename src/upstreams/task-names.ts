/** Tasks under their two names: the server's own towards it, with the server's name in front towards clients. */
import { offersTasks } from '../catalog/tasks.ts'
import { type Edit, members, replaceSpans } from '../mcp/json-text.ts'
import type { Span } from '../mcp/message.ts'
import { exposedTaskId, parseTaskId } from '../mcp/task-id.ts'
import { messageEdits, type Rename, renameInResponse } from '../translation/task-ids.ts'
import type { Upstream } from './upstream.ts'

/** What of a message says which tasks it belongs to. */
interface Sent {
  readonly method: string
  readonly bytes: Buffer
  readonly params: Span | undefined
}

/** Own id → the one that clients know. */
export const toClient =
  (server: string): Rename =>
  (own) =>
    exposedTaskId(server, own)

/** The other way round; an id of another server stays as it is. */
export const toServer =
  (server: string): Rename =>
  (exposed) => {
    const parts = parseTaskId(exposed)
    return parts?.server === server ? parts.own : undefined
  }

/** What changes in a server's notification or request before its client takes it. */
export const editsForClient = (
  upstream: Upstream,
  { method, bytes, params }: Sent,
  rename: Rename = toClient(upstream.server.name),
): readonly Edit[] => (hasTasks(upstream) ? messageEdits(method, bytes, params, rename) : [])

/** A server's notification as its client takes it. */
export const forClient = (upstream: Upstream, message: Sent, rename?: Rename): Buffer =>
  changed(message.bytes, editsForClient(upstream, message, rename))

/** A client's notification as the server takes it. */
export const forServer = (upstream: Upstream, method: string, bytes: Buffer): Buffer =>
  hasTasks(upstream)
    ? changed(bytes, messageEdits(method, bytes, members(bytes).get('params'), toServer(upstream.server.name)))
    : bytes

/** A client's response to a question of the server, which may belong to a task. */
export const answerForServer = (upstream: Upstream, response: Buffer): Buffer =>
  hasTasks(upstream) ? renameInResponse('', response, toServer(upstream.server.name)) : response

/** Most servers have none: then nothing is looked for. */
const hasTasks = (upstream: Upstream): boolean => {
  const catalogue = upstream.catalogue()
  return catalogue !== undefined && (offersTasks('stateful', catalogue) || offersTasks('stateless', catalogue))
}

const changed = (bytes: Buffer, edits: readonly Edit[]): Buffer =>
  edits.length === 0 ? bytes : replaceSpans(bytes, edits)
