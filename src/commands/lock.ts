/** `mcp-gateway lock`: approves everything that the running gateway's servers offer, in a file beside the registry. */
import { Command } from 'commander'
import { address } from './gateway-options.ts'
import { type PinningOptions, pinningOf, unanswered } from './pinning.ts'
import { complain, print, printable } from './terminal.ts'

export const lock = (): Command =>
  new Command('lock')
    .description('pin the tools of the running gateway as they are now: writes mcp.lock beside the registry')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--admin <host:port>', 'ask the gateway there; the file is not read then', address)
    .action(async (file: string, options: PinningOptions) => {
      const pinning = await pinningOf(file, options, 'anew')
      if (pinning === undefined) return
      const { approve, differences } = await import('../catalog/lock-diff.ts')
      const { lockFileOf, writeLock } = await import('../lock-file.ts')
      const { servers } = pinning
      const before = pinning.lock ?? new Map()
      const changes = differences(before, servers)
      const next = approve(before, servers, changes)
      await writeLock(file, next)
      for (const { name, suspicious } of changes)
        if (suspicious !== undefined) complain(printable(`${name} is not pinned: ${suspicious}`))
      for (const line of unanswered(servers)) complain(line)
      const tools = [...next.values()].reduce((sum, pin) => sum + pin.tools.size, 0)
      print(`${lockFileOf(file)}: ${tools} ${tools === 1 ? 'tool' : 'tools'} of ${next.size} servers pinned`)
    })
