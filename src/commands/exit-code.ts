/** What the command's exit code tells a script. */
export const exitCode = {
  fine: 0,
  /** The file or the answer is bad. */
  bad: 1,
  usage: 2,
  /** Something could not be reached or started. */
  unreachable: 3,
} as const
