/** HTML in which every value is escaped unless it is HTML already. */

export class Html {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toString(): string {
    return this.#text
  }
}

type Value = Html | string | number | undefined | readonly Value[]

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text of others may also try to reorder the line it stands in; such characters are shown by their number. */
const escaped = (text: string): string =>
  text
    .replaceAll(/[&<>"']/gu, (character) => ESCAPES[character] ?? '')
    .replaceAll(
      /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu,
      (hidden) => `U+${hidden.charCodeAt(0).toString(16)}`,
    )

const rendered = (value: Value): string => {
  if (value === undefined) return ''
  if (value instanceof Html) return value.toString()
  if (typeof value === 'string' || typeof value === 'number') return escaped(String(value))
  return value.map(rendered).join('')
}

/** `` html`<b>${name}</b>` `` */
export const html = (literal: TemplateStringsArray, ...values: readonly Value[]): Html =>
  new Html(literal.map((text, index) => text + rendered(values[index])).join(''))
