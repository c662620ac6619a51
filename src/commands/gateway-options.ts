/** The options that `up` and `serve` have in common. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { LOG_LEVELS, type LogLevel } from '../observe/log-level.ts'
import { readAddress } from '../registry/address.ts'
import type { Address } from '../registry/model.ts'

export interface CommonOptions {
  readonly listen?: string
  readonly admin?: string
  readonly logLevel: LogLevel
  readonly logFormat?: 'text' | 'json'
}

/** An address, for an option. */
export const address = (text: string): Address => {
  const form = readAddress(text)
  if (!form.ok) throw new InvalidArgumentError(`It ${form.message}${form.hint === undefined ? '' : `; ${form.hint}`}.`)
  return form.value
}

/** The text of an address, checked: the registry reads it again. */
const addressText = (text: string): string => {
  address(text)
  return text
}

/** Adds them; what the command line says wins over the file. */
export const withGatewayOptions = (command: Command, level: LogLevel): Command =>
  command
    .option('--listen <host:port>', 'where agents connect; wins over the file', addressText)
    .option('--admin <host:port>', 'status page, /status, /ready, /metrics; wins over the file', addressText)
    .addOption(new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS).default(level))
    .addOption(
      new Option('--log-format <format>', 'default: text on a terminal, json otherwise').choices(['text', 'json']),
    )

/** A count of at least one, for an option. */
export const positive = (text: string): number => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return value
}

/** The log these options ask for. */
export const openLog = async ({ logLevel, logFormat }: CommonOptions) => {
  const { log } = await import('../observe/log.ts')
  return log({ level: logLevel, json: logFormat === undefined ? !process.stderr.isTTY : logFormat === 'json' })
}

/** `listen` and `admin` as the gateway takes them: absent when not said. */
export const overrides = ({ listen, admin }: CommonOptions): { listen?: string; admin?: string } => ({
  ...(listen === undefined ? {} : { listen }),
  ...(admin === undefined ? {} : { admin }),
})
