/** MCP's log levels, from the most talkative on. */

export const LOG_LEVELS: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
]

export const isLogLevel = (text: string): boolean => LOG_LEVELS.includes(text)
