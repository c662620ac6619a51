/** `mcp-gateway audit`: whether an audit log is whole: nothing in it changed, missing or in another order. */
import { createReadStream } from 'node:fs'
import { Command } from 'commander'
import { StartProblem, unreadText } from '../envoy/start-problem.ts'
import { CHAIN_START, follows } from '../observe/audit-chain.ts'
import { exitCode } from './exit-code.ts'
import { complain, paint, print } from './terminal.ts'

/** Longer than any line of ours. */
const MOST_LINE = 1024 * 1024
const NEWLINE = 0x0a

interface Verdict {
  readonly lines: number
  /** Of the last good line. */
  readonly hash: string
  /** The first line that is not as it was written; counted from 1. */
  readonly broken?: { readonly line: number; readonly reason: string }
}

const verify = async (file: string): Promise<Verdict> => {
  let lines = 0
  let hash = CHAIN_START
  let rest = Buffer.alloc(0)
  const broken = (reason: string): Verdict => ({ lines, hash, broken: { line: lines + 1, reason } })
  const chunks: AsyncIterable<Buffer> = createReadStream(file)
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([rest, chunk])
    let from = 0
    for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
      const judged = follows(hash, bytes.subarray(from, at))
      if ('wrong' in judged) return broken(judged.wrong)
      lines++
      hash = judged.hash
      from = at + 1
    }
    rest = bytes.subarray(from)
    if (rest.length > MOST_LINE) return broken('this is no line of an audit log')
  }
  return rest.length === 0 ? { lines, hash } : broken('the line is incomplete')
}

const verifying = (): Command =>
  new Command('verify')
    .description('check the chain of an audit log; exit code 1 with the first line that is not as it was written')
    .argument('<file>', 'the audit log')
    .option('--json', 'for programs')
    .action(async (file: string, { json = false }: { readonly json?: boolean }) => {
      const verdict = await verify(file).catch((error: unknown) => {
        throw new StartProblem(`cannot read ${file}: ${unreadText(error)}`, 'give the file that gateway.audit names')
      })
      const { lines, hash, broken } = verdict
      if (json) print(JSON.stringify({ ok: broken === undefined, file, ...verdict }, undefined, 2))
      else if (broken !== undefined) complain(`${file}:${broken.line}: ${paint('red', broken.reason, process.stderr)}`)
      else print(`${file}: ${lines} ${lines === 1 ? 'line' : 'lines'}, whole; the last one is ${hash}`)
      if (broken !== undefined) process.exitCode = exitCode.bad
    })

export const audit = (): Command =>
  new Command('audit').description('about the audit log that gateway.audit names').addCommand(verifying())
