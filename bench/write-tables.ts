/** `npm run bench:table`: puts the committed results into README.md and docs/performance.md; `--check` only compares. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Results } from './results.ts'
import { report, summary } from './table.ts'

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const START = '<!-- bench -->'
const END = '<!-- /bench -->'

interface Page {
  readonly file: string
  readonly made: (results: readonly Results[]) => string
}

const pages: readonly Page[] = [
  { file: 'README.md', made: (results) => results.slice(0, 1).map(summary).join('\n\n') },
  { file: 'docs/performance.md', made: (results) => results.map(report).join('\n\n') },
]

/** Those that are committed, by name. */
const committed = (): readonly Results[] =>
  readdirSync(folder('results'))
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name): Results => JSON.parse(readFileSync(folder(`results/${name}`), 'utf8')))

/** The page with what lies between its marks made anew; throws when it has none. */
const renewed = (file: string, text: string, made: string): string => {
  const [start, end] = [text.indexOf(START), text.indexOf(END)]
  if (start < 0 || end < start) throw new Error(`${file} has no ${START} and ${END}`)
  return `${text.slice(0, start + START.length)}\n${made}\n${text.slice(end)}`
}

/** The pages that do not say what the results say. `write`: they are put right. */
export const stalePages = ({ write }: { readonly write: boolean }): readonly string[] => {
  const results = committed()
  return pages
    .filter(({ file, made }) => {
      const path = folder(`../${file}`)
      const text = readFileSync(path, 'utf8')
      const next = renewed(file, text, made(results))
      if (write && next !== text) writeFileSync(path, next)
      return next !== text
    })
    .map(({ file }) => file)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes('--check')
  const stale = stalePages({ write: !check })
  for (const file of stale) process.stdout.write(`${file}: ${check ? 'stale, run npm run bench:table' : 'written'}\n`)
  if (check && stale.length > 0) process.exitCode = 1
}
