/** Something on this machine that keeps the gateway from starting, and how to mend it. */

/** The command prints both and exits with 3. */
export class StartProblem extends Error {
  override readonly name = 'StartProblem'
  /** What to do about it. */
  readonly hint: string
  constructor(message: string, hint: string) {
    super(message)
    this.hint = hint
  }
}

/** The code of a system error, such as `EADDRINUSE`. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Why a file cannot be read. */
export const unreadText = (error: unknown): string => {
  const code = errorCode(error)
  if (code === 'ENOENT') return 'there is no such file'
  return code === 'EISDIR' ? 'it is a directory' : errorText(error)
}

/** The last line of a text: of what a failed command wrote, the one that says why. */
export const lastLine = (text: string): string =>
  text
    .split('\n')
    .findLast((line) => line.trim() !== '')
    ?.trim() ?? ''

/** The message of whatever was thrown. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))
