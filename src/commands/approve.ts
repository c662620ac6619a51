/** `mcp-gateway approve`: takes what a server offers now over into the lock; the running gateway shows it at once. */
import { Command, Option } from 'commander'
import type { Change } from '../catalog/lock-diff.ts'
import { changeText } from './change-text.ts'
import { exitCode } from './exit-code.ts'
import { address } from './gateway-options.ts'
import { lockNeeded, type PinningOptions, pinningOf, unanswered } from './pinning.ts'
import { complain, print, printable } from './terminal.ts'

interface ApproveOptions extends PinningOptions {
  readonly all?: boolean
  readonly instructions: readonly string[]
}

export const approve = (): Command =>
  new Command('approve')
    .description('take tools as they are now over into mcp.lock')
    .usage('[options] [file] <tool...>')
    .argument('[file-and-tools...]', 'the registry, when the first ends in .yaml, .yml or .json, and names of tools')
    .option('--all', 'everything that differs')
    .addOption(
      new Option('--instructions <server>', "a server's instructions; may be repeated")
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--admin <host:port>', 'ask the gateway there; the file is not read then', address)
    .action(async (words: readonly string[], options: ApproveOptions, command: Command) => {
      const named = /\.(ya?ml|json)$/.test(words[0] ?? '')
      const file = named ? (words[0] ?? '') : 'registry.yaml'
      const wanted = named ? words.slice(1) : words
      if (options.all !== true && wanted.length === 0 && options.instructions.length === 0)
        command.error('error: name tools, or say --all', { exitCode: exitCode.usage })
      const pinning = await pinningOf(file, options, 'as it is')
      if (pinning === undefined) return
      const { lock, servers } = pinning
      if (lock === undefined) return lockNeeded(file)
      const { approve, differences } = await import('../catalog/lock-diff.ts')
      const changes = differences(lock, servers)
      const chosen = options.all === true ? changes : choose(changes, wanted, options.instructions)
      if (chosen === undefined) return
      const barred = chosen.filter(({ suspicious }) => suspicious !== undefined)
      for (const { name, suspicious } of barred) complain(printable(`${name} cannot be approved: ${suspicious ?? ''}`))
      if (barred.length > 0) process.exitCode = exitCode.bad
      const taken = chosen.filter(({ suspicious }) => suspicious === undefined)
      const { writeLock } = await import('../lock-file.ts')
      if (taken.length > 0) await writeLock(file, approve(lock, servers, taken))
      const text = changeText(taken)
      print(text === undefined ? 'nothing to approve' : `${text}\napproved`)
      for (const line of unanswered(servers)) complain(line)
    })

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

/** Undefined, with the reason told, when a name is none of theirs or could be meant of several servers. */
const choose = (
  changes: readonly Change[],
  tools: readonly string[],
  instructions: readonly string[],
): readonly Change[] | undefined => {
  const bad: string[] = []
  const chosen = tools.flatMap((name) => {
    const found = changes.filter(
      (change) => change.of === 'tool' && (change.name === name || `${change.server}/${change.own}` === name),
    )
    if (found.length === 0) bad.push(`"${name}" is no tool that differs from mcp.lock`)
    if (found.length > 1)
      bad.push(`"${name}" may mean ${found.map(({ server, own }) => `${server}/${own}`).join(' or ')}`)
    return found
  })
  const told = instructions.flatMap((server) => {
    const found = changes.filter((change) => change.of === 'instructions' && change.server === server)
    if (found.length === 0) bad.push(`"${server}" is no server whose instructions differ from mcp.lock`)
    return found
  })
  for (const line of bad) complain(printable(line))
  if (bad.length === 0) return [...told, ...chosen]
  process.exitCode = exitCode.bad
  return undefined
}
