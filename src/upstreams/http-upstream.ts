/** A server over Streamable HTTP: which eras it speaks is found out, and each client is served in its own where that is one of them. */

import { members } from '../mcp/json-text.ts'
import type { SessionTable } from '../sessions/session-table.ts'
import { discover, type Link } from './discovery.ts'
import { deniesStateless } from './era-probe.ts'
import { eraVerdict } from './era-verdict.ts'
import { ownIntroduction } from './handshake.ts'
import { probe } from './http-eras.ts'
import { CALLERS_REFRESH_MS, closeSession, type HttpEndpoint } from './http-session.ts'
import { httpWire } from './http-wire.ts'
import { resourceWatch } from './resource-watch.ts'
import { NotShown } from './shown-client.ts'
import { statefulLeg } from './stateful-leg.ts'
import { statefulLink } from './stateful-link.ts'
import { statelessCalls } from './stateless-calls.ts'
import { statelessLink } from './stateless-link.ts'
import type { WireRequest } from './stateless-wire.ts'
import {
  type EraFinding,
  failed,
  notShown,
  type Outcome,
  type Upstream,
  type UpstreamCall,
  type UpstreamEvents,
} from './upstream.ts'

export const httpUpstream = (
  endpoint: HttpEndpoint,
  table: SessionTable,
  version: string,
  events: UpstreamEvents,
): Upstream => {
  const { name } = endpoint.server
  const wire = httpWire(endpoint)
  const introduction = () => ownIntroduction(version, endpoint.server.client)
  const ask = (signal: AbortSignal) => probe(endpoint, wire, introduction(), endpoint.server.era, signal)
  /** Ends the conversation in which the lists are read, so that another is begun. */
  let anew = new AbortController()
  let own: Link | undefined

  const verdict = eraVerdict({
    pinned: endpoint.server.era,
    async ask(signal) {
      const probed = await ask(signal)
      if (!('kind' in probed) && 'opened' in probed) void closeSession(endpoint, probed.opened.session)
      return probed
    },
    onChange: () => anew.abort(),
  })

  /** Called when a conversation has begun. */
  const onLink = new Set<() => void>()
  const openLink = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    const link = await openIn(changed, signal)
    for (const begun of onLink) begun()
    return link
  }
  const openIn = async (changed: () => void, signal: AbortSignal): Promise<Link> => {
    const probed = await verdict.share(ask(signal))
    if ('kind' in probed) throw notShown(probed) ? new NotShown(probed) : new Error(probed.detail)
    anew = new AbortController()
    const ends = { changed, anew: anew.signal, signal }
    if ('opened' in probed) {
      const link = await statefulLink({
        ...ends,
        endpoint,
        opened: probed.opened,
        updated: (uri) => watched.changed(uri),
      })
      own = link
      // What changed in between nobody will ever tell.
      void subscribe(link, watched.uris).then((uris) => uris.forEach((uri) => watched.changed(uri)))
      return link
    }
    own = undefined
    return await statelessLink({
      ...ends,
      wire,
      as: introduction(),
      initialized: probed.discovered,
      stateful: probed.initialized,
      eras: probed.eras,
      timeoutMs: endpoint.server.timeoutMs,
    })
  }

  /** In our own session with a stateful server, of whose stream we are sure. */
  const subscribe = async (link: Link | undefined, uris: readonly string[]): Promise<readonly string[]> => {
    if (link?.announces !== true || !link.initialized.capabilities.has('resources.subscribe')) return []
    const agreed = uris.map(async (uri) => {
      const signal = AbortSignal.timeout(endpoint.server.timeoutMs)
      const response = await link.request('resources/subscribe', JSON.stringify({ uri }), signal).catch(() => undefined)
      return response !== undefined && members(response).has('result') ? [uri] : []
    })
    return (await Promise.all(agreed)).flat()
  }
  const watched = resourceWatch({
    begin: (uris) => subscribe(own, uris),
    end(uris) {
      for (const uri of uris)
        void own
          ?.request('resources/unsubscribe', JSON.stringify({ uri }), AbortSignal.timeout(5000))
          .catch(() => undefined)
    },
  })

  const discovery = discover({
    server: () => endpoint.server,
    open: openLink,
    onChange: () => events.changed(upstream),
    onCapped: (list) => events.capped(upstream, list),
    refreshMs: endpoint.as === undefined ? undefined : CALLERS_REFRESH_MS,
  })
  const stateful = statefulLeg({
    endpoint,
    table,
    failing: () => discovery.refresh(),
    message: (client, message) => events.message(upstream, client, message),
  })
  const stateless = statelessCalls({
    server: () => endpoint.server,
    wire: { ...wire, send: async (request) => noted(await wire.send(request), request) },
    version,
    capabilities: () => discovery.catalogue()?.capabilities ?? new Set(),
    updated: (client, message) => events.message(upstream, client, message),
  })

  /** A server that speaks a stateful client's own era is spoken to in it. */
  const legFor = ({ eras }: EraFinding) => (eras.includes('stateful') ? stateful : stateless)
  const run = (found: EraFinding, call: UpstreamCall): Promise<Outcome> => {
    const { session } = call.client
    // Of a time when the server still had sessions: nothing may go there any more.
    if (!found.eras.includes('stateful') && session.servers.has(name)) table.bind(session, name, undefined)
    return legFor(found).call(call)
  }
  /** Where the answer is one of the other era, and the server turns out to have changed to it, the call is made there. */
  const elsewhere = async (found: EraFinding, call: UpstreamCall, outcome: Outcome): Promise<Outcome> => {
    if (outcome.otherEra !== true) return outcome
    const now = await verdict.recheck()
    return 'kind' in now || legFor(now) === legFor(found) ? outcome : run(now, call)
  }
  /** A request that the server did not take may mean that it is down. A subscription's stream may end at any time. */
  const noted = (outcome: Outcome, { timeoutMs, signal }: WireRequest): Outcome => {
    const failing =
      outcome.kind === 'failed' && (outcome.reason === 'server-down' || outcome.reason === 'server-refused')
    if (failing && timeoutMs !== undefined && !signal.aborted) discovery.refresh()
    return outcome
  }

  const watcherFor = ({ eras }: EraFinding) => (eras.includes('stateless') ? stateless : watched)
  /** Watches in the era the server speaks; when it has changed to the other one, there from then on. */
  const watch: Upstream['watch'] = async (uris, changed, signal) => {
    const found = verdict.finding ?? (await verdict.recheck())
    if ('kind' in found) return []
    const here = new AbortController()
    const agreed = await watcherFor(found).watch(uris, changed, AbortSignal.any([signal, here.signal]))
    const stop = (): void => void onLink.delete(begun)
    const begun = (): void => {
      const now = verdict.finding
      if (now === undefined || watcherFor(now) === watcherFor(found)) return
      stop()
      here.abort()
      if (!signal.aborted) void watch(agreed, changed, signal).then((again) => again.forEach((uri) => changed(uri)))
    }
    if (agreed.length > 0 && !signal.aborted) {
      onLink.add(begun)
      signal.addEventListener('abort', stop, { once: true })
    }
    return agreed
  }

  const upstream: Upstream = {
    get server() {
      return endpoint.server
    },
    shared: false,
    update(next) {
      if (next.kind !== 'http') return
      endpoint.server = next
      verdict.pin(next.era)
    },
    status: () => discovery.status(),
    catalogue: () => discovery.catalogue(),
    settled: discovery.settled,
    era: () => verdict.finding,
    refresh: () => discovery.refresh(),
    async call(call) {
      const found = verdict.finding ?? (await verdict.recheck())
      return 'kind' in found ? found : elsewhere(found, call, await run(found, call))
    },
    async pass(call) {
      const found = verdict.finding ?? (await verdict.recheck())
      if ('kind' in found) return found
      if (!found.eras.includes('stateless')) return failed('server-invalid', 'it does not speak the stateless era')
      const outcome = await stateless.pass(call)
      if (!deniesStateless(outcome)) return outcome
      const now = await verdict.recheck()
      return 'kind' in now || now.eras.includes('stateless')
        ? outcome
        : failed('server-down', 'it has changed to the stateful era; send the request again')
    },
    async replay(call, lostId, refused) {
      const found = verdict.finding ?? (await verdict.recheck())
      return 'kind' in found ? found : elsewhere(found, call, await stateful.replay(call, lostId, refused))
    },
    watch,
    resume: (client, lastEventId, rest) => stateful.resume(client, lastEventId, rest),
    async watchTasks(watching) {
      const found = verdict.finding ?? (await verdict.recheck())
      return 'kind' in found || !found.eras.includes('stateless') ? [] : stateless.watchTasks(watching)
    },
    async tell(client, body) {
      if (!stateless.tell(client, body)) await stateful.tell(client, body)
    },
    setLevel: (client) => stateful.setLevel(client),
    listen: (client) => stateful.listen(client),
    async leave(client) {
      stateless.leave(client)
      await stateful.leave(client)
    },
    async close() {
      verdict.close()
      stateless.close()
      await discovery.close()
    },
  }
  return upstream
}
