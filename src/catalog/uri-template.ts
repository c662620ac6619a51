/** Which URIs a resource template (RFC 6570) can expand to, matched in linear time per part: templates come from servers. */

/** A literal, or a stretch of any characters; `within` keeps to one path segment. */
export type TemplatePart =
  | { readonly literal: string }
  | { readonly any: true; readonly within: boolean; readonly least: 0 | 1 }

const MOST_PARTS = 64

/** The parts of a template; undefined when it is malformed or has too many. */
export const templateParts = (template: string): readonly TemplatePart[] | undefined => {
  const parts: TemplatePart[] = []
  let at = 0
  while (at < template.length) {
    const open = template.indexOf('{', at)
    const literal = template.slice(at, open < 0 ? undefined : open)
    if (literal.includes('}')) return undefined
    if (literal !== '') parts.push({ literal })
    if (open < 0) break
    const close = template.indexOf('}', open)
    if (close < 0) return undefined
    parts.push(...expression(template.slice(open + 1, close)))
    at = close + 1
  }
  return parts.length > MOST_PARTS ? undefined : parts
}

const expression = (text: string): readonly TemplatePart[] => {
  switch (text[0]) {
    case '+':
    case '#':
      return [{ any: true, within: false, least: 0 }]
    case '.':
    case '/':
      return [{ literal: text[0] }, { any: true, within: text[0] === '.', least: 1 }]
    case ';':
    case '?':
    case '&':
      return [{ any: true, within: false, least: 0 }]
    default:
      return [{ any: true, within: true, least: 1 }]
  }
}

/** Whether `uri` is one the template could give. */
export const templateMatches = (parts: readonly TemplatePart[], uri: string): boolean => {
  // The set of positions in `uri` that the parts so far can end at; one pass over the URI for each part.
  let ends = new Uint8Array(uri.length + 1)
  ends[0] = 1
  for (const part of parts) {
    const next = new Uint8Array(uri.length + 1)
    if ('literal' in part) {
      for (let i = 0; i + part.literal.length <= uri.length; i++)
        if (ends[i] === 1 && uri.startsWith(part.literal, i)) next[i + part.literal.length] = 1
    } else {
      let open = false
      for (let i = 0; i <= uri.length; i++) {
        if (open) next[i] = 1
        if (ends[i] === 1) {
          open = true
          if (part.least === 0) next[i] = 1
        }
        if (part.within && uri[i] === '/') open = false
      }
    }
    ends = next
  }
  return ends[uri.length] === 1
}

/**
 * Whether a URI is spelt as what it leads to. Servers go up at dots, decode letters, drop blanks and lower cases before they
 * look (RFC 3986 6.2.2, the URL standard), so that what is said of one spelling would say nothing of what is read.
 */
export const isPlain = (uri: string): boolean => {
  if (ENCODED_NEEDLESSLY.test(uri) || stepsOf(uri).some((step) => step === '.' || step === '..')) return false
  if (!URL.canParse(uri)) return true
  const { href } = new URL(uri)
  const meant = decoded(href)
  return meant === decoded(uri) || (href.endsWith('/') && meant === `${decoded(uri)}/`)
}

/** Letters, digits, `-`, `.`, `_` and `~` (RFC 3986 2.3). */
const ENCODED_NEEDLESSLY = /%(2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i

/** As the most lenient see them. */
const stepsOf = (uri: string): readonly string[] => (uri.split(/[?#]/, 1)[0] ?? '').split(/[/\\]|%2f|%5c/i)

/** As far as it is UTF-8. */
const decoded = (uri: string): string =>
  uri.replace(/(%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded)
    } catch {
      return encoded.toUpperCase()
    }
  })
