/** Names of tasks: the server's name and its own id for the task, so that every id leads to its server. */

/** The extension of the stateless era under which tasks go there. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

/** No server's name has one. */
const SEPARATOR = '~'

export const exposedTaskId = (server: string, own: string): string => `${server}${SEPARATOR}${own}`

/** The parts of an exposed id; undefined: it is none. */
export const parseTaskId = (exposed: string): { readonly server: string; readonly own: string } | undefined => {
  const at = exposed.indexOf(SEPARATOR)
  return at < 1 ? undefined : { server: exposed.slice(0, at), own: exposed.slice(at + 1) }
}
