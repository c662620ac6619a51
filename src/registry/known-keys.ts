/** Which keys the schema knows at a path, and where a key would belong: what "did you mean" chooses from. */
import { z } from 'zod'
import { meantHint } from './did-you-mean.ts'
import { keyText, type Path, pathText } from './place.ts'
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

/** The first key that may stand at a path, as an example; undefined: any may, or none. */
export const exampleAt = (path: Path): string | undefined => {
  const [first] = keysAt(path)
  return path.length === 0 || first === undefined ? undefined : `such as { ${first}: … }`
}

const isServer = ([section, , ...rest]: Path): boolean => section === 'servers' && rest.length === 0
const isRule = (path: Path): boolean => path.at(-2) === 'access' && typeof path.at(-1) === 'number'
const isOAuth = (path: Path): boolean => path.at(-1) === 'oauth' || path.at(-1) === 'exchange'

/** Keys that other programs have, or that one could expect, and what stands for them here. */
const instead: readonly (readonly [key: RegExp, at: (path: Path) => boolean, hint: string])[] = [
  [/^(deny|effect)$/, isRule, 'rules only allow: what none of them allows is denied'],
  [/^confirm$/, isServer, 'a rule of its access says so'],
  [/^auth$/, isServer, 'credential lets the gateway in at the server, gateway.auth agents at the gateway'],
  [/^headers$/, isServer, 'credential adds a header, forward lets those of clients through'],
  [/^servers$/, ([section]) => section === 'views', 'tools, prompts and resources say what is in a view'],
  [/^env$/, (path) => path.includes('credential'), 'a variable is written as a text: "${NAME}"'],
  [/^token[_-]?(url|uri|endpoint)$/i, isOAuth, 'did you mean "token"?'],
  [/^client[_-]?secret$/i, isOAuth, 'did you mean "secret"?'],
]

/** What to do about an unknown key, if anything sensible can be said. */
export const unknownKeyHint = (path: Path, key: string): string | undefined => {
  if (key.includes(':')) return 'a space is missing after the ":"'
  const other = instead.find(([named, at]) => named.test(key) && at(path))
  if (other !== undefined) return other[2]
  const meant = meantHint(key, keysAt(path))
  if (meant !== undefined) return meant
  if (path.at(-1) === 'allow') return `claims looks at any claim: claims: { ${keyText(key)}: … }`
  const home = homes().find((known) => known.key === key)
  if (home === undefined) return undefined
  return home.path.length === 0 ? 'it belongs at the top level' : `it belongs under ${homeText(home.path)}`
}

const homeText = (path: Path): string => pathText(path).replace('["<name>"]', '.<name>')
