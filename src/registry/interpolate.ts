/** `${NAME}` and `${NAME:-default}` in a text become what the environment says; `$${` is a literal `${`. */
import { bad, type Form, good } from './form.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const reference = /\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g

/** Whether a text asks the environment for anything. */
export const usesVariable = (text: string): boolean => text.replaceAll('$${', '').includes('${')

/** What went wrong names the variable, never a value. */
export const interpolate = (text: string, env: Environment): Form<string> => {
  const wrong: Form<never>[] = []
  const value = text.replaceAll(reference, (match: string, name?: string, fallback?: string) => {
    if (match === '$${') return '${'
    if (name === undefined) {
      wrong.push(
        bad('has a ${ that starts no variable', 'write ${NAME} or ${NAME:-default}; a literal ${ is written $${'),
      )
      return ''
    }
    const found = Object.hasOwn(env, name) ? env[name] : undefined
    if (found !== undefined && (found !== '' || fallback === undefined)) return found
    if (fallback !== undefined) return fallback
    wrong.push(bad(`the environment variable ${name} is not set`, `set it, or write \${${name}:-default}`))
    return ''
  })
  return wrong[0] ?? good(value)
}
