/** The status page: one HTML page without scripts and without anything loaded from elsewhere. */
import { createHash } from 'node:crypto'
import { Html, html } from './html.ts'
import type { EnvoyStatus, ServerStatus, Status, StatusProblem } from './status.ts'

const STYLE = `
:root { color-scheme: light dark; --dim: #77777f; --line: #7773; --ok: #1a8a3c; --bad: #cf222e; --mid: #b56a00 }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1rem; margin: 2rem 0 .4rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top }
th { color: var(--dim); font-weight: 500 } tr + tr > td, thead + tbody td { border-top: 1px solid var(--line) }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere } small, .dim { color: var(--dim) }
.up, .ok { color: var(--ok) } .down, .error { color: var(--bad) } .degraded, .starting, .warning { color: var(--mid) }
.disabled { color: var(--dim) } td.n { text-align: right; font-variant-numeric: tabular-nums } details summary { cursor: pointer }
`

/** What the page may load: its own style sheet, by its hash, and nothing else. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

const where = (
  registry: string,
  { file = registry, place, path }: Pick<StatusProblem, 'file' | 'place' | 'path'>,
): string =>
  [place === undefined ? '' : `${file}:${place.line}:${place.column}`, path ?? '']
    .filter((part) => part !== '')
    .join(' ')

const problemRow = (file: string, problem: StatusProblem): Html => html`<tr>
  <td class="${problem.severity}">${problem.severity}</td>
  <td>${problem.server}</td>
  <td>${problem.message}${problem.hint === undefined ? '' : html` <small>${problem.hint}</small>`}</td>
  <td><code>${where(file, problem)}</code></td>
</tr>`

const table = (head: readonly string[], rows: readonly Html[]): Html =>
  html`<table><thead><tr>${head.map((name) => html`<th>${name}</th>`)}</tr></thead><tbody>${rows}</tbody></table>`

const section = (title: string, head: readonly string[], rows: readonly Html[], none: string): Html =>
  html`<h2>${title}</h2>${rows.length === 0 ? html`<p class="dim">${none}</p>` : table(head, rows)}`

const hidden = ({ hidden }: ServerStatus): Html =>
  hidden.length === 0
    ? html``
    : html`<details><summary><small>${hidden.length} hidden</small></summary>${hidden.map(
        ({ name, reason }) => html`<div><code>${name}</code> <small>${reason}</small></div>`,
      )}</details>`

const eras = ({ era }: ServerStatus): string => era?.eras.join(' and ') ?? 'era unknown'

const tokenNote = ({ token }: ServerStatus): Html | string =>
  token?.obtainedAt === undefined ? '' : html`, token of ${token.obtainedAt}`

const serverRow = (server: ServerStatus): Html => html`<tr>
  <td><b>${server.name}</b>${server.required ? html` <small>required</small>` : ''}<br><small>${server.description}</small></td>
  <td><span class="${server.state}">${server.state}</span><br><small>since ${server.since}</small></td>
  <td>${server.kind}, ${eras(server)}<br><small>${server.protocolVersion}${
    server.era === undefined ? '' : html`, ${server.era.how} ${server.era.at}`
  }</small></td>
  <td>${server.paths?.stateful}</td><td>${server.paths?.stateless}</td>
  <td class="n">${server.tools}</td><td class="n">${server.prompts}</td>
  <td class="n">${server.resources}</td><td class="n">${server.templates}</td>
  <td>${server.lastError === undefined ? '' : html`<span class="error">${server.lastError}</span><br>`}<small>${
    server.listsFetchedAt === undefined ? 'lists never fetched' : `lists of ${server.listsFetchedAt}`
  }${server.stale ? html`, <span class="warning">stale</span>` : ''}${tokenNote(server)}</small>${hidden(server)}</td>
</tr>`

/** `envoy.config.cluster.v3.Cluster` → `Cluster`. */
const shortName = (message: string): string => message.slice(message.lastIndexOf('.') + 1)

