/** A line of Envoy's own log, as we ask it to write them. */

/** For `--log-format`: JSON with the message escaped. */
export const LOG_FORMAT = '{"level":"%l","logger":"%n","message":"%j"}'

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly logger: string
  readonly message: string
}

const LEVELS: Readonly<Record<string, LogLine['level']>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'error',
}

/** What is not in our format was written before logging began, or while crashing: it is shown as it is. */
export const parseLogLine = (line: string): LogLine => {
  const plain: LogLine = { level: 'warn', logger: '', message: line }
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return plain
  }
  if (typeof value !== 'object' || value === null) return plain
  if (!('level' in value && 'logger' in value && 'message' in value)) return plain
  const { level, logger, message } = value
  if (typeof level !== 'string' || typeof logger !== 'string' || typeof message !== 'string') return plain
  return { level: LEVELS[level] ?? 'warn', logger, message }
}
