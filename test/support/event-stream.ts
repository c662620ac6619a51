/** Writes and reads `text/event-stream`, well-behaved or odd, independently of the gateway's own code. */

/** Ways of writing events that are all allowed and not all common. */
export interface SseStyle {
  /** An event with an id and no data first, as servers do that can resume. */
  readonly priming?: boolean
  /** `\r\n` rather than `\n`. */
  readonly crlf?: boolean
  /** No space after `data:`. */
  readonly tight?: boolean
  /** Written in pieces of so many bytes. */
  readonly chunk?: number
  /** Events carry ids. */
  readonly ids?: boolean
}

/** One event. Without an id it has none. */
export const sseEvent = (data: string, style: SseStyle = {}, id?: string): string => {
  const lines = data.split('\n').map((line) => `data:${style.tight === true ? '' : ' '}${line}`)
  const all = [...(id === undefined ? [] : [`id: ${id}`]), ...(data === '' ? [] : ['event: message']), ...lines, '', '']
  return all.join(style.crlf === true ? '\r\n' : '\n')
}

export interface SseEvent {
  readonly id?: string
  readonly data: string
  /** As written. */
  readonly retry?: string
}

/** A function to give each piece of text to; it calls back with every event that is complete. */
export const sseReader = (onEvent: (event: SseEvent) => void, onComment?: (text: string) => void) => {
  let rest = ''
  let data: string[] = []
  let id: string | undefined
  let retry: string | undefined
  const line = (text: string): void => {
    if (text === '') {
      if (data.length > 0 || id !== undefined)
        onEvent({
          ...(id === undefined ? {} : { id }),
          data: data.join('\n'),
          ...(retry === undefined ? {} : { retry }),
        })
      data = []
      id = undefined
      retry = undefined
      return
    }
    const colon = text.indexOf(':')
    const field = colon < 0 ? text : text.slice(0, colon)
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '')
    if (field === '') onComment?.(value)
    if (field === 'data') data.push(value)
    if (field === 'id') id = value
    if (field === 'retry') retry = value
  }
  return (piece: string): void => {
    rest += piece
    for (;;) {
      const match = /\r\n|\n|\r(?!$)/.exec(rest)
      if (match === null) return
      line(rest.slice(0, match.index))
      rest = rest.slice(match.index + match[0].length)
    }
  }
}
