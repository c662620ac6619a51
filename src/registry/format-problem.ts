/** A problem as one line that editors can jump to, and the line of the file it is about. */
import { excerpt } from './excerpt.ts'
import type { Problem } from './model.ts'

/**
 * Such as `registry.yaml:4:5: error: servers.weather.timout: unknown key "timout", did you mean "timeout"?`.
 * With the registry's `text`, the line itself follows, and a caret under the place; values that may be secret are dots.
 */
export const formatProblem = (file: string, problem: Problem, text?: string): string => {
  const { severity, place, path, message, hint } = problem
  const said = hint === undefined ? message : `${message}, ${hint}`
  const line = `${problem.file ?? file}:${place.line}:${place.column}: ${severity}: ${path === '' ? '' : `${path}: `}${said}`
  const source = text === undefined || problem.file !== undefined ? undefined : excerpt(text, place)
  const headline = line.replaceAll(/\p{Cc}/gu, ' ')
  return source === undefined ? headline : `${headline}\n${source.replaceAll(/^/gm, '    ')}`
}
