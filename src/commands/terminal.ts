/** Words and tables for a terminal; colours only when standard output is one. */
import { styleText } from 'node:util'

export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan'

/** Coloured when `stream` is a terminal that wants colours (`NO_COLOR` says no). */
export const paint = (style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string =>
  stream.isTTY && process.env['NO_COLOR'] === undefined ? styleText(style, text, { validateStream: false }) : text

/** What came from elsewhere must not steer the terminal. */
export const printable = (text: string): string => text.replaceAll(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')

/** Columns padded to their widest cell, two spaces between them; `style` paints one finished cell. */
export const table = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
  style: (cell: string, column: number) => string = (cell) => cell,
): string => {
  const clean = rows.map((row) => row.map(printable))
  const widths = head.map((name, column) => Math.max(name.length, ...clean.map((row) => (row[column] ?? '').length)))
  const line = (cells: readonly string[], painted: (cell: string, column: number) => string): string =>
    cells
      .map((cell, column) => painted(cell, column) + ' '.repeat(Math.max(0, (widths[column] ?? 0) - cell.length)))
      .join('  ')
      .trimEnd()
  return [line(head, (cell) => paint('dim', cell)), ...clean.map((row) => line(row, style))].join('\n')
}

/** Standard output, with a newline. */
export const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** Standard error, with a newline. */
export const complain = (text: string): void => void process.stderr.write(`${text}\n`)
