/** Reads a stateless server's lists, and listens for changes of them, whatever carries the requests. */
import { members, stringOf, textOf } from '../mcp/json-text.ts'
import type { Link } from './discovery.ts'
import { judgeDiscover } from './era-probe.ts'
import type { Initialized, Introduction } from './handshake.ts'
import { pause } from './pause.ts'
import { isListChanged, parseServerMessage, resultOf } from './server-message.ts'
import { type Filter, subscribe } from './server-subscription.ts'
import { type StatelessWire, wireRequest } from './stateless-wire.ts'

/** A server may take its time to acknowledge; its lists are not held up for longer by that. */
const LISTENS_WITHIN_MS = 250

export interface StatelessLinkOptions {
  readonly wire: StatelessWire
  readonly as: Introduction
  /** What `server/discover` was answered with. */
  readonly initialized: Initialized
  /** What it says of itself in the other era, if it speaks that too. */
  readonly stateful?: Initialized | undefined
  readonly eras: Link['eras']
  readonly timeoutMs: number
  readonly changed: () => void
  /** The end of this one, because another is to be begun. */
  readonly anew?: AbortSignal
  /** Ends everything. */
  readonly signal: AbortSignal
}

/** The lists, each with the capability that declares news of it and the word for it in a filter. */
const kinds = {
  tools: 'toolsListChanged',
  prompts: 'promptsListChanged',
  resources: 'resourcesListChanged',
} as const satisfies Record<string, keyof Filter>

export const statelessLink = async (options: StatelessLinkOptions): Promise<Link> => {
  const { wire, as, timeoutMs, changed } = options
  const ending = new AbortController()
  const signal = AbortSignal.any([options.signal, ending.signal])
  let initialized = options.initialized
  let fresh = true
  let announces = false
  let late = false
  let end: (reason: string | undefined) => void = () => undefined
  const over = new Promise<string | undefined>((resolve) => {
    end = resolve
  })
  options.anew?.addEventListener('abort', () => end(undefined), { once: true })
  if (options.anew?.aborted === true) end(undefined)

  const listen = async (): Promise<void> => {
    const declared = Object.entries(kinds).filter(([kind]) => initialized.capabilities.has(kind))
    const news = declared.filter(([kind]) => initialized.capabilities.has(`${kind}.listChanged`))
    if (news.length === 0) return
    const granted = await subscribe({
      wire,
      as,
      filter: Object.fromEntries(news.map(([, word]) => [word, true])),
      timeoutMs,
      hear(message) {
        if (isListChanged(message.method)) changed()
      },
      again: changed,
      lost: (detail) => end(`the connection to the server was lost: ${detail}`),
      signal,
    })
    if (granted === undefined) return
    announces = declared.every(([, word]) => granted[word] === true)
    if (late) changed()
  }
  await Promise.race([listen(), pause(LISTENS_WITHIN_MS, signal)])
  late = true

  /** The response; its error, if it is one, is the caller's to judge. */
  const ask = async (method: string, params: string, requestSignal: AbortSignal): Promise<Buffer> => {
    const outcome = await wire.send({
      ...wireRequest(wire.nextId(), method, params, as),
      timeoutMs,
      onMessage: () => undefined,
      signal: AbortSignal.any([signal, requestSignal]),
    })
    if (outcome.kind === 'failed') {
      if (!requestSignal.aborted) end(outcome.detail)
      throw new Error(outcome.detail)
    }
    if (outcome.status >= 500 || parseServerMessage(outcome.body)?.kind !== 'response') {
      if (outcome.status < 500) end(`HTTP ${outcome.status}`)
      throw new Error(`HTTP ${outcome.status}`)
    }
    return outcome.body
  }

  return {
    get initialized() {
      return initialized
    },
    eras: options.eras,
    tasks: [...(options.stateful?.capabilities ?? [])].filter((name) => /^tasks(\.|$)/.test(name)),
    get announces() {
      return announces
    },
    over,
    async request(method, params, requestSignal) {
      const response = await ask(method, params, requestSignal)
      const outcome = resultOf(response)
      const type = 'error' in outcome ? undefined : members(response, outcome.result).get('resultType')
      if (type !== undefined && stringOf(response, type) !== 'complete')
        throw new Error(`its result is of the type ${textOf(response, type)}`)
      return response
    },
    async renew(requestSignal) {
      // The first time it has just said so.
      if (fresh) {
        fresh = false
        return
      }
      const body = await ask('server/discover', '{}', requestSignal)
      const verdict = judgeDiscover({ kind: 'answered', status: 200, type: 'application/json', body })
      if (verdict.speaks !== 'stateless') {
        end(undefined)
        throw new Error(`server/discover: ${verdict.why}`)
      }
      initialized = verdict.initialized
    },
    close: () => ending.abort(),
  }
}
