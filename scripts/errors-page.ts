/** docs/errors.md: every error the gateway words itself, from the tables in code. */
import { refusals } from '../src/broker/refusals.ts'
import { replies } from '../src/xds/local-replies.ts'

const cells = (...values: readonly (string | number)[]): string => `| ${values.join(' | ')} |`

const brokerRows = Object.entries(refusals).map(([reason, { only, status, code, message, stateless }]) =>
  cells(
    `\`${reason}\``,
    ...(only === 'stateless' ? ['–', '–'] : [status, code]),
    ...(only === 'stateful' ? ['–', '–'] : [stateless?.status ?? status, stateless?.code ?? code]),
    [message, ...(stateless?.message === undefined ? [] : [`stateless: ${stateless.message}`])].join('; '),
  ),
)

/** A format operator of Envoy's: the reply says what Envoy itself calls the reason. */
const isOperator = (text: string): boolean => /^%.*%$/.test(text)

const envoyRows = replies.map(({ status, code, message, reason }) =>
  cells(isOperator(reason) ? "Envoy's own" : `\`${reason}\``, status ?? "Envoy's own", code, message),
)

/** The whole page. */
export const errorsPage = (): string => `# Errors
<!-- Generated from src/broker/refusals.ts and src/xds/local-replies.ts by npm run generate. -->

An error of the gateway's own is one JSON-RPC error with the HTTP status of the tables below, as \`application/json\`:

\`\`\`json
{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"unknown tool: nope","data":{"reason":"unknown-tool","decision":"33448885-e6f2-4f54-91ab-c62a3c518327"}}}
\`\`\`

- \`id\` is the request's id as it was sent; \`null\` when none could be read.
- \`data.reason\` is stable and meant for programs; the words may change.
- \`data.decision\` is Envoy's request id. The access log has it as \`id\`, the gateway's log and \`/status\` as \`decision\`.
- \`data.server\` names the server the error is about, when there is one.
- \`data.retryAfterMs\`, with the header \`Retry-After\`, says when another try is worth it.
- \`data.supported\` and \`data.requested\` come with -32022, \`data.requiredCapabilities\` with -32021.

Once the answer has become an event stream its HTTP status is sent already; the error then comes as the stream's last message.
A server's own JSON-RPC errors are not in these tables: they reach the client as the server sent them.

## From the broker

| reason | stateful: HTTP | code | stateless: HTTP | code | message |
|---|---|---|---|---|---|
${brokerRows.join('\n')}

What is said after a colon is about the one request: a name, a server, what went wrong with it.

## From Envoy

When there is nobody else to answer: no decision, no broker, a request that HTTP itself refuses, or that a filter of [your own policy](policy-contract.md) does. The first that
matches counts.

| reason | HTTP | code | message |
|---|---|---|---|
${envoyRows.join('\n')}
`
