/** Which keys the schema knows at a path, and where a key would belong: what "did you mean" chooses from. */
import { z } from 'zod'
import { didYouMean } from './did-you-mean.ts'
import { type Path, pathText } from './place.ts'
import { schema } from './schema.ts'

/** A schema without the wrappers that say when a value may be absent or how it is read; of several forms the one that is keys, or a list. */
const bare = (wrapped: z.core.$ZodType, form: 'keys' | 'list' = 'keys'): z.core.$ZodType => {
  if (wrapped instanceof z.ZodOptional || wrapped instanceof z.ZodPrefault || wrapped instanceof z.ZodDefault) {
    return bare(wrapped.def.innerType, form)
  }
  if (wrapped instanceof z.ZodPipe) return bare(wrapped.def.in, form)
  if (!(wrapped instanceof z.ZodUnion)) return wrapped
  const isMeant = (option: z.core.$ZodType): boolean =>
    form === 'keys' ? option instanceof z.ZodObject : option instanceof z.ZodArray
  return wrapped.options.map((option) => bare(option, form)).find(isMeant) ?? z.string()
}

const child = (parent: z.core.$ZodType, step: string | number): z.core.$ZodType | undefined => {
  const here = bare(parent, typeof step === 'number' ? 'list' : 'keys')
  if (here instanceof z.ZodRecord) return here.valueType
  if (here instanceof z.ZodArray) return here.element
  return here instanceof z.ZodObject && Object.hasOwn(here.shape, step) ? here.shape[step] : undefined
}

const keysAt = (path: Path): readonly string[] => {
  let here: z.core.$ZodType | undefined = schema
  for (const step of path) here = here === undefined ? undefined : child(here, step)
  const found = here === undefined ? undefined : bare(here)
  return found instanceof z.ZodObject ? Object.keys(found.shape) : []
}

/** Every place in the file where some key is known, shallow ones first. `<name>` stands for a server's. */
const homes = (): readonly { readonly path: Path; readonly key: string }[] => {
  const visit = (node: z.core.$ZodType, path: Path): { readonly path: Path; readonly key: string }[] => {
    const here = bare(node)
    if (here instanceof z.ZodRecord) return visit(here.valueType, [...path, '<name>'])
    if (!(here instanceof z.ZodObject)) return []
    const keys = Object.keys(here.shape)
    return [
      ...keys.map((key) => ({ path, key })),
      ...keys.flatMap((key) => visit(here.shape[key] ?? z.never(), [...path, key])),
    ]
  }
  return visit(schema, []).toSorted((a, b) => a.path.length - b.path.length)
}

/** What to do about an unknown key, if anything sensible can be said. */
export const unknownKeyHint = (path: Path, key: string): string | undefined => {
  if (key.includes(':')) return 'a space is missing after the ":"'
  const near = didYouMean(key, keysAt(path))
  if (near !== undefined) return `did you mean "${near}"?`
  const home = homes().find((known) => known.key === key)
  if (home === undefined) return undefined
  return home.path.length === 0 ? 'it belongs at the start of the line' : `it belongs under ${homeText(home.path)}`
}

const homeText = (path: Path): string => pathText(path).replace('["<name>"]', '.<name>')
