/** `mcp-gateway diff`: what the running gateway's servers offer that is not what was approved. */
import { Command } from 'commander'
import { changeText } from './change-text.ts'
import { exitCode } from './exit-code.ts'
import { address } from './gateway-options.ts'
import { lockNeeded, type PinningOptions, pinningOf, unanswered } from './pinning.ts'
import { complain, print } from './terminal.ts'

export const diff = (): Command =>
  new Command('diff')
    .description('what differs from mcp.lock: tools and instructions, field by field; exit code 1 when anything does')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--admin <host:port>', 'ask the gateway there; the file is not read then', address)
    .option('--json', 'for programs')
    .action(async (file: string, options: PinningOptions) => {
      const pinning = await pinningOf(file, options, 'as it is')
      if (pinning === undefined) return
      const { lock, servers } = pinning
      if (lock === undefined) return lockNeeded(file)
      const { differences } = await import('../catalog/lock-diff.ts')
      const changes = differences(lock, servers)
      if (options.json === true) print(JSON.stringify({ changes }, undefined, 2))
      else print(changeText(changes) ?? 'everything is as it was approved')
      for (const line of unanswered(servers)) complain(line)
      if (changes.length > 0) process.exitCode = exitCode.bad
    })
