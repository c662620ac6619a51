#!/usr/bin/env node
/** Argv to command; whatever goes wrong becomes one line and an exit code here. */
import { Command, CommanderError } from 'commander'
import { approve } from './commands/approve.ts'
import { audit } from './commands/audit.ts'
import { bootstrap } from './commands/bootstrap.ts'
import { canI } from './commands/can-i.ts'
import { diff } from './commands/diff.ts'
import { doctor } from './commands/doctor.ts'
import { exitCode } from './commands/exit-code.ts'
import { lock } from './commands/lock.ts'
import { plan } from './commands/plan.ts'
import { render } from './commands/render.ts'
import { serve } from './commands/serve.ts'
import { complain } from './commands/terminal.ts'
import { tools } from './commands/tools.ts'
import { up } from './commands/up.ts'
import { validate } from './commands/validate.ts'
import { StartProblem } from './envoy/start-problem.ts'
import { version } from './version.ts'

const program = new Command('mcp-gateway')
  .description('One entrypoint in front of many MCP servers, made of Envoy.')
  .version(version, '-V, --version')
  .showHelpAfterError('(--help shows what there is)')
  .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
  .exitOverride()
  .addHelpText(
    'after',
    '\nExit codes: 0 fine, 1 the file or the answer is bad, 2 usage, 3 could not reach or start something.',
  )

for (const command of [
  up(),
  serve(),
  bootstrap(),
  validate(),
  render(),
  plan(),
  tools(),
  canI(),
  lock(),
  diff(),
  approve(),
  doctor(),
  audit(),
]) {
  program.addCommand(command.copyInheritedSettings(program))
  for (const nested of command.commands) nested.copyInheritedSettings(command)
}

/** Set once the options are read: with `--log-level debug` our own bugs show where they are. */
let debug = false
program.hook('preAction', (_program, command) => {
  debug = command.opts()['logLevel'] === 'debug'
})

const failed = (error: unknown): number => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.fine : exitCode.usage
  const message = error instanceof Error ? error.message : String(error)
  const hint = error instanceof StartProblem && error.hint !== '' ? `\n${error.hint}` : ''
  complain(`mcp-gateway: ${message}${hint}`)
  if (debug && error instanceof Error) complain(error.stack ?? '')
  return exitCode.unreachable
}

// A reader such as `head` may go away before everything is printed.
process.stdout.on('error', () => process.exit(exitCode.fine))
process.on('uncaughtException', (error) => process.exit(failed(error)))

try {
  await program.parseAsync()
} catch (error) {
  process.exit(failed(error))
}
