/** `mcp-gateway can-i`: whether somebody with these claims may call a tool of the running gateway, and which rule says so. */
import { Command, InvalidArgumentError, Option } from 'commander'
import type { OfferedServer } from '../catalog/definitions.ts'
import type { Offer } from '../catalog/offer.ts'
import type { Era } from '../mcp/versions.ts'
import type { ExplainedLevel, Explanation } from '../policy/explain.ts'
import type { Claims } from '../policy/principal.ts'
import type { Address, Registry } from '../registry/model.ts'
import { exitCode } from './exit-code.ts'
import { address } from './gateway-options.ts'
import { complain, paint, print, printable } from './terminal.ts'

interface CanIOptions {
  readonly as: string
  readonly view: string
  readonly era: Era
  readonly from: string
  readonly admin?: Address
  readonly json?: boolean
}

const era = (text: string): Era => {
  if (text === 'stateful' || text === 'stateless') return text
  throw new InvalidArgumentError('It must be stateful or stateless.')
}

/** The claims in a JSON file; undefined, with the reason told and the exit code set, when there are none. */
const claimsIn = async (path: string): Promise<Claims | undefined> => {
  const { readClaims } = await import('./claims-file.ts')
  const read = readClaims(path)
  if (typeof read !== 'string') return read
  complain(`${path}: ${read}`)
  process.exitCode = exitCode.bad
  return undefined
}

interface Answer {
  readonly tool: string
  readonly offer: Offer | undefined
  /** Undefined: there is no such tool. */
  readonly explanation: Explanation | undefined
  readonly hint?: string
}

const answerOf = async (
  registry: Registry,
  servers: readonly OfferedServer[],
  tool: string,
  claims: Claims,
  { view, era, from }: CanIOptions,
): Promise<Answer> => {
  const { knownTools, offers } = await import('../catalog/offer.ts')
  const { explain } = await import('../policy/explain.ts')
  const { policyOf } = await import('../policy/policy.ts')
  const { sampleOf } = await import('../policy/principal.ts')
  const { meantHint } = await import('../registry/did-you-mean.ts')
  const all = offers(registry, knownTools(servers))
  const offer = all.get(tool)
  if (offer === undefined) {
    const hint = meantHint(tool, all.keys())
    return { tool, offer, explanation: undefined, ...(hint !== undefined && { hint }) }
  }
  const asker = { principal: sampleOf(claims), view, era, address: from }
  return { tool, offer, explanation: explain(policyOf(registry), asker, 'tools/call', 'tools', offer) }
}

const isAllowed = ({ offer, explanation }: Answer): boolean =>
  offer !== undefined && offer.withheld === undefined && explanation?.verdict.allowed === true

const levelLines = (file: string, { path, allowed, note, rules }: ExplainedLevel): readonly string[] => [
  `  ${allowed ? paint('green', '✓') : paint('red', '✗')} ${path}${note === undefined ? '' : `: ${note}`}`,
  ...rules.flatMap(({ path: rule, place, holds, confirm, reasons }) => [
    `    ${holds ? paint('green', '✓') : paint('red', '✗')} ${rule} (${file}:${place.line}:${place.column})${confirm ? ', a human confirms' : ''}`,
    ...reasons.map(({ holds: fine, text }) => `      ${fine ? '✓' : '✗'} ${printable(text)}`),
  ]),
]

const asText = (file: string, answer: Answer): string => {
  const { tool, offer, explanation, hint } = answer
  const verdict = isAllowed(answer) ? paint('green', 'allowed') : paint('red', 'denied')
  if (offer === undefined || explanation === undefined)
    return `${verdict}: no tool is called "${printable(tool)}"${hint === undefined ? '' : `; ${hint}`}`
  const { verdict: judged, levels } = explanation
  const confirm = judged.allowed && judged.confirm ? ', once a human has confirmed it' : ''
  return [
    `${verdict}${isAllowed(answer) ? confirm : ''}: ${printable(offer.exposed)} (${printable(offer.own)} of ${offer.server})`,
    ...(offer.withheld === undefined ? [] : [`  ${paint('red', '✗')} withheld: ${printable(offer.withheld)}`]),
    ...(levels.length === 0 ? ['  no rule restricts it'] : levels.flatMap((level) => levelLines(file, level))),
    ...(judged.allowed || judged.scopes === undefined ? [] : [`  scopes that would do: ${judged.scopes.join(' ')}`]),
  ].join('\n')
}

const asJson = (file: string, answer: Answer): string =>
  JSON.stringify(
    { allowed: isAllowed(answer), file, tool: answer.tool, ...answer.offer, ...answer.explanation, hint: answer.hint },
    undefined,
    2,
  )

export const canI = (): Command =>
  new Command('can-i')
    .description('whether somebody with these claims may call a tool, and which rule says so; exit code 1 when not')
    .usage('[options] [file] <tool>')
    .argument('<file-and-tool...>', 'the registry (default: registry.yaml), and the name that clients call the tool by')
    .requiredOption('--as <claims.json>', "the claims of that somebody's token, as JSON; - reads standard input")
    .addOption(new Option('--view <name>', 'in this view').default('', 'none'))
    .option('--era <era>', 'with a client of this era: stateful or stateless', era, 'stateful')
    .addOption(
      new Option('--from <address>', "the client's address, for rules that look at it").default('', 'not known'),
    )
    .option('--admin <host:port>', 'ask the gateway there for its tools', address)
    .option('--json', 'for programs')
    .action(async (names: readonly string[], options: CanIOptions, command: Command) => {
      const [file = '', tool = ''] = names.length > 1 ? names : ['registry.yaml', ...names]
      if (names.length > 2) command.error('error: one registry and one tool, please')
      const { goodRegistry } = await import('./registry-file.ts')
      const registry = goodRegistry(file)
      if (registry === undefined) return
      if (options.view !== '' && !registry.views.some(({ name }) => name === options.view)) {
        complain(`${file} has no view "${options.view}"`)
        process.exitCode = exitCode.bad
        return
      }
      const claims = await claimsIn(options.as)
      if (claims === undefined) return
      const { askDefinitions } = await import('./running-gateway.ts')
      const { unanswered } = await import('./pinning.ts')
      const servers = await askDefinitions(options.admin ?? registry.gateway.admin, file)
      const answer = await answerOf(registry, servers, tool, claims, options)
      print(options.json === true ? asJson(file, answer) : asText(file, answer))
      if (answer.offer === undefined) for (const line of unanswered(servers)) complain(line)
      if (!isAllowed(answer)) process.exitCode = exitCode.bad
    })
