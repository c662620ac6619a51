/** The log: JSON lines for machines, one readable line each for people; secrets never show in either. */
import { formatWithOptions, styleText } from 'node:util'
import { pino } from 'pino'
import type { LogLevel } from './log-level.ts'

type LogFields = Readonly<Record<string, unknown>>

/** What every part writes its lines to. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** The same log with these fields on every line. */
  child(fields: LogFields): Log
}

export interface LogOptions {
  readonly level: LogLevel
  /** JSON lines; otherwise lines for people. */
  readonly json: boolean
  /** Default: on when standard error is a terminal. */
  readonly colour?: boolean
  /** Takes a whole line, newline included. Default: standard error, written before the call returns. */
  readonly write?: (line: string) => void
}

const COLOURS = { debug: 'gray', info: 'green', warn: 'yellow', error: 'red' } as const

/** What comes from servers must not steer a terminal. */
const printable = (text: string): string =>
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/gu, (character) =>
    character === '\t' ? ' ' : `\\u${character.codePointAt(0)?.toString(16).padStart(4, '0') ?? ''}`,
  )

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A bare word stays bare; anything else is quoted, so that a line can be read back. */
const readable = (value: unknown): string => {
  if (typeof value === 'string') return /^[^\s"=]+$/u.test(value) ? printable(value) : printable(JSON.stringify(value))
  if (isRecord(value) && typeof value['message'] === 'string') return printable(JSON.stringify(value['message']))
  return printable(formatWithOptions({ breakLength: Infinity, compact: true, depth: 4 }, '%O', value))
}

const stackOf = (value: unknown): string =>
  isRecord(value) && typeof value['stack'] === 'string'
    ? `\n${value['stack'].split('\n').map(printable).join('\n')}`
    : ''

/** `12:04:09.120 warn  message  server=weather ms=12`; stacks follow at level debug only. */
const human = (line: string, options: { readonly colour: boolean; readonly stacks: boolean }): string => {
  const entry: unknown = JSON.parse(line)
  if (!isRecord(entry)) return line
  const { time, level, msg, ...fields } = entry
  const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
    options.colour ? styleText(style, text, { validateStream: false }) : text
  const name = level === 'debug' || level === 'warn' || level === 'error' ? level : 'info'
  const rest = Object.entries(fields)
    .map(([key, value]) => `  ${paint('gray', `${key}=`)}${readable(value)}`)
    .join('')
  const clock = typeof time === 'string' ? time.slice(11, 23) : ''
  const stacks = options.stacks ? Object.values(fields).map(stackOf).join('') : ''
  return `${paint('gray', clock)} ${paint(COLOURS[name], name.padEnd(5))} ${printable(String(msg))}${rest}${stacks}\n`
}

/** Errors keep their message wherever they stand; pino does so for the key `err` alone. */
const plain = (fields: LogFields): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? pino.stdSerializers.err(value) : value,
    ]),
  )

const wrap = (logger: pino.Logger): Log => {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields?: LogFields): void => {
      if (!logger.isLevelEnabled(level)) return
      if (fields === undefined) logger[level](message)
      else logger[level](plain(fields), message)
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(logger.child(plain(fields))),
  }
}

/** Opens the log. Lines below `level` cost one comparison. */
export const log = (options: LogOptions): Log => {
  const write = options.write ?? standardError()
  const colour = options.colour ?? process.stderr.isTTY
  const stacks = options.level === 'debug'
  return wrap(
    pino(
      {
        level: options.level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: options.json ? write : (line: string) => write(human(line, { colour, stacks })) },
    ),
  )
}

const standardError = (): ((line: string) => void) => {
  const destination = pino.destination({ fd: 2, sync: true })
  // The reader of our log may go away; that must not end the gateway.
  destination.on('error', () => {})
  return (line) => void destination.write(line)
}