const envoyRow = (file: string, envoy: EnvoyStatus): Html => html`<tr>
  <td><code>${envoy.node}</code><br><small>${envoy.version}</small></td>
  <td>${envoy.applied ? html`<span class="ok">applied</span>` : html`<span class="warning">not applied</span>`}<br><small>since ${envoy.connectedSince.toISOString()}</small></td>
  <td>${Object.entries(envoy.types).map(([type, { current, resources }]) => html`<div>${shortName(type)} <span class="${current === resources ? 'ok' : 'warning'}">${current}/${resources}</span></div>`)}</td>
  <td>${envoy.nacks.map((nack) => html`<div><span class="error">${shortName(nack.type)} ${nack.name}</span> ${nack.message} <code>${where(file, nack)}</code></div>`)}</td>
</tr>`

const authLine = ({ auth }: Status): Html =>
  auth === undefined
    ? html``
    : html`<br><span class="${auth.keys === 0 ? 'error' : auth.problem === undefined ? 'dim' : 'warning'}">tokens of <code>${
        auth.issuer
      }</code> for <code>${auth.audience}</code>: ${count(auth.keys, 'key')}${
        auth.fetchedAt === undefined ? '' : html`, fetched ${auth.fetchedAt}`
      }</span>`

/** The whole page. It loads itself again every five seconds. */
export const page = (status: Status): string => {
  const { registry, sessions } = status
  const { envoys, of, ms } = registry.applied
  const problems = [...registry.problems, ...status.problems]
  const took = ms === undefined ? '' : ` in ${Math.round(ms)} ms`
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width"><title>MCP Gateway</title><style>${new Html(STYLE)}</style></head><body>
<h1>MCP Gateway <small>${status.version}</small></h1>
<p><code>${status.url}</code><br>
<span class="${of > 0 && envoys === of ? 'ok' : 'warning'}">applied to ${envoys}/${of} Envoy${took}</span>
<span class="dim">· ${count(sessions.clients, 'client session')} · ${count(sessions.servers, 'server session')} · ${sessions.pooled} pooled, ${sessions.waiting} waiting for input · ${count(sessions.streams, 'stream')}
· up since ${status.startedAt}</span>${authLine(status)}<br>
<small><code>${registry.file}</code> version ${registry.version}, loaded ${registry.loadedAt} · <a href="/status">JSON</a> · <a href="/metrics">metrics</a> · <a href="/ready">ready</a></small></p>
${section(
  'Problems',
  ['', 'Server', 'What', 'Where'],
  problems.map((problem) => problemRow(registry.file, problem)),
  'None.',
)}
${section('Servers', ['Server', 'State', 'Kind', 'Stateful clients', 'Stateless clients', 'Tools', 'Prompts', 'Resources', 'Templates', 'Notes'], status.servers.map(serverRow), 'The registry names no server.')}
${section(
  'Envoys',
  ['Node', 'State', 'ACKed', 'Refused'],
  status.envoys.map((envoy) => envoyRow(registry.file, envoy)),
  'None is connected.',
)}
${section(
  `Tools (${status.tools.length})`,
  ['Tool', 'Server', "Server's name", 'Stateful clients', 'Stateless clients'],
  status.tools.map(
    ({ name, server, own, paths }) =>
      html`<tr><td><code>${name}</code></td><td>${server}</td><td><code>${own}</code></td><td>${paths?.stateful}</td><td>${paths?.stateless}</td></tr>`,
  ),
  'None yet.',
)}
${section(
  'Refused requests',
  ['When', 'Status', 'Why', 'Decision'],
  status.refusals.map(
    ({ at, status: code, reason, decision }) =>
      html`<tr><td>${at}</td><td>${code}</td><td>${reason}</td><td><code>${decision}</code></td></tr>`,
  ),
  'None.',
)}
</body></html>
`.toString()
}
