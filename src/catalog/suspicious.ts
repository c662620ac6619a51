/** Texts that show a person something else than they tell a model: hidden characters, look-alike names, keys that come twice. */
import type { Path } from '../registry/place.ts'
import { pathText } from '../registry/place.ts'
import { membersOf } from './definition.ts'
import type { Item } from './server-catalogue.ts'

/** Deeper than any schema that was meant to be read. */
const DEEPEST = 64
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** What reorders a line, takes no room in it, or steers whatever shows it. */
const HIDDEN = /[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u
/** Line ends and tabs; how an emoji is to look, and what joins several to one. */
const ALLOWED =
  /[\t\n\r]|(?<=\p{Emoji})\ufe0f|(?<=\p{Extended_Pictographic}[\ufe0f\p{Emoji_Modifier}]?)\u200d(?=\p{Extended_Pictographic})/gu

/** Such as `U+202E`; undefined when everything in the text can be seen. */
export const hiddenCharacter = (text: string): string | undefined => {
  const found = HIDDEN.exec(text.replaceAll(ALLOWED, ''))?.[0].codePointAt(0)
  return found === undefined ? undefined : `U+${found.toString(16).toUpperCase().padStart(4, '0')}`
}

/** How a name looks at a glance: the same for all names that are easily taken for one another. */
export const lookOf = (name: string): string => name.toLowerCase().replaceAll('0', 'o').replaceAll(/[1i|]/g, 'l')

/** Why a listed item must not be shown, whoever approved it; undefined: nothing is wrong with it. */
export const suspicion = (item: Item): string | undefined => {
  const known = suspicions.get(item)
  if (known !== undefined) return known.why
  const why = examined(item)
  suspicions.set(item, { why })
  return why
}
const suspicions = new WeakMap<Item, { readonly why: string | undefined }>()

const examined = ({ own, json }: Item): string | undefined => {
  const inName = hiddenCharacter(own)
  if (inName !== undefined) return hides('name', inName)
  const { deepest, keys } = shapeOf(json)
  if (deepest > DEEPEST) return 'its definition is nested too deeply'
  const value: unknown = JSON.parse(json.toString())
  if (countKeys(value) !== keys) return 'a key comes twice in its definition, so that not everybody reads it the same'
  for (const [key, each] of membersOf(value)) {
    if (key === '_meta') continue
    const found = hiddenIn(each, [key])
    if (found !== undefined) return hides(pathText(found.path), found.character)
  }
  return undefined
}

const hides = (where: string, character: string): string =>
  `its ${where} holds ${character}, which cannot be seen or changes what is seen`

/** How deep the text nests and how many keys are written in it. */
const shapeOf = (json: Buffer): { readonly deepest: number; readonly keys: number } => {
  let depth = 0
  let deepest = 0
  let keys = 0
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (byte === QUOTE) {
      for (at++; at < json.length && json[at] !== QUOTE; at++) if (json[at] === BACKSLASH) at++
    } else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (byte === 0x7d || byte === 0x5d) depth--
    else if (byte === 0x3a) keys++
  }
  return { deepest, keys }
}

/** A key that was written twice counts once here. */
const countKeys = (value: unknown): number => {
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + countKeys(each), 0)
  return membersOf(value).reduce((sum, [, each]) => sum + 1 + countKeys(each), 0)
}

const hiddenIn = (value: unknown, path: Path): { readonly path: Path; readonly character: string } | undefined => {
  if (typeof value === 'string') {
    const character = hiddenCharacter(value)
    return character === undefined ? undefined : { path, character }
  }
  if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) {
      const found = hiddenIn(each, [...path, index])
      if (found !== undefined) return found
    }
    return undefined
  }
  for (const [key, each] of membersOf(value)) {
    const character = hiddenCharacter(key)
    const found = character === undefined ? hiddenIn(each, [...path, key]) : { path, character }
    if (found !== undefined) return found
  }
  return undefined
}
