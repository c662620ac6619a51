/** Which way each request took, read from Envoy's own access log. */

/** What we read of a line. */
interface LogLine {
  readonly verb?: string
  readonly era?: string
  readonly method?: string
  /** Where the router sent it. */
  readonly cluster?: string
}

const WAYS: readonly (readonly [cluster: RegExp, way: string])[] = [
  [/^mcp\.broker$/, 'broker'],
  [/^direct\./, 'server '],
]
/** Where requests are before anybody has decided about them. */
const UNDECIDED = 'mcp.closed'
/** The way of one that Envoy refused by itself: nobody knows what it says. */
export const UNREAD = 'unread via envoy'

/** The way of each request in it, in order: `stateful tools/call via server weather`. */
export const waysIn = (log: string): readonly string[] =>
  log
    .split('\n')
    .slice(0, -1) // what follows the last newline is not complete
    .flatMap((line) => {
      const { verb, era, method, cluster = 'nowhere' }: LogLine = line.startsWith('{') ? JSON.parse(line) : {}
      if (verb === 'POST' && method === undefined && cluster === UNDECIDED) return [UNREAD]
      const counts = verb === 'POST' && method !== undefined && !/^(initialize$|notifications\/)/.test(method)
      return counts ? [`${era} ${method} via ${WAYS.reduce((way, [from, to]) => way.replace(from, to), cluster)}`] : []
    })
