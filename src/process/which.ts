/** Where a command is, as a shell would look it up. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, resolve } from 'node:path'

const isExecutable = async (file: string): Promise<boolean> => {
  try {
    await access(file, constants.X_OK)
    return (await stat(file)).isFile()
  } catch {
    return false
  }
}

/** The absolute path; a name with a slash is not looked up. Undefined: nothing executable has that name. */
export const which = async (
  command: string,
  { path, cwd }: { readonly path: string; readonly cwd: string },
): Promise<string | undefined> => {
  const directories = command.includes('/') ? [''] : path.split(delimiter).filter((directory) => directory !== '')
  for (const directory of directories) {
    const file = resolve(cwd, directory, command)
    if (await isExecutable(file)) return file
  }
  return undefined
}
