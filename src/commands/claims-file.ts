/** A token's claims, as somebody has written them down for a question. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Claims } from '../policy/principal.ts'

const STANDARD_INPUT = 0

const json: z.ZodType<Claims[string]> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(json), z.record(z.string(), json)]),
)
const claims = z.record(z.string(), json)

/** `-` is standard input. A text says what is wrong. */
export const readClaims = (path: string): Claims | string => {
  let text: string
  try {
    text = readFileSync(path === '-' ? STANDARD_INPUT : path, 'utf8')
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT'
      ? 'there is no such file'
      : `it cannot be read: ${error instanceof Error ? error.message : String(error)}`
  }
  if (/^[\w-]+\.[\w-]+\.[\w-]*\s*$/.test(text))
    return 'this is a token; give its claims, which are the JSON in its middle part'
  try {
    const parsed = claims.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : 'it must be one JSON object: the claims'
  } catch (error) {
    return `it is not JSON: ${error instanceof Error ? error.message : String(error)}`
  }
}
